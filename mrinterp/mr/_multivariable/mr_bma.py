"""Bayesian model averaging over sets of exposures, on bias-corrected moments."""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from mrinterp.mr._engine.registry import Fit
from mrinterp.mr._multivariable.joint_data import JointData
from mrinterp.mr._multivariable.joint_estimator import joint_estimator

__all__ = ["corrected_regression", "mr_bma", "weak_word"]

Array = NDArray[np.float64]
_MODEL_BLOCK = 1 << 14
_ENOUGH = 20.0


@joint_estimator(
    "mr_bma",
    "MR-BMA (model averaging over exposures)",
    assumes=(
        "instruments are independent of one another",
        "the causal exposures are among those given, and few",
        "pleiotropy is balanced and independent of the instruments' strength",
        "the prior on effects and on their number is reasonable: a standard error here is a posterior deviation",
    ),
    reference="Zuber et al. 2020 Nat Commun, doi:10.1038/s41467-019-13870-3",
    intervals=False,
)
def mr_bma(
    data: JointData,
    *,
    prior_inclusion: float | None = None,
    prior_sd: float = 2.0,
    max_size: int = 12,
    max_models: int = 20000,
) -> Fit:
    """Average the effects over subsets of exposures, weighted by their marginal likelihood.

    Parameters
    ----------
    data : JointData
        Effects with their errors.
    prior_inclusion : float, optional
        Prior probability that an exposure is causal; by default min(.5, 1/F).
    prior_sd : float
        Prior deviation of an effect of standardized exposures in units of the residual deviation. Along a
        direction in which the exposures' correlation matrix has eigenvalue L, effects shrink by
        1/(1 + J L prior_sd^2), which small values make felt where exposures co-activate.
    max_size : int
        Largest number of exposures in a model.
    max_models : int
        Where all models up to ``max_size`` are more, sizes are enumerated while they fit and larger
        models grown from the best ones of the size below.

    Returns
    -------
    Fit
        ``beta`` is the model-averaged effect and ``se`` its posterior deviation, between-model spread
        included; ``details`` holds ``inclusion`` (marginal posterior probability); ``neglog10p`` is nan:
        a posterior has no p-value. ``meta["best_models"]`` lists the ten best per outcome (first 16).

    Notes
    -----
    Moments H = Sum w(bb' - Sxx), made positive semidefinite, and c = Sum w(bg - sxy) stand for X'X and
    X'y. With theta ~ N(0, s^2 D) and 1/s^2 ~ Gamma(0, 0), log p(y | M) is
    -1/2 log|I + D H_M| - J/2 log(y'y - c_M'(H_M + D^-1)^-1 c_M). Overdispersion is in s^2. The ranking of
    exposures that co-activate strongly depends on the prior: read `susie_mv`'s sets beside it. Corrected
    moments are taken as exact, so that it is not valid with weak instruments (a status says so below a
    `lambda_str` of 20; intervals cover .74 and .50 of the effects in the weak and very weak scenarios of
    ``benchmarks/mr_simulations.py``).
    """
    J, F, O = data.size
    inclusion = min(0.5, 1.0 / F) if prior_inclusion is None else prior_inclusion
    beta, se, pip = np.full((F, O), np.nan), np.full((F, O), np.nan), np.full((F, O), np.nan)
    best: list[dict[str, Any]] = []
    for rows, h, c, yy in corrected_regression(data):
        averaged = _average(h, c, yy, J, inclusion, prior_sd, min(max_size, F), max_models)
        beta[:, rows], se[:, rows], pip[:, rows] = averaged[:3]
        best += [{"outcome": int(o), "models": m} for o, m in zip(rows, averaged[3], strict=True) if o < 16]
    pip[:, [p != "" for p in data.problem]] = np.nan
    meta = {"best_models": best, "prior_inclusion": inclusion}
    words = np.full(O, weak_word(data), dtype=object)
    return Fit(
        beta, se, neglog10p=np.full((F, O), np.nan), status=words, details={"inclusion": pip}, meta=meta
    )


def weak_word(data: JointData) -> str:
    """ "ok", or that the instruments are too weak for a likelihood that takes corrected moments as exact."""
    strength = data.strength()
    if strength >= _ENOUGH:
        return "ok"
    return f"instruments are weak for these exposures (lambda_str {strength:.3g}): inclusion is overconfident, prefer srivw"


def corrected_regression(data: JointData) -> list[tuple[NDArray[np.int_], Array, Array, Array]]:
    """Groups of outcomes that share H: their positions, PSD H (K, K), c (n, K) and Sum w g^2 (n,).

    Weights are scaled to mean 1 within an outcome, so that the numbers compare across outcomes. One group
    where the weights are proportional, else one per outcome (each then has its own H). H is made positive
    semidefinite in units of the exposures' own size, so that their units do not matter.
    """
    J, K, O = data.size
    groups = [np.arange(O)] if data.shared is not None else [np.array([o]) for o in range(O)]
    out = []
    for rows in groups:
        w = data.shared if data.shared is not None else data.weight[rows[0]] / data.weight[rows[0]].mean()
        size = np.sqrt(np.maximum(w @ data.b**2, 1e-300))
        values, vectors = np.linalg.eigh((w @ data.corrected()).reshape(K, K) / np.outer(size, size))
        floor = 1e-6 * max(values[-1], 1e-300)
        h = (vectors * np.maximum(values, floor)) @ vectors.T * np.outer(size, size)
        out.append((rows, h, data.cross(w, rows), (w * data.g[rows] ** 2).sum(axis=1)))
    return out


def _models(K: int, max_size: int, max_models: int) -> tuple[list[NDArray[np.int_]], int]:
    """Every model of each size while they fit into ``max_models``, and the first size that does not."""
    out, count = [np.empty((1, 0), int)], 1
    for size in range(1, max_size + 1):
        count += comb(K, size)
        if count > max_models and size > 2:
            return out, size
        out.append(np.array(list(combinations(range(K), size)), int))
    return out, max_size + 1


def _average(
    h: Array, c: Array, yy: Array, J: int, inclusion: float, prior_sd: float, max_size: int, max_models: int
) -> tuple[Array, Array, Array, list[list[dict[str, Any]]]]:
    """Model-averaged effect, deviation and inclusion (K, n), and the ten best models per outcome."""
    K, n = len(h), len(c)
    unit = np.sqrt(np.diag(h))
    r, z = h / np.outer(unit, unit), c / unit / np.sqrt(np.maximum(yy, 1e-300))[:, None]
    tables = _models(K, max_size, max_models)
    batches = [m[i : i + _MODEL_BLOCK] for m in tables[0] for i in range(0, len(m), _MODEL_BLOCK)]
    scored = [(m, _score(m, r, z, J, inclusion, prior_sd)) for m in batches]
    for size in range(tables[1], max_size + 1):
        parents = np.concatenate(
            [m[np.argsort(-s[0].max(axis=1))[:200]] for m, s in scored if m.shape[1] == size - 1]
        )
        grown = np.array(
            sorted({tuple(sorted({*p, k})) for p in parents[:200].tolist() for k in range(K) if k not in p}),
            int,
        )
        scored.append((grown, _score(grown, r, z, J, inclusion, prior_sd)))
    total = logsumexp(np.concatenate([s[0] for _, s in scored]), axis=0)
    mean, second, pip = np.zeros((K, n)), np.zeros((K, n)), np.zeros((K, n))
    top: list[list[tuple[float, list[int]]]] = [[] for _ in range(n)]
    for m, (log_weight, effect, variance) in scored:
        weight = np.exp(log_weight - total)
        for i in range(m.shape[1]):
            np.add.at(mean, m[:, i], weight * effect[:, i])
            np.add.at(second, m[:, i], weight * (effect[:, i] ** 2 + variance[:, i]))
            np.add.at(pip, m[:, i], weight)
        for o in range(min(n, 16)):
            for best in np.argsort(-weight[:, o])[:10]:
                top[o].append((float(weight[best, o]), m[best].tolist()))
    scale = np.sqrt(yy)[None, :] / unit[:, None]
    listed = [[{"posterior": p, "exposures": e} for p, e in sorted(t, key=lambda x: -x[0])[:10]] for t in top]
    return mean * scale, np.sqrt(np.maximum(second - mean**2, 0.0)) * scale, pip, listed


def _score(
    m: NDArray[np.int_], r: Array, z: Array, J: int, inclusion: float, prior_sd: float
) -> tuple[Array, Array, Array]:
    """Log weight (M, n), posterior mean and variance (M, size, n) of a batch of models of one size."""
    M, size = m.shape
    n, K = z.shape
    prior = size * np.log(inclusion) + (K - size) * np.log1p(-inclusion)
    if size == 0:
        return np.full((1, n), prior), np.zeros((1, 0, n)), np.zeros((1, 0, n))
    sub = r[m[:, :, None], m[:, None, :]]
    spread = J * prior_sd**2  # exposures have unit sum of squares here, not unit mean square
    precision = sub + np.eye(size) / spread
    inverse = np.linalg.inv(precision)
    zm = z.T[m]
    effect = np.matmul(inverse, zm)
    left = np.maximum(1.0 - (zm * effect).sum(axis=1), 1e-12)
    log_det = np.linalg.slogdet(np.eye(size) + spread * sub)[1]
    log_weight = prior - 0.5 * log_det[:, None] - 0.5 * J * np.log(left)
    variance = np.einsum("mii->mi", inverse)[:, :, None] * (left / max(J - 2, 1))[:, None, :]
    return log_weight, effect, variance
