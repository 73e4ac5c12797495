"""Gaussian kernel densities: Silverman's bandwidth, and where a density is highest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.stats.loops.row_threads import by_rows

__all__ = ["density_modes", "silverman_bandwidth"]

Array = NDArray[np.float64]

CUT = 3.0
"""A grid of points reaches this many bandwidths beyond the data."""

_BLOCK = 1 << 22


def silverman_bandwidth(values: Array) -> Array:
    """0.9 min(sd, 1.4826 mad) / n^(1/5) per row of (R, n); the sd alone where the mad is zero.

    Silverman's rule of thumb with the mad in place of the interquartile range, as Hartwig et al.
    2017 (10.1093/ije/dyx102) have it after Bickel.
    """
    sd = values.std(axis=1, ddof=1)
    centre = np.median(values, axis=1)
    mad = 1.4826 * np.median(np.abs(values - centre[:, None]), axis=1)
    return np.asarray(0.9 * np.where(mad > 0, np.minimum(sd, mad), sd) / values.shape[1] ** 0.2)


def density_modes(values: Array, weights: Array, bandwidth: Array, points: int | None = None) -> Array:
    """Where Sum_i w_i exp(-(x - x_i)^2 / (2 h^2)) is highest, per row, (R,).

    Parameters
    ----------
    values, weights : ndarray (R, n)
        Points and their weights (any positive scale).
    bandwidth : ndarray (R,)
        Standard deviation of the kernel, above 0.
    points : int, optional
        Look only at this many points, equally spaced from 3 bandwidths below the data to 3 above (R's
        ``density`` has 512, by its help page); by default at every number.
    """
    values, weights = np.ascontiguousarray(values), np.ascontiguousarray(weights)
    out = np.empty(len(values))
    if points is not None:
        size = max(1, _BLOCK // (values.shape[1] * points))
        for k in range(0, len(values), size):
            rows = slice(k, k + size)
            out[rows] = _on_grid(values[rows], weights[rows], bandwidth[rows], points)
        return out
    from mrinterp.stats.robust.kernel_modes import kernel_modes

    by_rows(lambda i, k: kernel_modes(values[i:k], weights[i:k], bandwidth[i:k], out[i:k]), len(out), 8)
    return out


def _on_grid(values: Array, weights: Array, bandwidth: Array, points: int) -> Array:
    low, high = values.min(axis=1) - CUT * bandwidth, values.max(axis=1) + CUT * bandwidth
    at = low[:, None] + np.linspace(0.0, 1.0, points) * (high - low)[:, None]
    z = (at[:, :, None] - values[:, None, :]) / bandwidth[:, None, None]
    density = np.einsum("rpn,rn->rp", np.exp(-0.5 * z * z), weights)
    return np.asarray(at[np.arange(len(at)), np.argmax(density, axis=1)])
