"""Means with errors clustered by family and their t intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.stats.clustered.least_squares import clustered_mean
from mrinterp.stats.tests.tails import critical_value

__all__ = ["ClusteredInterval", "clustered_interval"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ClusteredInterval:
    """``mean, se, lower, upper`` (...); ``df`` degrees of freedom, and ``critical``, the t behind the interval.

    One family has no error: all but the mean are then nan.
    """

    mean: Array
    se: Array
    lower: Array
    upper: Array
    df: float
    critical: float


def clustered_interval(values: Array, family: NDArray[Any], level: float = 0.95) -> ClusteredInterval:
    """Equal-weight mean over the rows of values (N, ...), with its interval by t (`clustered_mean`)."""
    mean, se, df = clustered_mean(values, family)
    critical = float(critical_value(level, df)) if df else float("nan")
    return ClusteredInterval(mean, se, mean - critical * se, mean + critical * se, df, critical)
