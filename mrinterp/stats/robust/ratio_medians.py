"""Medians of the instruments' ratios for very many exposures, each array read once (numba, compiled on first use).

Kept out of every other module's import: whoever needs it imports it inside the function.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mrinterp.stats.loops.one_kind import one_kind
from mrinterp.stats.loops.row_threads import by_rows
from mrinterp.stats.robust.median_search import PAD, moments, searched_median

__all__ = ["ratio_medians"]

Array = NDArray[np.float64]

_REORDER = {"reassoc", "contract", "nsz"}
_LEAST = 1 << 17
"""Fewest numbers that are worth a thread."""


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def _fill(b, s, g, precision, v, w):  # type: ignore[no-untyped-def]
    """Ratios and weights of one row with their `moments`, and the sum of (b/s)^2."""
    z2, total, first, second, ordinary = 0.0, 0.0, 0.0, 0.0, 0
    for j in range(len(b)):
        z = b[j] / s[j]
        ratio, weight = g[j] / b[j], b[j] * b[j] * precision[j]
        v[j], w[j] = ratio, weight
        wv = weight * ratio
        z2 += z * z
        total += weight
        first += wv
        second += wv * ratio
        ordinary += 1 if (weight > 0.0) & (abs(ratio) < np.inf) else 0
    return z2, (total, first, second, ordinary)


@njit(cache=True, nogil=True)
def _medians(b, s, g, precision, weighted, first, last, median, f):  # type: ignore[no-untyped-def]
    J = b.shape[1]
    padded = (J + PAD - 1) // PAD * PAD
    v, w, keys = np.empty(padded), np.empty(padded), np.empty(padded, np.int64)
    for i in range(first, last):
        for o in range(len(g)):
            z2, sums = _fill(b[i], s[i], g[o], precision[o], v, w)
            if not weighted:
                w[:J] = 1.0
                sums = moments(v, w, J)
            median[i, o], f[i, o] = searched_median(v, w, keys, J, sums), z2 / J


def ratio_medians(
    beta_x: Array, se_x: Array, beta_y: Array, se_y: Array, weighted: bool
) -> tuple[Array, Array]:
    """Interpolated medians of g/b with weights b^2/syy (or equal ones) and the mean of (b/s)^2, each (F, O)."""
    out = np.empty((2, len(beta_x), len(beta_y)))
    beta_x, se_x, beta_y, precision = one_kind(beta_x, se_x, beta_y, 1.0 / (se_y * se_y))

    def part(first: int, last: int) -> None:
        _medians(beta_x, se_x, beta_y, precision, weighted, first, last, out[0], out[1])

    by_rows(part, len(beta_x), max(1, _LEAST // max(1, beta_x.shape[1] * len(beta_y))))
    return out[0], out[1]
