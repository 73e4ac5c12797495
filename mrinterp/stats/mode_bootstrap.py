"""Bootstrap errors of modes of weighted densities, in one fused loop (numba, compiled on first use).

Kept out of every other module's import: whoever needs it imports it inside the function.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from mrinterp.stats.random_normals import mixed_bits, standard_normal

__all__ = ["bootstrap_mode_mad"]

_GRID = 512
_CUT = 3.0
_REACH = 4.5


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


@njit(cache=True, nogil=True, fastmath=True)
def _mode(x, w, n, phi, density, table, scratch):  # type: ignore[no-untyped-def]
    """Grid point of highest density; bandwidth phi 0.9 min(sd, 1.4826 mad) / n^(1/5)."""
    mean = 0.0
    low, high = x[0], x[0]
    for i in range(n):
        mean += x[i]
        low, high = min(low, x[i]), max(high, x[i])
        scratch[i] = x[i]
    mean /= n
    centre = _median(scratch, n)
    square = 0.0
    for i in range(n):
        square += (x[i] - mean) ** 2
        scratch[i] = abs(x[i] - centre)
    sd = math.sqrt(square / (n - 1))
    mad = 1.4826 * _median(scratch, n)
    h = phi * 0.9 * (min(sd, mad) if mad > 0 else sd) / n**0.2
    if not h > 0:
        return x[0]
    start = low - _CUT * h
    step = (high + _CUT * h - start) / (_GRID - 1)
    reach = min(int(_REACH * h / step) + 1, _GRID - 1)
    for d in range(reach + 1):
        z = d * step / h
        table[reach + d] = math.exp(-0.5 * z * z)
        table[reach - d] = table[reach + d]
    density[:] = 0.0
    for i in range(n):
        position = (x[i] - start) / step
        left = int(position)
        for side in range(2):
            mass = w[i] * (position - left if side else 1.0 - (position - left))
            at = left + side
            first, last = max(0, at - reach), min(_GRID - 1, at + reach)
            offset = reach - at
            for k in range(first, last + 1):
                density[k] += mass * table[k + offset]
    best = 0
    for k in range(1, _GRID):
        if density[k] > density[best]:
            best = k
    return start + best * step


@njit(cache=True, nogil=True)
def bootstrap_mode_mad(ratio, sd, weights, bits, phi, penalty, draws, seed):  # type: ignore[no-untyped-def]
    """1.4826 mad over normal draws of the ratios of their density's mode, per row of (C, J).

    ``bits`` are the ratios seen as uint64: a row's stream depends on the seed and on its own numbers
    alone. A ``penalty`` of 0 or more cuts the weights of ratios away from each draw's first mode.
    """
    C, J = ratio.shape
    out, modes = np.empty(C), np.empty(draws)
    x, w, scratch = np.empty(J), np.empty(J), np.empty(J)
    density, table = np.empty(_GRID), np.empty(2 * _GRID)
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
            modes[d] = _mode(x, w, J, phi, density, table, scratch)
            if penalty >= 0:
                for j in range(J):
                    z = math.sqrt(w[j]) * abs(x[j] - modes[d])
                    w[j] *= min(1.0, penalty * math.erfc(z / 1.4142135623730951))
                modes[d] = _mode(x, w, J, phi, density, table, scratch)
        kept = modes.copy()
        centre = _median(kept, draws)
        for d in range(draws):
            modes[d] = abs(modes[d] - centre)
        out[c] = 1.4826 * _median(modes, draws)
    return out
