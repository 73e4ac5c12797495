"""Slope of a line through points with errors in both coordinates, one ratio of error variances for all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["deming_error", "deming_slope", "error_variance_ratio"]

Array = NDArray[np.float64]

SMALLEST, LARGEST = 1e-6, 1e6
"""Ratios beyond these say that one of the two has no error to speak of."""


def deming_slope(x: Array, y: Array, variance_ratio: float) -> Array:
    """Slope of y on x, (..., F) each, over the last axis; nan where the two do not vary together.

    Parameters
    ----------
    variance_ratio : float
        Error variance of y over that of x; towards infinity this is least squares of y on x.

    Source: Deming 1943; Fuller, Measurement Error Models, 1987, section 1.3.
    """
    x, y = (a - a.mean(axis=-1, keepdims=True) for a in (np.asarray(x, float), np.asarray(y, float)))
    return _slope((x**2).sum(axis=-1), (y**2).sum(axis=-1), (x * y).sum(axis=-1), variance_ratio)


def deming_error(x: Array, y: Array, variance_ratio: float) -> Array:
    """Standard error of `deming_slope` over the last axis: jackknife over points."""
    x, y = (a - a.mean(axis=-1, keepdims=True) for a in (np.asarray(x, float), np.asarray(y, float)))
    n = x.shape[-1]
    # Taking point i out takes n / (n - 1) times its own square out of a sum of squares about the mean.
    without = n / (n - 1)
    sxx, syy, sxy = (p.sum(axis=-1, keepdims=True) - without * p for p in (x**2, y**2, x * y))
    slopes = _slope(sxx, syy, sxy, variance_ratio)
    spread = slopes - slopes.mean(axis=-1, keepdims=True)
    return np.asarray(np.sqrt((n - 1) / n * (spread**2).sum(axis=-1)))


def error_variance_ratio(y_se: Array, x_se: Array, times: float = 1.0) -> float:
    """Median error variance of y over that of x (``times`` as large), as one ratio for all points."""
    across = times * float(np.median(x_se**2))
    ratio = float(np.median(y_se**2)) / across if across > 0 else np.inf
    return float(np.clip(ratio, SMALLEST, LARGEST)) if np.isfinite(ratio) else LARGEST


def _slope(sxx: Array, syy: Array, sxy: Array, ratio: float) -> Array:
    gap = syy - ratio * sxx
    root = np.hypot(gap, 2 * np.sqrt(ratio) * sxy)
    # Two forms of one root: each is a difference of nearly equal numbers where the other is not.
    with np.errstate(divide="ignore", invalid="ignore"):
        steep, shallow = (gap + root) / (2 * sxy), 2 * ratio * sxy / (root - gap)
    return np.asarray(np.where(sxy == 0, np.nan, np.where(gap >= 0, steep, shallow)))
