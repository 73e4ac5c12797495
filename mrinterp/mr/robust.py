"""MM-regression: high breakdown from an S-estimate, efficiency from a second step."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr.penalized import line, penalty_weights
from mrinterp.mr.registry import Fit, estimator
from mrinterp.mr.regression import cells, choice, delta_variance, p_value, residual_df

__all__ = ["mm_regression", "robust_egger", "robust_ivw"]

Array = NDArray[np.float64]

SCALE_K = 1.54764
"""Tukey's constant for the scale: half of the residuals may be arbitrary."""

LINE_K = 4.685061
"""Tukey's constant for the line: 95% efficiency at the normal distribution."""

_REFERENCE = "Yohai 1987 Ann Stat, doi:10.1214/aos/1176350366; Rees et al. 2019 PLoS ONE, doi:10.1371/journal.pone.0222362"


def _chi(r: Array, k: float) -> Array:
    """Tukey's bisquare, scaled to a maximum of 1."""
    return np.asarray(1.0 - np.clip(1.0 - np.square(r / k), 0.0, None) ** 3)


def _dchi(r: Array, k: float) -> Array:
    return np.asarray(6.0 * r / k**2 * np.clip(1.0 - np.square(r / k), 0.0, None) ** 2)


def _weight(r: Array, k: float) -> Array:
    return np.asarray(np.clip(1.0 - np.square(r / k), 0.0, None) ** 2)


def _psi(r: Array, k: float) -> Array:
    return r * _weight(r, k)


def _dpsi(r: Array, k: float) -> Array:
    inside = np.clip(1.0 - np.square(r / k), 0.0, None)
    return np.asarray(inside * (1.0 - 5.0 * np.square(r / k)) * (inside > 0))


def _scale(residual: Array, p: int) -> Array:
    """M-scale per row: Sum chi(r/s) = (n - p)/2, by iteration from the scaled median."""
    n = residual.shape[-1]
    s = np.median(np.abs(residual), axis=-1) / 0.6745
    s = np.where(s > 0, s, np.abs(residual).mean(axis=-1) + 1e-300)
    for _ in range(200):
        new = s * np.sqrt(_chi(residual / s[..., None], SCALE_K).sum(axis=-1) / (0.5 * (n - p)))
        done = np.all(np.abs(new - s) <= 1e-12 * s)
        s = np.where(new > 0, new, s)
        if done:
            break
    return np.asarray(s)


def _least_squares(X: Array, y: Array, w: Array) -> Array:
    root = np.sqrt(w)
    return np.asarray(np.linalg.lstsq(X * root[:, None], y * root, rcond=None)[0])


def _s_estimate(X: Array, y: Array, seed: int) -> tuple[Array, float]:
    """Coefficients with the least M-scale, from lines through instruments (all, or 2,000 pairs drawn)."""
    n, p = X.shape
    if p == 1:
        starts = (y / X[:, 0])[:, None][np.abs(X[:, 0]) > 0]
    else:
        pairs = np.array(list(combinations(range(n), 2)))
        if len(pairs) > 2000:
            pairs = np.random.default_rng(seed).permutation(pairs)[:2000]
        det = X[pairs[:, 0], 0] * X[pairs[:, 1], 1] - X[pairs[:, 0], 1] * X[pairs[:, 1], 0]
        pairs = pairs[np.abs(det) > 1e-12 * np.abs(X).max() ** 2]
        starts = np.linalg.solve(X[pairs], y[pairs][..., None])[..., 0]
    rough = _scale(y - starts @ X.T, p)
    best, least = starts[0], np.inf
    for k in np.argsort(rough)[:10]:
        beta, s = starts[k], rough[k]
        for _ in range(200):
            new = _least_squares(X, y, _weight((y - X @ beta) / s, SCALE_K))
            s_new = float(_scale((y - X @ new)[None], p)[0])
            settled = np.all(np.abs(new - beta) <= 1e-11 * (np.abs(beta) + 1e-300))
            beta, s = new, s_new
            if settled:
                break
        if s < least:
            best, least = beta, float(s)
    return best, least


def mm_regression(X: Array, y: Array, seed: int = 0) -> tuple[Array, Array, float]:
    """MM-estimate of y on the columns of X (n, p): coefficients, standard errors, scale.

    Bisquare throughout (constants 1.548 and 4.685). Errors from the joint influence of line and
    scale, so that they hold for skewed residuals (Croux, Dhaene & Hoorelbeke 2003).
    """
    n, p = X.shape
    start, s = _s_estimate(X, y, seed)
    beta = start
    for _ in range(500):
        new = _least_squares(X, y, _weight((y - X @ beta) / s, LINE_K))
        settled = np.all(np.abs(new - beta) <= 1e-12 * (np.abs(beta) + 1e-300))
        beta = new
        if settled:
            break
    r0, r = (y - X @ start) / s, (y - X @ beta) / s
    inverse = np.linalg.inv(X.T @ (X * _dpsi(r, LINE_K)[:, None]) / n) * s
    pull = (X * (_dpsi(r, LINE_K) * r)[:, None]).mean(axis=0) / np.mean(_dchi(r0, SCALE_K) * r0)
    influence = X * _psi(r, LINE_K)[:, None] - np.outer(_chi(r0, SCALE_K) - 0.5, pull)
    covariance = inverse @ (influence.T @ influence / n) @ inverse.T / n
    return beta, np.sqrt(np.diag(covariance)), s


def _design(b: Array, g: Array, w: Array, intercept: bool) -> tuple[Array, Array]:
    root = np.sqrt(w)
    columns = [root, root * b] if intercept else [root * b]
    return np.stack(columns, axis=1), root * g


def _all_cells(b: Array, g: Array, w: Array, intercept: bool, seed: int) -> tuple[Array, Array, Array]:
    """Coefficients and errors (C, p) and scales (C,), errors divided by min(1, scale)."""
    p = 1 + intercept
    beta, se, scale = np.full((len(b), p), np.nan), np.full((len(b), p), np.nan), np.full(len(b), np.nan)
    for c in range(len(b)):
        X, y = _design(b[c], g[c], w[c], intercept)
        try:
            beta[c], se[c], scale[c] = mm_regression(X, y, seed)
        except np.linalg.LinAlgError:
            continue
    return beta, se / np.minimum(scale, 1.0)[:, None], scale


@estimator(
    "robust_ivw",
    "Robust IVW (MM-regression)",
    assumes=("more than half of the weight is on instruments that act through the exposure only",),
    reference=_REFERENCE,
    min_instruments=3,
    divides=True,
)
def robust_ivw(
    beta_x: Array,
    se_x: Array,
    beta_y: Array,
    se_y: Array,
    *,
    weights: str = "first",
    penalty: float | None = None,
    distribution: str = "normal",
    seed: int = 0,
    rho: Array | None = None,
) -> Fit:
    """MM-regression of the weighted outcome's on the exposure's effects through the origin.

    Parameters
    ----------
    beta_x, se_x : ndarray (F, J)
        Effects on the exposures and their errors.
    beta_y, se_y : ndarray (O, J)
        The same for the outcomes.
    weights : {"first", "second"}
        1/syy or the reciprocal second-order variance (with ``rho``).
    penalty : float, optional
        Weights multiplied by min(1, penalty x p) about the median ratio first.
    distribution : {"normal", "t"}
        Reference of the interval; t has J - 1 degrees of freedom.
    seed : int
        Not used through the origin, where every start is tried.

    Notes
    -----
    Errors are divided by min(1, scale): residuals are never less spread than their known errors.
    Asymptotic errors: not valid with few instruments (below about 10).
    """
    choice("weights", weights, ("first", "second"))
    choice("distribution", distribution, ("normal", "t"))
    shape, J = (len(beta_x), len(beta_y)), beta_x.shape[1]
    b, s, g, t = cells(beta_x, se_x, beta_y, se_y)
    r = 0.0 if rho is None else rho.reshape(-1, 1)
    w = 1.0 / (t * t if weights == "first" else delta_variance(b, s, g, t, r))
    if penalty is not None:
        centre = np.median(g / b, axis=1)[:, None]
        w = w * penalty_weights(w * (g - centre * b) ** 2, penalty)
    beta, se, scale = _all_cells(b, g, w, False, seed)
    return Fit(beta[:, 0].reshape(shape), se[:, 0].reshape(shape), residual_df(distribution, J - 1),
               details={"scale": scale.reshape(shape)}, meta={"uses_error_correlation": weights == "second"})


@estimator(
    "robust_egger",
    "Robust MR-Egger (MM-regression)",
    assumes=("effects around the exposure are independent of instrument strength, but for some outliers",),
    reference=_REFERENCE,
    min_instruments=4,
)
def robust_egger(
    beta_x: Array,
    se_x: Array,
    beta_y: Array,
    se_y: Array,
    *,
    penalty: float | None = None,
    distribution: str = "normal",
    seed: int = 0,
) -> Fit:
    """MM-regression with intercept, instruments oriented to the exposure; parameters as in `robust_ivw`.

    With more than 2,000 pairs of instruments the starts are a seeded sample of them. The penalty is
    about the plain Egger line; t has J - 2 degrees of freedom.
    """
    choice("distribution", distribution, ("normal", "t"))
    shape, J = (len(beta_x), len(beta_y)), beta_x.shape[1]
    b, _, g, t = cells(beta_x, se_x, beta_y, se_y)
    g, b = np.where(b < 0, -g, g), np.abs(b)
    w = 1.0 / (t * t)
    if penalty is not None:
        intercept, slope, *_ = line(b, g, w)
        w = w * penalty_weights(w * (g - intercept[:, None] - slope[:, None] * b) ** 2, penalty)
    beta, se, scale = _all_cells(b, g, w, True, seed)
    df = residual_df(distribution, J - 2)
    details = {
        "intercept": beta[:, 0],
        "intercept_se": se[:, 0],
        "intercept_p": p_value(beta[:, 0] / se[:, 0], df),
        "scale": scale,
    }
    return Fit(beta[:, 1].reshape(shape), se[:, 1].reshape(shape), df,
               details={k: v.reshape(shape) for k, v in details.items()})
