"""A proportion of rows in families: an interval that is honest near 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.stats.clustered.least_squares import families_of
from mrinterp.stats.tests.tails import critical_value

__all__ = ["clustered_proportion"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ClusteredProportion:
    """Proportions of R sets of rows, all arrays (R,).

    ``estimate, lower, upper``; ``se`` clustered by family; ``rows`` and ``families`` counted;
    ``effective`` the number of independent rows that would be as informative.
    """

    estimate: Array
    lower: Array
    upper: Array
    se: Array
    rows: NDArray[np.int_]
    families: NDArray[np.int_]
    effective: Array


def clustered_proportion(
    hits: NDArray[Any], family: NDArray[Any], counted: NDArray[Any] | None = None, level: float = 0.95
) -> ClusteredProportion:
    """Share of hits, with an interval for rows that come in families.

    Parameters
    ----------
    hits : array (R, N) of 0 and 1
    family : array (N,)
    counted : array (R, N) of bool, optional
        Rows that belong to the proportion; default all.
    level : float

    Notes
    -----
    Wilson's interval with the effective sample size p(1 - p) / v, v the variance clustered by family
    (never more than the rows there are), and t on C - 1 degrees of freedom in place of the normal
    quantile. The effective size is taken with one imaginary family more, half of it hits: near 0 and 1
    few families hold all that is rare, v misses the families that were not drawn, and without this the
    interval is too short (and v is zero where all rows are hits). ``se`` is without it. With one family there is no
    interval (nan). It is too short where families are nearly all hits or all misses and the share is near
    0 or 1.

    Source (but for the imaginary family, which is ours, and held to its level by simulation): Wilson 1927, 10.1080/01621459.1927.10502953; effective size and t as in Korn & Graubard 1998,
    Survey Methodology 24:193; Dean & Pagano 2015, J. Survey Statistics and Methodology 3:484.
    """
    hits = np.atleast_2d(np.asarray(hits, dtype=float))
    counted = np.ones_like(hits) if counted is None else np.atleast_2d(np.asarray(counted, dtype=float))
    sums, counts = _family_sums(np.where(counted > 0, hits, 0.0), family), _family_sums(counted, family)
    rows, families = counts.sum(axis=1), (counts > 0).sum(axis=1)
    t = critical_value(level, np.maximum(families - 1, 1)) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(rows > 0, sums.sum(axis=1) / rows, np.nan)
        residual = sums - counts * p[:, None]
        small = families / np.maximum(families - 1, 1)
        se = np.sqrt(np.einsum("rc,rc->r", residual, residual) * small) / rows
        n = np.minimum(_effective(sums, counts, rows, families), rows)
        middle = (p + t / (2 * n)) / (1 + t / n)
        half = np.sqrt(t * (p * (1 - p) / n + t / (4 * n**2))) / (1 + t / n)
        # The ends pass by the estimate in the last bits where that is 0 or 1.
        lower, upper = np.clip(middle - half, 0.0, p), np.clip(middle + half, p, 1.0)
    low, high, error = (np.where(families < 2, np.nan, x) for x in (lower, upper, se))
    return ClusteredProportion(p, low, high, error, rows.astype(int), families, n)


def _effective(hits: Array, counts: Array, rows: Array, families: NDArray[np.int_]) -> Array:
    """Effective sample size p(1 - p) / v with one more family, of average size, half of it hits."""
    size = rows / families
    total = rows + size
    p = (hits.sum(axis=1) + size / 2) / total
    residual = hits - counts * p[:, None]
    square = np.einsum("rc,rc->r", residual, residual) + (size * (0.5 - p)) ** 2
    return np.asarray(p * (1 - p) * total**2 / (square * families / np.maximum(families - 1, 1)))


def _family_sums(values: Array, family: NDArray[Any]) -> Array:
    """Sums (R, C) of values (R, N) over the rows of each family, families in sorted order."""
    codes, names = families_of(family)
    sums = np.zeros((len(names), len(values)))
    np.add.at(sums, codes, np.asarray(values, dtype=float).T)
    return sums.T
