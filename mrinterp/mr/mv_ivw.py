"""Multivariable inverse-variance weighting: every exposure given the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr.registry import Fit, estimator
from mrinterp.mr.regression import choice, heterogeneity, mean_f, residual_df
from mrinterp.stats.strength import conditional_f_statistics
from mrinterp.stats.tails import neglog10p_t

__all__ = ["mv_ivw"]

Array = NDArray[np.float64]

COLLINEAR = (
    "the exposures' effects are collinear (the instruments do not tell them apart): merge or drop exposures"
)


def collinear(design: Array) -> bool:
    """Whether the columns of (J, p) are linearly dependent to working precision, at any scale."""
    size = np.linalg.norm(design, axis=0)
    if not (size > 0).all():
        return True
    return bool(np.linalg.matrix_rank(design / size, tol=1e-9) < design.shape[1])


def weighted_fit(design: Array, outcome: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Weighted least squares of each outcome: coefficients and unit-variance errors (p, O), and Q (O,).

    ``design`` (J, p); ``outcome`` and ``weights`` (O, J). Solved by QR of the weighted design.
    """
    root = np.sqrt(weights)
    q, r = np.linalg.qr(root[:, :, None] * design[None])
    y = root * outcome
    inverse = np.linalg.inv(r)
    beta = np.einsum("opk,ojk,oj->op", inverse, q, y)
    residual = y - root * (beta @ design.T)
    return (
        beta.T,
        np.sqrt(np.einsum("opk,opk->po", inverse, inverse)),
        np.einsum("oj,oj->o", residual, residual),
    )


def no_fit(F: int, O: int, why: str) -> Fit:
    """A fit with nothing but the reason."""
    return Fit(np.full((F, O), np.nan), np.full((F, O), np.nan), status=np.full((F, O), why, dtype=object))


def infer(
    beta: Array, se: Array, q: Array, df: int, model: str, distribution: str, details: dict[str, Array]
) -> Fit:
    """Scaled errors and reference distribution, shared with MV-Egger."""
    choice("model", model, ("random", "fixed", "unfloored"))
    choice("distribution", distribution, ("normal", "t"))
    F = len(beta)
    sigma = np.sqrt(q / df) if df > 0 else np.ones_like(q)
    scale = {"random": np.maximum(sigma, 1.0), "fixed": np.ones_like(sigma), "unfloored": sigma}[model]
    spread = {k: np.broadcast_to(v, (F, len(q))) for k, v in heterogeneity(q, df).items()}
    reference = residual_df(distribution, df) if df > 0 else np.inf
    neglog10p = neglog10p_t(beta / (se * scale), reference)
    return Fit(
        beta,
        se * scale,
        reference,
        neglog10p=neglog10p,
        details={**spread, **details},
        meta={"uses_error_correlation": False},
    )


@estimator(
    "mv_ivw",
    "Multivariable inverse-variance weighted",
    kind="multivariable",
    assumes=(
        "the exposures together carry everything that the instruments do to the outcome, but for balanced"
        " pleiotropy",
        "errors of the exposure effects are small beside their spread (conditional F above 10)",
    ),
    reference="Burgess & Thompson 2015 Am J Epidemiol, doi:10.1093/aje/kwu283",
    min_instruments=0,
)
def mv_ivw(
    beta_x: Array,
    se_x: Array,
    beta_y: Array,
    se_y: Array,
    *,
    model: str = "random",
    distribution: str = "normal",
    sigma: Array | None = None,
) -> Fit:
    """Weighted regression of the outcome's effects on those of all exposures, through the origin.

    Parameters
    ----------
    beta_x, se_x : ndarray (F, J)
        Effects on the exposures, jointly in the model, and their errors.
    beta_y, se_y : ndarray (O, J)
        The same for the outcomes; weights are 1/syy.
    model : {"random", "fixed", "unfloored"}
        Errors multiplied by max(1, sigma), 1 or sigma, sigma^2 = Q / (J - F).
    distribution : {"normal", "t"}
        Reference of the interval; t has J - F degrees of freedom.
    sigma : ndarray (J, F + O, F + O), optional
        Covariance of the errors; used for the conditional F only, not for the estimate.

    Notes
    -----
    theta = (B'WB)^-1 B'Wg. Not valid with conditionally weak instruments (``conditional_f`` below
    10): estimates are then biased in any direction, and more so when errors correlate.
    """
    F, J = beta_x.shape
    if collinear(beta_x.T):
        return no_fit(F, len(beta_y), COLLINEAR)
    beta, se, q = weighted_fit(beta_x.T, beta_y, 1.0 / (se_y * se_y))
    return infer(beta, se, q, J - F, model, distribution, strength(beta_x, se_x, len(beta_y), sigma))


def strength(beta_x: Array, se_x: Array, outcomes: int, sigma: Array | None = None) -> dict[str, Array]:
    """Mean and conditional F of each exposure, (F, O)."""
    F = len(beta_x)
    shape = (F, outcomes)
    conditional = conditional_f_statistics(beta_x, se_x, None if sigma is None else sigma[:, :F, :F])
    return {
        "f": np.broadcast_to(mean_f(beta_x, se_x), shape),
        "conditional_f": np.broadcast_to(conditional[:, None], shape),
    }
