"""Sums over instruments for IVW and MR-Egger of very many exposures, each array read once (numba).

Kept out of every other module's import: whoever needs it imports it inside the function.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mrinterp.stats.loops.row_threads import by_rows

__all__ = ["egger_sums", "ivw_sums"]

Array = NDArray[np.float64]

_REORDER = {"reassoc", "contract", "nsz"}
"""Sums may be taken in any order (vector registers); nan and infinity keep their meaning."""


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def _ivw(b, s, w, wg, first, last, out):  # type: ignore[no-untyped-def]
    J = b.shape[1]
    for f in range(first, last):
        z2 = 0.0
        for j in range(J):
            z = b[f, j] / s[f, j]
            z2 += z * z
        for o in range(w.shape[0]):
            xx, xy = 0.0, 0.0
            for j in range(J):
                x = b[f, j]
                xx += w[o, j] * x * x
                xy += wg[o, j] * x
            out[0, f, o], out[1, f, o], out[2, f, o] = xx, xy, z2


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def _egger(b, s, w, wg, t, first, last, out):  # type: ignore[no-untyped-def]
    J = b.shape[1]
    for f in range(first, last):
        for o in range(w.shape[0]):
            ax, xx, sy, xy, z2, lean, spread = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for j in range(J):
                x, precision = b[f, j], 1.0 / s[f, j]
                size = abs(x)
                ax += w[o, j] * size
                xx += w[o, j] * x * x
                sy += wg[o, j] if x >= 0.0 else -wg[o, j]
                xy += wg[o, j] * x
                precision = precision * precision
                z2 += x * x * precision
                lean += size * t[o, j] * precision
                spread += t[o, j] * t[o, j] * precision
            out[0, f, o], out[1, f, o], out[2, f, o], out[3, f, o] = ax, xx, sy, xy
            out[4, f, o], out[5, f, o], out[6, f, o] = z2, lean, spread


def ivw_sums(beta_x: Array, se_x: Array, weights: Array, weighted_y: Array) -> Array:
    """Sum w b^2, Sum w b g and Sum (b/s)^2, (3, F, O); ``weighted_y`` is w g (O, J)."""
    out = np.empty((3, len(beta_x), len(weights)))
    by_rows(lambda a, z: _ivw(beta_x, se_x, weights, weighted_y, a, z, out), len(beta_x), 4096)
    return out


def egger_sums(beta_x: Array, se_x: Array, weights: Array, weighted_y: Array, se_y: Array) -> Array:
    """Sums over instruments oriented to b >= 0, (7, F, O).

    Sum w|b|, w b^2, w sign(b) g, w b g, (b/s)^2, |b| t / s^2 and t^2 / s^2.
    """
    out = np.empty((7, len(beta_x), len(weights)))
    by_rows(lambda a, z: _egger(beta_x, se_x, weights, weighted_y, se_y, a, z, out), len(beta_x), 4096)
    return out
