"""Practical equivalence: is an effect outside the region that counts as nothing, or inside it?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.stats.tests.tails import critical_value, log10_tail_t

__all__ = ["NOT_APPLICABLE", "VERDICTS", "tost", "verdict"]

Array = NDArray[np.float64]

VERDICTS = ("causal", "negligible", "indeterminate")

NOT_APPLICABLE = "not applicable"
"""Stands in place of a verdict where neither an effect nor its absence would follow; the reason stands beside it."""


def verdict(ci_lower: ArrayLike, ci_upper: ArrayLike, rope: ArrayLike) -> NDArray[np.object_]:
    """Verdict of intervals against the region of practical equivalence (-rope, rope).

    ``causal``: the whole interval lies outside the region. ``negligible``: the whole interval lies
    inside. ``indeterminate``: anything else, a missing interval included.
    """
    lower, upper, rope = np.broadcast_arrays(
        np.asarray(ci_lower, float), np.asarray(ci_upper, float), np.asarray(rope, float)
    )
    out = np.full(lower.shape, "indeterminate", dtype=object)
    out[(lower > rope) | (upper < -rope)] = "causal"
    out[(lower >= -rope) & (upper <= rope)] = "negligible"
    return out


@dataclass(frozen=True, eq=False)
class Equivalence:
    """Two one-sided tests of effects against (-rope, rope), any shape.

    ``lower, upper``: ends of the interval at level 1 - 2 alpha. ``neglog10p``: -log10 of the larger of the
    two one-sided p-values. ``verdict``: ``negligible`` where both tests reject, which is where that
    interval lies inside the region; ``causal`` where the interval at level 1 - alpha lies outside;
    else ``indeterminate``.
    """

    lower: Array
    upper: Array
    neglog10p: Array
    verdict: NDArray[np.object_]


def tost(
    effect: ArrayLike, se: ArrayLike, df: ArrayLike, rope: ArrayLike, alpha: float = 0.05
) -> Equivalence:
    """Two one-sided t-tests: is an effect shown to lie inside the region of practical equivalence?

    Parameters
    ----------
    effect, se, df, rope : array, broadcast together
        ``rope`` is half the width of the region, in units of the effect, above zero.
    alpha : float
        Level of each one-sided test.

    Notes
    -----
    Both nulls (effect <= -rope, effect >= rope) must be rejected, so that the level of the whole is alpha
    at most. `verdict` on a 95% interval, as studies use it, is the same test at alpha = 0.025. An effect
    that is not finite is indeterminate with -log10 p nan.

    Source: Schuirmann 1987, 10.1007/BF01068419; Lakens 2017, 10.1177/1948550617697177.
    """
    effect, se, df, rope = np.broadcast_arrays(*(np.asarray(x, dtype=float) for x in (effect, se, df, rope)))
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = rope - np.abs(effect)
        t = np.where(se > 0, distance / se, np.sign(distance) * np.inf)
    known = np.isfinite(effect) & np.isfinite(se) & (df > 0)
    evidence = np.full(effect.shape, np.nan)
    evidence[known] = -log10_tail_t(t[known], df[known])
    inner, outer = (critical_value(level, df) * se for level in (1 - 2 * alpha, 1 - alpha))
    lower, upper = effect - inner, effect + inner
    words = verdict(effect - outer, effect + outer, rope)
    words[words == "negligible"] = "indeterminate"
    words[known & (lower >= -rope) & (upper <= rope)] = "negligible"
    words[~known] = "indeterminate"
    return Equivalence(lower, upper, evidence, words)
