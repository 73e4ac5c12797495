"""Covariances and overdispersion for minima of the profile objective, many problems at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.stats.profile.likelihood import KnownErrors, profile_derivatives
from mrinterp.stats.profile.losses import find_loss

__all__ = ["many_weak_covariance", "matching_overdispersion", "positive_inverse"]

Array = NDArray[np.float64]


def positive_inverse(h: Array, tolerance: float = 1e-8) -> tuple[Array, NDArray[np.bool_]]:
    """Inverses of symmetric matrices (N, K, K) and where they are positive definite; nan elsewhere.

    Judged after scaling to unit diagonal, so that units do not matter.
    """
    size = np.sqrt(np.abs(np.einsum("nkk->nk", h)) + 1e-300)
    outer = size[:, :, None] * size[:, None, :]
    scaled = h / outer
    ok = np.isfinite(scaled).all(axis=(1, 2))
    scaled[~ok] = np.eye(h.shape[1])
    ok &= np.linalg.eigvalsh(scaled)[:, 0] > tolerance
    scaled[~ok] = np.eye(h.shape[1])
    inverse = np.linalg.inv(scaled) / outer
    inverse[~ok] = np.nan
    return inverse, ok


def many_weak_covariance(
    data: KnownErrors, theta: Array, tau2: Array | float = 0.0
) -> tuple[Array, NDArray[np.bool_]]:
    """H^-1 (Sum c_j c_j'/v_j) H^-1 of the profile likelihood (N, K, K), and where H is positive definite.

    H is the observed information and c_j = b_j + e_j (Sxx theta - sxy)/v_j the exposure effect freed of its
    dependence on the residual: right with many weak instruments (Newey & Windmeijer 2009 Econometrica,
    doi:10.3982/ECTA6224).
    """
    e, v, m = data.residuals(theta, tau2)
    freed = data.beta_x + m * (e / v)[:, :, None]
    meat = np.matmul((freed / v[:, :, None]).transpose(0, 2, 1), freed)
    bread, ok = positive_inverse(profile_derivatives(data, theta, find_loss("l2"), tau2)[2])
    return np.matmul(np.matmul(bread, meat), bread), ok


def matching_overdispersion(data: KnownErrors, theta: Array, df: int) -> Array:
    """tau2 (N,) at which Sum e_j^2/(v_j + tau2) equals ``df``; 0 where it is already below (Paule-Mandel)."""
    e, v, _ = data.residuals(theta)
    square = e * e
    low, high = np.zeros(len(e)), square.sum(axis=1) / df
    none = (square / v).sum(axis=1) <= df
    for _ in range(100):
        middle = 0.5 * (low + high)
        above = (square / (v + middle[:, None])).sum(axis=1) > df
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(none, 0.0, 0.5 * (low + high))
