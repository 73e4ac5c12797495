"""A straight line through points with errors of their own in both coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["york_line"]

Array = NDArray[np.float64]

ROUNDS = 500
TOLERANCE = 1e-10


@dataclass(frozen=True, eq=False)
class YorkLine:
    """Lines (B,): ``slope, intercept, slope_se``, and ``misfit``, the sum of squared standardized
    residuals over its degrees of freedom (1 where the errors explain all the scatter)."""

    slope: Array
    intercept: Array
    slope_se: Array
    misfit: Array


def york_line(x: Array, y: Array, x_variance: Array, y_variance: Array) -> YorkLine:
    """Maximum likelihood line of y on x, each point with its own normal errors, uncorrelated.

    Parameters
    ----------
    x, y, x_variance, y_variance : ndarray (B, F)
        B sets of F points.

    Notes
    -----
    Points far off the line are believed as firmly as their errors are small: where ``misfit`` is well
    above 1, ``slope_se`` is too small (take a bootstrap over points). nan for fewer than three points,
    no spread, or where the fixed point is not reached.

    Source: York, Evensen, Lopez Martinez & De Basabe Delgado 2004, 10.1119/1.1632486, eq. 13.
    """
    x, y, vx, vy = (np.atleast_2d(np.asarray(a, dtype=float)) for a in (x, y, x_variance, y_variance))
    F = x.shape[1]
    nothing = np.full(len(x), np.nan)
    if F < 3:
        return YorkLine(nothing, nothing, nothing, nothing)
    xc, yc = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Start from the geometric mean slope: between the two regressions, with the sign of both.
        cross = (xc * yc).sum(axis=1)
        b = np.sign(cross) * np.sqrt((yc**2).sum(axis=1) / (xc**2).sum(axis=1))
        least = 1e-14 * (yc**2).mean(axis=1, keepdims=True)
        for _ in range(ROUNDS):
            w, u, v, beta = _weighted(x, y, vx, vy, b, least)
            new = (w * beta * v).sum(axis=1) / (w * beta * u).sum(axis=1)
            step, b = np.abs(new - b), new
            if not (step > TOLERANCE * np.abs(b)).any():
                break
        w, u, v, beta = _weighted(x, y, vx, vy, b, least)
        total = w.sum(axis=1)
        intercept = (w * y).sum(axis=1) / total - b * (w * x).sum(axis=1) / total
        at = beta - (w * beta).sum(axis=1, keepdims=True) / total[:, None]
        slope_se = 1 / np.sqrt((w * at**2).sum(axis=1))
        misfit = (w * (y - intercept[:, None] - b[:, None] * x) ** 2).sum(axis=1) / max(F - 2, 1)
        good = (step <= 1e-6 * np.abs(b)) & np.isfinite(b) & ((xc**2).sum(axis=1) > 0)
    return YorkLine(*(np.where(good, a, np.nan) for a in (b, intercept, slope_se, misfit)))


def _weighted(x: Array, y: Array, vx: Array, vy: Array, b: Array, least: Array) -> tuple[Array, ...]:
    """Weights, deviations from the weighted centre, and the points' places along the line."""
    slope = b[:, None]
    w = 1 / np.maximum(vy + slope**2 * vx, least)
    total = w.sum(axis=1, keepdims=True)
    u = x - (w * x).sum(axis=1, keepdims=True) / total
    v = y - (w * y).sum(axis=1, keepdims=True) / total
    # A point without any error lies where it lies.
    exact = vy + slope**2 * vx <= 0
    return w, u, v, np.where(exact, u, w * (u * vy + slope * v * vx))
