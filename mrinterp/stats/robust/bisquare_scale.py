"""S-estimates of many regressions: bisquare M-scales of starts, and steps that lower them (numba, compiled on first use).

Kept out of every other module's import: whoever needs it imports it inside the function.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mrinterp.stats.robust.median_search import PAD, moments, searched_median

__all__ = ["refine_scales", "rough_scales"]

_REORDER = {"reassoc", "contract", "nsz"}
_TOLERANCE = 1e-12


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def _residuals(X, y, beta, r):  # type: ignore[no-untyped-def]
    """y - X' beta for X (p, n)."""
    for i in range(len(r)):
        r[i] = y[i]
    for k in range(len(X)):
        row, slope = X[k], beta[k]
        for i in range(len(r)):
            r[i] -= slope * row[i]


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def _scale_step(r, s, p, tuning):  # type: ignore[no-untyped-def]
    """One step toward the M-scale Sum chi(r/s) = (n - p)/2, chi the bisquare with maximum 1."""
    total, per = 0.0, 1.0 / (s * tuning)
    for i in range(len(r)):
        inside = 1.0 - (r[i] * per) * (r[i] * per)
        inside = inside if inside > 0.0 else 0.0
        total += 1.0 - inside * inside * inside
    return s * np.sqrt(total / (0.5 * (len(r) - p)))


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def _weigh(r, s, tuning, w):  # type: ignore[no-untyped-def]
    per = 1.0 / (s * tuning)
    for i in range(len(r)):
        inside = 1.0 - (r[i] * per) * (r[i] * per)
        inside = inside if inside > 0.0 else 0.0
        w[i] = inside * inside


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def _dot(a, b, w):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(len(w)):
        total += a[i] * b[i] * w[i]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _least_squares(X, y, w, gram, cross, beta):  # type: ignore[no-untyped-def]
    """Weighted least squares for X (p, n), into ``beta``."""
    p = len(X)
    for a in range(p):
        cross[a] = _dot(X[a], y, w)
        for b in range(a + 1):
            gram[a, b] = gram[b, a] = _dot(X[a], X[b], w)
    if p == 1:
        beta[0] = cross[0] / gram[0, 0]
    elif p == 2:
        det = gram[0, 0] * gram[1, 1] - gram[0, 1] * gram[0, 1]
        beta[0] = (gram[1, 1] * cross[0] - gram[0, 1] * cross[1]) / det
        beta[1] = (gram[0, 0] * cross[1] - gram[0, 1] * cross[0]) / det
    elif np.isfinite(gram).all():
        beta[:] = np.linalg.pinv(gram) @ cross
    else:
        beta[:] = np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def rough_scales(X, y, starts, tuning, steps, out):  # type: ignore[no-untyped-def]
    """M-scales of the residuals of every start after a few steps from their median size, into ``out`` (C, M).

    X (C, p, n), y (C, n), starts (C, M, p).
    """
    p, n = X.shape[1:]
    padded = (n + PAD - 1) // PAD * PAD
    r, size, ones, keys = np.empty(n), np.empty(padded), np.empty(padded), np.empty(padded, np.int64)
    for c in range(len(X)):
        for m in range(starts.shape[1]):
            _residuals(X[c], y[c], starts[c, m], r)
            for i in range(n):
                size[i], ones[i] = abs(r[i]), 1.0
            s = searched_median(size, ones, keys, n, moments(size, ones, n)) / 0.6745
            if not s > 0.0:
                s = np.abs(r).mean() + 1e-300
            for _ in range(steps):
                s = _scale_step(r, s, p, tuning)
            out[c, m] = s


@njit(cache=True, nogil=True, error_model="numpy")
def refine_scales(X, y, beta, scale, tuning, steps):  # type: ignore[no-untyped-def]
    """Reweighted steps that lower the M-scale from every start, in place, until it settles.

    X (C, p, n), y (C, n), beta (C, K, p), scale (C, K).
    """
    p, n = X.shape[1:]
    r, w, new = np.empty(n), np.empty(n), np.empty(p)
    gram, cross = np.empty((p, p)), np.empty(p)
    for c in range(len(X)):
        for k in range(beta.shape[1]):
            for _ in range(steps):
                _residuals(X[c], y[c], beta[c, k], r)
                s = _scale_step(r, scale[c, k], p, tuning)
                _weigh(r, s, tuning, w)
                _least_squares(X[c], y[c], w, gram, cross, new)
                change, largest = 0.0, 0.0
                for a in range(p):
                    change = max(change, abs(new[a] - beta[c, k, a]))
                    largest = max(largest, abs(new[a]))
                moved = change > _TOLERANCE * largest or abs(s - scale[c, k]) > _TOLERANCE * s
                beta[c, k], scale[c, k] = new, s
                if not (moved and np.isfinite(new).all()):
                    break
