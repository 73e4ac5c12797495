"""Interpolated weighted medians and their bootstrap errors, in fused loops (numba, compiled on first use).

Kept out of every other module's import: whoever needs it imports it inside the function.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mrinterp.stats.random_normals import mixed_bits, standard_normal

__all__ = ["bootstrap_sd", "weighted_medians"]

Array = NDArray[np.float64]

_FIRST, _REACH = 16, 3.5


@njit(cache=True, nogil=True)
def _sort_pairs(values, weights, lo, hi):  # type: ignore[no-untyped-def]
    for i in range(lo + 1, hi):
        v, w = values[i], weights[i]
        j = i - 1
        while j >= lo and values[j] > v:
            values[j + 1], weights[j + 1] = values[j], weights[j]
            j -= 1
        values[j + 1], weights[j + 1] = v, w


@njit(cache=True, nogil=True)
def _crossing(values, weights, n, base, target):  # type: ignore[no-untyped-def]
    """Where (``base`` + cumulative weight minus half the own) crosses the target; reorders its input.

    Also -1, 0 or 1: the crossing is at or before the first value, between two, or after the last.
    """
    lo, hi = 0, n
    while hi - lo > 12:
        a, b, c = values[lo], values[(lo + hi) >> 1], values[hi - 1]
        pivot = max(min(a, b), min(max(a, b), c))
        left, right, below = lo, hi - 1, 0.0
        while left <= right:
            while values[left] < pivot:
                below += weights[left]
                left += 1
            while values[right] > pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                weights[left], weights[right] = weights[right], weights[left]
                below += weights[left]
                left += 1
                right -= 1
        # values[lo:left] <= pivot <= values[left:hi], their weight is `below`
        if base + below > target:
            if left == hi:
                break
            hi = left
        else:
            base += below
            lo = left
    _sort_pairs(values, weights, lo, hi)
    before, at = base, hi
    for i in range(lo, hi):
        if before + 0.5 * weights[i] >= target:
            at = i
            break
        before += weights[i]
    if at < hi:
        v1, c1 = values[at], before + 0.5 * weights[at]
    else:
        if hi == n:
            return (values[n - 1] if n else 0.0), 1
        k = hi
        for i in range(hi + 1, n):
            if values[i] < values[k]:
                k = i
        v1, c1 = values[k], before + 0.5 * weights[k]
    if at > lo:
        v0, c0 = values[at - 1], before - 0.5 * weights[at - 1]
    else:
        if lo == 0:
            return v1, -1
        k = 0
        for i in range(1, lo):
            if values[i] > values[k]:
                k = i
        v0, c0 = values[k], before - 0.5 * weights[k]
    return v0 + (v1 - v0) * (target - c0) / (c1 - c0), 0


@njit(cache=True, nogil=True)
def weighted_medians(values: Array, weights: Array) -> Array:
    """Weighted median of each row of (C, J) values: interpolated where the midpoints of the cumulative
    weights cross half the total. Weights must be positive."""
    C, J = values.shape
    out = np.empty(C)
    v, w = np.empty(J), np.empty(J)
    for c in range(C):
        total = 0.0
        for j in range(J):
            v[j], w[j] = values[c, j], weights[c, j]
            total += w[j]
        out[c] = _crossing(v, w, J, 0.0, 0.5 * total)[0]
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
            m, side = _crossing(near, near_w, k, below, target)
            if side != 0 and k < J:
                w[:] = weights[c]
                m = _crossing(v, w, J, 0.0, target)[0]
            step = m - mean
            mean += step / (d + 1)
            m2 += step * (m - mean)
        out[c] = np.sqrt(m2 / (draws - 1)) if draws > 1 else np.nan
    return out
