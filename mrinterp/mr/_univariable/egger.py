"""MR-Egger: an intercept for directional pleiotropy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.effects import Effects, row_blocks
from mrinterp.mr._engine.inference import choice, heterogeneity, p_value, residual_df, wider_inference
from mrinterp.mr._engine.registry import Fit, estimator
from mrinterp.mr._univariable.ivw import inverse_ld, joint_mean_f

__all__ = ["egger", "egger_correlated"]

Array = NDArray[np.float64]

_ASSUMES = (
    "effects around the exposure are independent of instrument strength (InSIDE)",
    "instruments are oriented so that each raises the exposure",
)
_REFERENCE = "Bowden, Davey Smith & Burgess 2015 Int J Epidemiol, doi:10.1093/ije/dyv080"
_EQUAL = "effects on the exposure are all equal in size: slope and intercept cannot be told apart"


def _sums(effects: Effects, w: Array) -> Array:
    """Sums over instruments oriented to b >= 0, (7, F, O).

    Sum w|b|, w b^2, w sign(b) g, w b g, (b/s)^2, |b| t / s^2 and t^2 / s^2.
    """
    weighted = w * effects.beta_y
    if effects.fused():
        from mrinterp.stats.loops.fused_sums import egger_sums

        return egger_sums(effects.beta_x, effects.se_x, w, weighted, effects.se_y)
    out = np.empty((7, len(effects.beta_x), len(effects.beta_y)))
    for rows in row_blocks(*effects.beta_x.shape):
        b, precision = effects.beta_x[rows], 1.0 / (effects.se_x[rows] * effects.se_x[rows])
        size = np.abs(b)
        sign = np.copysign(1.0, b + 0.0)  # a negative zero counts as positive, like zero
        out[0, rows], out[1, rows] = size @ w.T, (b * b) @ w.T
        out[2, rows], out[3, rows] = sign @ weighted.T, b @ weighted.T
        out[4, rows] = (b * b * precision).sum(axis=1, keepdims=True)
        out[5, rows], out[6, rows] = (
            (size * precision) @ effects.se_y.T,
            precision @ (effects.se_y * effects.se_y).T,
        )
    return out


def _i2_gx(z2: Array, lean: Array, spread: Array, J: int) -> Array:
    """I^2 of |b|/sy with errors s/sy: the share of spread that is not noise (dilution of the slope)."""
    q = z2 - lean * lean / spread
    return np.where(q > J - 1, 1.0 - (J - 1) / np.where(q > 0, q, 1.0), 0.0)


def _infer(
    slope: Array,
    slope_se: Array,
    intercept: Array,
    intercept_se: Array,
    q: Array,
    J: int,
    distribution: str,
    level: float,
    more: dict[str, Array],
    equal: NDArray[np.bool_],
) -> Fit:
    """Floored errors, limits and details from the two coefficients and their errors at unit variance."""
    choice("distribution", distribution, ("t", "normal", "wider"))
    sigma = np.sqrt(q / (J - 2))
    floor = np.maximum(sigma, 1.0)
    df = residual_df("normal" if distribution == "wider" else distribution, J - 2)
    intercept_p = p_value(intercept / (intercept_se * floor), df)
    ci_lower = ci_upper = neglog10p = None
    if distribution == "wider":
        ci_lower, ci_upper, neglog10p = wider_inference(
            slope, slope_se * floor, slope_se * sigma, J - 2, level
        )
        intercept_p = np.maximum(intercept_p, p_value(intercept / (intercept_se * sigma), J - 2))
    details = {
        **heterogeneity(q, J - 2),
        "intercept": intercept,
        "intercept_se": intercept_se * floor,
        "intercept_p": intercept_p,
        **more,
    }
    if not equal.any():
        return Fit(slope, slope_se * floor, df, ci_lower, ci_upper, neglog10p, details=details)
    bad = np.where(equal, np.nan, 1.0)
    status = np.where(equal, _EQUAL, "ok").astype(object)
    details = {k: v * bad for k, v in details.items()}
    return Fit(slope * bad, slope_se * floor * bad, df, ci_lower, ci_upper, neglog10p, status, details)


@estimator("egger", "MR-Egger", assumes=_ASSUMES, reference=_REFERENCE, min_instruments=3, blocked=False)
def egger(
    effects: Effects,
    *,
    distribution: str = "t",
    level: float = 0.95,
) -> Fit:
    """Weighted regression with intercept of the outcome's on the exposure's oriented effects.

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes. An effect of 0 on the
        exposure counts as positive; weights are 1/syy.
    distribution : {"t", "normal", "wider"}
        Reference of the intervals: t on J - 2 degrees of freedom; normal; or the more cautious of
        normal with the floored and t with the unfloored error.

    Notes
    -----
    Errors are multiplied by max(1, sqrt(Q / (J - 2))). The slope is diluted by about ``i2_gx``
    (below .9: correct or distrust it). Not valid where pleiotropy follows instrument strength.
    """
    J = effects.count
    w = 1.0 / (effects.se_y * effects.se_y)
    total = w.sum(axis=1)
    x, xx, y, xy, z2, lean, noise = _sums(effects, w)
    yy = (w * effects.beta_y * effects.beta_y).sum(axis=1)
    spread = xx - x * x / total
    cross = xy - x * y / total
    slope = cross / spread
    intercept = (y - slope * x) / total
    q = np.maximum(yy - y * y / total - slope * cross, 0.0)
    slope_se, intercept_se = 1.0 / np.sqrt(spread), np.sqrt(xx / (total * spread))
    more = {"i2_gx": _i2_gx(z2, lean, noise, J), "f": z2 / J}
    equal = spread <= 1e-12 * xx
    return _infer(slope, slope_se, intercept, intercept_se, q, J, distribution, level, more, equal)


@estimator(
    "egger_correlated",
    "MR-Egger for correlated instruments",
    assumes=(*_ASSUMES, "the correlation between instruments is known"),
    reference="Burgess & Thompson 2017 Eur J Epidemiol, doi:10.1007/s10654-017-0255-x",
    min_instruments=3,
)
def egger_correlated(
    effects: Effects,
    *,
    ld: Array,
    distribution: str = "t",
    level: float = 0.95,
) -> Fit:
    """`egger` by generalized least squares with error covariance t_i t_j ld_ij, signs oriented too.

    Parameters
    ----------
    ld : ndarray (J, J)
        Correlation between the instruments as they are coded in the data; needs full rank.

    Notes
    -----
    Other shapes and options as in `egger`. Not valid with an ``ld`` close to singular.
    """
    J = effects.count
    F, O = len(effects.beta_x), len(effects.beta_y)
    inverse = inverse_ld(ld)
    if inverse is None:
        nothing = np.full((F, O), np.nan)
        status = np.full(
            (F, O),
            "the correlation between the instruments is singular: drop copies of an instrument",
            object,
        )
        return Fit(nothing, nothing, status=status)
    # Flipping an instrument flips its row of the design, of the outcome and of ld alike: flip the
    # constant's column instead and leave ld as it is.
    sign = np.where(effects.beta_x < 0, -1.0, 1.0)
    one, x = sign[:, None, :] / effects.se_y, effects.beta_x[:, None, :] / effects.se_y
    y = np.broadcast_to(effects.beta_y / effects.se_y, x.shape)
    one_inv, x_inv = one @ inverse, x @ inverse

    def dot(a: Array, b: Array) -> Array:
        return np.asarray(np.einsum("foj,foj->fo", a, b))

    s11, s1x, sxx = dot(one_inv, one), dot(one_inv, x), dot(x_inv, x)
    s1y, sxy, syy = dot(one_inv, y), dot(x_inv, y), dot(y @ inverse, y)
    spread, cross = sxx - s1x * s1x / s11, sxy - s1x * s1y / s11
    slope = cross / spread
    intercept = (s1y - slope * s1x) / s11
    q = np.maximum(syy - s1y * s1y / s11 - slope * cross, 0.0)
    more = {"f": joint_mean_f(effects, inverse)}
    slope_se, intercept_se = 1.0 / np.sqrt(spread), np.sqrt(sxx / (s11 * spread))
    equal = spread <= 1e-12 * sxx
    return _infer(slope, slope_se, intercept, intercept_se, q, J, distribution, level, more, equal)
