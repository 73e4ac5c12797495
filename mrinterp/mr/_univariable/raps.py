"""Robust adjusted profile score, one exposure: many weak instruments, balanced pleiotropy, outliers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.inference import choice
from mrinterp.mr._engine.registry import Fit, estimator
from mrinterp.mr._univariable.max_likelihood import minimize_on_line
from mrinterp.stats.profile.losses import LOSSES, Loss, find_loss

__all__ = ["raps"]

Array = NDArray[np.float64]


def _theta(
    b: Array, s: Array, g: Array, t: Array, tau2: Array, loss: Loss, start: Array, scale: Array
) -> Array:
    """Minimum over theta of Sum rho(e / sqrt(v)) at a given overdispersion, per row."""
    base, s2 = t * t + tau2[:, None], s * s

    def value(theta: Array) -> Array:
        th = theta[:, None]
        return np.asarray(loss.rho((g - th * b) / np.sqrt(base + th * th * s2)).sum(axis=1))

    def slope(theta: Array) -> Array:
        th = theta[:, None]
        v = base + th * th * s2
        e = g - th * b
        root = np.sqrt(v)
        return np.asarray((loss.psi(e / root) * (-b / root - e * th * s2 / (v * root))).sum(axis=1))

    return minimize_on_line(value, slope, start, scale, points=48)


def _tau2(b: Array, s: Array, g: Array, t: Array, theta: Array, loss: Loss) -> Array:
    """Root of Sum (s^2/v)[t psi(t) - delta] in tau^2; 0 where it is not positive at 0."""
    e2 = np.square(g - theta[:, None] * b)
    base, s2 = t * t + np.square(theta)[:, None] * s * s, s * s

    def score(tau2: Array) -> Array:
        v = base + tau2[:, None]
        z = np.sqrt(e2 / v)
        return np.asarray((s2 / v * (z * loss.psi(z) - loss.delta)).sum(axis=1))

    # At the upper end every standardized residual is below 1.
    low, high = np.zeros(len(b)), e2.max(axis=1) + base.max(axis=1)
    none = score(low) <= 0
    for _ in range(70):  # to 2^-70 of the bracket, beyond a double's digits
        middle = (low + high) / 2
        positive = score(middle) > 0
        low, high = np.where(positive, middle, low), np.where(positive, high, middle)
    return np.where(none, 0.0, (low + high) / 2)


def _errors(
    b: Array, s: Array, g: Array, t: Array, theta: Array, tau2: Array, loss: Loss, joint: bool
) -> tuple[Array, Array]:
    """Standard errors of theta and of tau^2 (nan where it is not estimated)."""
    s2, noise = s * s, t * t + tau2[:, None]
    v = noise + np.square(theta)[:, None] * s2
    G = (g * g - noise) * s2 + (b * b - s2) * noise
    v1 = loss.c1 * ((G + s2 * noise) / v**2).sum(axis=1)
    info = loss.delta * (G / v**2).sum(axis=1)
    variance = v1 / info**2
    if not joint:
        return np.sqrt(variance), np.full(len(b), np.nan)
    v2 = loss.c2 * (s2 * s2 / v**2).sum(axis=1)
    cross = loss.delta * theta * (s2 / v**2).sum(axis=1)
    own = loss.c3 / 2.0 * (s2 / v**2).sum(axis=1)
    return np.sqrt(variance + (cross / (info * own)) ** 2 * v2), np.sqrt(v2) / own


@estimator(
    "raps",
    "Robust adjusted profile score",
    assumes=(
        "pleiotropy is balanced, but for a few outliers (none with loss l2)",
        "errors of exposure and outcome are independent",
    ),
    reference="Zhao, Wang, Hemani, Bowden & Small 2020 Ann Stat, doi:10.1214/19-AOS1866",
    subtracts="own",
)
def raps(
    effects: Effects,
    *,
    loss: str = "huber",
    overdispersion: bool = True,
) -> Fit:
    """Minimum of Sum rho((g - theta b) / sqrt(syy + theta^2 sxx + tau^2)), tau^2 from its own equation.

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes.
    loss : {"huber", "tukey", "l2"}
        How residuals count (Huber's constant 1.345, Tukey's 4.685).
    overdispersion : bool
        Whether tau^2 is estimated (else 0).

    Notes
    -----
    tau^2 solves Sum (s^2/v)[t psi(t) - E Z psi(Z)] = 0, alternating with theta; 0 where the equation
    is negative there, and the error of theta still counts its estimation. Not valid with overlap of
    errors (use a profile score that knows it), nor with directional pleiotropy.
    """
    choice("loss", loss, LOSSES)
    shape = effects.shape
    b, s, g, t = effects.cells()
    how = find_loss(loss)
    w = 1.0 / (t * t)
    xx = (w * b * b).sum(axis=1)
    centre = np.median(g / np.where(b == 0, np.nan, b), axis=1)
    ivw = (w * b * g).sum(axis=1) / xx
    centre = np.where(np.isfinite(centre), centre, ivw)
    q = (w * np.square(g - ivw[:, None] * b)).sum(axis=1)
    # Three errors of IVW, and how far it lies from the median ratio: half of the angles searched fall within it.
    scale = 3.0 * np.sqrt(np.maximum(q / b.shape[1], 1.0) / xx) + np.abs(centre - ivw)
    tau2 = np.zeros(len(b))
    theta = _theta(b, s, g, t, tau2, how, centre, scale)
    if overdispersion:
        theta, tau2 = _alternate(b, s, g, t, theta, how, centre, scale)
    se, tau2_se = _errors(b, s, g, t, theta, tau2, how, overdispersion)
    details = {"overdispersion": tau2.reshape(shape)} if overdispersion else {}
    if overdispersion:
        details["overdispersion_se"] = tau2_se.reshape(shape)
    return Fit(theta.reshape(shape), se.reshape(shape), details=details)


def _alternate(
    b: Array, s: Array, g: Array, t: Array, theta: Array, loss: Loss, centre: Array, scale: Array
) -> tuple[Array, Array]:
    """tau^2 given theta, theta given tau^2, until neither moves; rows that have settled drop out."""
    theta, tau2 = theta.copy(), np.zeros(len(b))
    active = np.arange(len(b))
    for _ in range(200):  # the bound is for a cell that goes to and fro
        rows = (b[active], s[active], g[active], t[active])
        new_tau2 = _tau2(*rows, theta[active], loss)
        new_theta = _theta(*rows, new_tau2, loss, centre[active], scale[active])
        moved = np.abs(new_theta - theta[active]) > 1e-10 * (np.abs(new_theta) + scale[active] * 1e-3)
        theta[active], tau2[active] = new_theta, new_tau2
        active = active[moved]
        if not len(active):
            break
    return theta, tau2
