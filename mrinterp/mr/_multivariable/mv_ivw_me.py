"""Multivariable inverse-variance weighting with measurement error in the exposures' effects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.inference import choice, heterogeneity
from mrinterp.mr._engine.registry import Fit
from mrinterp.mr._multivariable.joint_data import JointData, outcome_blocks
from mrinterp.mr._multivariable.joint_estimator import joint_estimator
from mrinterp.stats.profile.inference import many_weak_covariance
from mrinterp.stats.profile.likelihood import minimize_profile

__all__ = ["mv_ivw_me"]

Array = NDArray[np.float64]


@joint_estimator(
    "mv_ivw_me",
    "MV-IVW with measurement error",
    assumes=(
        "instruments are independent of one another",
        "every instrument is valid up to balanced pleiotropy",
        "the errors' covariance is known",
    ),
    reference="Zhu, Burgess & Grant 2022, doi:10.48550/arXiv.2203.08668",
    beyond=1,
)
def mv_ivw_me(
    data: JointData,
    *,
    model: str = "random",
) -> Fit:
    """Maximum likelihood when the effects on exposures and outcome all carry known errors.

    Parameters
    ----------
    data : JointData
        Effects with their errors.
    model : {"random", "fixed"}
        Errors times max(1, sqrt(Q/(J - F))), Q = Sum e^2/syy, or as they are.

    Returns
    -------
    Fit
        Arrays (F, O); ``details`` holds the heterogeneity Q with first-order weights and ``q_exact``,
        the minimized Sum e^2/v on J - F degrees of freedom.

    Notes
    -----
    Minimizes Sum e_j^2/v_j, v_j = [theta;-1]'Sigma_j[theta;-1], from MV-IVW. Errors: H^-1 (Sum c_j c_j'/v_j)
    H^-1 with the observed information H and c_j = b_j + e_j (Sxx theta - sxy)/v_j. Overdispersion only
    scales the error: under pleiotropy larger than estimation error the estimate itself is off by a fifth
    and more in simulation; use `grapple` or `mv_gmm`. Not valid when H is
    not positive definite (status).
    """
    choice("model", model, ("random", "fixed"))
    J, F, O = data.size
    beta, se = np.full((F, O), np.nan), np.full((F, O), np.nan)
    q, exact = np.full(O, np.nan), np.full(O, np.nan)
    words = np.full(O, "ok", dtype=object)
    for rows in outcome_blocks(O, 6 * J * F):
        w = data.weight[rows]
        gram = np.matmul(data.b.T[None] * w[:, None, :], data.b)
        right = ((w * data.g[rows]) @ data.b)[..., None]
        start = np.asarray(np.linalg.solve(gram, right)[..., 0], dtype=np.float64)
        errors = data.outcome_errors(rows)
        ends = minimize_profile(errors, start)
        variance, ok = many_weak_covariance(errors, ends.theta)
        e = errors.residuals(ends.theta)[0]
        q[rows], exact[rows] = (w * e * e).sum(axis=1), 2.0 * ends.value
        scale = np.maximum(1.0, q[rows] / (J - F)) if model == "random" else np.ones(len(rows))
        beta[:, rows] = ends.theta.T
        se[:, rows] = np.sqrt(np.einsum("nkk->nk", variance) * scale[:, None]).T
        good = ok & ends.converged
        words[rows[~good]] = (
            "the likelihood has no maximum near MV-IVW: instruments too weak for these exposures"
        )
        beta[:, rows[~good]], se[:, rows[~good]] = np.nan, np.nan
    details = {k: np.broadcast_to(v, (F, O)) for k, v in heterogeneity(q, J - F).items()}
    details["q_exact"] = np.broadcast_to(exact, (F, O))
    return Fit(beta, se, status=words, details=details)
