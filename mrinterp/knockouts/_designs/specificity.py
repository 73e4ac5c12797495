"""Effects on the outcomes meant, held against effects on negative controls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError, near_misses
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._designs.knock_out_sets import knock_out_sets
from mrinterp.knockouts._feature_numbers import Features, feature_numbers
from mrinterp.knockouts._kinds.replacement import Replacement, outside_support, replacement_values
from mrinterp.knockouts._outcome_rope import ONE_FAMILY, check_level, outcome_sd
from mrinterp.results._designs.specificity import Specificity
from mrinterp.stats.clustered.interval import ClusteredInterval, clustered_interval
from mrinterp.stats.clustered.ratio import clustered_ratio
from mrinterp.stats.tests.equivalence import tost, verdict
from mrinterp.stats.tests.tails import two_sided_p

__all__ = ["specificity"]

Array = NDArray[np.float64]


def specificity(
    bench: Bench,
    features: Features | None,
    values: Replacement,
    controls: Sequence[str],
    *,
    targets: Sequence[str] | None = None,
    rope: float = 0.02,
    margin: float = 0.1,
    level: float = 0.95,
    allow_off_support: bool = False,
) -> Specificity:
    """Knock features out and compare what the targets and the negative controls do.

    Parameters
    ----------
    bench : Bench
        With the targets and the controls among its outcomes.
    features : names or numbers, optional
        None for all of the view.
    values : Replacement
        What is written in place of a feature's own values.
    controls : sequence of str
        Outcomes that the features should not move.
    targets : sequence of str, optional
        Default: every other outcome.
    allow_off_support : bool
        Write values far outside what a feature shows all the same; they are then flagged.
    rope : float
        What a target must be moved by to count, in sd of the outcome.
    margin : float
        Within which a control counts as untouched, in sd of the outcome; at least ``rope``.
    level : float
        Of the intervals; equivalence is tested at 1 - level.

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
    """
    check_level(level)
    if not 0 <= rope <= margin:
        raise InputError("margin", f"{margin} with rope {rope}", "Give 0 <= rope <= margin, in sd")
    chosen = _outcomes(bench, targets, controls)
    T = len(chosen) - len(controls)
    numbers = feature_numbers(bench, features)
    new = replacement_values(bench, numbers, values, allow_off_support)
    swept = knock_out_sets(bench, numbers, new, np.arange(len(numbers))[:, None], "specificity")
    sd = outcome_sd(bench)[chosen]
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.where(sd > 0, (swept.outcome - bench.clean)[..., chosen] / sd, np.nan)
    change = change.transpose(1, 0, 2)
    found = clustered_interval(change, bench.family, level)
    df, sign = found.df, np.sign(found.mean)
    target, control = change[:, :, :T, None], change[:, :, None, T:]
    ratio = clustered_ratio(control, target, bench.family, level)
    apart = clustered_interval(sign[:, :T, None] * target - sign[:, None, T:] * control, bench.family, level)
    p = two_sided_p(tost(found.mean[:, T:], found.se[:, T:], df, margin, 1 - level).neglog10p)
    names = tuple(bench.outcome.names[o] for o in chosen)
    status = tuple(_status(name, s, df) for name, s in zip(names, sd, strict=True))
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
        read_back_error=swept.read_back,
        status=status,
        meta={"rope": rope, "outside_support": outside_support(bench, numbers, new)},
    )


def _outcomes(bench: Bench, targets: Sequence[str] | None, controls: Sequence[str]) -> NDArray[np.int_]:
    """Numbers of the targets, then of the controls."""
    names = list(bench.outcome.names)
    for name in [*(targets or ()), *controls]:
        if name not in names:
            raise InputError(
                f"outcome {name!r}", "not among the bench's", near_misses(name, names) or f"{names}"
            )
    meant = [n for n in names if n not in controls] if targets is None else list(targets)
    if not meant or not controls:
        raise InputError(
            "targets and controls", f"{len(meant)} and {len(controls)}", "Give at least one of each"
        )
    listed = [*meant, *controls]
    if len(set(listed)) < len(listed):
        twice = next(n for n in listed if listed.count(n) > 1)
        raise InputError(f"outcome {twice!r}", "named twice among targets and controls", "Name it once")
    return np.array([names.index(n) for n in listed])


def _status(outcome: str, sd: float, df: float) -> str:
    if not df:
        return ONE_FAMILY
    return "ok" if sd > 0 else f"{outcome} never varies between prompts: it has no sd"


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
