"""Interpolated weighted medians and their bootstrap errors, in fused loops (numba, compiled on first use).

Kept out of every other module's import: whoever needs it imports it inside the function.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mrinterp.stats.loops.random_normals import mixed_bits, standard_normal
from mrinterp.stats.robust.median_search import PAD, moments, searched_median
from mrinterp.stats.robust.weighted_crossing import weighted_crossing

__all__ = ["bootstrap_sd", "weighted_medians"]

Array = NDArray[np.float64]

_FIRST, _REACH = 16, 3.5


@njit(cache=True, nogil=True)
def weighted_medians(values: Array, weights: Array) -> Array:
    """Weighted median of each row of (C, J) values: interpolated where the midpoints of the cumulative
    weights cross half the total. Weights must be positive."""
    C, J = values.shape
    padded = (J + PAD - 1) // PAD * PAD
    out = np.empty(C)
    v, w, keys = np.empty(padded), np.empty(padded), np.empty(padded, np.int64)
    for c in range(C):
        v[:J], w[:J] = values[c], weights[c]
        out[c] = searched_median(v, w, keys, J, moments(v, w, J))
    return out


@njit(cache=True, nogil=True)
def bootstrap_sd(b, s, g, t, rho, weights, bits_b, bits_g, draws, seed):  # type: ignore[no-untyped-def]
    """Standard deviation over parametric draws of the weighted median of ratios, per row.

    Rows b, s, g, t, weights of shape (C, J), rho (C,); ``bits_*`` are b and g seen as uint64. The
    stream of a row depends on the seed and on the row's own numbers alone, so that blocks, order
    and neighbours change nothing. After a few draws only ratios near the medians so far are searched;
    where the crossing is not among them, all are.
    """
    C, J = b.shape
    out = np.empty(C)
    v, w, near, near_w = np.empty(J), np.empty(J), np.empty(J + 1), np.empty(J + 1)
    for c in range(C):
        state = np.uint64(seed)
        target = 0.0
        for j in range(J):
            state, mixed = mixed_bits(state ^ bits_b[c, j])
            state = mixed ^ bits_g[c, j]
            target += 0.5 * weights[c, j]
        mean, m2 = 0.0, 0.0
        own = np.sqrt(max(0.0, 1.0 - rho[c] * rho[c]))
        for d in range(draws):
            reach = _REACH * np.sqrt(m2 / d) if d >= _FIRST else np.inf
            low, high = mean - reach, mean + reach
            below, k = 0.0, 0
            for j in range(J):
                state, z1 = standard_normal(state)
                state, z2 = standard_normal(state)
                x = (g[c, j] + t[c, j] * (rho[c] * z1 + own * z2)) / (b[c, j] + s[c, j] * z1)
                v[j] = near[k] = x
                near_w[k] = weights[c, j]
                below += weights[c, j] if x <= low else 0.0
                k += (x > low) & (x <= high)
            m, side = weighted_crossing(near, near_w, k, below, target)
            if side != 0 and k < J:
                w[:] = weights[c]
                m = weighted_crossing(v, w, J, 0.0, target)[0]
            step = m - mean
            mean += step / (d + 1)
            m2 += step * (m - mean)
        out[c] = np.sqrt(m2 / (draws - 1)) if draws > 1 else np.nan
    return out
