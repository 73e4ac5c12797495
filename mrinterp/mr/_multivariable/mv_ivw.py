"""Multivariable inverse-variance weighting: every exposure given the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from mrinterp.core.ld import lowest_eigenvalue
from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.inference import choice, heterogeneity, residual_df
from mrinterp.mr._engine.registry import Fit, estimator
from mrinterp.mr._univariable.ivw import joint_mean_f
from mrinterp.stats.profile.strength import conditional_f_statistics
from mrinterp.stats.tests.tails import neglog10p_t

__all__ = ["mv_ivw"]

Array = NDArray[np.float64]

MODELS = ("random", "fixed", "unfloored", "sandwich")

COLLINEAR = (
    "the exposures' effects are collinear (the instruments do not tell them apart): merge or drop exposures"
)


def collinear(design: Array) -> bool:
    """Whether the columns of (J, p) are linearly dependent to working precision, at any scale."""
    size = np.linalg.norm(design, axis=0)
    if not (size > 0).all():
        return True
    return bool(np.linalg.matrix_rank(design / size, tol=1e-9) < design.shape[1])


@dataclass(frozen=True, eq=False)
class WeightedFit:
    """Least squares of every outcome: coefficients, errors for unit residual variance and HC3 errors (p, O), Q (O,)."""

    beta: Array
    se: Array
    sandwich: Array
    q: Array


def weighted_fit(design: Array, outcome: Array, se: Array, ld: Array | None = None) -> WeightedFit:
    """Least squares weighted by known errors, of each outcome.

    ``design`` (J, p); ``outcome`` and its errors ``se`` (O, J); ``ld`` (J, J) correlation of the errors.
    Solved by QR of the whitened design. The HC3 error is the sandwich of residuals over 1 - leverage
    (MacKinnon & White 1985, doi:10.1016/0304-4076(85)90158-7).
    """
    x, y = design[None] / se[:, :, None], outcome / se
    if ld is not None:  # the errors' correlation is whitened in units of each outcome's errors
        factor = np.linalg.cholesky((ld + ld.T) / 2)
        solved = linalg.solve_triangular(factor, np.concatenate([x, y[:, :, None]], axis=2), lower=True)
        x, y = solved[:, :, :-1], solved[:, :, -1]
    q, r = np.linalg.qr(x)
    inverse = np.linalg.inv(r)
    along = np.einsum("ojk,oj->ok", q, y)
    residual = y - np.einsum("ojk,ok->oj", q, along)
    apart = residual / np.maximum(1.0 - np.einsum("ojk,ojk->oj", q, q), 1e-8)
    scores = np.einsum("opk,ojk,oj->ojp", inverse, q, apart, optimize=True)
    return WeightedFit(
        np.einsum("opk,ok->po", inverse, along),
        np.sqrt(np.einsum("opk,opk->po", inverse, inverse)),
        np.sqrt(np.einsum("ojp,ojp->po", scores, scores)),
        np.einsum("oj,oj->o", residual, residual),
    )


def whitening_problem(ld: Array | None) -> str:
    """Why the instruments' correlation cannot be whitened, or ""."""
    if ld is None or lowest_eigenvalue((ld + ld.T) / 2, 1e-10) >= 1e-10:
        return ""
    return "the correlation between the instruments is singular: prune copies, or use pc_gmm"


def scaled_errors(fit: WeightedFit, df: int, model: str) -> Array:
    """Errors (p, O) of every coefficient under a model of the residuals; nan where a sandwich has no residuals."""
    if model == "sandwich":
        return fit.sandwich if df > 0 else np.full_like(fit.se, np.nan)
    sigma = np.sqrt(fit.q / df) if df > 0 else np.ones_like(fit.q)
    scale = {"random": np.maximum(sigma, 1.0), "fixed": np.ones_like(sigma), "unfloored": sigma}[model]
    return np.asarray(fit.se * scale)


def no_fit(F: int, O: int, why: str) -> Fit:
    """A fit with nothing but the reason."""
    return Fit(np.full((F, O), np.nan), np.full((F, O), np.nan), status=np.full((F, O), why, dtype=object))


def infer(fit: WeightedFit, df: int, model: str, distribution: str, details: dict[str, Array]) -> Fit:
    """Scaled errors and reference distribution, shared with MV-Egger, whose intercept comes first."""
    choice("model", model, MODELS)
    choice("distribution", distribution, ("normal", "t"))
    F = len(next(iter(details.values())))
    beta, se = fit.beta[-F:], scaled_errors(fit, df, model)[-F:]
    spread = {k: np.broadcast_to(v, (F, len(fit.q))) for k, v in heterogeneity(fit.q, df).items()}
    reference = residual_df(distribution, df) if df > 0 else np.inf
    return Fit(
        beta,
        se,
        reference,
        neglog10p=neglog10p_t(beta / se, reference),
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
    effects: Effects,
    *,
    model: str = "random",
    distribution: str = "normal",
    sigma: Array | None = None,
    ld: Array | None = None,
) -> Fit:
    """Weighted regression of the outcome's effects on those of all exposures, through the origin.

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes. Weights are 1/syy.
    model : {"random", "fixed", "unfloored", "sandwich"}
        Errors multiplied by max(1, sigma), 1 or sigma, sigma^2 = Q / (J - F); or HC3 errors from the
        residuals themselves, which hold where pleiotropy is not proportional to the outcome's errors.
    distribution : {"normal", "t"}
        Reference of the interval; t has J - F degrees of freedom.
    sigma : ndarray (J, F + O, F + O), optional
        Covariance of the errors; used for the conditional F only, not for the estimate.
    ld : ndarray (J, J), optional
        Correlation of the instruments: generalized least squares.

    Notes
    -----
    theta = (B'WB)^-1 B'Wg, W = diag(1/syy) or the inverse of ld scaled by the outcome's errors. Not valid
    with conditionally weak instruments (``conditional_f`` below 10): estimates are then biased in any
    direction, and more so when errors correlate. In a paired design
    that bias does not arise, and with ``model="sandwich", distribution="t"`` it keeps its level in every
    scenario of ``benchmarks/mr_simulations.py``; with ``model="random"`` not where pleiotropy is
    of one size and errors are not (type-I error then exceeds 5%).
    """
    (F, O), J = effects.shape, effects.count
    if collinear(effects.beta_x.T):
        return no_fit(F, O, COLLINEAR)
    problem = whitening_problem(ld)
    if problem:
        return no_fit(F, O, problem)
    fit = weighted_fit(effects.beta_x.T, effects.beta_y, effects.se_y, ld)
    return infer(fit, J - F, model, distribution, strength(effects, sigma, ld))


def strength(effects: Effects, sigma: Array | None = None, ld: Array | None = None) -> dict[str, Array]:
    """F of all instruments (per instrument) and conditional F of each exposure, (F, O)."""
    F = len(effects.beta_x)
    own = None if sigma is None else sigma[:, :F, :F]
    conditional = conditional_f_statistics(effects.beta_x, effects.se_x, own, ld=ld)
    return {
        "f": effects.mean_f() if ld is None else joint_mean_f(effects, np.asarray(np.linalg.inv(ld), float)),
        "conditional_f": np.broadcast_to(conditional[:, None], effects.shape),
    }
