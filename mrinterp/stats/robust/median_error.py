"""Errors of weighted medians without draws, in fused loops (numba, compiled on first use).

Kept out of every other module's import: whoever needs it imports it inside the function.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["expected_sd"]

Array = NDArray[np.float64]

_STEPS = 40  # Newton's steps, or halvings where these leave the bracket: five are the rule
_CLOSE = 0.01  # of one standard error: what is left of the search


@njit(cache=True, nogil=True)
def _score(x, b, s, g, t, rho, weights, half):  # type: ignore[no-untyped-def]
    """How surely a drawn median of one row is below x, as a normal score, and the slope of that score."""
    below, spread, slope = 0.0, 0.0, 0.0
    for j in range(len(b)):
        # A drawn ratio is below x where x (b + error) - (g + error) is above 0, for b above 0.
        scale = math.sqrt(max(t[j] * t[j] + x * x * s[j] * s[j] - 2.0 * x * rho * s[j] * t[j], 1e-300))
        z = (x * b[j] - g[j]) / scale
        p = 0.5 * math.erfc(-math.sqrt(0.5) * (z if b[j] > 0 else -z))
        below += weights[j] * p
        spread += weights[j] * weights[j] * p * (1.0 - p)
        slope += weights[j] * math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi) * abs(b[j]) / scale
    spread = math.sqrt(max(spread, 1e-300))
    return (below - half) / spread, slope / spread


@njit(cache=True, nogil=True)
def _reached(goal, x, score, slope, row, half):  # type: ignore[no-untyped-def]
    """Where the score of a row is ``goal``, from a place x whose score and slope are known."""
    b, s, g, t, rho, weights = row
    low, high, step = -np.inf, np.inf, 1.0 / max(slope, 1e-300)
    for _ in range(_STEPS):
        if abs(score - goal) < _CLOSE:
            break
        if score < goal:
            low = x
        else:
            high = x
        new = x + (goal - score) / max(slope, 1e-300)
        bracketed = not np.isinf(high - low)
        if not (low < new < high) or (not bracketed and abs(new - x) > 4.0 * step):
            new = 0.5 * (low + high) if bracketed else x + (2.0 if np.isinf(high) else -2.0) * step
        x = new
        score, slope = _score(x, b, s, g, t, rho, weights, half)
    return x


@njit(cache=True, nogil=True)
def expected_sd(b: Array, s: Array, g: Array, t: Array, rho: Array, weights: Array, median: Array) -> Array:
    """Half of the range that holds .683 of the drawn weighted medians of ratios, per row.

    Rows b, s, g, t, weights of shape (C, J), rho and median (C,), which is where the search begins. A drawn median is below x
    where the drawn ratios below x have more than half of the weight; that weight is a sum of J independent draws, taken as
    normal. Not valid with few instruments, or where some of them have most of the weight; a drawn b that changes its sign
    is left out of account.
    """
    out = np.empty(len(b))
    for c in range(len(b)):
        row = (b[c], s[c], g[c], t[c], rho[c], weights[c])
        half = 0.5 * weights[c].sum()
        score, slope = _score(median[c], b[c], s[c], g[c], t[c], rho[c], weights[c], half)
        above = _reached(1.0, median[c], score, slope, row, half)
        out[c] = 0.5 * (above - _reached(-1.0, median[c], score, slope, row, half))
    return out
