"""Minima of sums of the smallest shares e^2/v over instruments, for many sizes of the sum (numba, compiled on first use).

Kept out of every other module's import: whoever needs it imports it inside the function.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["refine_trimmed"]

_REORDER = {"reassoc", "contract", "nsz"}
_STEPS, _HALVINGS = 100, 12


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def _shares(b, s, g, t, rho, theta, out):  # type: ignore[no-untyped-def]
    for j in range(len(b)):
        e = g[j] - theta * b[j]
        out[j] = e * e / (t[j] * t[j] + theta * theta * s[j] * s[j] - 2.0 * theta * rho * s[j] * t[j])


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def _up_to(share, bar):  # type: ignore[no-untyped-def]
    """How many shares are up to the bar, and their sum."""
    count, total = 0, 0.0
    for j in range(len(share)):
        count += 1 if share[j] <= bar else 0
        total += share[j] if share[j] <= bar else 0.0
    return count, total


@njit(cache=True, nogil=True)
def _trimmed(share, kept, at, scratch):  # type: ignore[no-untyped-def]
    """Sum of the ``kept`` smallest shares, and the instrument of the largest of them.

    ``at`` is that instrument at the last effect tried: mostly it still is, and then nothing is sorted.
    """
    count, total = _up_to(share, share[at])
    if count != kept:
        scratch[:] = share
        bar = np.partition(scratch, kept - 1)[kept - 1]
        at = 0
        while share[at] != bar and at < len(share) - 1:
            at += 1
        total = _up_to(share, bar)[1]
    return total, at


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def _slopes(b, s, g, t, rho, theta, share, bar):  # type: ignore[no-untyped-def]
    """First and second derivative in theta of the sum of the shares up to the bar."""
    first, second = 0.0, 0.0
    for j in range(len(b)):
        e = g[j] - theta * b[j]
        precision = 1.0 / (t[j] * t[j] + theta * theta * s[j] * s[j] - 2.0 * theta * rho * s[j] * t[j])
        dv = 2.0 * (theta * s[j] * s[j] - rho * s[j] * t[j])
        z = e * precision
        one = -2.0 * z * b[j] - z * z * dv
        two = 2.0 * b[j] * b[j] * precision + 4.0 * z * b[j] * dv * precision
        two += 2.0 * z * z * (dv * dv * precision - s[j] * s[j])
        first += one if share[j] <= bar else 0.0
        second += two if share[j] <= bar else 0.0
    return first, second


@njit(cache=True, nogil=True, error_model="numpy")
def refine_trimmed(b, s, g, t, rho, theta, kept, out):  # type: ignore[no-untyped-def]
    """Newton on the kept instruments, the set re-chosen after every step; a step that does not lower the sum is halved.

    One cell's b, s, g, t (J,); starts ``theta`` (Q,) and sizes ``kept`` (Q,). Into ``out`` (3, Q): theta,
    the sum of the ``kept`` smallest shares there, and the error from its curvature (nan where there is none).
    """
    J = len(b)
    share, proposed, scratch = np.empty(J), np.empty(J), np.empty(J)
    for i in range(len(theta)):
        x = theta[i]
        _shares(b, s, g, t, rho, x, share)
        value, at = _trimmed(share, kept[i], np.int64(0), scratch)
        for _ in range(_STEPS):
            first, second = _slopes(b, s, g, t, rho, x, share, share[at])
            step = -first / (second if second > 0.0 else abs(second) + 1e-300)
            moved = False
            for _ in range(_HALVINGS):
                _shares(b, s, g, t, rho, x + step, proposed)
                lower, last = _trimmed(proposed, kept[i], at, scratch)
                if lower < value:
                    x, value, at, moved = x + step, lower, last, True
                    share, proposed = proposed, share
                    break
                step /= 2.0
            if not moved:
                break
        second = _slopes(b, s, g, t, rho, x, share, share[at])[1]
        out[0, i], out[1, i] = x, value
        out[2, i] = np.sqrt(2.0 / second) if second > 0.0 else np.nan
