"""Tail probabilities on the log scale: a z of 40 has -log10 p = 349, not infinity."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = [
    "critical_value",
    "log10_tail_t",
    "neglog10p_chi2",
    "neglog10p_normal",
    "neglog10p_t",
    "two_sided_p",
]

_LN10 = np.log(10.0)


def neglog10p_normal(z: ArrayLike) -> NDArray[np.float64]:
    """Two-sided -log10 p of standard normal scores, any shape; exact far beyond double underflow."""
    size = np.abs(np.asarray(z, dtype=float))
    return np.asarray(-(special.log_ndtr(-size) + np.log(2.0)) / _LN10)


def neglog10p_t(t: ArrayLike, df: ArrayLike) -> NDArray[np.float64]:
    """Two-sided -log10 p of t scores; ``df`` broadcasts and may be infinite (normal).

    Where the survival function underflows, the regularized incomplete beta function is taken
    by its series on the log scale.
    """
    t, df = np.broadcast_arrays(np.abs(np.asarray(t, dtype=float)), np.asarray(df, dtype=float))
    finite = np.isfinite(df)
    out = np.array(neglog10p_normal(t))
    if not finite.any():
        return out
    nu, x = df[finite], t[finite]
    with np.errstate(divide="ignore", invalid="ignore"):
        log_p = np.log(2.0) + np.log(special.stdtr(np.where(nu > 0, nu, np.nan), -x))
    far = ~(log_p > -600.0) & ~np.isnan(x)
    if far.any():
        log_p[far] = _log_t_tail(x[far], nu[far])
    out[finite] = -log_p / _LN10
    return out


def log10_tail_t(t: ArrayLike, df: ArrayLike) -> NDArray[np.float64]:
    """log10 of the upper tail P(T > t), any sign of t; exact far beyond double underflow."""
    t, df = np.broadcast_arrays(np.asarray(t, dtype=float), np.asarray(df, dtype=float))
    half = -neglog10p_t(t, df) - np.log10(2.0)
    return np.asarray(np.where(t >= 0, half, np.log1p(-np.power(10.0, half)) / _LN10))


def _log_t_tail(t: NDArray[np.float64], df: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural log of the two-sided tail where it underflows: I_y(a, 1/2) with y = df / (df + t^2).

    I_y(a, b) = y^a (1 - y)^b 2F1(a + b, 1; a + 1; y) / (a B(a, b)).
    """
    a = df / 2.0
    y = df / (df + t * t)
    with np.errstate(divide="ignore", invalid="ignore"):
        series = np.log(special.hyp2f1(a + 0.5, 1.0, a + 1.0, y))
        return np.asarray(a * np.log(y) + 0.5 * np.log1p(-y) - np.log(a) - special.betaln(a, 0.5) + series)


def neglog10p_chi2(q: ArrayLike, df: ArrayLike) -> NDArray[np.float64]:
    """Upper-tail -log10 p of chi-square statistics, with the asymptotic tail where it underflows."""
    q, df = np.broadcast_arrays(np.asarray(q, dtype=float), np.asarray(df, dtype=float))
    with np.errstate(divide="ignore", invalid="ignore"):
        log_sf = np.log(special.gammaincc(df / 2.0, q / 2.0))
        a, x = df / 2.0, q / 2.0
        tail = (a - 1.0) * np.log(x) - x - special.gammaln(a) - np.log1p(-(a - 1.0) / x)
    return np.asarray(-np.where(np.isfinite(log_sf), log_sf, tail) / _LN10)


def two_sided_p(neglog10p: ArrayLike) -> NDArray[np.float64]:
    """p from -log10 p (0 where it underflows; keep the log for anything that is compared)."""
    return np.asarray(np.power(10.0, -np.asarray(neglog10p, dtype=float)))


def critical_value(level: float, df: ArrayLike = np.inf) -> NDArray[np.float64]:
    """Two-sided critical value of t on ``df`` (normal where infinite) for a confidence ``level``."""
    df = np.asarray(df, dtype=float)
    q = 0.5 + level / 2.0
    with np.errstate(invalid="ignore"):
        t = special.stdtrit(np.where(np.isfinite(df), np.where(df > 0, df, np.nan), 1.0), q)
    return np.asarray(np.where(np.isfinite(df), t, special.ndtri(q)))
