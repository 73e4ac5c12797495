"""Ratios of two means of the same rows, with Fieller's interval and errors clustered by family."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrinterp.stats.clustered import families_of
from mrinterp.stats.tails import critical_value

__all__ = ["ClusteredRatio", "clustered_ratio"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ClusteredRatio:
    """``ratio, lower, upper`` (...); ``denominator, denominator_se`` (...); ``df`` families minus one.

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
    numerator: Array, denominator: Array, family: NDArray, level: float = 0.95
) -> ClusteredRatio:
    """Mean of ``numerator`` over mean of ``denominator``, both (P, ...), on the same rows.

    Notes
    -----
    The interval holds every ratio r for which the mean of numerator - r denominator is not
    distinguishable from zero by t on C - 1 degrees of freedom.

    Source: Fieller 1954, 10.1111/j.2517-6161.1954.tb00159.x.
    """
    numerator, denominator = np.broadcast_arrays(
        np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    )
    a, of_a, df = _mean_and_sums(numerator, family)
    b, of_b, _ = _mean_and_sums(denominator, family)
    scale = (df + 1) / df if df else np.nan
    va, vb, cov = (scale * (x * y).sum(axis=0) for x, y in ((of_a, of_a), (of_b, of_b), (of_a, of_b)))
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


def _mean_and_sums(values: Array, family: NDArray) -> tuple[Array, Array, float]:
    """Mean (...), the families' shares in its error (C, ...), and families minus one."""
    codes, names = families_of(family)
    mean = values.mean(axis=0)
    sums = np.zeros((len(names), *values.shape[1:]))
    np.add.at(sums, codes, (values - mean) / len(values))
    return mean, sums, float(len(names) - 1)
