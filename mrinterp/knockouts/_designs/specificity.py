"""Effects on the outcomes meant, compared with effects on negative controls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_level, checked_number, checked_numbers_of
from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._designs.knock_out_sets import knock_out_sets
from mrinterp.knockouts._feature_numbers import Features, feature_numbers
from mrinterp.knockouts._kinds.replacement import Replacement, outside_support, replacement_values
from mrinterp.knockouts._outcome_rope import ONE_FAMILY, outcome_sd, unread
from mrinterp.results._designs.specificity import Specificity
from mrinterp.stats.clustered.interval import ClusteredInterval, clustered_interval
from mrinterp.stats.clustered.ratio import clustered_ratio
from mrinterp.stats.tests.equivalence import tost, verdict
from mrinterp.stats.tests.tails import two_sided_p

__all__ = ["specificity"]

Array = NDArray[np.float64]


def specificity(
    bench: Bench,
    values: Replacement,
    features: Features | None = None,
    *,
    controls: str | Sequence[str],
    targets: str | Sequence[str] | None = None,
    margin_sd: float = 0.1,
    rope_sd: float = 0.02,
    level: float = 0.95,
    allow_off_support: bool = False,
) -> Specificity:
    """Knock features out and compare what the targets and the negative controls do.

    Parameters
    ----------
    bench : Bench
        The network, its inputs, features and outcomes.
    values : Replacement
        What is written in place of a feature's own values: a kind with one value per prompt (``"mean"``,
        ``Clamp(quantile=0.1)``), a number, an array (K,), (K, P) or (K, P, T), or a function.
    features : names or numbers, optional
        K features; default all of the view.
    controls : str or sequence of str
        Outcomes that the features should not move.
    targets : str or sequence of str, optional
        Outcomes that they should move; default every other outcome.
    margin_sd : float
        Within which a control counts as untouched, in sd of the outcome; at least ``rope_sd``.
    rope_sd : float
        What a target must be moved by to count, in sd of the outcome.
    level : float
        Of the intervals; equivalence is tested at 1 - level.
    allow_off_support : bool
        Write values far outside what a feature shows all the same; they are then flagged.

    Returns
    -------
    Specificity
        Effects on targets and controls in sd, their ratio and difference, and a word for every feature and target.

    Raises
    ------
    InputError
        For unknown outcomes, no control or no target, or an outcome named as both.

    Notes
    -----
    Effects are standardized by the sd of each clean outcome over prompts, without error of its own. All
    controls must pass their tests, so that no correction is needed (intersection-union). The difference
    of absolute effects takes the signs of the estimates; where a control's true effect is zero its
    absolute value is biased upwards, against specificity.

    Source: two one-sided tests, Schuirmann 1987, 10.1007/BF01068419; negative controls, Lipsitch et al.
    2010, 10.1097/EDE.0b013e3181d61eeb.

    Examples
    --------
    >>> import mrinterp
    >>> other = mrinterp.outcomes.CallableOutcome("size", lambda output, mask: output[:, 0] ** 2)
    >>> world = mrinterp.worlds.gated_world(families=10)
    >>> both = mrinterp.outcomes.OutcomeSet([world.outcome, other])
    >>> mrinterp.knockouts.specificity(world.bench(outcome=both), "zero", "linear", controls="size").verdict
    array([['not specific']], dtype=object)
    """
    checked_level(level)
    rope = checked_number(rope_sd, "rope_sd", least=0, unit="in sd of the outcome")
    margin = checked_number(margin_sd, "margin_sd", least=rope, unit="rope_sd or more, in sd of the outcome")
    chosen, T = _outcomes(bench, targets, controls)
    numbers = feature_numbers(bench, features)
    new = replacement_values(bench, numbers, values, allow_off_support)
    edited = knock_out_sets(bench, numbers, new, np.arange(len(numbers))[:, None], "specificity")
    sd = outcome_sd(bench)[chosen]
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.where(sd > 0, (edited.outcome - bench.clean)[..., chosen] / sd, np.nan)
    change = change.transpose(1, 0, 2)
    found = clustered_interval(change, bench.family, level)
    df, sign = found.df, np.sign(found.mean)
    target, control = change[:, :, :T, None], change[:, :, None, T:]
    ratio = clustered_ratio(control, target, bench.family, level)
    apart = clustered_interval(sign[:, :T, None] * target - sign[:, None, T:] * control, bench.family, level)
    p = two_sided_p(tost(found.mean[:, T:], found.se[:, T:], df, margin, 1 - level).neglog10p)
    names = tuple(bench.outcome.names[o] for o in chosen)
    silent = unread(bench, edited.outcome - bench.clean)
    status = tuple(_status(name, s, df, silent) for name, s in zip(names, sd, strict=True))
    return Specificity(
        features=tuple(bench.view.names[f] for f in numbers),
        targets=names[:T],
        controls=names[T:],
        effect=found.mean,
        se=found.se,
        lower=found.lower,
        upper=found.upper,
        tost_p=p,
        ratio=ratio.ratio,
        ratio_lower=ratio.lower,
        ratio_upper=ratio.upper,
        difference=apart.mean,
        difference_lower=apart.lower,
        difference_upper=apart.upper,
        verdict=_verdicts(found, p, T, rope, 1 - level, status),
        margin=margin,
        df=df,
        level=level,
        noise_floor=bench.noise_floor(),
        read_back_error=edited.read_back,
        status=status,
        meta={"rope": rope, "outside_support": outside_support(bench, numbers, new)},
    )


def _outcomes(
    bench: Bench, targets: str | Sequence[str] | None, controls: str | Sequence[str]
) -> tuple[NDArray[np.int_], int]:
    """Numbers of the targets, then of the controls; and how many targets there are."""
    names = list(bench.outcome.names)
    held = checked_numbers_of(controls, "controls", names, numbers=False)
    others = [n for o, n in enumerate(names) if o not in held]
    if targets is None and not others:
        raise InputError("controls", "every outcome of the bench", "Leave at least one as a target")
    meant = checked_numbers_of(others if targets is None else targets, "targets", names, numbers=False)
    both = np.intersect1d(meant, held)
    if len(both):
        raise InputError("targets", f"{names[both[0]]!r} is also a control", "Name it as one of the two")
    return np.concatenate([meant, held]), len(meant)


def _status(outcome: str, sd: float, df: float, silent: str) -> str:
    if not df:
        return ONE_FAMILY
    return silent or "ok" if sd > 0 else f"{outcome} never varies between prompts: it has no sd"


def _verdicts(
    found: ClusteredInterval, p: Array, T: int, rope: float, alpha: float, status: tuple[str, ...]
) -> NDArray[np.object_]:
    """Words (K, T)."""
    words = verdict(found.lower, found.upper, rope)
    target, control = words[:, :T], words[:, T:]
    causal, negligible = np.isin(target, ["causal"]), np.isin(target, ["negligible"])
    moved = np.isin(control, ["causal"]).any(axis=1, keepdims=True)
    untouched = np.asarray(p < alpha).all(axis=1, keepdims=True)
    out = np.full(target.shape, "indeterminate", dtype=object)
    out[causal & untouched] = "specific"
    out[causal & moved & ~untouched] = "not specific"
    out[negligible] = "no effect"
    known = np.array([s == "ok" for s in status])
    out[:, ~(known[:T] & known[T:].all())] = "not applicable"
    return out
