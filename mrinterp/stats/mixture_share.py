"""Residuals as a mixture of noise and noise with a path: the share of noise alone (numba, compiled on first use).

Kept out of every other module's import: whoever needs it imports it inside the function.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["mixture_shares"]

_EM, _NEWTON = 12, 60


@njit(cache=True, nogil=True, error_model="numpy")
def _step(e2, v, J, pi0, sigma2):  # type: ignore[no-untyped-def]
    """Log likelihood, its gradient and Hessian in (logit pi0, log sigma2), and the EM update of both."""
    value, g1, g2, h11, h12, h22 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    share, top, bottom = 0.0, 0.0, 0.0
    for j in range(J):
        wide = v[j] + sigma2
        z = e2[j] / wide
        tilt = 0.5 * (e2[j] / v[j] - z)  # how much likelier the wide component is, before its own spread
        odds = (1.0 - pi0) / pi0 * math.sqrt(v[j] / wide) * math.exp(min(tilt, 600.0))
        p = 1.0 / (1.0 + odds)
        value += math.log(pi0 / p) - 0.5 * (e2[j] / v[j] + math.log(v[j]))
        share += p
        w = (1.0 - p) / (wide * wide)
        top += w * (e2[j] - v[j])
        bottom += w
        # a: derivative of the wide component's log density in log sigma2; b: its second derivative
        r = sigma2 / wide
        a = 0.5 * r * (z - 1.0)
        b = a * (1.0 - r) - 0.5 * r * r * z
        g1 += p - pi0
        g2 += (1.0 - p) * a
        q = p * (1.0 - p)
        h11 += q - pi0 * (1.0 - pi0)
        h12 -= q * a
        h22 += (1.0 - p) * b + q * a * a
    return value, g1, g2, h11, h12, h22, share / J, top / bottom if bottom > 0.0 else sigma2


@njit(cache=True, nogil=True, error_model="numpy")
def _fit(e2, v, J, pi0, sigma2, least, edge):  # type: ignore[no-untyped-def]
    """EM to come near, then Newton steps where they raise the likelihood (EM steps where they do not)."""
    now = _step(e2, v, J, pi0, sigma2)
    for i in range(_EM + _NEWTON):
        newton = False
        if i >= _EM:
            logit, log_s = math.log(pi0 / (1.0 - pi0)), math.log(sigma2)
            _, g1, g2, h11, h12, h22, _, _ = now
            if sigma2 <= least and g2 <= 0.0:  # on its bound: pi0 alone
                h12, h22, g2 = 0.0, -1.0, 0.0
            det = h11 * h22 - h12 * h12
            if h11 < 0.0 and det > 0.0:
                d1, d2 = -(h22 * g1 - h12 * g2) / det, -(h11 * g2 - h12 * g1) / det
                d1, d2 = min(max(d1, -2.0), 2.0), min(max(d2, -2.0), 2.0)
                p = min(max(1.0 / (1.0 + math.exp(-(logit + d1))), edge), 1.0 - edge)
                s = max(math.exp(log_s + d2), least)
                new = _step(e2, v, J, p, s)
                newton = new[0] >= now[0]
        if not newton:
            p, s = min(max(now[6], edge), 1.0 - edge), max(now[7], least)
            new = _step(e2, v, J, p, s)
        moved = max(abs(p - pi0), abs(s / sigma2 - 1.0) * min(p, 1.0 - p))
        pi0, sigma2, now = p, s, new
        if moved < 1e-8:
            break
    return pi0, sigma2, now[0]


@njit(cache=True, nogil=True, error_model="numpy")
def mixture_shares(b, s, g, t, theta, start, least, edge, out):  # type: ignore[no-untyped-def]
    """At each theta (T,): pi0, sigma^2, log likelihood and misfit of the valid, into ``out`` (4, T).

    One cell's b, s, g, t (J,). Residuals g - theta b ~ pi0 N(0, v) + (1 - pi0) N(0, v + sigma^2) with
    v = t^2 + theta^2 s^2 and sigma^2 at least ``least`` times the median v; pi0 stays ``edge`` away from
    0 and 1. ``start`` is the first sigma^2, or negative: the mean excess of e^2 over v.
    """
    J = len(b)
    e2, v = np.empty(J), np.empty(J)
    for k in range(len(theta)):
        excess = 0.0
        for j in range(J):
            e = g[j] - theta[k] * b[j]
            e2[j], v[j] = e * e, t[j] * t[j] + theta[k] * theta[k] * s[j] * s[j]
            excess += e2[j] - v[j]
        bound = max(least * np.median(v), 1e-12 * v.min())
        first = start if start > 0.0 else excess / J
        pi0, sigma2, value = _fit(e2, v, J, 0.6, max(first, bound), bound, edge)
        misfit = 0.0
        for j in range(J):
            wide = v[j] + sigma2
            tilt = min(0.5 * e2[j] * (1.0 / v[j] - 1.0 / wide), 600.0)
            misfit += e2[j] / v[j] / (1.0 + (1.0 - pi0) / pi0 * math.sqrt(v[j] / wide) * math.exp(tilt))
        out[0, k], out[1, k], out[2, k], out[3, k] = pi0, sigma2, value, misfit
