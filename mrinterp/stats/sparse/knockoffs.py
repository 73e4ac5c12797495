"""Second-order Gaussian knockoffs: copies of the features that no outcome can depend on, and what stands out from them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from sklearn.covariance import ledoit_wolf
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV

__all__ = ["knockoff_filter"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Knockoffs:
    """Statistics (F,), how far each feature stands out from its copy, and which are selected (F,)."""

    statistic: Array
    selected: NDArray[np.bool_]


def knockoff_filter(x: Array, y: Array, rate: float, seed: int, offset: int = 1) -> Knockoffs:
    """Select features at a false discovery rate by model-X knockoffs.

    Parameters
    ----------
    x, y : ndarray (N, F) and (N,)
        Features and one outcome of N runs.
    rate : float
        False discovery rate wanted.
    seed : int
        Of the copies.
    offset : int
        1: knockoff+, which holds the rate and selects no fewer than 1/rate features; 0: the first filter, which holds a
        modified rate and can select few.

    Notes
    -----
    The equicorrelated construction with the shrunken covariance of Ledoit and Wolf: copies have the features' own mean and
    covariance, and the covariance of a feature with its copy is less by s = min(1, 2 least eigenvalue of the correlation).
    Statistic: absolute lasso coefficient (penalty by cross-validation) less that of the copy.
    Threshold: the smallest t at which (offset + those below -t)/(those above t) is at most ``rate``.

    The rate holds for "independent of the outcome given all other features", where features are Gaussian and runs
    independent; it says nothing of what a change of a feature does. Copies of one feature cannot be told apart at all.

    Source: Candes et al. 2018, 10.1111/rssb.12265; on features of sparse autoencoders: arXiv:2511.11711.
    """
    rng = np.random.default_rng(seed)
    sd = x.std(axis=0)
    varies = sd > 1e-9 * np.abs(x).max(axis=0, initial=1e-300)
    statistic = np.zeros(x.shape[1])
    F = int(varies.sum())
    if not F or np.ptp(y) == 0:
        return Knockoffs(statistic, np.zeros(x.shape[1], dtype=bool))
    z = (x[:, varies] - x[:, varies].mean(axis=0)) / sd[varies]
    statistic[varies] = _lasso_difference(z, _copies(z, rng), y)
    statistic[np.abs(statistic) < 1e-9 * np.abs(statistic).max()] = 0.0  # rounding is no difference
    size = np.sort(np.abs(statistic[statistic != 0]))
    above = (statistic[None, :] >= size[:, None]).sum(axis=1)
    below = (statistic[None, :] <= -size[:, None]).sum(axis=1)
    good = np.flatnonzero((offset + below) / np.maximum(above, 1) <= rate)
    selected = statistic >= size[good[0]] if len(good) else np.zeros(len(statistic), dtype=bool)
    return Knockoffs(statistic, selected)


def _copies(z: Array, rng: np.random.Generator) -> Array:
    """Knockoffs (N, F) of standardized features."""
    covariance = ledoit_wolf(z)[0]
    scale = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(scale, scale)
    s = min(1.0, 2.0 * float(np.linalg.eigvalsh(correlation)[0])) * (1 - 1e-6)
    solved = cho_solve(cho_factor(correlation), np.eye(len(scale)))
    mean = (z / scale) @ (np.eye(len(scale)) - s * solved)
    values, vectors = np.linalg.eigh(2 * s * np.eye(len(scale)) - s * s * solved)
    noise = rng.standard_normal(z.shape) @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
    return np.asarray((mean + noise) * scale)


def _lasso_difference(z: Array, copies: Array, y: Array) -> Array:
    both, F = np.concatenate([z, copies], axis=1), z.shape[1]
    both = (both - both.mean(axis=0)) / both.std(axis=0)
    with (
        warnings.catch_warnings()
    ):  # copies of one another leave the solution open, not the statistic: it is 0
        warnings.simplefilter("ignore", ConvergenceWarning)
        weight = np.abs(LassoCV(cv=5, alphas=50, max_iter=5000).fit(both, (y - y.mean()) / y.std()).coef_)
    return np.asarray(weight[:F] - weight[F:])
