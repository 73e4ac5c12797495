"""Inverse-variance weighted regression through the origin, and the Wald ratio it starts from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.effects import Effects, delta_variance, row_blocks
from mrinterp.mr._engine.inference import choice, heterogeneity, residual_df
from mrinterp.mr._engine.registry import Fit, estimator

__all__ = ["ivw", "ivw_correlated", "ivw_fixed", "ivw_random", "wald"]

Array = NDArray[np.float64]

_REFERENCE = "Burgess, Butterworth & Thompson 2013 Genet Epidemiol, doi:10.1002/gepi.21758"
_FLOORED = (
    "no instrument acts around the exposure, or such paths average to zero (balanced pleiotropy,"
    " independent of instrument strength)",
)


def _sums(beta_x: Array, beta_y: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Sum w b^2, Sum w b g (both (F, O)) and Sum w g^2 (O,), weights (O, J)."""
    F, O = len(beta_x), len(beta_y)
    xx, xy = np.empty((F, O)), np.empty((F, O))
    weighted = weights * beta_y
    for rows in row_blocks(*beta_x.shape):
        b = beta_x[rows]
        xx[rows], xy[rows] = (b * b) @ weights.T, b @ weighted.T
    return xx, xy, np.einsum("oj,oj->o", weighted, beta_y)


def _slope(effects: Effects, weights: str, rho: Array | None) -> tuple[Array, Array, Array, Array]:
    """Slope, its error for unit residual variance, Q, and the mean F, each (F, O)."""
    choice("weights", weights, ("first", "second"))
    shape = effects.shape
    if weights == "first":
        w = 1.0 / (effects.se_y * effects.se_y)
        if effects.fused():
            from mrinterp.stats.loops.fused_sums import ivw_sums

            xx, xy, f = ivw_sums(effects.beta_x, effects.se_x, w, w * effects.beta_y)
            yy, f = np.einsum("oj,oj->o", w * effects.beta_y, effects.beta_y), f / effects.count
        else:
            xx, xy, yy = _sums(effects.beta_x, effects.beta_y, w)
            f = effects.mean_f()
        slope = xy / xx
        return slope, 1.0 / np.sqrt(xx), np.maximum(yy - slope * xy, 0.0), f
    b, s, g, t = effects.cells()
    w = 1.0 / delta_variance(b, s, g, t, 0.0 if rho is None else rho.reshape(-1, 1))
    w = np.where(b == 0, 0.0, w)
    xx, xy = (w * b * b).sum(axis=1), (w * b * g).sum(axis=1)
    slope = xy / xx
    q = (w * (g - slope[:, None] * b) ** 2).sum(axis=1)
    f = effects.mean_f()
    return slope.reshape(shape), (1.0 / np.sqrt(xx)).reshape(shape), q.reshape(shape), f


def _fit(
    effects: Effects,
    model: str,
    weights: str,
    distribution: str,
    rho: Array | None,
) -> Fit:
    choice("distribution", distribution, ("normal", "t"))
    J = effects.count
    slope, unit_se, q, f = _slope(effects, weights, rho)
    sigma = np.sqrt(q / (J - 1)) if J > 1 else np.ones_like(q)
    scale = {"fixed": np.ones_like(q), "floored": np.maximum(sigma, 1.0), "unfloored": sigma}[model]
    status = None
    if J == 1 and model != "fixed":
        status = np.full(
            slope.shape, "one instrument: this is its Wald ratio, heterogeneity is not known", object
        )
    df = residual_df(distribution, J - 1) if J > 1 else np.inf
    details = {**heterogeneity(q, J - 1), "f": f}
    return Fit(
        slope,
        unit_se * scale,
        df,
        status=status,
        details=details,
        meta={"uses_error_correlation": weights == "second"},
    )


@estimator(
    "ivw",
    "Inverse-variance weighted (multiplicative random effects)",
    assumes=_FLOORED,
    reference=_REFERENCE,
    min_instruments=1,
    blocked=False,
)
def ivw(
    effects: Effects,
    *,
    weights: str = "first",
    distribution: str = "normal",
    rho: Array | None = None,
) -> Fit:
    """Weighted regression of the outcome's on the exposure's effects through the origin.

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes.
    weights : {"first", "second"}
        1/syy, or the reciprocal of the second-order variance, which also uses ``rho``.
    distribution : {"normal", "t"}
        Reference of the interval; t has J - 1 degrees of freedom.
    rho : ndarray (F, O), optional
        Correlation of the errors; only second-order weights can use it.

    Notes
    -----
    theta = Sum w b g / Sum w b^2, error multiplied by max(1, sqrt(Q / (J - 1))). Not valid where
    errors of exposure and outcome come from the same runs and instruments are weak: the estimate
    is then drawn toward the confounded association.
    """
    return _fit(effects, "floored", weights, distribution, rho)


@estimator(
    "ivw_fixed",
    "Inverse-variance weighted (fixed effect)",
    assumes=("no instrument acts around the exposure: all share one effect",),
    reference=_REFERENCE,
    min_instruments=1,
    blocked=False,
)
def ivw_fixed(
    effects: Effects,
    *,
    weights: str = "first",
    distribution: str = "normal",
    rho: Array | None = None,
) -> Fit:
    """`ivw` with the residual variance taken as 1. Not valid under heterogeneity (Q above J - 1)."""
    return _fit(effects, "fixed", weights, distribution, rho)


@estimator(
    "ivw_random",
    "Inverse-variance weighted (random effects, no floor)",
    assumes=_FLOORED,
    reference=_REFERENCE,
    blocked=False,
)
def ivw_random(
    effects: Effects,
    *,
    weights: str = "first",
    distribution: str = "normal",
    rho: Array | None = None,
) -> Fit:
    """`ivw` with the residual variance as estimated, even below 1 (then too narrow as a rule)."""
    return _fit(effects, "unfloored", weights, distribution, rho)


@estimator(
    "wald",
    "Wald ratio",
    assumes=("the one instrument used acts on the outcome through the exposure only",),
    reference="Wald 1940 Ann Math Stat, doi:10.1214/aoms/1177731868",
    min_instruments=1,
    divides=True,
)
def wald(effects: Effects, *, order: int = 1, rho: Array | None = None) -> Fit:
    """Ratio g/b of the strongest instrument of each exposure (largest |b|/s).

    Parameters
    ----------
    order : {1, 2}
        Order of the delta method for the error; 2 adds the error of b (and uses ``rho``).

    Notes
    -----
    Shapes as in `ivw`. Not valid for a weak instrument (F below 10): its interval can be unbounded.
    """
    choice("order", str(order), ("1", "2"))
    best = np.argmax(np.abs(effects.beta_x / effects.se_x), axis=1)
    b = np.take_along_axis(effects.beta_x, best[:, None], axis=1)
    s = np.take_along_axis(effects.se_x, best[:, None], axis=1)
    g, t = effects.beta_y[:, best].T, effects.se_y[:, best].T
    variance = t * t if order == 1 else delta_variance(b, s, g, t, 0.0 if rho is None else rho)
    flags = np.zeros((len(effects.beta_x), len(effects.beta_y), effects.count), bool)
    np.put_along_axis(flags, np.broadcast_to(best[:, None, None], (*flags.shape[:2], 1)), True, axis=2)
    f = np.broadcast_to((b / s) ** 2, g.shape)
    return Fit(
        g / b,
        np.sqrt(variance) / np.abs(b),
        details={"f": f},
        flags={"instrument_used": flags},
        meta={"uses_error_correlation": order == 2},
    )


@estimator(
    "ivw_correlated",
    "Inverse-variance weighted for correlated instruments",
    assumes=(*_FLOORED, "the correlation between instruments is known"),
    reference="Burgess, Dudbridge & Thompson 2016 Stat Med, doi:10.1002/sim.6835",
)
def ivw_correlated(
    effects: Effects,
    *,
    ld: Array,
    model: str = "random",
    distribution: str = "normal",
) -> Fit:
    """Generalized least squares through the origin with error covariance t_i t_j ld_ij.

    Parameters
    ----------
    ld : ndarray (J, J)
        Correlation between the instruments; needs full rank.
    model : {"random", "fixed"}
        Whether the error is multiplied by max(1, sqrt(Q / (J - 1))).
    distribution : {"normal", "t"}
        Reference of the interval; t has J - 1 degrees of freedom.

    Notes
    -----
    Other shapes as in `ivw`. Not valid where instruments are so correlated that ``ld`` is close to
    singular: small errors in it then dominate; prune them, or use principal components.
    """
    choice("model", model, ("random", "fixed"))
    choice("distribution", distribution, ("normal", "t"))
    J = effects.count
    shape = effects.shape
    inverse = inverse_ld(ld)
    if inverse is None:
        status = np.full(
            shape, "the correlation between the instruments is singular: drop copies of an instrument", object
        )
        return Fit(np.full(shape, np.nan), np.full(shape, np.nan), status=status)
    x = effects.beta_x[:, None, :] / effects.se_y
    y = effects.beta_y / effects.se_y
    x_inv = x @ inverse
    xx, xy = np.einsum("foj,foj->fo", x_inv, x), np.einsum("foj,oj->fo", x_inv, y)
    slope = xy / xx
    q = np.maximum(np.einsum("oj,ji,oi->o", y, inverse, y) - slope * xy, 0.0)
    scale = np.maximum(np.sqrt(q / (J - 1)), 1.0) if model == "random" else np.ones_like(q)
    details = {**heterogeneity(q, J - 1), "f": joint_mean_f(effects, inverse)}
    return Fit(slope, scale / np.sqrt(xx), residual_df(distribution, J - 1), details=details)


def inverse_ld(ld: Array) -> Array | None:
    """Inverse of a correlation matrix; None where it is singular to working precision."""
    values, vectors = np.linalg.eigh((ld + ld.T) / 2)
    if values[0] < 1e-10 * values[-1]:
        return None
    return np.asarray((vectors / values) @ vectors.T)


def joint_mean_f(effects: Effects, inverse: Array) -> Array:
    """F of all instruments jointly, z' ld^-1 z / J, (F, O)."""
    z = effects.beta_x / effects.se_x
    f = np.einsum("fj,ji,fi->f", z, inverse, z) / effects.count
    return np.broadcast_to(f[:, None], effects.shape)
