"""Bootstrap errors of modes of weighted densities, in one fused loop (numba, compiled on first use).

Kept out of every other module's import: whoever needs it imports it inside the function.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from mrinterp.stats.loops.random_normals import mixed_bits, standard_normal
from mrinterp.stats.loops.vector_exp import vector_exp
from mrinterp.stats.robust.median_search import PAD, moments, searched_median

__all__ = ["bootstrap_mode_mad"]

_GRID = 512
_CUT = 3.0
_REACH = 4.5
_LEAST = -700.0
"""Exponent below which a kernel is nothing."""

_REORDER = {"reassoc", "contract", "nsz"}


@njit(cache=True, nogil=True)
def _median(values, n):  # type: ignore[no-untyped-def]
    """Median of the first n values; reorders them."""
    k = n // 2
    lo, hi = 0, n - 1
    while lo < hi:
        pivot = values[(lo + hi) >> 1]
        i, j = lo, hi
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            hi = j
        elif k >= i:
            lo = i
        else:
            break
    upper = values[k]
    if n % 2:
        return upper
    below = values[0]
    for i in range(1, k):
        below = max(below, values[i])
    return 0.5 * (below + upper)


@njit(cache=True, nogil=True)
def _median_of_row(x, scratch):  # type: ignore[no-untyped-def]
    """Median of numbers that mostly differ, in vector registers."""
    values, ones, keys = scratch
    n = len(x)
    values[:n], ones[:n] = x, 1.0
    return searched_median(values, ones, keys, n, moments(values, ones, n))


@njit(cache=True, nogil=True, fastmath=_REORDER)
def _bandwidth(x, phi, distance, scratch):  # type: ignore[no-untyped-def]
    """phi 0.9 min(sd, 1.4826 mad) / n^(1/5)."""
    n = len(x)
    centre = _median_of_row(x, scratch)
    mean, square = 0.0, 0.0
    for i in range(n):
        mean += x[i]
        distance[i] = abs(x[i] - centre)
    mean /= n
    for i in range(n):
        square += (x[i] - mean) ** 2
    sd = math.sqrt(square / (n - 1))
    mad = 1.4826 * _median_of_row(distance, scratch)
    return phi * 0.9 * (min(sd, mad) if mad > 0 else sd) / n**0.2


@njit(cache=True, nogil=True, fastmath=_REORDER)
def _kernel(kernel, reach, per_step):  # type: ignore[no-untyped-def]
    """The normal kernel up to ``reach`` steps from its middle, then zeros."""
    for k in range(len(kernel)):
        z = (k - reach) * per_step
        tall = vector_exp(max(-0.5 * z * z, _LEAST))
        kernel[k] = tall if k <= 2 * reach else 0.0


@njit(cache=True, nogil=True, fastmath=_REORDER)
def _add(density, mass, kernel):  # type: ignore[no-untyped-def]
    """Add one grid point's kernel (slices that start at 0: they vectorize)."""
    for k in range(len(kernel)):
        density[k] += mass * kernel[k]


@njit(cache=True, nogil=True)
def _highest(bits):  # type: ignore[no-untyped-def]
    """First index of the largest density; as integers, which keep the order of numbers above 0 and vectorize."""
    top = bits[0]
    for k in range(len(bits)):
        top = max(top, bits[k])
    at = 0
    while bits[at] != top:
        at += 1
    return at


@njit(cache=True, nogil=True, fastmath=_REORDER)
def _mode(x, w, phi, grid, distance, scratch):  # type: ignore[no-untyped-def]
    """Grid point of highest density, points shared linearly between their two grid points."""
    h = _bandwidth(x, phi, distance, scratch)
    if not h > 0:
        return x[0]
    density, bits, mass, kernel = grid
    low, high = x[0], x[0]
    for i in range(len(x)):
        low, high = min(low, x[i]), max(high, x[i])
    start = low - _CUT * h
    step = (high + _CUT * h - start) / (_GRID - 1)
    reach = min(int(_REACH * h / step) + 1, _GRID - 1)
    width = (2 * reach + PAD) // PAD * PAD
    kernel = kernel[:width]
    _kernel(kernel, reach, step / h)
    mass[:], density[: _GRID + width] = 0.0, 0.0
    for i in range(len(x)):
        position = (x[i] - start) / step
        left = int(position)
        mass[left] += w[i] * (1.0 - (position - left))
        mass[left + 1] += w[i] * (position - left)
    for at in range(_GRID):
        if mass[at] > 0.0:
            _add(density[at : at + width], mass[at], kernel)  # grid point k stands at reach + k
    return start + _highest(bits[reach : reach + _GRID]) * step


@njit(cache=True, nogil=True)
def bootstrap_mode_mad(ratio, sd, weights, bits, phi, penalty, draws, seed):  # type: ignore[no-untyped-def]
    """1.4826 mad over normal draws of the ratios of their density's mode, per row of (C, J).

    ``bits`` are the ratios seen as uint64: a row's stream depends on the seed and on its own numbers
    alone. A ``penalty`` of 0 or more cuts the weights of ratios away from each draw's first mode.
    """
    C, J = ratio.shape
    out, modes = np.empty(C), np.empty(draws)
    padded = (J + PAD - 1) // PAD * PAD
    x, w, distance = np.empty(J), np.empty(J), np.empty(J)
    scratch = np.empty(padded), np.empty(padded), np.empty(padded, np.int64)
    density, kernel = np.empty(3 * _GRID + PAD), np.empty(2 * _GRID + PAD)
    grid = density, density.view(np.int64), np.empty(_GRID + 1), kernel
    for c in range(C):
        state = np.uint64(seed)
        for j in range(J):
            state, mixed = mixed_bits(state ^ bits[c, j])
            state = mixed
        for d in range(draws):
            for j in range(J):
                state, z = standard_normal(state)
                x[j] = ratio[c, j] + sd[c, j] * z
            for j in range(J):
                w[j] = weights[c, j]
            modes[d] = _mode(x, w, phi, grid, distance, scratch)
            if penalty >= 0:
                for j in range(J):
                    z = math.sqrt(w[j]) * abs(x[j] - modes[d])
                    w[j] *= min(1.0, penalty * math.erfc(z / 1.4142135623730951))
                modes[d] = _mode(x, w, phi, grid, distance, scratch)
        kept = modes.copy()
        centre = _median(kept, draws)
        for d in range(draws):
            modes[d] = abs(modes[d] - centre)
        out[c] = 1.4826 * _median(modes, draws)
    return out
