"""Is the mean of many-dimensional scores zero? Fewer clusters than dimensions are no obstacle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["sign_flip_test"]


def sign_flip_test(
    scores: NDArray[np.float64], total: NDArray[np.float64] | None = None
) -> tuple[float, float]:
    """Squared length of the sum of the clusters' scores, against what random signs of the clusters would give.

    Parameters
    ----------
    scores : ndarray (C, q)
        One row per independent cluster; columns on a scale on which they may be added.
    total : ndarray (q,), optional
        Sum of the scores, where rows were scaled up for what fitting took from them; default their sum.

    Returns
    -------
    z : float
        Standard deviations by which the squared length exceeds its mean over random signs; nan without variation.
    neglog10p : float
        -log10 of the probability of as much, nan without variation.

    Notes
    -----
    With K = S S' without its diagonal the statistic is the sum of K; over random signs it has mean 0, variance
    2 sum K^2 and third moment 8 tr K^3, and a chi-square with these moments stands for its distribution: one dimension gives the
    chi-square of one degree of freedom, many the normal. No covariance matrix is inverted, so that any q is allowed.
    Not valid where the clusters' scores are skewed and few, or not independent.

    Source: Chen & Qin 2010, 10.1214/09-AOS716; signs: Canay, Romano & Shaikh 2017, 10.3982/ECTA13081; three moments:
    Pearson 1959, 10.1093/biomet/46.1-2.364.
    """
    from scipy import stats  # takes a second to import: only where it is asked for

    K = scores @ scores.T
    np.fill_diagonal(K, 0.0)
    variance = 2.0 * float((K**2).sum())
    if not variance > 0:
        return float("nan"), float("nan")
    summed = float(K.sum()) if total is None else float(total @ total - (scores**2).sum())
    z = summed / np.sqrt(variance)
    skew = 8.0 * float(((K @ K) * K).sum()) / variance**1.5
    if skew <= 1e-6:
        return z, float(-stats.norm.logsf(z) / np.log(10.0))
    df = 8.0 / skew**2
    return z, float(-stats.chi2.logsf(df + z * np.sqrt(2.0 * df), df) / np.log(10.0))
