"""Weighted medians of small tables and their bootstrap errors, by sorting: nothing is compiled or loaded for them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.stats.loops.normal_stream import GAMMA, mixed, normals

__all__ = ["sorted_bootstrap_sd", "sorted_medians"]

Array = NDArray[np.float64]


def sorted_medians(values: Array, weights: Array) -> Array:
    """The same as `weighted_medians` to rounding: rows (C, J) of values and of weights, which are positive."""
    order = np.argsort(values, axis=1, kind="stable")
    v, w = np.take_along_axis(values, order, axis=1), np.take_along_axis(weights, order, axis=1)
    upto = np.cumsum(w, axis=1)
    middle, target = upto - 0.5 * w, 0.5 * upto[:, -1:]
    at = np.argmax(middle >= target, axis=1)[:, None]
    before = np.maximum(at - 1, 0)
    (v0, v1), (c0, c1) = (
        (np.take_along_axis(a, before, axis=1), np.take_along_axis(a, at, axis=1)) for a in (v, middle)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        between = v0 + (v1 - v0) * (target - c0) / (c1 - c0)
    return np.asarray(np.where(at > 0, between, v1)[:, 0])


def sorted_bootstrap_sd(
    b: Array, s: Array, g: Array, t: Array, rho: Array, weights: Array, draws: int, seed: int
) -> Array:
    """The same as `bootstrap_sd` to rounding, from the same stream of numbers: rows (C, J), ``rho`` (C,)."""
    state = np.full(len(b), seed, dtype=np.uint64)
    for one, other in zip(b.T.view(np.uint64), g.T.view(np.uint64), strict=True):
        state = mixed((state ^ one) + np.uint64(GAMMA)) ^ other
    own = np.sqrt(np.maximum(0.0, 1.0 - rho * rho))
    out = np.empty(len(b))
    for c in range(len(b)):  # few rows: more of them are the compiled loop's
        z = normals(state[c], 2 * draws * b.shape[1]).reshape(draws, -1, 2)
        drawn_g = g[c] + t[c] * (rho[c] * z[..., 0] + own[c] * z[..., 1])
        ratio = drawn_g / (b[c] + s[c] * z[..., 0])
        out[c] = sorted_medians(ratio, np.broadcast_to(weights[c], ratio.shape)).std(ddof=1)
    return out
