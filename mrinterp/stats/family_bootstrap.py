"""Intervals by resampling families: what a ratio of sums would be had other families been drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.stats.clustered import families_of

__all__ = ["bootstrap_ratio"]

Array = NDArray[np.float64]

BLOCK = 4_000_000
"""Numbers held at a time."""


def bootstrap_ratio(
    numerator: Array,
    denominator: ArrayLike,
    family: NDArray,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[Array, Array]:
    """Percentile interval of sum(numerator) / sum(denominator) over rows, families drawn with replacement.

    Parameters
    ----------
    numerator : ndarray (N, M)
    denominator : array broadcast to (N, M)
        All ones for a mean over rows.
    family : ndarray (N,)
        The draws are of whole families, the same ones for every column.
    draws, seed : int
    level : float

    Returns
    -------
    lower, upper : ndarray (M,)
        nan where there is but one family, or no draw has a denominator above zero.

    Notes
    -----
    Draws whose denominator is zero (a feature that changed in few families) are left out of their column.
    Percentile intervals are a little narrow below about 40 families.

    Source: Cameron, Gelbach & Miller 2008, 10.1162/rest.90.3.414 (the pairs cluster bootstrap).
    """
    codes, names = families_of(family)
    C, M = len(names), numerator.shape[1]
    if C < 2:
        return np.full(M, np.nan), np.full(M, np.nan)
    below = np.broadcast_to(np.asarray(denominator, dtype=float), numerator.shape)
    top, bottom = np.zeros((C, M)), np.zeros((C, M))
    np.add.at(top, codes, numerator)
    np.add.at(bottom, codes, below)
    counts = np.random.default_rng([seed, C]).multinomial(C, np.full(C, 1 / C), size=draws).astype(float)
    ends = np.empty((2, M))
    step = max(1, BLOCK // draws)
    tails = (0.5 - level / 2, 0.5 + level / 2)
    for a in range(0, M, step):
        columns = slice(a, a + step)
        drawn_bottom = counts @ bottom[:, columns]
        defined = drawn_bottom > 0
        ratio = np.where(defined, counts @ top[:, columns] / np.where(defined, drawn_bottom, 1.0), np.nan)
        ends[:, columns] = _quantiles(ratio, defined, tails)
    return ends[0], ends[1]


def _quantiles(ratio: Array, defined: NDArray[np.bool_], tails: tuple[float, float]) -> Array:
    out = np.full((2, ratio.shape[1]), np.nan)
    whole, some = defined.all(axis=0), defined.any(axis=0)
    out[:, whole] = np.quantile(ratio[:, whole], tails, axis=0) if whole.any() else np.nan
    partly = some & ~whole
    if partly.any():
        out[:, partly] = np.nanquantile(ratio[:, partly], tails, axis=0)
    return out
