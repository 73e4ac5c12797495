"""Negative controls that a study holds already: what cannot act, asked of the same estimators, before any claim is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mrinterp.core.checks import checked_count, checked_seed, checked_type
from mrinterp.core.errors import InputError
from mrinterp.core.panel import Panel
from mrinterp.diagnostics._negative_controls import negative_controls
from mrinterp.effects._claims import at_stated_values, shift_estimates
from mrinterp.mr._runs.within import within
from mrinterp.results._against_random import AgainstRandom
from mrinterp.results._check import Check, NotApplicable
from mrinterp.results._designs.paths_to_outcome import PathsToOutcome
from mrinterp.results._estimates import Estimates
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.results._negative_controls import (
    DIFFERENCES,
    OUT_OF_REACH,
    PERMUTED,
    PLACEBO_EDITS,
    RANDOM_DIRECTIONS,
    RANDOM_SIGNS,
    REINITIALIZED,
    NegativeControls,
)
from mrinterp.stats.clustered.least_squares import families_of
from mrinterp.stats.clustered.rectified import SILENT

__all__ = [
    "knockout_control_checks",
    "mr_control_checks",
    "random_sign_controls",
    "rung_null",
    "study_controls",
]

Array = NDArray[np.float64]
Found = dict[str, NegativeControls | NotApplicable]

DRAWS = 16
"""Outcomes with random signs for each outcome."""
FEWEST = 5
"""Independent controls from which a set says something (`NegativeControls.check`)."""
MOST_CELLS = 4_000
"""Features that a set of controls with random signs takes at most, evenly from all."""
STRICT = 0.01
"""Probability below which a set of controls fails: a study makes several such tests."""
BASELINES = {
    PERMUTED: ("permuted", "knockouts.permuted_controls is 0 in the plan"),
    REINITIALIZED: (
        "redrawn",
        "knockouts.redrawn_network is false in the plan: it takes the passes of a second network",
    ),
}
"""Controls that act: the knockout of each, and why it does not apply where the plan asks for none."""
AGAIN = 0.5
"""Share of the effects beyond the region of practical equivalence that must be there again in a network drawn anew, for a failure."""
MR_RUNGS, CONTRASTS = ("within", "tsls", "observational"), ("rectified",)


def random_sign_controls(
    panel: Panel, draws: int = DRAWS, seed: int = 0, rank: int | None = None
) -> NegativeControls | NotApplicable:
    """The within regression on outcomes that no feature moves: those of the runs, with a random sign for every family.

    Parameters
    ----------
    panel : Panel
        Perturbed runs with the clean run of their prompt, or several runs per prompt.
    draws : int
        Outcomes with random signs for each outcome.
    seed : int
    rank : int, optional
        Bypass components; default the panel's chosen rank.

    Returns
    -------
    NegativeControls or NotApplicable
        Their normal scores: N(0, 1) where errors clustered by family are right.

    Raises
    ------
    InputError
        For anything but a panel, or no draws.

    Notes
    -----
    Signs of whole families take every feature's effect away and leave tails, unequal families and correlation inside a
    family as they are. So the controls test the errors and the number of columns, not the equation: a path around the cut is
    gone with the signs. Features of a draw share its outcome, and count as half as many as there are families at most.

    Source: Canay, Romano & Shaikh 2017, 10.3982/ECTA13081.

    Examples
    --------
    >>> import mrinterp
    >>> panel = mrinterp.worlds.linear_world(0).panel
    >>> mrinterp.diagnostics.random_sign_controls(panel).check().verdict
    'passed'
    """
    checked_type(panel, "panel", Panel, "mrinterp.from_arrays makes one of arrays")
    draws, seed = checked_count(draws, "draws", least=1, unit="draws"), checked_seed(seed)
    codes, names = families_of(panel.runs["family"].to_numpy())
    if len(names) < 2 * FEWEST:
        return NotApplicable(f"{len(names)} families; signs of families need {2 * FEWEST}", RANDOM_SIGNS)
    signs = np.random.default_rng([seed, 37]).choice([-1.0, 1.0], (draws, len(names)))
    values = np.asarray(panel.outcomes, dtype=float)
    turned = np.concatenate([values * s[codes][:, None] for s in signs], axis=1)
    labels = tuple(f"{o}, signs {k}" for k in range(draws) for o in panel.outcome_names)
    try:
        found = within(replace(panel, outcomes=turned, outcome_names=labels), rank)
    except InputError as error:  # runs that no regression fits are no reason to stop
        return NotApplicable(f"{error}".rstrip("."), RANDOM_SIGNS)
    score = _scores(found.beta, found.se, found.df)
    known = np.isfinite(score)
    if known.sum() < FEWEST:
        return NotApplicable("fewer than 5 effects are identified", RANDOM_SIGNS)
    apart = min(int(known.any(axis=1).sum()), max(len(names) // 2, 1))
    effective = float(np.clip(apart * known.any(axis=0).sum(), 2, known.sum()))
    rows = np.unique(np.linspace(0, len(score) - 1, min(len(score), MOST_CELLS)).astype(int))
    return _null(score[rows], found.exposures, rows, labels, effective)


def _null(
    score: Array, names: Sequence[str], rows: NDArray[np.int_], outcomes: Sequence[str], effective: float
) -> NegativeControls:
    cells = [(f, o) for f in range(len(rows)) for o in range(len(outcomes)) if np.isfinite(score[f, o])]
    z = np.array([score[c] for c in cells])
    given = {f"{names[rows[f]]} on {outcomes[o]}": (z[[k]], np.ones(1)) for k, (f, o) in enumerate(cells)}
    made = negative_controls((z, np.ones(len(z))), effective=min(effective, len(z)))
    return replace(made, controls=tuple(given))


def _scores(beta: Array, se: Array, df: Any) -> Array:
    """Estimates over their errors, as normal scores; nan where there is no error."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(se > 0, beta / np.where(se > 0, se, 1.0), np.nan)
    return np.asarray(np.sign(t) * stats.norm.isf(np.maximum(stats.t.sf(np.abs(t), df), 1e-300)))


def study_controls(
    panel: Panel,
    paths: PathsToOutcome | NotApplicable | None,
    estimates: Mapping[str, Estimates],
    knockouts: Mapping[str, KnockoutEffects],
    left_out: Mapping[str, str],
) -> Found:
    """The empirical nulls of what a study has computed: by the set of controls, with what does not apply and why.

    Parameters
    ----------
    panel : Panel
        Of the kind of perturbation that the estimate by instruments rests on.
    paths : PathsToOutcome or NotApplicable, optional
        From which features a path leads to the outcomes.
    estimates, knockouts : mapping of str
        As `Study` has them.
    left_out : mapping of str
        Knockouts that the plan asks for and the network does not allow, and why.

    Returns
    -------
    dict of str to NegativeControls or NotApplicable
        ``outcomes out of reach``: MR's estimates where no path leads from the feature to the outcome. ``outcomes with
        random signs``: `random_sign_controls`. ``differences between families``: the same contrast on families apart, whose
        difference is 0 whatever the feature does. ``permuted dictionary, network drawn anew``: matched shifts along permuted
        directions, and in the network with other weights; these act, so that theirs is a baseline and not a null of theory: the
        features' shifts are held against it.
    """
    without = "MR has no estimate in this study"
    some = np.isfinite(estimates["within"].beta).any()
    signs = random_sign_controls(panel) if some else NotApplicable(without, RANDOM_SIGNS)
    return {
        OUT_OF_REACH: _out_of_reach(paths, estimates["within"]),
        RANDOM_SIGNS: signs,
        DIFFERENCES: _differences(estimates, knockouts),
        **{name: _baseline(knockouts, name, left_out) for name in BASELINES},
    }


def _baseline(
    knockouts: Mapping[str, KnockoutEffects], name: str, left_out: Mapping[str, str]
) -> NegativeControls | NotApplicable:
    """Normal scores of controls that act, and the features' own shifts held against their spread."""
    stored, not_asked = BASELINES[name]
    if stored not in knockouts or "shift" not in knockouts:
        return NotApplicable(left_out.get(stored, not_asked), name)
    made = knockouts[stored]
    found = shift_estimates(made)
    score = _scores(found.beta, found.se, found.df)
    known = np.isfinite(score)
    if known.sum() < FEWEST:
        return NotApplicable(f"{known.sum()} of its shifts have an error; {FEWEST} are needed", name)
    effective = float(np.clip(_dimensions(made) * known.any(axis=0).sum(), 2, known.sum()))
    null = _null(score, found.exposures, np.arange(len(score)), found.outcomes, effective)
    held = negative_controls(
        (null.z, np.ones(len(null.z))), shift_estimates(knockouts["shift"]), effective=effective
    )
    return replace(held, controls=null.controls)


def _out_of_reach(
    paths: PathsToOutcome | NotApplicable | None, found: Estimates
) -> NegativeControls | NotApplicable:
    if not isinstance(paths, PathsToOutcome):
        return NotApplicable("paths were not asked for" if paths is None else paths.reason, OUT_OF_REACH)
    row = {name: k for k, name in enumerate(paths.features)}
    keep = [k for k, name in enumerate(found.exposures) if name in row]
    column = [paths.outcomes.index(o) for o in found.outcomes]
    none = ~paths.path[np.ix_([row[found.exposures[k]] for k in keep], column)]
    score = np.where(none, _scores(found.beta, found.se, found.df)[keep], np.nan)
    count = int(np.isfinite(score).sum())
    if count < FEWEST:
        why = f"the site reaches its outcomes from all but {int(none.any(axis=1).sum())} of {len(keep)} features"
        return NotApplicable(f"{why}; {FEWEST} without a path are needed", OUT_OF_REACH)
    apart = float(np.isfinite(score).any(axis=1).sum())
    return _null(score, found.exposures, np.array(keep), found.outcomes, max(apart, 2.0))


def _differences(
    made: Mapping[str, Estimates], knockouts: Mapping[str, KnockoutEffects]
) -> NegativeControls | NotApplicable:
    """Contrasts on the two halves of the replication families against each other, and on their own families against both."""
    names = ("rectified", "rectified_judge", "rectified_again")
    if not set(names) <= set(made) or made["rectified"].meta.get("estimand") != "contrast":
        return NotApplicable("contrasts were not made on families apart", DIFFERENCES)
    own, judge, again = (at_stated_values(made[n]) for n in names)
    if not np.isfinite(judge.beta).any():
        return NotApplicable("no contrast was made on replication families", DIFFERENCES)
    # Without an error, or with one that is rounding, a difference says nothing of chance.
    floor = SILENT * float(np.nanmax(np.abs([own.beta, judge.beta, again.beta]), initial=0.0))
    errors = np.stack([own.se, judge.se, again.se])
    own_se, *se = np.where(errors > floor, errors, np.nan)
    weight = 1.0 / np.stack(se) ** 2
    both = (weight * np.stack([judge.beta, again.beta])).sum(axis=0) / weight.sum(axis=0)
    least = np.fmin(np.fmin(own.df, judge.df), again.df)
    apart = np.stack([judge.beta - again.beta, own.beta - both])
    error = np.stack([np.hypot(*se), np.hypot(own_se, 1.0 / np.sqrt(weight.sum(axis=0)))])
    score = np.concatenate(list(_scores(apart, error, least)), axis=1)
    outcomes = [f"{o}, {words}" for words in ("halves", "own against both") for o in own.outcomes]
    known = np.isfinite(score)
    if known.sum() < FEWEST:
        return NotApplicable("fewer than 5 features have contrasts on families apart", DIFFERENCES)
    effective = np.clip(_dimensions(knockouts.get("judge")) * known.any(axis=0).sum(), 2, known.sum())
    return _null(score, own.exposures, np.arange(len(score)), outcomes, float(effective))


def _dimensions(knockout: KnockoutEffects | None) -> float:
    """Features that count as independent: the participation ratio of their errors' correlation across families."""
    if knockout is None:
        return 1.0
    each = np.nan_to_num(np.asarray(knockout.effect_by_input[:, :, 0], dtype=float))
    codes, names = families_of(knockout.inputs["family"].to_numpy())
    means = np.zeros((len(names), len(each)))
    np.add.at(means, codes, each.T)
    means = means / np.bincount(codes)[:, None]
    spread = means.std(axis=0)
    scaled = (means - means.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    if not scaled.shape[1]:
        return 1.0
    size = np.linalg.eigvalsh(scaled @ scaled.T if len(scaled) < scaled.shape[1] else scaled.T @ scaled)
    return float(size.sum() ** 2 / (size**2).sum())


def mr_control_checks(found: Found) -> list[Check | NotApplicable]:
    """The verdicts of the sets that are asked of MR; a failure bears on its rungs.

    Parameters
    ----------
    found : dict
        `study_controls`'s.
    """
    return [_verdict(name, found[name], MR_RUNGS) for name in (OUT_OF_REACH, RANDOM_SIGNS) if name in found]


def knockout_control_checks(
    found: Found, knockouts: Mapping[str, KnockoutEffects], rope: Array, held: AgainstRandom | NotApplicable
) -> list[Check | NotApplicable]:
    """The verdicts of the sets that are asked of knockouts, and what is no part of one study.

    Parameters
    ----------
    found : dict
        `study_controls`'s.
    knockouts : mapping of str to KnockoutEffects
        The study's own: ``contrast, shift``, and ``permuted, redrawn`` where its plan asks for them.
    rope : ndarray (O,)
        Half widths of the region of practical equivalence.
    held : AgainstRandom or NotApplicable
        Features among random directions.
    """
    permuted: AgainstRandom | NotApplicable = _absent(found, PERMUTED)
    drawn: list[Check | NotApplicable] = [_absent(found, REINITIALIZED)]
    if "redrawn" in knockouts:
        drawn = _drawn_anew(knockouts, rope)
    if "permuted" in knockouts:
        permuted = AgainstRandom.of(knockouts["shift"], knockouts["permuted"], per="unit")
    return [
        _verdict(DIFFERENCES, found[DIFFERENCES], CONTRASTS),
        *_placebo_edits(knockouts["contrast"], rope),
        _random_directions(held),
        _random_directions(permuted, PERMUTED),
        *drawn,
    ]


def _absent(found: Found, name: str) -> NotApplicable:
    """Why a set of controls that act was not made."""
    made = found[name]
    return made if isinstance(made, NotApplicable) else NotApplicable(BASELINES[name][1], name)


_NULLS = {
    OUT_OF_REACH: "MR finds nothing where no path leads from the feature to the outcome",
    RANDOM_SIGNS: "MR finds nothing in outcomes whose families have random signs",
    DIFFERENCES: "the same contrast on families apart differs by no more than its errors",
}
_STEPS = {
    OUT_OF_REACH: "Believe no estimate by instruments of this study: something around the cut reaches the outcome",
    RANDOM_SIGNS: "Errors by instruments are too small: more families, or a lower bypass rank",
    DIFFERENCES: "Intervals of contrasts are too narrow for new families: knock out more families",
}


def _verdict(
    name: str, found: NegativeControls | NotApplicable, rungs: tuple[str, ...]
) -> Check | NotApplicable:
    """`NegativeControls.check` at the level of several such tests: what is too careful fails nothing."""
    check = found if isinstance(found, NotApplicable) else found.check()
    if isinstance(check, NotApplicable) or isinstance(found, NotApplicable):
        return NotApplicable(check.reason if isinstance(check, NotApplicable) else "", name)
    wide = found.sd < 1.0 and abs(found.mean) < 1.0
    sure = check.neglog10p > -np.log10(STRICT)
    verdict = "passed" if wide or not sure else check.verdict
    return replace(
        check, name=name, null_in_words=_NULLS[name], verdict=verdict, rungs=rungs, next_step=_STEPS[name]
    )


def _placebo_edits(contrast: KnockoutEffects, ropes: Array) -> list[Check | NotApplicable]:
    """Edits that change nothing: how far the same run, unedited in other company, comes out apart."""
    checks: list[Check | NotApplicable] = []
    for outcome, floor, rope in zip(contrast.outcomes, contrast.noise_floor, ropes, strict=True):
        checks.append(
            Check(
                name=f"{PLACEBO_EDITS}: {outcome}",
                null_in_words="a run that is not edited comes out the same in any batch",
                statistic=float(floor),
                df=float("nan"),
                neglog10p=float("nan"),
                verdict="failed" if floor > rope else "passed",
                note=f"runs that nothing was written in differ by {floor:.2g} at most, the region of practical"
                f" equivalence is {rope:.2g}.",
                outcome=outcome,
                rungs=CONTRASTS,
                next_step="The network is not computed to this precision: use float32, or a smaller block",
            )
        )
    return checks


def _random_directions(
    held: AgainstRandom | NotApplicable, name: str = RANDOM_DIRECTIONS
) -> Check | NotApplicable:
    """Do features do more than other directions of their site? These act too: a baseline, never a failure."""
    if isinstance(held, NotApplicable):
        return NotApplicable(held.reason, name)
    own, control = np.abs(held.effect[:, 0]), np.abs(held.control[:, 0])
    own, control = own[np.isfinite(own)], control[np.isfinite(control)]
    what = {RANDOM_DIRECTIONS: "random directions", PERMUTED: "directions of a permuted dictionary"}[name]
    if min(len(own), len(control)) < FEWEST:
        why = f"{len(control)} {what} and {len(own)} features have an effect; {FEWEST} of both are needed"
        return NotApplicable(why, name)
    found = stats.mannwhitneyu(own, control, alternative="greater")
    p = float(found.pvalue)
    return Check(
        name=name,
        null_in_words=f"features move the outcome no more than {what} of their site do",
        statistic=float(found.statistic / (len(own) * len(control))),
        df=float(len(control)),
        neglog10p=float(-np.log10(max(p, 1e-300))),
        verdict="passed" if p < 0.05 else "warning",
        note=f"{held.outcomes[0]}: shifted as far, features move it by {np.median(own):.2g} at the median,"
        f" {len(control)} {what} by {np.median(control):.2g} (p {p:.2g}).",
        rungs=("shift",),
        next_step="Any direction of this site does as much: read ranks among them, not sizes",
    )


def _drawn_anew(knockouts: Mapping[str, KnockoutEffects], ropes: Array) -> list[Check | NotApplicable]:
    """Do the same features do the same in the network with weights drawn anew? Then a claim is not about what was learned."""
    own, other = knockouts["shift"], knockouts["redrawn"]
    checks: list[Check | NotApplicable] = []
    for o, (outcome, rope) in enumerate(zip(own.outcomes, ropes, strict=True)):
        name, known = f"{REINITIALIZED}: {outcome}", np.isfinite(own.effect[:, o] + other.effect[:, o])
        a, b = own.effect[known, o], other.effect[known, o]
        if known.sum() < FEWEST or np.ptp(a) == 0 or np.ptp(b) == 0:
            why = f"{int(known.sum())} features have an effect in both networks, or all have the same; {FEWEST} are needed"
            checks.append(NotApplicable(why, name))
            continue
        # Ranks, since one or two features often do nearly all; and sizes, since a network that learned nothing may do the same weakly.
        found = stats.spearmanr(a, b, alternative="greater")
        p = float(found.pvalue)
        large = np.abs(a) > rope
        alike = large & (np.abs(b) > rope) & (np.sign(a) == np.sign(b))
        again = alike.sum() >= AGAIN * max(int(large.sum()), 1)
        checks.append(
            Check(
                name=name,
                outcome=outcome,
                null_in_words="effects in the network with weights drawn anew have nothing to do with those of the study",
                statistic=float(found.statistic),
                df=float(known.sum() - 2),
                neglog10p=float(-np.log10(max(p, 1e-300))),
                verdict="failed" if p < STRICT and again else "passed",
                note=f"matched shifts in both networks correlate {found.statistic:+.2f} in rank over {len(a)} features (p {p:.2g});"
                f" {alike.sum()} of {large.sum()} effects beyond the region of practical equivalence are there again.",
                rungs=("shift", *CONTRASTS),
                next_step="Inputs, features and architecture do this by themselves: claim nothing about what was learned",
            )
        )
    return checks


def rung_null(found: Found, rests_on: str, claims: Estimates | None) -> NegativeControls | NotApplicable:
    """The claims held against the empirical null of their own rung: of its sets of controls, the one that is furthest off.

    Parameters
    ----------
    found : dict
        `study_controls`'s.
    rests_on : str
        The rung that claims rest on.
    claims : Estimates, optional
        That rung.
    """
    sets = (DIFFERENCES,) if rests_on == "rectified" else (OUT_OF_REACH, RANDOM_SIGNS)
    some = [c for n in sets if isinstance(c := found[n], NegativeControls) and c.effective >= FEWEST]
    if claims is None or not some:
        why = "no set of negative controls of the rung that claims rest on has 5 independent ones"
        return NotApplicable(why, "calibrated p-values")
    worst = max(some, key=lambda c: c.false_share)
    return negative_controls((worst.z, np.ones(len(worst.z))), claims, effective=worst.effective)
