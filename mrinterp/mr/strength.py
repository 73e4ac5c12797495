"""How strongly the instruments move each exposure, alone and given the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["conditional_f", "joint_f"]

Array = NDArray[np.float64]


def _covariance(se_x: Array, sigma_xx: Array | None) -> Array:
    if sigma_xx is not None:
        return np.asarray(sigma_xx, dtype=float)
    return np.asarray(se_x.T[:, :, None] ** 2 * np.eye(len(se_x)))


def conditional_f(beta_x: Array, se_x: Array, sigma_xx: Array | None = None, divisor: str = "df") -> Array:
    """Strength of the instruments for each exposure once the others are accounted for, (K,).

    Parameters
    ----------
    beta_x, se_x : ndarray (K, J)
        Effects on K exposures and their errors.
    sigma_xx : ndarray (J, K, K), optional
        Covariance of those errors; independent by default.
    divisor : {"df", "count"}
        J - K + 1, or J as the R package MVMR divides.

    Notes
    -----
    Q_k / (J - K + 1), Q_k = Sum (d'b_j)^2 / d'Sxx_j d, d = (1 at k, -delta), delta the unweighted
    least-squares regression of b_k on the others. Below 10: conditionally weak. With one exposure
    it is the mean F. Sanderson, Spiller & Bowden 2021 Stat Med, doi:10.1002/sim.9133.
    """
    K, J = beta_x.shape
    covariance = _covariance(se_x, sigma_xx)
    out = np.empty(K)
    for k in range(K):
        others = np.arange(K) != k
        d = np.ones(K)
        if K > 1:
            d[others] = -np.linalg.lstsq(beta_x[others].T, beta_x[k], rcond=None)[0]
        variance = np.einsum("k,jkl,l->j", d, covariance, d)
        out[k] = np.sum((d @ beta_x) ** 2 / variance)
    return out / (J if divisor == "count" else J - K + 1)


def joint_f(beta_x: Array, se_x: Array, sigma_xx: Array | None = None) -> float:
    """Rank statistic of all exposures jointly: the least of Sum (d'b_j)^2 / d'Sxx_j d over d, by J - K + 1.

    The same number whichever exposure is normalized to 1. Minimized from the weakest direction of
    the standardized effects and from every exposure. Shapes as in `conditional_f`.
    """
    from scipy.optimize import minimize

    K, J = beta_x.shape
    covariance = _covariance(se_x, sigma_xx)
    scale = np.sqrt(np.median(np.einsum("jkk->kj", covariance), axis=1))
    b, c = beta_x / scale[:, None], covariance / (scale[:, None] * scale[None, :])

    def q(d: Array) -> tuple[float, Array]:
        e, cd = d @ b, np.einsum("jkl,l->jk", c, d)
        v = cd @ d
        value = float(np.sum(e * e / v))
        return value, np.asarray(2.0 * (b @ (e / v)) - 2.0 * (cd.T @ (e * e / (v * v))))

    starts = [np.linalg.eigh(b @ b.T)[1][:, 0], *np.eye(K)]
    best = min(minimize(q, d0, jac=True, method="BFGS", options={"gtol": 1e-10}).fun for d0 in starts)
    return float(best) / (J - K + 1)
