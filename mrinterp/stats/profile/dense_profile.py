"""Continuously updated moments with correlated instruments: one full error matrix per problem."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

__all__ = ["DenseErrors", "joint_effects", "minimize_dense"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DenseErrors:
    """Moments e(theta) = g - B theta of one outcome with full error covariance.

    ``beta_x`` (r, K), ``beta_y`` (r,); ``sigma_xx`` (K, K, r, r), ``sigma_yy`` (r, r), ``sigma_xy``
    (K, r, r) or None: Cov(b_k, g).
    """

    beta_x: Array
    beta_y: Array
    sigma_xx: Array
    sigma_yy: Array
    sigma_xy: Array | None = None

    def omega(self, theta: Array) -> Array:
        """Covariance of e(theta), (r, r)."""
        out: Array = self.sigma_yy + np.einsum("k,l,klij->ij", theta, theta, self.sigma_xx, optimize=True)
        if self.sigma_xy is not None:
            half = np.einsum("k,kij->ij", theta, self.sigma_xy)
            out = out - half - half.T
        return out

    def error_covariance(self, theta: Array) -> Array:
        """Cov(b_k, -e(theta)), (K, r, r): half of omega's derivative."""
        out: Array = np.einsum("l,klij->kij", theta, self.sigma_xx)
        return out if self.sigma_xy is None else out - self.sigma_xy

    def overdispersed(self, tau2: float) -> DenseErrors:
        """The same with tau2 added to the variance of every moment."""
        return replace(self, sigma_yy=self.sigma_yy + tau2 * np.eye(len(self.sigma_yy)))

    def objective(self, theta: Array) -> tuple[float, Array]:
        """Q = e' Omega^-1 e and its gradient (K,); infinite where Omega is not positive definite."""
        e = self.beta_y - self.beta_x @ theta
        try:
            factor = linalg.cho_factor(self.omega(theta), check_finite=False)
        except linalg.LinAlgError:
            return np.inf, np.zeros(len(theta))
        u = linalg.cho_solve(factor, e, check_finite=False)
        shared = self.error_covariance(theta)
        return float(e @ u), np.asarray(
            -2.0 * (self.beta_x.T @ u) - 2.0 * np.einsum("i,kij,j->k", u, shared, u)
        )

    def score_directions(self, theta: Array) -> tuple[Array, Array, Array]:
        """Residual e (r,), D (r, K) = exposure effects freed of their dependence on e, and Omega^-1 [e, D] (r, K + 1)."""
        e = self.beta_y - self.beta_x @ theta
        factor = linalg.cho_factor(self.omega(theta), check_finite=False)
        u = linalg.cho_solve(factor, e)
        D = self.beta_x + np.einsum("kij,j->ik", self.error_covariance(theta), u)
        return e, D, linalg.cho_solve(factor, np.column_stack([e, D]))


@dataclass(frozen=True)
class DenseMinimum:
    """Minimum of Q: theta (K,), value, whether the gradient vanished."""

    theta: Array
    value: float
    converged: bool


def minimize_dense(data: DenseErrors) -> DenseMinimum:
    """Continuously updated estimate: the lowest of the minima reached from three starts.

    Starts are unweighted least squares, generalized least squares with the outcome's errors and two-step
    weights. Exposures are rescaled to unit standard error first, so that the tolerance means the same
    for every exposure.
    """
    B, g = data.beta_x, data.beta_y
    ordinary = np.asarray(np.linalg.lstsq(B, g, rcond=None)[0], dtype=np.float64)
    starts: list[Array] = [ordinary]
    origin: Array = np.zeros(B.shape[1])
    for at in (origin, ordinary):
        weighted = linalg.solve(data.omega(at), B, assume_a="pos")
        starts.append(np.linalg.solve(weighted.T @ B, weighted.T @ g))
    weighted = linalg.solve(data.omega(ordinary), B, assume_a="pos")
    unit = 1.0 / np.sqrt((weighted * B).sum(axis=0))

    def scaled(x: Array) -> tuple[float, Array]:
        value, gradient = data.objective(x * unit)
        return value, gradient * unit

    best = DenseMinimum(ordinary, np.inf, False)
    for start in starts:
        end = optimize.minimize(
            scaled, start / unit, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 500}
        )
        if end.fun < best.value:
            flat = float(np.abs(end.jac).max()) < 1e-4
            best = DenseMinimum(np.asarray(end.x * unit), float(end.fun), flat)
    return best


def joint_effects(
    effects: Array, errors: Array, n: Array, trait_corr: Array, ld: Array, loadings: Array
) -> tuple[Array, Array]:
    """Effects of all instruments jointly, from marginal ones, with their covariance.

    Parameters
    ----------
    effects, errors : ndarray (T, J)
        Marginal effects of T traits, all measured in one sample each of size n.
    n : ndarray (T,)
    trait_corr : ndarray (T, T)
        Correlation of the traits, as they enter the errors (0 between samples without overlap).
    ld : ndarray (J, J)
        Correlation of the instruments.
    loadings : ndarray (J, r)
        Combinations of instruments (in units of covariance with the trait) to use; the identity for all.

    Returns
    -------
    ndarray (T, r), ndarray (T, T, r, r)

    Notes
    -----
    a = 1/(n s^2 + b^2) is the variance of an instrument over that of the trait, A = sqrt(a a') * ld,
    gamma = (L'AL)^-1 L'(a b), covariance (A_k^1/2 A_l^1/2)^-1 (rho_kl - explained_kl)/sqrt((n_k - r + 1)(n_l - r + 1)).
    """
    T, r = len(effects), loadings.shape[1]
    a = 1.0 / (n[:, None] * errors**2 + effects**2)
    roots, moments = [], []
    for t in range(T):
        root = np.sqrt(a[t])
        values, vectors = np.linalg.eigh(loadings.T @ (root[:, None] * ld * root) @ loadings)
        roots.append((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)
        moments.append(loadings.T @ (a[t] * effects[t]))
    gamma = np.stack([np.linalg.solve(roots[t] @ roots[t], moments[t]) for t in range(T)])
    covariance = np.empty((T, T, r, r))
    for k in range(T):
        for m in range(T):
            inverse = np.linalg.inv(roots[k] @ roots[m].T)
            unexplained = trait_corr[k, m] - moments[k] @ inverse @ moments[m]
            covariance[k, m] = inverse * unexplained / np.sqrt((n[k] - r + 1.0) * (n[m] - r + 1.0))
    return gamma, covariance
