"""Residuals as a mixture of noise and noise with a path: the share of noise alone (numba, compiled on first use).

Kept out of every other module's import: whoever needs it imports it inside the function.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from mrinterp.stats.loops.vector_exp import vector_exp

__all__ = ["mixture_shares"]

_EM, _NEWTON, _STILL = 12, 60, 1e-8
_MOST = 600.0
"""Largest log odds, before the spread, that is told apart from certainty."""

_REORDER = {"reassoc", "contract", "nsz"}


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def _em_step(e2, half, v, pi0, sigma2, p):  # type: ignore[no-untyped-def]
    """Fill p, the chances of being noise alone, at these parameters; the EM update of both parameters."""
    share, top, bottom = 0.0, 0.0, 0.0
    against = (1.0 - pi0) / pi0
    for j in range(len(p)):
        narrow = 1.0 / (v[j] + sigma2)
        # tilt: how much likelier the wide component is, before its own spread
        tilt = half[j] - 0.5 * e2[j] * narrow
        odds = against * math.sqrt(v[j] * narrow) * vector_exp(tilt if tilt < _MOST else _MOST)
        p[j] = 1.0 / (1.0 + odds)
        w = (1.0 - p[j]) * narrow * narrow
        share += p[j]
        top += w * (e2[j] - v[j])
        bottom += w
    return share / len(p), top / bottom if bottom > 0.0 else sigma2


@njit(cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def _slopes(e2, v, pi0, sigma2, p):  # type: ignore[no-untyped-def]
    """Gradient and Hessian of the log likelihood in (logit pi0, log sigma2), from the chances p."""
    g1, g2, h11, h12, h22 = 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(len(p)):
        narrow = 1.0 / (v[j] + sigma2)
        # a: derivative of the wide component's log density in log sigma2; b: its second derivative
        r, z = sigma2 * narrow, e2[j] * narrow
        a = 0.5 * r * (z - 1.0)
        b = a * (1.0 - r) - 0.5 * r * r * z
        q = p[j] * (1.0 - p[j])
        g1 += p[j] - pi0
        g2 += (1.0 - p[j]) * a
        h11 += q - pi0 * (1.0 - pi0)
        h12 -= q * a
        h22 += (1.0 - p[j]) * b + q * a * a
    return g1, g2, h11, h12, h22


@njit(cache=True, nogil=True, error_model="numpy")
def _value(p, pi0):  # type: ignore[no-untyped-def]
    """Log likelihood, less that of noise alone with certainty."""
    value = 0.0
    for j in range(len(p)):
        value += math.log(pi0 / p[j])
    return value


@njit(cache=True, nogil=True, error_model="numpy")
def _moved(p, s, pi0, sigma2):  # type: ignore[no-untyped-def]
    return max(abs(p - pi0), abs(s / sigma2 - 1.0) * min(p, 1.0 - p))


@njit(cache=True, nogil=True, error_model="numpy")
def _fit(e2, half, v, pi0, sigma2, least, edge, chances):  # type: ignore[no-untyped-def]
    """EM to come near, then Newton steps where they raise the likelihood (EM steps where they do not)."""
    share, spread = _em_step(e2, half, v, pi0, sigma2, chances)
    for _ in range(_EM):
        p, s = min(max(share, edge), 1.0 - edge), max(spread, least)
        moved = _moved(p, s, pi0, sigma2)
        pi0, sigma2 = p, s
        share, spread = _em_step(e2, half, v, pi0, sigma2, chances)
        if moved < _STILL:
            return pi0, sigma2, _value(chances, pi0)
    now = _value(chances, pi0)
    for _ in range(_NEWTON):
        newton, new = False, now
        g1, g2, h11, h12, h22 = _slopes(e2, v, pi0, sigma2, chances)
        if sigma2 <= least and g2 <= 0.0:  # on its bound: pi0 alone
            h12, h22, g2 = 0.0, -1.0, 0.0
        det = h11 * h22 - h12 * h12
        p, s, next_share, next_spread = pi0, sigma2, share, spread
        if h11 < 0.0 and det > 0.0:
            d1, d2 = -(h22 * g1 - h12 * g2) / det, -(h11 * g2 - h12 * g1) / det
            d1, d2 = min(max(d1, -2.0), 2.0), min(max(d2, -2.0), 2.0)
            logit, log_s = math.log(pi0 / (1.0 - pi0)), math.log(sigma2)
            p = min(max(1.0 / (1.0 + math.exp(-(logit + d1))), edge), 1.0 - edge)
            s = max(math.exp(log_s + d2), least)
            next_share, next_spread = _em_step(e2, half, v, p, s, chances)
            new = _value(chances, p)
            newton = new >= now
        if not newton:
            p, s = min(max(share, edge), 1.0 - edge), max(spread, least)
            next_share, next_spread = _em_step(e2, half, v, p, s, chances)
            new = _value(chances, p)
        moved = _moved(p, s, pi0, sigma2)
        pi0, sigma2, now, share, spread = p, s, new, next_share, next_spread
        if moved < _STILL:
            break
    return pi0, sigma2, now


@njit(cache=True, nogil=True, error_model="numpy")
def mixture_shares(b, s, g, t, theta, start, least, edge, out):  # type: ignore[no-untyped-def]
    """At each theta (T,): pi0, sigma^2, log likelihood and misfit of the valid, into ``out`` (4, T).

    One cell's b, s, g, t (J,). Residuals g - theta b ~ pi0 N(0, v) + (1 - pi0) N(0, v + sigma^2) with
    v = t^2 + theta^2 s^2 and sigma^2 at least ``least`` times the median v; pi0 stays ``edge`` away from
    0 and 1. ``start`` is the first sigma^2, or negative: the mean excess of e^2 over v.
    """
    J = len(b)
    e2, v, half, chances = np.empty(J), np.empty(J), np.empty(J), np.empty(J)
    for k in range(len(theta)):
        excess, noise = 0.0, 0.0
        for j in range(J):
            e = g[j] - theta[k] * b[j]
            e2[j], v[j] = e * e, t[j] * t[j] + theta[k] * theta[k] * s[j] * s[j]
            half[j] = 0.5 * e2[j] / v[j]
            excess += e2[j] - v[j]
            noise += half[j] + 0.5 * math.log(v[j])
        bound = max(least * np.median(v), 1e-12 * v.min())
        first = start if start > 0.0 else excess / J
        pi0, sigma2, value = _fit(e2, half, v, 0.6, max(first, bound), bound, edge, chances)
        misfit = 0.0
        for j in range(J):
            misfit += 2.0 * half[j] * chances[j]
        out[0, k], out[1, k], out[2, k], out[3, k] = pi0, sigma2, value - noise, misfit
