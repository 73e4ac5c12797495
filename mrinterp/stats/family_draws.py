"""Bootstrap draws of means, whole families drawn with replacement, for statistics of several means."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.stats.clustered import families_of

__all__ = ["family_draws", "percentile_interval"]

Array = NDArray[np.float64]


def family_draws(values: Array, family: NDArray, draws: int = 1000, seed: int = 0) -> Array:
    """Bootstrap draws (B, ...) of the equal-weight mean over rows of values (N, ...).

    The same seed and families give the same draws whatever the values (those of
    `mrinterp.stats.family_bootstrap`), so that statistics of several means can be put together draw by
    draw. One family gives nan. Source: Cameron, Gelbach & Miller 2008, 10.1162/rest.90.3.414.
    """
    values = np.asarray(values, dtype=float)
    codes, names = families_of(family)
    C = len(names)
    if C < 2:
        return np.full((draws, *values.shape[1:]), np.nan)
    sums = np.zeros((C, *values.shape[1:]))
    np.add.at(sums, codes, values)
    counts = np.random.default_rng([seed, C]).multinomial(C, np.full(C, 1 / C), size=draws).astype(float)
    rows = counts @ np.bincount(codes).astype(float)
    means = (counts @ sums.reshape(C, -1)) / rows[:, None]
    return np.asarray(means.reshape(draws, *values.shape[1:]))


def percentile_interval(draws: Array, level: float = 0.95) -> tuple[Array, Array]:
    """Lower and upper percentile ends over the first axis; nan where any draw is not a number."""
    tail = (1 - level) / 2
    lower, upper = np.quantile(draws, [tail, 1 - tail], axis=0)
    return np.asarray(lower), np.asarray(upper)
