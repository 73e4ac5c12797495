"""Where cumulative weights cross a target, by quickselect on pairs (numba, compiled on first use).

Kept out of every other module's import: whoever needs it imports it inside the function.
"""

from __future__ import annotations

from numba import njit

__all__ = ["weighted_crossing"]


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
def weighted_crossing(values, weights, n, base, target):  # type: ignore[no-untyped-def]
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
