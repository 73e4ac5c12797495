"""What a claim rests on, what is said of it, and whether knockouts on other families agree: the answer of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from mrinterp.core.errors import InputError
from mrinterp.effects._ceiling import CEILINGS, ceilings
from mrinterp.results._contrast_levels import NATURAL_SD
from mrinterp.results._designs.site_experiment import DEPENDS, SiteExperiment
from mrinterp.results._estimates import Estimates
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.stats.tests.equivalence import NOT_APPLICABLE, verdict
from mrinterp.stats.tests.tails import critical_value, neglog10p_t

__all__ = [
    "SIGN_VARIES",
    "at_stated_values",
    "claim_table",
    "claim_verdicts",
    "confirmation",
    "rests_on",
    "shift_estimates",
]

Array = NDArray[np.float64]
Words = NDArray[np.object_]

RUNGS = ("rectified", "site_experiment", "within_calibrated", "within", "tsls", "observational")
"""Rungs that a claim can rest on, the weakest assumptions first."""

SIGN_VARIES = "not negligible: sign varies"
"""Verdict of a contrast inside the region of practical equivalence, where other prompts' values still move the outcome."""

LOCAL = "local slope"

FALSE_RATE = 0.05
"""False discoveries among what is called causal of a drawn outcome, and misses among the intervals of that."""


def rests_on(estimates: Mapping[str, Estimates]) -> str:
    """Name of the rung that claims rest on: of those that are there, the one with the weakest assumptions.

    Parameters
    ----------
    estimates : mapping of str to Estimates
        Rungs by name, as `Study.estimates` has them.

    Returns
    -------
    str

    Raises
    ------
    InputError
        Where none of them can carry a claim.

    Examples
    --------
    >>> from mrinterp.effects import rests_on
    >>> from mrinterp.results import example
    >>> rests_on({"within": example("Estimates"), "rectified": example("Estimates")})
    'rectified'
    """
    found = [name for name in RUNGS if name in estimates]
    if not found:
        raise InputError("estimates", ", ".join(estimates) or "none", f"Give one of {', '.join(RUNGS)}")
    return found[0]


def claim_verdicts(
    estimates: Estimates,
    rope: ArrayLike,
    resample: KnockoutEffects | None = None,
    screened: bool = False,
) -> Words:
    """What is said of every effect: causal, negligible, indeterminate, or that its sign varies.

    Parameters
    ----------
    estimates : Estimates
        F features on O outcomes, from any door.
    rope : float, or array (O,)
        Half width of the region of practical equivalence, in units of the effects.
    resample : KnockoutEffects, optional
        Of the same features and outcomes, each prompt's value set to that of others: shows effects whose sign varies.
    screened : bool
        The features are the candidates that a screen of many left (`mrinterp.scan.screen_features`).

    Returns
    -------
    ndarray (F, O) of str
        ``causal``: the whole interval lies outside the region; of an outcome that is drawn, and of candidates of a screen, also
        at a false discovery rate of .05 over the features. ``negligible``: inside it, and the root mean square change
        under resampling, over the root of 2, is at most twice the region by its upper 95% bound; never of a local slope
        (MR, a gradient, a shift), which says nothing of changes of natural size. ``not negligible: sign varies``: inside,
        or an interval no end of which reaches that root mean square, which exceeds twice the region by its lower 95% bound. ``indeterminate``: all else; also where ``details["undecided"]`` is not 0, such as a label that no knockout flipped.

    Raises
    ------
    InputError
        For a region that is not above zero, or a resampling of other features or outcomes.

    Examples
    --------
    >>> from mrinterp.effects import claim_verdicts
    >>> from mrinterp.results import example
    >>> claim_verdicts(example("Estimates"), rope=0.02).shape
    (3, 2)
    """
    shape = estimates.beta.shape
    half = np.broadcast_to(np.asarray(rope, dtype=float), shape[1:])
    if not (half > 0).all():
        raise InputError("rope", f"{half.min():g}", "Give half a width above zero, in units of the effects")
    words = verdict(estimates.ci_lower, estimates.ci_upper, half[None, :])
    inside = words == "negligible"
    if estimates.meta.get("estimand", LOCAL) == LOCAL:
        words[inside] = "indeterminate"
    if resample is not None:
        if (resample.features, resample.outcomes) != (estimates.exposures, estimates.outcomes):
            raise InputError("resample", "other features or outcomes than the estimates", "Give the same")
        drawn = np.isin(resample.outcomes, resample.meta.get("sampled_outcomes", []))
        resampled = inside & ~drawn[None, :]
        # Without the upper bound, features of 2 to 3 regions under resampling passed as negligible in up to .97 of
        # redrawn studies on MiniLM (benchmarks/results/redrawn_studies.md): ten families seldom prove a varying sign.
        words[resampled & (resample.rms_upper / np.sqrt(2) > 2 * half)] = "indeterminate"
        least = np.nan_to_num(resample.rms_bound) / np.sqrt(2)
        # A mean that is surely less than what other prompts' values do: in 25 of 100 organisms a field of the rule, whose
        # effect another field turns round, was indeterminate (benchmarks/results/organisms.md).
        most = np.maximum(np.abs(estimates.ci_lower), np.abs(estimates.ci_upper))
        turned = (words == "indeterminate") & ~drawn[None, :] & (most < least)
        words[(resampled | turned) & (least > 2 * half)] = SIGN_VARIES
        words[(words == "causal") & drawn[None, :] & ~_stand_out(estimates, half)] = "indeterminate"
    if screened:
        words[(words == "causal") & ~_stand_out(estimates, half)] = "indeterminate"
    for one in estimates.meta.get("dependent_sets", []):
        rows = [estimates.exposures.index(m) for m in one["members"]]
        words[rows, estimates.outcomes.index(one["outcome"])] = "indeterminate"
    words[estimates.undecided] = "indeterminate"
    return words


def _stand_out(estimates: Estimates, half: Array) -> NDArray[np.bool_]:
    """Effects (F, O) beyond the region at a false discovery rate of .05 over the features of an outcome.

    Where draws make intervals many times as wide as the region, one feature in forty lies beyond it by luck: of those
    called causal by their interval alone as few as .05 were covered, by this rule few are called at all
    (``benchmarks/results/redrawn_studies.md``).
    """
    z = (np.abs(estimates.beta) - half) / np.where(estimates.se > 0, estimates.se, np.nan)
    p = np.minimum(2.0 * stats.t.sf(z, estimates.df), 1.0)
    return np.asarray(stats.false_discovery_control(np.where(np.isnan(p), 1.0, p), axis=0) <= FALSE_RATE)


def _claimed_intervals(estimates: Estimates, words: Words, drawn: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Ends (F, O) of intervals; wider for what is called causal of outcomes that are ``drawn`` (O,), because it was chosen.

    Of F features R are called at a false discovery rate of .05; their intervals have the level 1 - .05 R/F, so that of the
    intervals of called features .05 miss on average. They lie outside the region too. Where draws make intervals many times as
    wide as the region, what stands out was partly lucky (``benchmarks/results/redrawn_draws.md``).

    Source: Benjamini & Yekutieli 2005, 10.1198/016214504000001907.
    """
    called = (words == "causal") & drawn[None, :] & np.isfinite(estimates.se)
    level = 1.0 - FALSE_RATE * np.maximum(called.sum(axis=0), 1) / len(called)
    half = (
        np.stack([critical_value(x, estimates.df[:, o]) for o, x in enumerate(level)], axis=1) * estimates.se
    )
    lower, upper = np.asarray(estimates.ci_lower), np.asarray(estimates.ci_upper)
    return np.where(called, estimates.beta - half, lower), np.where(called, estimates.beta + half, upper)


def confirmation(estimates: Estimates, judge: Estimates, rope: ArrayLike) -> Words:
    """How knockouts on other families bear on effects, in sign and size, within one estimand.

    Parameters
    ----------
    estimates, judge : Estimates
        Of the same estimand, features and outcomes, on other families.
    rope : float, or array (O,)

    Returns
    -------
    ndarray (F, O) of str
        ``confirmed``: the 95% interval of the ratio judge / estimate lies within 1/2 to 2. ``size disagrees``: it lies
        entirely outside, with the same sign. ``contradicted``: the judge excludes 0 with the other sign, or lies inside
        the region of practical equivalence. ``size not resolved``: all else.

    Raises
    ------
    InputError
        For other features or outcomes, or another estimand.

    Notes
    -----
    The ratio's interval is Fieller's, the two errors independent.

    Source: Fieller 1954, 10.1111/j.2517-6161.1954.tb00159.x.

    Examples
    --------
    >>> from mrinterp.effects import confirmation
    >>> from mrinterp.results import example
    >>> one = example("Estimates")
    >>> confirmation(one, one, rope=1e-6).shape
    (3, 2)
    """
    if (judge.exposures, judge.outcomes) != (estimates.exposures, estimates.outcomes):
        raise InputError("judge", "other features or outcomes than the estimates", "Give the same")
    if judge.meta.get("estimand", LOCAL) != estimates.meta.get("estimand", LOCAL):
        found = f"a {judge.meta.get('estimand', LOCAL)} against a {estimates.meta.get('estimand', LOCAL)}"
        raise InputError("judge", found, "Compare within one estimand")
    half = np.broadcast_to(np.asarray(rope, dtype=float), estimates.beta.shape[1:])
    lower, upper = _ratio_interval(estimates, judge)
    words = np.full(lower.shape, "size not resolved", dtype=object)
    words[(lower >= 0.5) & (upper <= 2.0)] = "confirmed"
    words[(lower > 2.0) | ((upper < 0.5) & (upper > 0))] = "size disagrees"
    apart = (judge.ci_lower > 0) | (judge.ci_upper < 0)
    opposite = apart & (np.sign(judge.beta) != np.sign(estimates.beta))
    inside = (judge.ci_lower >= -half) & (judge.ci_upper <= half)
    words[opposite | inside] = "contradicted"
    words[~np.isfinite(judge.beta) | ~np.isfinite(estimates.beta)] = "no knockout"
    return words


def at_stated_values(estimates: Estimates) -> Estimates:
    """Errors of the contrast between the low and high values stated, without what is not known of these."""
    if "stated_se" not in estimates.details:
        return estimates
    return replace(estimates, se=estimates.details["stated_se"], df=estimates.details["stated_df"])


def _ratio_interval(estimates: Estimates, judge: Estimates) -> tuple[Array, Array]:
    """Fieller's interval of judge / estimate, with independent errors; unbounded where the estimate may be 0.

    Both are contrasts between the same low and high values, so that what is not known of these is no difference.
    """
    estimates = at_stated_values(estimates)
    b, a = estimates.beta, judge.beta
    t = critical_value(0.95, np.minimum(estimates.df, judge.df))
    with np.errstate(divide="ignore", invalid="ignore"):
        known = b**2 - t**2 * estimates.se**2
        spread = np.sqrt(np.maximum((a * b) ** 2 - known * (a**2 - t**2 * judge.se**2), 0.0))
        ends = np.sort(np.stack([(a * b - spread) / known, (a * b + spread) / known]), axis=0)
    bounded = known > 0
    return np.where(bounded, ends[0], -np.inf), np.where(bounded, ends[1], np.inf)


def _on_one_scale(estimates: Estimates, moves: Array) -> tuple[Array, Array, Array, Array]:
    """Effect, error and ends (F, O) per natural sd, of a rung that may be a slope.

    Parameters
    ----------
    moves : ndarray (F,)
        How far the reading moves under the contrast, mean over prompts: a slope times this is what it says of the
        contrast, extrapolated.
    """
    local = estimates.meta.get("estimand", LOCAL) == LOCAL
    scale = (moves / NATURAL_SD)[:, None] if local else np.ones((len(moves), 1))
    return estimates.beta * scale, estimates.se * np.abs(scale), *_ordered(estimates, scale)


def _ordered(estimates: Estimates, scale: Array) -> tuple[Array, Array]:
    ends = np.sort(np.stack([estimates.ci_lower * scale, estimates.ci_upper * scale]), axis=0)
    return ends[0], ends[1]


def claim_table(
    estimates: Mapping[str, Estimates],
    contrast: KnockoutEffects,
    judge: Estimates,
    again: Estimates,
    rope: Array,
    labels: tuple[str, ...],
    resample: KnockoutEffects | None = None,
    joint: SiteExperiment | None = None,
    chosen: str | None = None,
    families: int | None = None,
) -> pd.DataFrame:
    """The answer: per feature what is claimed, what it rests on, what other families say, and every rung on one scale.

    Parameters
    ----------
    estimates : mapping of str to Estimates
        Rungs by name.
    contrast : KnockoutEffects
        Whose moves put slopes on the scale of contrasts.
    judge, again : Estimates
        Contrasts of knockouts alone on one half of the replication families; the rectified estimate on the other half.
    rope : ndarray (O,)
    labels : tuple of str
    resample : KnockoutEffects, optional
    joint : SiteExperiment, optional
        Of drawn outcomes: features that were not compared one at a time in it rest on it, as an effect averaged over the
        other features' settings.
    chosen : str, optional
        Rung that claims rest on; default the one with the weakest assumptions.
    families : int, optional
        Of the study in all, discovery among them: they bound the grade that a claim can reach.

    Returns
    -------
    DataFrame
        Largest effect first. ``effect, ci_lower, ci_upper`` per natural sd (wider for what is called causal of a drawn
        outcome, at a false coverage rate of .05); ``knockout*`` the judge; ``replication*`` the
        estimate once more; ``resampled`` the root mean square change under resampling over the root of 2; ``per_firing``
        whether the feature rarely fires, ``share_firing`` at which share of tokens, and ``as_it_is, as_it_is_lower,
        as_it_is_upper`` what its firing does, Y(as it is) - Y(low) by the knockouts alone, on the scale of the effects; ``ceiling``
        the best grade that the claim can reach and ``ceiling_why`` what keeps it from a better one (`CEILINGS`); one set
        of columns ``<rung>, <rung>_se, <rung>_lower, <rung>_upper`` per rung; slopes among them are extrapolated.
    """
    name = chosen or rests_on(estimates)
    primary, moves = estimates[name], contrast.mean_move
    bounded = ceilings(primary, families).ravel()
    frame, O = primary.to_frame(), len(primary.outcomes)
    said, others = claim_verdicts(primary, rope, resample), claim_verdicts(judge, rope)
    for words in (said, others):
        words[:, contrast.extremal_at_clean] = NOT_APPLICABLE
    bearing = np.where(said == "causal", confirmation(primary, judge, rope), "").astype(object)
    own = np.array([role == "own" for role in primary.meta.get("roles", [])], dtype=bool)
    if own.any():  # a shift cannot judge the claim that it makes
        bearing[own] = np.where(said[own] == "causal", "no knockout", "")
    drawn = np.isin(primary.outcomes, contrast.meta.get("sampled_outcomes", []))
    lower, upper = _claimed_intervals(primary, said, drawn)
    columns = {
        "feature": frame["exposure"],
        "label": np.repeat(np.array(labels, dtype=object), O),
        "outcome": frame["outcome"],
        "effect": frame["estimate"],
        "ci_lower": lower.ravel(),
        "ci_upper": upper.ravel(),
        "neglog10p": frame["neglog10p"],
        "verdict": said.ravel(),
        "knockout": judge.beta.ravel(),
        "knockout_lower": judge.ci_lower.ravel(),
        "knockout_upper": judge.ci_upper.ravel(),
        "knockout_verdict": others.ravel(),
        "confirmed": bearing.ravel(),
        "replication": again.beta.ravel(),
        "replication_lower": again.ci_lower.ravel(),
        "replication_upper": again.ci_upper.ravel(),
        "replicated": np.where(said == "causal", confirmation(primary, again, rope), "").ravel(),
        "resampled": _resampled(resample, primary.beta.shape).ravel(),
        "rests_on": name,
        "bias": str(primary.meta.get("bias", "unmeasured")),
        "ceiling": [CEILINGS[why] for why in bounded],
        "ceiling_why": bounded,
        "move": np.repeat(moves, O),
        **_firing(primary),
        "status": frame["status"],
    }
    for rung, e in estimates.items():  # also those that claims do not rest on
        scaled = _on_one_scale(e, moves)
        for suffix, value in zip(("", "_se", "_lower", "_upper"), scaled, strict=True):
            columns[f"{rung}{suffix}"] = value.ravel()
    out = pd.DataFrame(columns)
    if joint is not None:
        out = _resting_on_the_joint(out, joint, contrast)
    order = np.argsort(-np.abs(out["effect"].to_numpy()), kind="stable")
    return out.iloc[order].reset_index(drop=True)


def _firing(primary: Estimates) -> dict[str, NDArray[Any]]:
    """Columns of features that rarely fire; nan for the others."""
    names = ("share_firing", "as_it_is", "as_it_is_lower", "as_it_is_upper")
    none = np.full(primary.beta.shape, np.nan)
    found = {name: np.ravel(primary.details.get(name, none)) for name in names}
    return {"per_firing": np.isfinite(found["share_firing"]), **found}


def _resting_on_the_joint(
    table: pd.DataFrame, joint: SiteExperiment, contrast: KnockoutEffects
) -> pd.DataFrame:
    """The answer with drawn outcomes' features on the experiment in which all were set at random at once."""
    drawn = set(contrast.meta.get("sampled_outcomes", []))
    found = {(r["feature"], r["outcome"]): r for r in joint.to_frame().to_dict("records")}
    rows = table.to_dict("records")
    for row in rows:
        one = found.get((row["feature"], row["outcome"]))
        if row["outcome"] not in drawn or one is None:
            continue
        if np.isfinite(
            one["alone"]
        ):  # compared: the knockout stands, and the experiment says whether it depends
            depends = one["verdict"] == DEPENDS and row["verdict"] != "causal"
            row["verdict"] = DEPENDS if depends else row["verdict"]
        elif np.isfinite(one["se"]):
            row |= {name: one[name] for name in ("effect", "ci_lower", "ci_upper", "verdict")}
            row["neglog10p"] = float(neglog10p_t(one["effect"] / one["se"], joint.df))
            row |= {
                "rests_on": "site_experiment",
                "confirmed": "",
                "replicated": "",
                "status": joint.averaged,
            }
    return pd.DataFrame(rows, columns=table.columns)


def shift_estimates(shift: KnockoutEffects) -> Estimates:
    """Matched shifts as estimates of local slopes: what claims that rest on MR are compared with."""
    F, O = shift.effect.shape
    known = np.isfinite(shift.effect) & np.isfinite(shift.se)
    return Estimates(
        method="shift",
        label=shift.label,
        exposures=shift.features,
        outcomes=shift.outcomes,
        beta=shift.effect,
        se=shift.se,
        df=np.broadcast_to(shift.effect_df[:, None], (F, O)),
        status=np.where(known, "ok", "nothing was moved").astype(object),
        n_instruments=np.full((F, O), len(shift.inputs)),
        unit="outcome units per unit of the feature",
        meta={"counted": "knocked-out prompts", "estimand": LOCAL, "bias": "none: knocked out"},
    )


def _resampled(resample: KnockoutEffects | None, shape: tuple[int, ...]) -> Array:
    return np.full(shape, np.nan) if resample is None else resample.rms_change / np.sqrt(2)
