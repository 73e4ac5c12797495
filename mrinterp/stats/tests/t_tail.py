"""Two-sided tails of t for very many scores on the same degrees of freedom."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mrinterp.stats.loops.row_threads import by_rows

__all__ = ["two_sided_t"]

Array = NDArray[np.float64]

_CENTRE = 2.5
"""Scores up to this size have tails above .01: one less the centre loses no more than two digits there."""

_MANY = 1 << 14
_MOST_TERMS, _MOST_DF = 64, 10_000


def _coefficients(df: float) -> Array:
    """Of the centre's power series, until the rest is below rounding; empty where that takes too many."""
    y, a = _CENTRE**2 / (df + _CENTRE**2), df / 2.0
    series, term, total = [1.0], 1.0, 1.0
    while len(series) < _MOST_TERMS and df <= _MOST_DF:
        ratio = (a + len(series) - 0.5) / (len(series) + 0.5)
        series.append(series[-1] * ratio)
        term *= ratio * y
        total += term
        if ratio * y < 0.5 and term < 1e-18 * total:
            # 2 / B(1/2, a) by the recurrence of gamma(a + 1/2) / gamma(a): differences of log gamma lose digits.
            steps = int(a)
            least = a - steps + 1.0
            ladder = np.prod(1.0 + 0.5 / (least + np.arange(steps - 1)))
            scale = float(2.0 / np.sqrt(np.pi) * special.poch(least, 0.5) * ladder)
            return np.array(series) * scale
    return np.empty(0)


def two_sided_t(t: Array, df: float) -> Array:
    """P(|T| > |t|) for scores (N,) on ``df`` degrees of freedom, to 13 digits; 0 where it underflows.

    The centre I_y(1/2, df/2), y = t^2 / (df + t^2), is y^(1/2) (1 - y)^(df/2) times a power series in y
    without cancellation, whose coefficients all scores share: several times faster than one incomplete
    beta function after another. Beyond scores of 2.5, for few degrees of freedom or few scores, the
    tail is scipy's.
    """
    series = _coefficients(df) if len(t) >= _MANY else np.empty(0)
    out = np.empty(len(t))

    def plain(first: int, last: int) -> None:
        out[first:last] = 2.0 * special.stdtr(df, -np.abs(t[first:last]))

    def mixed(first: int, last: int) -> None:
        from mrinterp.stats.tests.power_series import t_centre

        t_centre(t[first:last], df, series, out[first:last])
        far = np.flatnonzero(~(np.abs(t[first:last]) <= _CENTRE)) + first
        out[far] = 2.0 * special.stdtr(df, -np.abs(t[far]))

    by_rows(mixed if len(series) else plain, len(t), _MANY)
    return out
