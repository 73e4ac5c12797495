"""The centre of the t distribution by its power series, over many scores (numba, compiled on first use).

Kept out of every other module's import: whoever needs it imports it inside the function.
"""

from __future__ import annotations

import math

from numba import njit

__all__ = ["t_centre"]


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def t_centre(t, df, series, out):  # type: ignore[no-untyped-def]
    """One less y^(1/2) (1 - y)^(df/2) times the series in y = t^2 / (df + t^2), into ``out``."""
    for i in range(len(t)):
        y = t[i] * t[i] / (df + t[i] * t[i])
        total = series[-1]
        for k in range(len(series) - 2, -1, -1):
            total = total * y + series[k]
        out[i] = 1.0 - total * math.sqrt(y) * math.exp(0.5 * df * math.log1p(-y))
