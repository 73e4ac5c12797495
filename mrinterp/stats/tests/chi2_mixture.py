"""Upper tail of a weighted sum of independent chi-squares on one degree of freedom, on the log scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["neglog10p_chi2_mixture"]

Array = NDArray[np.float64]

_BISECTIONS = 200


def neglog10p_chi2_mixture(q: Array, weights: Array) -> Array:
    """-log10 P(sum of weights * chi2_1 > q) by the Lugannani-Rice saddlepoint formula.

    Parameters
    ----------
    q : ndarray (B,)
        Statistics.
    weights : ndarray (B, M)
        Weights of each sum, not negative.

    Returns
    -------
    ndarray (B,)
        Relative error of p within a few per cent, also far out in the tail.

    References
    ----------
    Kuonen 1999, Biometrika, doi:10.1093/biomet/86.4.929.
    """
    q = np.maximum(np.asarray(q, float), 1e-12)
    top = np.maximum(weights.max(-1), 1e-300)
    lam, x = weights / top[:, None], q / top
    # K'(t) = sum lam / (1 - 2 lam t) rises from 0 to infinity as t goes from -infinity to 1/2
    count = np.maximum((lam > 1e-12).sum(-1), 1)
    low, high = -0.5 * count / x, np.full(len(x), 0.5)
    for _ in range(_BISECTIONS):
        t = 0.5 * (low + high)
        with np.errstate(divide="ignore", over="ignore"):
            slope = (lam / (1.0 - 2.0 * lam * t[:, None])).sum(-1)
        above = slope > x
        high, low = np.where(above, t, high), np.where(above, low, t)
    t = low
    mean = lam.sum(-1)
    t = np.where(np.abs(t) < 1e-6, np.where(x >= mean, 1e-6, -1e-6), t)
    shrink = 1.0 - 2.0 * lam * t[:, None]
    cumulant = -0.5 * np.log(shrink).sum(-1)
    bend = 2.0 * ((lam / shrink) ** 2).sum(-1)
    # at the nudged t the statistic is the one with that saddlepoint
    at = np.where(np.abs(low) < 1e-6, (lam / shrink).sum(-1), x)
    w = np.sign(t) * np.sqrt(np.maximum(2.0 * (t * at - cumulant), 1e-300))
    v = t * np.sqrt(bend)
    return np.asarray(-special.log_ndtr(-(w + np.log(v / w) / w)) / np.log(10.0))
