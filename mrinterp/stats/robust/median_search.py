"""The weighted median of one row without a sort: a few passes in vector registers (numba, compiled on first use).

Kept out of every other module's import: whoever needs it imports it inside the function.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mrinterp.stats.robust.weighted_crossing import weighted_crossing

__all__ = ["PAD", "moments", "searched_median"]

PAD = 32
"""Rows are padded to a multiple of this (weight 0), so that no pass ends in a scalar loop."""

_REORDER = {"reassoc", "contract", "nsz"}
_NONE = np.int64(0x7FF0000000000000)
"""Key of infinity, and beyond every finite number's."""

_SIGN = np.int64(63)
_REST = np.int64(0x7FFFFFFFFFFFFFFF)

_DENSITY = 0.8
"""Weight per standard deviation at the median, for the first step from the mean; any choice gives the same median."""

_QUICK, _PASSES = 8, 80
"""Interpolated passes, before the rest halve what is left in the order of the keys; and passes at most."""


@njit(cache=True, nogil=True)
def _key(x):  # type: ignore[no-untyped-def]
    """An integer in the order of the numbers: the least and the greatest of integers vectorize, of floats not."""
    bits = np.float64(x).view(np.int64) if x != 0.0 else np.int64(0)  # both zeros are one
    return bits ^ ((bits >> _SIGN) & _REST)


@njit(cache=True, nogil=True)
def _number(key):  # type: ignore[no-untyped-def]
    """The number of a key."""
    return np.int64(key ^ ((key >> _SIGN) & _REST)).view(np.float64)


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def _around(keys, w, pivot):  # type: ignore[no-untyped-def]
    """Weight up to the pivot, the greatest key up to it and the least beyond it."""
    below, last, first = 0.0, -_NONE, _NONE
    for j in range(len(keys)):
        key = keys[j]
        below += w[j] if key <= pivot else 0.0
        last = max(last, key if key <= pivot else -_NONE)
        first = min(first, key if key > pivot else _NONE)
    return below, last, first


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def _pair(keys, w, last, first):  # type: ignore[no-untyped-def]
    """Weights of two neighbours, and how many entries there are of both together."""
    w0, w1, entries = 0.0, 0.0, 0
    for j in range(len(keys)):
        w0 += w[j] if keys[j] == last else 0.0
        w1 += w[j] if keys[j] == first else 0.0
        entries += 1 if (keys[j] == last) | (keys[j] == first) else 0
    return w0, w1, entries


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def moments(v, w, n):  # type: ignore[no-untyped-def]
    """Total weight, sums of w v and of w v^2, and how many of the first n entries are ordinary: finite, of weight above 0."""
    total, first, second, ordinary = 0.0, 0.0, 0.0, 0
    for j in range(n):
        wv = w[j] * v[j]
        total += w[j]
        first += wv
        second += wv * v[j]
        ordinary += 1 if (w[j] > 0.0) & (abs(v[j]) < np.inf) else 0
    return total, first, second, ordinary


@njit(cache=True, nogil=True, error_model="numpy")
def _neighbours(keys, w, total, mean, sd):  # type: ignore[no-untyped-def]
    """Keys of the two values between which half the weight is reached, and the weight up to the first of them.

    Keeps the values that remain, ``first`` to ``last``: less than half the weight is before them, and
    at least half up to the last. Every pass drops one of them or more; when one is left, the crossing is
    before or after it.
    """
    target = 0.5 * total
    before, first, last, after = -_NONE, -_NONE, _NONE, _NONE
    at_low, at_high, step, pivot = 0.0, total, 0.0, _key(mean)
    for turn in range(_PASSES):
        below, inside, beyond = _around(keys, w, pivot)
        # Selections, not branches: on which side the pivot falls cannot be predicted.
        low = below < target
        before, first, at_low = (inside, beyond, below) if low else (before, first, at_low)
        last, after, at_high = (last, after, at_high) if low else (inside, beyond, below)
        if first == last:
            break
        if first == -_NONE or last == _NONE:  # nothing on the other side yet
            step = 4.0 * step if turn else 1.5 * (target - below) / total * sd / _DENSITY
            pivot = _key(_number(pivot) + step)
        elif turn < _QUICK:
            left, right = _number(first), _number(last)
            share = (target - at_low) / (at_high - at_low)
            pivot = min(max(_key(left + share * (right - left)), first), last - 1)
        else:
            pivot = (first >> 1) + (last >> 1)
            pivot = min(max(pivot, first), last - 1)
    if at_low + at_high >= total:  # the middle of the one left is at half the weight or beyond it
        return before, first, at_low
    return first, after, at_high


@njit(cache=True, nogil=True, error_model="numpy")
def searched_median(v, w, keys, n, sums):  # type: ignore[no-untyped-def]
    """Value where (cumulative weight minus half the own) crosses half the total, interpolated linearly.

    ``v, w, keys`` have a length that is a multiple of `PAD`: values and weights in the first n entries,
    room after them. ``sums`` are their `moments`. Rows with zero weights, infinities, nan, or ties
    beside the crossing are left to `weighted_crossing`, which sorts.
    """
    total, first, second, ordinary = sums
    target, mean = 0.5 * total, first / total
    variance = second / total - mean * mean
    if ordinary == n and 0.0 < variance < np.inf:
        w[n:] = 0.0
        for j in range(n):
            keys[j] = _key(v[j])
        keys[n:] = _NONE
        one, two, below = _neighbours(keys, w, total, mean, np.sqrt(variance))
        w0, w1, entries = _pair(keys, w, one, two)
        alone = entries == 2 and one != -_NONE and two != _NONE
        if alone and below - 0.5 * w0 < target <= below + 0.5 * w1:
            v0, v1 = _number(one), _number(two)
            return v0 + (v1 - v0) * (target - below + 0.5 * w0) / (0.5 * (w0 + w1))
    total = 0.0
    for j in range(n):  # in order: among ties the last digit of the total decides
        total += w[j]
    return weighted_crossing(v[:n].copy(), w[:n].copy(), n, 0.0, 0.5 * total)[0]
