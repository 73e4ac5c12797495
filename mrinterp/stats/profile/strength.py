"""How strongly instruments move several exposures: conditional F, the joint rank statistic, lambda_str."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.stats.profile.likelihood import KnownErrors, minimize_profile

__all__ = [
    "conditional_f_statistics",
    "joint_rank_statistic",
    "lambda_str",
]

Array = NDArray[np.float64]

_RIDGE = 1e-12  # of each variance: errors that correlate perfectly have a Cholesky factor too


def _covariance(se_x: Array, sigma_xx: Array | None) -> Array:
    if sigma_xx is not None:
        return np.asarray(sigma_xx, dtype=float)
    return np.asarray(se_x.T[:, :, None] ** 2 * np.eye(len(se_x)))


def sized_covariance(
    beta_x: Array, se_x: Array, n_x: NDArray[np.float64], correlation: Array | None = None
) -> Array:
    """Error covariance of the effects of independent instruments fitted jointly in samples of known size.

    Parameters
    ----------
    beta_x, se_x : ndarray (K, J)
        Marginal effects per dose unit and their standard errors.
    n_x : ndarray (K,)
        Sample sizes.
    correlation : ndarray (K, K), optional
        Correlation of the exposures where they were measured in one sample; independent samples by default.

    Returns
    -------
    ndarray (J, K, K)
        s_jk s_jl (rho_kl - Sum_i r_ik r_il) / sqrt((n_k - J + 1)(n_l - J + 1)), with s_jk^2 = n_k se_jk^2 + b_jk^2
        the variance of the exposure over that of the instrument and r = b / s their correlation:
        what the instruments explain together is no error.
    """
    K, J = beta_x.shape
    spread = np.sqrt(np.asarray(n_x, float)[:, None] * se_x**2 + beta_x**2)
    along = beta_x / spread
    left = (np.eye(K) if correlation is None else correlation) - along @ along.T
    free = np.sqrt(np.asarray(n_x, float) - J + 1.0)
    return np.asarray((spread.T[:, :, None] * left * spread.T[:, None, :]) / np.outer(free, free))


def conditional_f_statistics(
    beta_x: Array,
    se_x: Array,
    sigma_xx: Array | None = None,
    divisor: str = "df",
    ld: Array | None = None,
) -> Array:
    """Strength of the instruments for each exposure given the others, (K,).

    Parameters
    ----------
    beta_x, se_x : ndarray (K, J)
        Effects per dose unit and their standard errors.
    sigma_xx : ndarray (J, K, K), optional
        Covariance of the errors; uncorrelated by default. See `sized_covariance` for known sample sizes.
    divisor : {"df", "instruments"}
        J - K + 1, or J (as the R package MVMR divides).
    ld : ndarray (J, J), optional
        Correlation of the instruments; independent by default. Needs full rank.

    Returns
    -------
    ndarray (K,)

    Notes
    -----
    F_k = Sum_j (d'b_j)^2 / (d'Sxx_j d) / (J - K + 1) with d = 1 at k and minus the unweighted least
    squares coefficients of b_k on the other exposures. With one exposure it is the mean F. Not valid
    where J < K. Source: Sanderson, Spiller & Bowden 2021 Stat Med, doi:10.1002/sim.9133.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.stats import conditional_f_statistics
    >>> beta_x = np.array([[0.4, 0.1, 0.3, 0.2], [0.1, 0.4, 0.2, 0.3]])
    >>> conditional_f_statistics(beta_x, np.full((2, 4), 0.1)).round(2)
    array([3.85, 3.85])
    """
    K, J = beta_x.shape
    covariance = _covariance(se_x, sigma_xx)
    if K == 1:
        contrasts = np.ones((1, 1))
    else:
        # rows of the inverse Gram matrix are proportional to (1 at k, -delta)
        gram = beta_x @ (beta_x.T if ld is None else np.linalg.solve(ld, beta_x.T))
        inverse = np.linalg.pinv(gram, hermitian=True)
        contrasts = inverse / np.diag(inverse)[:, None]
    left = contrasts @ beta_x
    if ld is None:
        variance = np.einsum("ka,jab,kb->kj", contrasts, covariance, contrasts, optimize=True)
        q = (left**2 / variance).sum(axis=1)
    else:
        ridge = _RIDGE * np.einsum("jkk->jk", covariance)
        root = np.linalg.cholesky(covariance + ridge[:, :, None] * np.eye(K))
        along = np.einsum("ka,jab->kjb", contrasts, root)
        whole = ld * np.einsum("kib,kjb->kij", along, along)
        q = np.einsum("kj,kj->k", left, np.linalg.solve(whole, left[:, :, None])[:, :, 0])
    return np.asarray(q / (J if divisor == "instruments" else J - K + 1))


def joint_rank_statistic(beta_x: Array, se_x: Array, sigma_xx: Array | None = None) -> float:
    """Least of Sum_j (d'b_j)^2 / (d'Sxx_j d) over directions d, divided by J - K + 1.

    One number for all exposures: it is large only when no combination of them is weakly moved.

    Parameters
    ----------
    beta_x, se_x : ndarray (K, J)
        Effects per dose unit and their standard errors.
    sigma_xx : ndarray (J, K, K), optional
        Covariance of the errors; uncorrelated by default.

    Returns
    -------
    float

    Notes
    -----
    Minimized from each exposure's conditional contrast. Not valid where J < K.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.stats import joint_rank_statistic
    >>> beta_x = np.array([[0.4, 0.1, 0.3, 0.2], [0.1, 0.4, 0.2, 0.3]])
    >>> round(joint_rank_statistic(beta_x, np.full((2, 4), 0.1)), 2)
    3.33
    """
    K, J = beta_x.shape
    covariance = _covariance(se_x, sigma_xx)
    if K == 1:
        return float((beta_x[0] ** 2 / covariance[:, 0, 0]).sum() / J)
    scale = np.sqrt(np.median(np.einsum("jkk->jk", covariance), axis=0))
    b = beta_x.T / scale
    xx = covariance / (scale[:, None] * scale[None, :])
    best = np.inf
    weakest = np.linalg.eigh(b.T @ b)[1][:, 0]
    for k in range(
        K
    ):  # K normalizations of one minimum; each guards against a bad normalization of the others
        rest = [i for i in range(K) if i != k]
        data = KnownErrors(
            b[None][:, :, rest],
            b[None, :, k],
            xx[None, :, k, k],
            xx[:, rest][:, :, rest],
            xx[None][:, :, rest, k],
        )
        starts = [np.linalg.lstsq(b[:, rest], b[:, k], rcond=None)[0]]
        if abs(weakest[k]) > 1e-3:
            starts.append(-weakest[rest] / weakest[k])
        ends = minimize_profile(data.take(np.zeros(len(starts), int)), np.array(starts))
        best = min(best, 2.0 * float(ends.value.min()))
    return float(best / (J - K + 1))


def lambda_str(beta_x: Array, se_x: Array, sigma_xx: Array | None = None) -> float:
    """Strength of the weakest direction, lambda_min(Sum_j z_j z_j' - J I) / sqrt(J), z_j = Sxx_j^(-1/2) b_j.

    Below 7 the error-corrected estimators (`mrbee`) are unreliable and `srivw` is preferred. Arrays as
    in `conditional_f_statistics`. Source: Wu, Kang & Ye 2025 Biometrika, doi:10.1093/biomet/asaf053.
    """
    K, J = beta_x.shape
    if sigma_xx is None:
        z = (beta_x / se_x).T
    else:
        values, vectors = np.linalg.eigh(_covariance(se_x, sigma_xx))
        root = np.matmul(
            vectors / np.sqrt(np.maximum(values, 1e-300))[:, None, :], vectors.transpose(0, 2, 1)
        )
        z = np.matmul(root, beta_x.T[:, :, None])[:, :, 0]
    return float((np.linalg.eigvalsh(z.T @ z)[0] - J) / np.sqrt(J))
