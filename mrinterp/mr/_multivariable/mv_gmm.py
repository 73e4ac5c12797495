"""Generalized method of moments for several exposures, with correlated instruments, and on principal components."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from mrinterp.mr._engine.inference import choice, heterogeneity
from mrinterp.mr._engine.registry import Fit
from mrinterp.mr._multivariable.joint_data import JointData, outcome_blocks
from mrinterp.mr._multivariable.joint_estimator import joint_estimator
from mrinterp.stats.profile.dense_profile import DenseErrors, joint_effects, minimize_dense
from mrinterp.stats.profile.inference import many_weak_covariance, matching_overdispersion
from mrinterp.stats.profile.likelihood import KnownErrors, minimize_profile

__all__ = [
    "dense_overdispersion",
    "dense_variance",
    "independent_moments",
    "marginal_moments",
    "mv_gmm",
    "pc_gmm",
]

Array = NDArray[np.float64]

_ASSUMES = (
    "instruments are valid up to balanced pleiotropy of one variance",
    "the errors' covariance is known",
)
NO_MINIMUM = "the objective has no clear minimum: instruments too weak for these exposures"
NOT_POSITIVE = (
    "the error covariance of the moments is not positive definite: check ld, standard errors and sample sizes"
)
_SINGULAR = 1e-10
_REFERENCE = "Patel et al. 2023, doi:10.1101/2023.07.20.23292958; Newey & Windmeijer 2009 Econometrica, doi:10.3982/ECTA6224"


@joint_estimator("mv_gmm", "MV-GMM", assumes=_ASSUMES, reference=_REFERENCE, beyond=1)
def mv_gmm(
    data: JointData,
    *,
    ld: Array | None = None,
    n_x: Array | None = None,
    n_y: Array | None = None,
    overdispersion: bool = True,
    errors: str = "many_weak",
) -> Fit:
    """Continuously updated GMM: minimize e(theta)' Omega(theta)^-1 e(theta).

    Parameters
    ----------
    data : JointData
        Effects with their errors.
    ld : ndarray (J, J), optional
        Correlation of the instruments; independent by default.
    n_x : ndarray (F,), n_y : ndarray (O,), optional
        Sample sizes. Given, marginal effects are turned into joint ones with their exact covariance;
        otherwise the moments are marginal with covariance se * ld * se.
    overdispersion : bool
        Add to every moment the variance tau2 at which Q, at the estimate without it, equals its degrees
        of freedom (0 where Q is already below).
    errors : {"many_weak", "standard"}
        Newey-Windmeijer errors, right with many weak instruments, or (B'Omega^-1 B)^-1.

    Returns
    -------
    Fit
        Arrays (F, O); ``details`` holds Q, its degrees of freedom and p, and ``overdispersion`` (tau2).

    Notes
    -----
    With e(theta) = g - B theta the J moments and S_kl, S_ky, S_yy (J, J) the error covariances of the effects::

        Omega(theta) = S_yy + Sum_kl theta_k theta_l S_kl - Sum_k theta_k (S_ky + S_ky') + tau2 I
        theta        = argmin Q(theta),  Q = e' Omega^-1 e        (weights updated continuously)
        tau2         : e' (Omega + tau2 I)^-1 e = J - K at the theta found with tau2 = 0; theta then once more
        Var(theta)   = H^-1 (D' Omega^-1 D) H^-1,  H half the Hessian of Q,
                       D_k = b_k - Cov(b_k, e) Omega^-1 e,  Cov(b_k, e) = S_ky - Sum_l theta_l S_kl

    Marginal effects have S = se ld se' times the traits' correlation. Given sample sizes they become joint
    effects of all instruments: with a_j = 1 / (n se_j^2 + b_j^2) and A = (a a')^(1/2) * ld, the effects are
    A^-1 (a * b) and S_kl = (A_k^1/2 A_l^1/2)^-1 (rho_kl - explained_kl) / sqrt((n_k - J + 1)(n_l - J + 1)).
    Independent instruments: all outcomes at once. Correlated ones: outcomes are looped over, because Omega
    is then a full matrix that depends on theta and outcome. Without overdispersion and with one exposure
    this is maximum likelihood with correlated instruments. Weak identification: see `weak_sets`.
    Sources: continuous updating Hansen, Heaton & Yaron 1996 (10.1080/07350015.1996.10524656), the variance
    Newey & Windmeijer 2009, overdispersion Patel et al. 2023; the equation for tau2 is the method of moments.
    """
    choice("errors", errors, ("many_weak", "standard"))
    if ld is None:
        fit = _gmm_independent(data, n_x, n_y, overdispersion, errors)
    else:
        everything = np.eye(data.size[0])
        fit = _gmm(data, _correlation(ld), lambda o: everything, n_x, n_y, overdispersion, errors)
    fit.meta["moments"] = _kind(n_x, n_y)
    return fit


@joint_estimator(
    "pc_gmm",
    "GMM on principal components of correlated instruments",
    assumes=(*_ASSUMES, "the leading components of the instruments carry their effects"),
    reference=_REFERENCE + "; Batool, Patel, Gill & Burgess 2021, doi:10.48550/arXiv.2109.12361",
    beyond=1,
)
def pc_gmm(
    data: JointData,
    *,
    ld: Array,
    n_x: Array | None = None,
    n_y: Array | None = None,
    threshold: float = 0.99,
    components: str = "eigen",
    overdispersion: bool = True,
    errors: str = "many_weak",
) -> Fit:
    """`mv_gmm` on the leading principal components of the instruments' weighted correlation matrix.

    Parameters as in `mv_gmm`, and:

    ld : ndarray (J, J)
        Correlation of the instruments.
    threshold : float
        Share of variation that the kept components explain.
    components : {"eigen", "prcomp"}
        Eigenvectors of Phi = (v v') * ld, v_j = Sum_k |b_jk| / sy_j, by share of eigenvalues; or, as the R
        package MendelianRandomization has it, the components of the rows of Phi taken as data (columns
        centred, squared eigenvalues), which keeps fewer.

    Returns
    -------
    Fit
        As `mv_gmm`; ``details`` adds ``n_components`` and, for one exposure, ``f`` (first-stage F).

    Notes
    -----
    With L (J, r) the loadings of the components: moments L'e(theta) with covariance L' Omega L; given sample
    sizes, joint effects (L'AL)^-1 L'(a * b), A and a as in `mv_gmm` and r in place of J. With several exposures the
    published weights v add effects in the exposures' units, so that the kept components, and with them the estimate,
    depend on these units: give exposures on one scale, such as standard deviations.
    """
    choice("errors", errors, ("many_weak", "standard"))
    choice("components", components, ("eigen", "prcomp"))
    F = data.size[1]

    def loadings(o: int) -> Array:
        weight = np.abs(data.b).sum(axis=1) * np.sqrt(data.weight[o])
        return _components(weight[:, None] * ld * weight, threshold, components, at_least=F + 1)

    fit = _gmm(data, _correlation(ld), loadings, n_x, n_y, overdispersion, errors)
    fit.details["n_components"] = fit.details["q_df"] + F
    fit.meta["moments"] = _kind(n_x, n_y)
    return fit


def _kind(n_x: Array | None, n_y: Array | None) -> str:
    return "marginal" if n_x is None or n_y is None else "joint"


def _correlation(ld: Array) -> Array:
    return np.asarray((ld + ld.T) / 2)


def _components(phi: Array, threshold: float, how: str, at_least: int = 1) -> Array:
    """Loadings (J, r) of the components that explain ``threshold`` of the variation."""
    if how == "prcomp":
        _, singular, rows = np.linalg.svd(phi - phi.mean(axis=0))
        values, vectors = singular**2, rows.T
    else:
        values, vectors = np.linalg.eigh(phi)
        values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    share = np.cumsum(values) / values.sum()
    count = max(int(np.searchsorted(share, threshold) + 1), at_least)
    return np.asarray(vectors[:, : min(count, len(phi))])


def error_correlation(data: JointData, o: int) -> Array:
    """Correlation of the errors of (exposures, outcome o), averaged over instruments (K + 1, K + 1)."""
    J, K, _ = data.size
    sd = np.sqrt(np.einsum("jkk->jk", data.sigma_xx))
    out = np.eye(K + 1)
    out[:K, :K] = (data.sigma_xx / (sd[:, :, None] * sd[:, None, :])).mean(axis=0)
    if data.sigma_xy is not None:
        out[:K, K] = out[K, :K] = (data.sigma_xy[o] / sd * np.sqrt(data.weight[o])[:, None]).mean(axis=0)
    return out


def marginal_moments(
    data: JointData, o: int, ld: Array, loadings: Array, n_x: Array | None, n_y: Array | None
) -> DenseErrors:
    """Moments of one outcome: joint effects where sample sizes are known, else marginal ones, on the loadings.

    Raises LinAlgError where their errors are linearly dependent (copies among the instruments).
    """
    K = data.size[1]
    corr = error_correlation(data, o)
    effects = np.vstack([data.b.T, data.g[o]])
    sd = np.vstack([np.sqrt(np.einsum("jkk->kj", data.sigma_xx)), 1.0 / np.sqrt(data.weight[o])])
    if n_x is not None and n_y is not None:
        gamma, cov = joint_effects(
            effects, sd, np.r_[np.asarray(n_x, float), float(n_y[o])], corr, ld, loadings
        )
        overlap = cov[:K, K] if data.sigma_xy is not None else None
    else:
        gamma = effects @ loadings
        shape = np.einsum("tj,um,jm,tu->tujm", sd, sd, ld, corr)
        cov = np.einsum("ja,tujm,mb->tuab", loadings, shape, loadings, optimize=True)
        overlap = cov[:K, K] if data.sigma_xy is not None else None
    size = np.sqrt(np.diag(cov[K, K]))
    if not np.linalg.eigvalsh(cov[K, K] / np.outer(size, size))[0] > _SINGULAR:
        raise np.linalg.LinAlgError("the outcome's moments are linearly dependent")
    return DenseErrors(gamma[:K].T, gamma[K], cov[:K, :K], cov[K, K], overlap)


def dense_overdispersion(data: DenseErrors, theta: Array, df: int) -> float:
    """tau2 at which e'(Omega(theta) + tau2 I)^-1 e equals df; 0 where it is already below."""
    e = data.beta_y - data.beta_x @ theta
    values, vectors = np.linalg.eigh(data.omega(theta))
    along = (vectors.T @ e) ** 2

    def excess(tau2: float) -> float:
        return float((along / (values + tau2)).sum() - df)

    if excess(0.0) <= 0:
        return 0.0
    return float(optimize.brentq(excess, 0.0, float(along.sum()) / df + values[-1], xtol=1e-300, rtol=1e-12))


def dense_variance(data: DenseErrors, theta: Array, errors: str) -> Array:
    """Covariance of the estimate, (K, K); nan where the information is not positive definite."""
    _, D, solved = data.score_directions(theta)
    K = len(theta)
    if errors == "standard":
        omega = data.omega(theta)
        return np.linalg.inv(data.beta_x.T @ np.linalg.solve(omega, data.beta_x))
    meat = D.T @ solved[:, 1:]
    step = 1e-4 * np.sqrt(np.abs(np.diag(np.linalg.pinv(meat))))
    hessian = np.empty((K, K))
    for k in range(K):  # K pairs of analytic gradients
        shift = np.zeros(K)
        shift[k] = step[k]
        hessian[k] = (data.objective(theta + shift)[1] - data.objective(theta - shift)[1]) / (4.0 * step[k])
    hessian = (hessian + hessian.T) / 2.0
    size = np.sqrt(np.abs(np.diag(hessian)) + 1e-300)
    if np.linalg.eigvalsh(hessian / np.outer(size, size))[0] < 1e-8:
        return np.full((K, K), np.nan)
    bread = np.linalg.inv(hessian)
    return np.asarray(bread @ meat @ bread)


def independent_moments(data: JointData, n_x: Array | None, n_y: Array | None) -> KnownErrors:
    """Moments of all outcomes with independent instruments; exact one-sample covariances where sizes are known."""
    J, K, O = data.size
    errors = data.outcome_errors(np.arange(O))
    if n_x is None or n_y is None:
        return errors
    nx, ny = np.asarray(n_x, float), np.asarray(n_y, float)[:, None]
    spread_x = np.sqrt(
        nx * np.einsum("jkk->jk", data.sigma_xx) + data.b**2
    )  # sd of the trait over the instrument's
    spread_y = np.sqrt(ny / data.weight + data.g**2)
    along_x, along_y = data.b / spread_x, data.g / spread_y
    corr = np.stack(
        [error_correlation(data, o) for o in range(O)]
        if data.sigma_xy is not None
        else [error_correlation(data, 0)]
    )
    left_x = (corr[0, :K, :K] - along_x.T @ along_x) / np.sqrt(np.outer(nx - J + 1.0, nx - J + 1.0))
    sigma_xx = spread_x[:, :, None] * left_x * spread_x[:, None, :]
    var_y = spread_y**2 * (1.0 - (along_y**2).sum(axis=1, keepdims=True)) / (ny - J + 1.0)
    sigma_xy = None
    if data.sigma_xy is not None:
        left = (corr[:, :K, K] - along_y @ along_x) / np.sqrt((nx - J + 1.0) * (ny - J + 1.0))
        sigma_xy = spread_x[None] * left[:, None, :] * spread_y[:, :, None]
    return KnownErrors(data.b[None], data.g, var_y, sigma_xx, sigma_xy)


def _gmm_independent(
    data: JointData, n_x: Array | None, n_y: Array | None, overdispersion: bool, errors: str
) -> Fit:
    """Estimates of all outcomes at once when instruments are independent: the profile likelihood with tau2."""
    J, K, O = data.size
    df = J - K
    everything = independent_moments(data, n_x, n_y)
    beta, se, q, tau2 = np.full((K, O), np.nan), np.full((K, O), np.nan), np.full(O, np.nan), np.zeros(O)
    words = np.full(O, "ok", dtype=object)
    improper = (everything.var_y <= 0).any(axis=1) | (
        np.linalg.eigvalsh(everything.sigma_xx)[:, 0] <= 0
    ).any()
    words[improper] = NOT_POSITIVE
    usable = np.flatnonzero(~improper)
    for block in outcome_blocks(len(usable), 8 * J * K):
        rows = usable[block]
        part = everything.take(rows)
        w = 1.0 / part.var_y
        gram = np.matmul(data.b.T[None] * w[:, None, :], data.b)
        right = ((w * part.beta_y) @ data.b)[..., None]
        start = np.asarray(np.linalg.solve(gram, right)[..., 0], dtype=np.float64)
        end = minimize_profile(part, start)
        if overdispersion and df > 0:
            tau2[rows] = matching_overdispersion(part, end.theta, df)
            end = minimize_profile(part, end.theta, tau2=tau2[rows])
        variance, ok = many_weak_covariance(part, end.theta, tau2[rows])
        if errors == "standard":
            v = part.residuals(end.theta, tau2[rows])[1]
            variance = np.linalg.inv(np.matmul(data.b.T[None] / v[:, None, :], data.b))
        beta[:, rows], q[rows] = end.theta.T, 2.0 * end.value
        se[:, rows] = np.sqrt(np.einsum("nkk->nk", variance)).T
        words[rows[~(ok & end.converged)]] = NO_MINIMUM
    details = {k: np.array(np.broadcast_to(v, (K, O))) for k, v in heterogeneity(q, df).items()}
    details["overdispersion"] = np.array(np.broadcast_to(tau2, (K, O)))
    return Fit(beta, se, status=words, details=details)


def _gmm(
    data: JointData,
    ld: Array,
    loadings: Callable[[int], Array],
    n_x: Array | None,
    n_y: Array | None,
    overdispersion: bool,
    errors: str,
) -> Fit:
    """Estimates of all outcomes, one after the other, each on its loadings."""
    _, K, O = data.size
    spread: list[dict[str, Array]] = []
    beta, se, q, tau2 = np.full((K, O), np.nan), np.full((K, O), np.nan), np.full(O, np.nan), np.zeros(O)
    words: list[str] = []
    first_stage = np.full(O, np.nan)
    for o in range(O):
        word, combined = "ok", loadings(o)
        df = combined.shape[1] - K
        try:
            moments = marginal_moments(data, o, ld, combined, n_x, n_y)
            end = minimize_dense(moments)
            if overdispersion and df > 0:
                tau2[o] = dense_overdispersion(moments, end.theta, df)
                if tau2[o] > 0:
                    moments = moments.overdispersed(tau2[o])
                    end = minimize_dense(moments)
            variance = dense_variance(moments, end.theta, errors)
            beta[:, o], se[:, o], q[o] = end.theta, np.sqrt(np.diag(variance)), end.value
            if K == 1:
                b = moments.beta_x[:, 0]
                first_stage[o] = float(b @ np.linalg.solve(moments.sigma_xx[0, 0], b)) / len(b)
            if not (end.converged and np.isfinite(se[:, o]).all()):
                word = NO_MINIMUM
        except np.linalg.LinAlgError:
            word = NOT_POSITIVE
        words.append(word)
        spread.append(heterogeneity(q[o : o + 1], df))
    columns = {k: np.concatenate([s[k] for s in spread]) for k in spread[0]} if spread else {}
    details = {k: np.array(np.broadcast_to(v, (K, O))) for k, v in columns.items()}
    details["overdispersion"] = np.array(np.broadcast_to(tau2, (K, O)))
    if K == 1:
        details["f"] = first_stage[None]
    return Fit(beta, se, details.get("q_df", np.inf), status=np.array(words, object), details=details)
