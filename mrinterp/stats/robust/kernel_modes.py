"""The highest point of a weighted Gaussian kernel density, to rounding (numba, compiled on first use).

Kept out of every other module's import: whoever needs it imports it inside the function.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["kernel_modes"]

_CLOSE = 1.0 - 1.0 / 32.0
_STEPS = 200


@njit(cache=True, nogil=True)
def _density(at, x, w, h):  # type: ignore[no-untyped-def]
    """Density (any scale) at a point, and its first two derivatives in units of h."""
    value, first, second = 0.0, 0.0, 0.0
    for i in range(len(x)):
        z = (x[i] - at) / h
        k = w[i] * math.exp(-0.5 * z * z)
        value += k
        first += k * z
        second += k * (z * z - 1.0)
    return value, first, second


@njit(cache=True, nogil=True)
def _climb(at, x, w, h):  # type: ignore[no-untyped-def]
    """The mode uphill of a point: Newton steps where they rise, else mean-shift steps, which always do."""
    value, first, second = _density(at, x, w, h)
    for _ in range(_STEPS):
        shift = first / value * h
        step = -first / second * h if second < 0.0 else shift
        near = second < 0.0 and abs(step) < 1e-4 * h  # heights are equal to rounding: trust the slope
        there, its_first, its_second = _density(at + step, x, w, h)
        if not near and (there < value or abs(step) > 0.5 * h):
            step = shift
            there, its_first, its_second = _density(at + step, x, w, h)
        at, value, first, second = at + step, there, its_first, its_second
        if abs(step) <= 1e-12 * h:
            break
    return at, value


@njit(cache=True, nogil=True)
def kernel_modes(values, weights, bandwidth, out):  # type: ignore[no-untyped-def]
    """Highest point per row of (R, n) into ``out`` (R,), kernels normal with sd ``bandwidth`` (R,).

    At a mode m the second derivative Sum w K ((x - m)^2 / h^2 - 1) is at most 0, so that some point
    lies within h of it. A grid of step h/2 over these neighbourhoods comes within h/4 of every mode,
    and since f'' >= -f_max / h^2 it reaches there 1 - 1/32 of the height of the highest one: climbing
    from every grid point that high finds it. The first of equally high modes is taken.
    """
    R, n = values.shape
    candidates, heights = np.empty(6 * n + 6), np.empty(6 * n + 6)
    for r in range(R):
        order = np.argsort(values[r], kind="mergesort")
        x, w, h = values[r][order], weights[r][order], bandwidth[r]
        count, beyond, top = 0, x[0] - 2.0 * h, 0.0
        for i in range(n):
            at = max(beyond, x[i] - h)
            while at < x[i] + 1.5 * h:
                heights[count] = _density(at, x, w, h)[0]
                candidates[count] = at
                top = max(top, heights[count])
                count += 1
                at += 0.5 * h
            beyond = at
        best, place = -1.0, x[0]
        for c in range(count):
            if heights[c] >= _CLOSE * top:
                at, value = _climb(candidates[c], x, w, h)
                if value > best * (1.0 + 1e-13):
                    best, place = value, at
        out[r] = place
