"""Penalized regressions: outlying instruments keep little weight."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.effects import Effects, delta_variance
from mrinterp.mr._engine.inference import choice, p_value, residual_df
from mrinterp.mr._engine.registry import Fit, estimator
from mrinterp.stats.tests.tails import neglog10p_chi2, two_sided_p

__all__ = ["line", "penalized_egger", "penalized_ivw", "penalty_weights"]

Array = NDArray[np.float64]

_REFERENCE = "Burgess, Bowden, Dudbridge & Thompson 2016, doi:10.48550/arXiv.1606.03729"


def penalty_weights(squares: Array, penalty: float) -> Array:
    """min(1, penalty x p), p of each squared residual as a chi-square on 1 degree of freedom."""
    return np.minimum(1.0, penalty * two_sided_p(neglog10p_chi2(squares, 1.0)))


def line(b: Array, g: Array, w: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Weighted line per row of oriented (C, J): intercept, slope, unit-variance errors, sum of squares."""
    total = w.sum(axis=1)
    mb, mg = (w * b).sum(axis=1) / total, (w * g).sum(axis=1) / total
    db, dg = b - mb[:, None], g - mg[:, None]
    spread = (w * db * db).sum(axis=1)
    slope = (w * db * dg).sum(axis=1) / spread
    q = (w * (dg - slope[:, None] * db) ** 2).sum(axis=1)
    return mg - slope * mb, slope, np.sqrt(1.0 / total + mb * mb / spread), 1.0 / np.sqrt(spread), q


@estimator(
    "penalized_ivw",
    "Penalized-weights IVW",
    assumes=("more than half of the instruments act through the exposure only",),
    reference=_REFERENCE,
    min_instruments=3,
    divides=True,
)
def penalized_ivw(
    effects: Effects,
    *,
    weights: str = "first",
    penalty: float = 100.0,
    model: str = "random",
    distribution: str = "normal",
    rho: Array | None = None,
) -> Fit:
    """IVW whose weights are multiplied by min(1, penalty x p) about the median ratio.

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes.
    weights : {"first", "second"}
        1/syy or the reciprocal second-order variance (with ``rho``).
    penalty : float
        Multiplier of each instrument's p.
    model : {"random", "fixed"}
        Errors multiplied by max(1, residual standard error), or not.
    distribution : {"normal", "t"}
        Reference of the interval; t has J - 1 degrees of freedom.

    Notes
    -----
    Q has no reference distribution after penalization, so none is given. Not valid where half of
    the instruments or more are invalid.
    """
    choice("weights", weights, ("first", "second"))
    choice("model", model, ("random", "fixed"))
    choice("distribution", distribution, ("normal", "t"))
    shape, J = effects.shape, effects.count
    b, s, g, t = effects.cells()
    r = 0.0 if rho is None else rho.reshape(-1, 1)
    w = 1.0 / (t * t if weights == "first" else delta_variance(b, s, g, t, r))
    centre = np.median(g / b, axis=1)[:, None]
    w = w * penalty_weights(w * (g - centre * b) ** 2, penalty)
    xx = (w * b * b).sum(axis=1)
    slope = (w * b * g).sum(axis=1) / xx
    sigma = np.sqrt((w * (g - slope[:, None] * b) ** 2).sum(axis=1) / (J - 1))
    se = (np.maximum(sigma, 1.0) if model == "random" else 1.0) / np.sqrt(xx)
    return Fit(
        slope.reshape(shape),
        se.reshape(shape),
        residual_df(distribution, J - 1),
        meta={"uses_error_correlation": weights == "second"},
    )


@estimator(
    "penalized_egger",
    "Penalized-weights MR-Egger",
    assumes=("effects around the exposure are independent of instrument strength, but for some outliers",),
    reference=_REFERENCE,
    min_instruments=3,
)
def penalized_egger(
    effects: Effects,
    *,
    penalty: float = 100.0,
    distribution: str = "normal",
) -> Fit:
    """MR-Egger whose weights are multiplied by min(1, penalty x p) about the plain Egger line.

    Parameters and limits as in `penalized_ivw`; t has J - 2 degrees of freedom.
    """
    choice("distribution", distribution, ("normal", "t"))
    shape, J = effects.shape, effects.count
    b, _, g, t = effects.cells()
    g, b = np.where(b < 0, -g, g), np.abs(b)
    w = 1.0 / (t * t)
    intercept, slope, *_ = line(b, g, w)
    w = w * penalty_weights(w * (g - intercept[:, None] - slope[:, None] * b) ** 2, penalty)
    intercept, slope, intercept_se, slope_se, q = line(b, g, w)
    scale = np.maximum(np.sqrt(q / (J - 2)), 1.0)
    df = residual_df(distribution, J - 2)
    details = {
        "intercept": intercept,
        "intercept_se": intercept_se * scale,
        "intercept_p": p_value(intercept / (intercept_se * scale), df),
    }
    return Fit(
        slope.reshape(shape),
        (slope_se * scale).reshape(shape),
        df,
        details={k: v.reshape(shape) for k, v in details.items()},
    )
