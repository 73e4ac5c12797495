"""Radial IVW and Egger: the same regressions on the scale where every instrument's outlyingness is seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.effects import Effects, delta_variance
from mrinterp.mr._engine.inference import choice, heterogeneity, p_value, residual_df
from mrinterp.mr._engine.registry import Fit, estimator
from mrinterp.stats.tests.tails import neglog10p_chi2, two_sided_p

__all__ = ["radial_egger", "radial_ivw"]

Array = NDArray[np.float64]

_REFERENCE = "Bowden et al. 2018 Int J Epidemiol, doi:10.1093/ije/dyy101"


def _modified(b: Array, s: Array, t: Array, theta: Array) -> Array:
    return np.asarray(b * b / (t * t + (theta * theta)[:, None] * s * s))


def _weights(b: Array, s: Array, g: Array, t: Array, kind: str, rho: Array) -> Array:
    choice("weights", kind, ("first", "second", "modified", "iterative"))
    first = b * b / (t * t)
    if kind == "first":
        return first
    if kind == "second":
        return np.asarray(b * b / delta_variance(b, s, g, t, rho))
    theta = (first * g / b).sum(axis=1) / first.sum(axis=1)
    w = _modified(b, s, t, theta)
    for _ in range(100 if kind == "iterative" else 0):
        w = _modified(b, s, t, (w * g / b).sum(axis=1) / w.sum(axis=1))
    return w


def _radial_slope(x: Array, ratio: Array) -> Array:
    """Slope of ratio x on x with intercept."""
    y, dx = ratio * x, x - x.mean(axis=1, keepdims=True)
    return np.asarray((dx * y).sum(axis=1) / (dx * dx).sum(axis=1))


def _outliers(q: Array, alpha: float, shape: tuple[int, int]) -> dict[str, NDArray[np.bool_]]:
    p = two_sided_p(neglog10p_chi2(q, 1.0))
    return {"outliers": (p < alpha).reshape(*shape, -1)}


@estimator(
    "radial_ivw",
    "Radial inverse-variance weighted",
    assumes=("pleiotropy is balanced and independent of instrument strength",),
    reference=_REFERENCE,
    divides=True,
)
def radial_ivw(
    effects: Effects,
    *,
    weights: str = "modified",
    floor: bool = True,
    alpha: float = 0.05,
    distribution: str = "normal",
    rho: Array | None = None,
) -> Fit:
    """Regression of ratio x sqrt(W) on sqrt(W) through the origin.

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes.
    weights : {"first", "second", "modified", "iterative"}
        W = b^2/syy; the second-order variance (with ``rho``); b^2/(syy + theta^2 sxx) at the
        first-order theta; or the same iterated to its own theta.
    floor : bool
        Whether the residual variance is at least 1.
    alpha : float
        Instruments whose share of Q has a chi-square p below this are flagged as outliers, without
        correction for their number.
    distribution : {"normal", "t"}
        Reference of the interval; t has J - 1 degrees of freedom.

    Notes
    -----
    Outlier removal and re-estimation on the same data does not hold its level; read the flags as
    a list of what to look at.
    """
    choice("distribution", distribution, ("normal", "t"))
    shape, J = effects.shape, effects.count
    b, s, g, t = effects.cells()
    r = np.zeros((len(b), 1)) if rho is None else rho.reshape(-1, 1)
    w = _weights(b, s, g, t, weights, r)
    total = w.sum(axis=1)
    beta = (w * g / b).sum(axis=1) / total
    share = w * (g / b - beta[:, None]) ** 2
    q = share.sum(axis=1)
    sigma = np.sqrt(q / (J - 1))
    se = (np.maximum(sigma, 1.0) if floor else sigma) / np.sqrt(total)
    details = {k: v.reshape(shape) for k, v in heterogeneity(q, J - 1).items()}
    return Fit(
        beta.reshape(shape),
        se.reshape(shape),
        residual_df(distribution, J - 1),
        details=details,
        flags=_outliers(share, alpha, shape),
        meta={"uses_error_correlation": weights == "second"},
    )


@estimator(
    "radial_egger",
    "Radial MR-Egger",
    assumes=("effects around the exposure are independent of instrument strength (InSIDE, radial scale)",),
    reference=_REFERENCE,
    min_instruments=3,
    divides=True,
)
def radial_egger(
    effects: Effects,
    *,
    weights: str = "modified",
    floor: bool = True,
    alpha: float = 0.05,
    rho: Array | None = None,
) -> Fit:
    """Ordinary regression of ratio x sqrt(W) on sqrt(W) with intercept; parameters as in `radial_ivw`.

    The modified weights use the slope of the first-order radial Egger line.

    Notes
    -----
    t on J - 2 degrees of freedom. Not valid where pleiotropy follows instrument strength.
    """
    shape, J = effects.shape, effects.count
    b, s, g, t = effects.cells()
    r = np.zeros((len(b), 1)) if rho is None else rho.reshape(-1, 1)
    if weights in ("modified", "iterative"):
        choice("weights", weights, ("first", "second", "modified"))
        x = np.sqrt(_modified(b, s, t, _radial_slope(np.abs(b) / t, g / b)))
    else:
        x = np.sqrt(_weights(b, s, g, t, weights, r))
    y = g / b * x
    dx, dy = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    spread = (dx * dx).sum(axis=1)
    slope = (dx * dy).sum(axis=1) / spread
    share = (dy - slope[:, None] * dx) ** 2
    q = share.sum(axis=1)
    sigma = np.sqrt(q / (J - 2))
    sigma = np.maximum(sigma, 1.0) if floor else sigma
    intercept = y.mean(axis=1) - slope * x.mean(axis=1)
    intercept_se = sigma * np.sqrt(1.0 / J + x.mean(axis=1) ** 2 / spread)
    details = heterogeneity(q, J - 2) | {
        "intercept": intercept,
        "intercept_se": intercept_se,
        "intercept_p": p_value(intercept / intercept_se, J - 2),
    }
    return Fit(
        slope.reshape(shape),
        (sigma / np.sqrt(spread)).reshape(shape),
        J - 2,
        details={k: v.reshape(shape) for k, v in details.items()},
        flags=_outliers(share, alpha, shape),
        meta={"uses_error_correlation": weights == "second"},
    )
