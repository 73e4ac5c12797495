"""Regression with known errors in both variables: the profile objective, its derivatives and its minimum.

With effects ``b_j`` (K exposures) and ``g_j`` (one outcome) of instrument j and the known covariance of
their errors, the residual e_j = g_j - b_j'theta has variance
v_j = syy_j + theta'Sxx_j theta - 2 theta'sxy_j + tau2. Everything here is batched over N problems that may
differ in data, start, overdispersion and number of trimmed instruments.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mrinterp.stats.profile.losses import Loss, find_loss

__all__ = [
    "KnownErrors",
    "minimize_profile",
    "profile_derivatives",
]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class KnownErrors:
    """Data of N errors-in-variables problems on J instruments and K exposures.

    Parameters
    ----------
    beta_x : ndarray (1 or N, J, K)
    beta_y, var_y : ndarray (N, J)
        Outcome effects and the variance of their errors.
    sigma_xx : ndarray (J, K, K)
        Covariance of the errors of the exposure effects.
    sigma_xy : ndarray (1 or N, J, K), optional
        Their covariance with the outcome's error; None means independent.
    """

    beta_x: Array
    beta_y: Array
    var_y: Array
    sigma_xx: Array
    sigma_xy: Array | None = None

    @property
    def size(self) -> tuple[int, int, int]:
        """(problems, instruments, exposures)."""
        return (*self.beta_y.shape, self.beta_x.shape[2])

    def take(self, rows: NDArray[np.int_]) -> KnownErrors:
        """The chosen problems, repeated where a row is repeated."""
        x = self.beta_x if len(self.beta_x) == 1 else self.beta_x[rows]
        xy = self.sigma_xy if self.sigma_xy is None or len(self.sigma_xy) == 1 else self.sigma_xy[rows]
        return replace(self, beta_x=x, beta_y=self.beta_y[rows], var_y=self.var_y[rows], sigma_xy=xy)

    def redraw(self, normals: Array) -> KnownErrors:
        """The same problems with effects drawn anew around the observed ones, from their joint errors.

        ``normals`` (N or 1, J, K + 1): standard normal draws. Give the same ones to every outcome, and what
        comes out for one does not depend on which others were asked for.
        """
        K = self.size[2]
        values, vectors = np.linalg.eigh(self.sigma_xx)
        spread = np.sqrt(np.maximum(values, 0.0))
        z = normals[:, :, :K]
        beta_x = self.beta_x + np.matmul((vectors * spread[:, None, :])[None], z[..., None])[..., 0]
        shift: Array | float = 0.0
        left = self.var_y
        if self.sigma_xy is not None:
            safe = np.where(spread > 0, spread, np.inf)
            pull = np.matmul((vectors / safe[:, None, :]).transpose(0, 2, 1)[None], self.sigma_xy[..., None])[
                ..., 0
            ]
            shift, left = (pull * z).sum(axis=2), np.maximum(left - (pull**2).sum(axis=2), 0.0)
        beta_y = self.beta_y + shift + np.sqrt(left) * normals[:, :, K]
        return replace(self, beta_x=beta_x, beta_y=beta_y)

    def residuals(self, theta: Array, tau2: Array | float = 0.0) -> tuple[Array, Array, Array]:
        """Residual e (N, J), its variance v (N, J) and half of v's gradient, m = Sxx theta - sxy (N, J, K)."""
        N, J, K = self.size
        if len(self.beta_x) == 1:
            fitted = theta @ self.beta_x[0].T
        else:
            fitted = np.matmul(self.beta_x, theta[:, :, None])[:, :, 0]
        m = (theta @ self.sigma_xx.reshape(J * K, K).T).reshape(N, J, K)
        v = np.matmul(m, theta[:, :, None])[:, :, 0] + self.var_y + np.broadcast_to(tau2, N)[:, None]
        if self.sigma_xy is not None:
            v -= 2.0 * np.matmul(self.sigma_xy, theta[:, :, None])[:, :, 0]
            m = m - self.sigma_xy
        return self.beta_y - fitted, v, m


def _kept(t: Array, trim: NDArray[np.int_] | None) -> Array | None:
    """Indicator of the instruments that stay when each problem drops its ``trim`` largest |t|."""
    if trim is None:
        return None
    size = np.abs(t)
    limit = np.take_along_axis(np.sort(size, axis=1), (t.shape[1] - 1 - trim)[:, None], axis=1)
    return (size <= limit).astype(float)


def profile_value(
    data: KnownErrors,
    theta: Array,
    loss: Loss,
    tau2: Array | float = 0.0,
    trim: NDArray[np.int_] | None = None,
) -> Array:
    """Sum over instruments of rho(e_j / sqrt(v_j)), per problem (N,); infinite where a variance is not positive."""
    e, v, _ = data.residuals(theta, tau2)
    bad = (v <= 0).any(axis=1) | ~np.isfinite(e).all(axis=1)
    t = e / np.sqrt(np.where(v > 0, v, 1.0))
    r = loss.rho(t)
    keep = _kept(t, trim)
    value = r.sum(axis=1) if keep is None else (r * keep).sum(axis=1)
    return np.where(bad, np.inf, value)


def profile_derivatives(
    data: KnownErrors,
    theta: Array,
    loss: Loss,
    tau2: Array | float = 0.0,
    trim: NDArray[np.int_] | None = None,
) -> tuple[Array, Array, Array]:
    """Value (N,), gradient (N, K) and Hessian (N, K, K) of the profile objective in theta.

    With t = e v^(-1/2) and m = Sxx theta - sxy: grad t = -(b + e m / v) v^(-1/2) and
    hess t = (b m' + m b' - e Sxx) v^(-3/2) + 3 e m m' v^(-5/2).
    """
    N, J, K = data.size
    e, v, m = data.residuals(theta, tau2)
    root = np.sqrt(v)
    t = e / root
    rho, psi, dpsi = loss.rho(t), loss.psi(t), loss.dpsi(t)
    keep = _kept(t, trim)
    if keep is not None:
        rho, psi, dpsi = rho * keep, psi * keep, dpsi * keep
    b = np.broadcast_to(data.beta_x, (N, J, K))
    slope_b, slope_m = -psi / root, -psi * e / (v * root)
    gradient = np.matmul(slope_b[:, None, :], b)[:, 0] + np.matmul(slope_m[:, None, :], m)[:, 0]
    bb = dpsi / v
    bm = dpsi * e / v**2 + psi / (v * root)
    mm = dpsi * e**2 / v**3 + 3.0 * psi * e / (v**2 * root)
    cross = np.matmul((b * bm[:, :, None]).transpose(0, 2, 1), m)
    hessian = np.matmul((b * bb[:, :, None]).transpose(0, 2, 1), b) + cross + cross.transpose(0, 2, 1)
    hessian += np.matmul((m * mm[:, :, None]).transpose(0, 2, 1), m)
    hessian -= ((psi * e / (v * root)) @ data.sigma_xx.reshape(J, K * K)).reshape(N, K, K)
    return rho.sum(axis=1), gradient, hessian


@dataclass(frozen=True, eq=False)
class ProfileMinimum:
    """Where each of N minimizations ended: theta (N, K), value (N,), converged (N,)."""

    theta: Array
    value: Array
    converged: NDArray[np.bool_]


def _newton_step(gradient: Array, hessian: Array, scale: Array) -> Array:
    """Descent direction from the Hessian with its eigenvalues made positive, in units of ``scale``."""
    g = gradient / scale
    h = hessian / (scale[:, :, None] * scale[:, None, :])
    h = np.where(np.isfinite(h).all(axis=(1, 2), keepdims=True), h, np.eye(g.shape[1]))
    values, vectors = np.linalg.eigh(h)
    size = np.abs(values)
    size = np.maximum(size, 1e-10 * size.max(axis=1, keepdims=True) + 1e-300)
    along = np.matmul(vectors.transpose(0, 2, 1), g[:, :, None])[:, :, 0]
    return -np.asarray(np.matmul(vectors, (along / size)[:, :, None])[:, :, 0] / scale)


def minimize_profile(
    data: KnownErrors,
    theta: Array,
    loss: str | Loss = "l2",
    tau2: Array | float = 0.0,
    trim: NDArray[np.int_] | None = None,
    max_iterations: int = 100,
) -> ProfileMinimum:
    """Minimize the profile objective from given starts by damped Newton steps, all problems at once.

    Parameters
    ----------
    data : KnownErrors
        N problems.
    theta : ndarray (N, K)
        Starts.
    loss : str or Loss
        ``"l2"`` is the profile likelihood.
    tau2 : float or ndarray (N,)
        Overdispersion added to the outcome's variance.
    trim : ndarray (N,) of int, optional
        Number of instruments, those with the largest |t|, left out of each problem's sum: the profile of
        a likelihood in which that many instruments have an effect of their own on the outcome.

    Returns
    -------
    ProfileMinimum
        A local minimum per problem; the value is not valid where ``converged`` is False.
    """
    loss = find_loss(loss) if isinstance(loss, str) else loss
    N, J, K = data.size
    theta = np.array(theta, dtype=float)
    tau2 = np.broadcast_to(np.asarray(tau2, dtype=float), N)
    value, converged = np.full(N, np.inf), np.zeros(N, bool)
    power = (data.beta_x**2 / np.mean(data.var_y)).sum(axis=1)
    scale = np.broadcast_to(np.sqrt(np.maximum(power, 1e-300)), (N, K))
    active = np.arange(N)
    for _ in range(max_iterations):
        part = data.take(active)
        trimmed = None if trim is None else trim[active]
        f, g, h = profile_derivatives(part, theta[active], loss, tau2[active], trimmed)
        value[active] = f
        with np.errstate(over="ignore", invalid="ignore"):
            usable = np.isfinite(g).all(axis=1) & (np.abs(h).max(axis=(1, 2)) < 1e200)
        active, part, f, g, h = (
            active[usable],
            part.take(np.flatnonzero(usable)),
            f[usable],
            g[usable],
            h[usable],
        )
        trimmed = None if trimmed is None else trimmed[usable]
        if not len(active):
            break
        step = _newton_step(g, h, scale[active])
        drop = (g * step).sum(axis=1)
        length = _line_search(part, theta[active], step, drop, f, loss, tau2[active], trimmed)
        theta[active] += length[:, None] * step
        done = (-drop < 1e-13) | (length == 0.0)
        converged[active[done]] = -drop[done] < 1e-8 * np.maximum(1.0, np.abs(f[done]))
        active = active[~done]
        if not len(active):
            break
    return ProfileMinimum(theta, profile_value(data, theta, loss, tau2, trim), converged)


def _line_search(
    data: KnownErrors,
    theta: Array,
    step: Array,
    drop: Array,
    start: Array,
    loss: Loss,
    tau2: Array,
    trim: NDArray[np.int_] | None,
) -> Array:
    """Step lengths (N,) that lower each objective enough, halving from 1; 0 where none does."""
    length = np.ones(len(theta))
    slack = 1e-12 * np.maximum(1.0, np.abs(start))
    left = np.arange(len(theta))
    for _ in range(40):
        trimmed = None if trim is None else trim[left]
        new = profile_value(
            data.take(left), theta[left] + length[left, None] * step[left], loss, tau2[left], trimmed
        )
        left = left[~(new <= start[left] + 1e-4 * length[left] * drop[left] + slack[left])]
        if not len(left):
            return length
        length[left] *= 0.5
    length[left] = 0.0
    return length
