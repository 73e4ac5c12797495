"""Ratios of two means of the same rows, with Fieller's interval and errors clustered by family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.stats.clustered.family_draws import family_draws, percentile_interval
from mrinterp.stats.clustered.least_squares import mean_scores
from mrinterp.stats.tests.tails import critical_value

__all__ = ["bootstrap_interval", "clustered_ratio"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ClusteredRatio:
    """``ratio, lower, upper`` (...); ``denominator, denominator_se`` (...); ``df`` degrees of freedom.

    The interval is nan where the denominator cannot be told from zero at the level: the set of ratios
    that the data allow is then unbounded.
    """

    ratio: Array
    lower: Array
    upper: Array
    denominator: Array
    denominator_se: Array
    df: float


def clustered_ratio(
    numerator: Array, denominator: Array, family: NDArray[Any], level: float = 0.95
) -> ClusteredRatio:
    """Mean of ``numerator`` over mean of ``denominator``, both (P, ...), on the same rows.

    Notes
    -----
    The interval holds every ratio r for which the mean of numerator - r denominator is not
    distinguishable from zero by t, with the error of `clustered_mean`.

    Source: Fieller 1954, 10.1111/j.2517-6161.1954.tb00159.x.
    """
    numerator, denominator = np.broadcast_arrays(
        np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    )
    a, of_a, df = mean_scores(numerator, family)
    b, of_b, _ = mean_scores(denominator, family)
    va, vb, cov = ((x * y).sum(axis=0) for x, y in ((of_a, of_a), (of_b, of_b), (of_a, of_b)))
    t = critical_value(level, df) if df else np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = a / b
        known = b**2 - t**2 * vb
        middle = (a * b - t**2 * cov) / known
        spread = (a * b - t**2 * cov) ** 2 - known * (a**2 - t**2 * va)
        half = np.sqrt(np.maximum(spread, 0.0)) / known
    bounded = known > 0
    return ClusteredRatio(
        np.where(b == 0, np.nan, ratio),
        np.where(bounded, middle - half, np.nan),
        np.where(bounded, middle + half, np.nan),
        b,
        np.sqrt(vb),
        df,
    )


def bootstrap_interval(
    numerator: Array,
    denominator: Array,
    family: NDArray[Any],
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[Array, Array]:
    """Expanded percentile ends of the same ratios, (P, S, ...) over (P, 1, ...), whole families drawn with replacement."""
    drawn = family_draws(np.concatenate([denominator, numerator], axis=1), family, draws, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        return percentile_interval(drawn[:, 1:] / drawn[:, :1], level, len(np.unique(family)))
