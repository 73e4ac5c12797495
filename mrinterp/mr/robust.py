"""MM-regression: high breakdown from an S-estimate, efficiency from a second step."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr.penalized import line, penalty_weights
from mrinterp.mr.registry import Fit, estimator
from mrinterp.mr.regression import cells, choice, delta_variance, p_value, residual_df
from mrinterp.stats.row_threads import by_rows

__all__ = ["mm_regression", "robust_egger", "robust_ivw"]

Array = NDArray[np.float64]

SCALE_K = 1.54764
"""Tukey's constant for the scale: half of the residuals may be arbitrary."""

LINE_K = 4.685061
"""Tukey's constant for the line: 95% efficiency at the normal distribution."""

_PAIRS, _REFINED, _BLOCK = 500, 40, 1 << 20

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


def _scale_step(residual: Array, s: Array, p: int) -> Array:
    """One step toward the M-scale Sum chi(r/s) = (n - p)/2 along the last axis."""
    n = residual.shape[-1]
    return np.asarray(s * np.sqrt(_chi(residual / s[..., None], SCALE_K).sum(axis=-1) / (0.5 * (n - p))))


def _first_scale(residual: Array) -> Array:
    s = np.median(np.abs(residual), axis=-1) / 0.6745
    return np.asarray(np.where(s > 0, s, np.abs(residual).mean(axis=-1) + 1e-300))


def _weighted_line(X: Array, y: Array, w: Array) -> Array:
    """Weighted least squares per row of (R, n, p): (R, p), p 1 or 2."""
    WX = X * w[..., None]
    xx, xy = np.einsum("rnp,rnq->rpq", WX, X), np.einsum("rnp,rn->rp", WX, y)
    if X.shape[2] == 1:
        return np.asarray(xy / xx[:, 0])
    det = xx[:, 0, 0] * xx[:, 1, 1] - xx[:, 0, 1] ** 2
    first = xx[:, 1, 1] * xy[:, 0] - xx[:, 0, 1] * xy[:, 1]
    second = xx[:, 0, 0] * xy[:, 1] - xx[:, 0, 1] * xy[:, 0]
    return np.stack([first, second], axis=1) / det[:, None]


def _starts(X: Array, y: Array, seed: int) -> Array:
    """Lines through single instruments (all) or through pairs (all, or 500 drawn), (C, M, p)."""
    n, p = X.shape[1:]
    if p == 1:
        return np.asarray((y / X[:, :, 0])[..., None])
    pairs = np.array(list(combinations(range(n), 2)))
    if len(pairs) > _PAIRS:
        pairs = np.random.default_rng(seed).permutation(pairs)[:_PAIRS]
    A, c = X[:, pairs], y[:, pairs]
    det = A[..., 0, 0] * A[..., 1, 1] - A[..., 0, 1] * A[..., 1, 0]
    det = np.where(det == 0, np.nan, det)
    first = (c[..., 0] * A[..., 1, 1] - A[..., 0, 1] * c[..., 1]) / det
    second = (A[..., 0, 0] * c[..., 1] - A[..., 1, 0] * c[..., 0]) / det
    return np.nan_to_num(np.stack([first, second], axis=-1))


def _s_estimate(X: Array, y: Array, seed: int) -> tuple[Array, Array]:
    """Coefficients (C, p) with the least M-scale (C,): every start is scaled, the best refined."""
    C, n, p = X.shape
    starts = _starts(X, y, seed)
    residual = y[:, None, :] - np.einsum("cnp,cmp->cmn", X, starts)
    rough = _first_scale(residual)
    for _ in range(4):
        rough = _scale_step(residual, rough, p)
    for kept, steps in ((_REFINED, 8), (4, 500)):
        best = np.argsort(np.where(np.isfinite(rough) & (rough > 0), rough, np.inf), axis=1)[:, :kept]
        starts = np.take_along_axis(starts, best[..., None], axis=1)
        rough = np.take_along_axis(rough, best, axis=1)
        starts, rough = _refine_scale(X, y, starts, rough, steps)
    scale = np.where(np.isfinite(rough) & np.isfinite(starts).all(axis=2), rough, np.inf)
    at, rows = np.argmin(scale, axis=1), np.arange(C)
    return starts[rows, at], scale[rows, at]


def _refine_scale(X: Array, y: Array, starts: Array, scales: Array, steps: int) -> tuple[Array, Array]:
    """Reweighted steps that lower the M-scale from every start (C, K, p); rows that settle drop out."""
    C, K, p = starts.shape
    beta, s = starts.reshape(C * K, p).copy(), scales.reshape(C * K).copy()
    cell, active = np.repeat(np.arange(C), K), np.arange(C * K)
    for _ in range(steps):
        rX, ry = X[cell[active]], y[cell[active]]
        r = ry - np.einsum("rnp,rp->rn", rX, beta[active])
        new_s = _scale_step(r, s[active], p)
        new = _weighted_line(rX, ry, _weight(r / new_s[:, None], SCALE_K))
        moved = np.abs(new - beta[active]).max(axis=1) > 1e-12 * np.abs(new).max(axis=1)
        moved |= np.abs(new_s - s[active]) > 1e-12 * new_s
        beta[active], s[active] = new, new_s
        active = active[moved & np.isfinite(new).all(axis=1)]
        if not len(active):
            break
    return beta.reshape(C, K, p), s.reshape(C, K)


def mm_regression(X: Array, y: Array, seed: int = 0) -> tuple[Array, Array, Array]:
    """MM-estimates of rows y (C, n) on X (C, n, p): coefficients and errors (C, p), scales (C,).

    Bisquare throughout (constants 1.548 and 4.685). Errors from the joint influence of line and
    scale, so that they hold for skewed residuals (Croux, Dhaene & Hoorelbeke 2003).
    """
    start, s = _s_estimate(X, y, seed)
    n = X.shape[1]
    beta, active = start.copy(), np.arange(len(y))
    for _ in range(500):
        r = (y[active] - np.einsum("cnp,cp->cn", X[active], beta[active])) / s[active, None]
        new = _weighted_line(X[active], y[active], _weight(r, LINE_K))
        moved = np.abs(new - beta[active]).max(axis=1) > 1e-12 * np.abs(new).max(axis=1)
        beta[active] = new
        active = active[moved]
        if not len(active):
            break
    r0 = (y - np.einsum("cnp,cp->cn", X, start)) / s[:, None]
    r = (y - np.einsum("cnp,cp->cn", X, beta)) / s[:, None]
    slope = np.einsum("cnp,cn,cnq->cpq", X, _dpsi(r, LINE_K), X) / n
    pull = np.einsum("cnp,cn->cp", X, _dpsi(r, LINE_K) * r) / n
    pull = pull / (_dchi(r0, SCALE_K) * r0).mean(axis=1)[:, None]
    influence = X * _psi(r, LINE_K)[..., None] - (_chi(r0, SCALE_K) - 0.5)[..., None] * pull[:, None, :]
    meat = np.einsum("cnp,cnq->cpq", influence, influence) / n
    ok = np.isfinite(slope).all(axis=(1, 2)) & (np.abs(np.linalg.det(np.nan_to_num(slope))) > 0)
    inverse = np.linalg.inv(np.where(ok[:, None, None], slope, np.eye(X.shape[2]))) * s[:, None, None]
    covariance = inverse @ meat @ np.swapaxes(inverse, 1, 2) / n
    se = np.sqrt(np.einsum("cpp->cp", covariance))
    return np.where(ok[:, None], beta, np.nan), np.where(ok[:, None], se, np.nan), s


def _all_cells(b: Array, g: Array, w: Array, intercept: bool, seed: int) -> tuple[Array, Array, Array]:
    """Coefficients and errors (C, p) and scales (C,), errors divided by min(1, scale), block by block."""
    (C, J), p = b.shape, 2 if intercept else 1
    size = max(1, _BLOCK // (J * (min(_PAIRS, J * (J - 1) // 2) if intercept else J)))
    beta, se, scale = np.empty((C, p)), np.empty((C, p)), np.empty(C)

    def fit(first: int, last: int) -> None:
        with np.errstate(all="ignore"):
            for c in range(first, last, size):
                rows = slice(c, min(c + size, last))
                root = np.sqrt(w[rows])
                X = np.stack([root, root * b[rows]] if intercept else [root * b[rows]], axis=2)
                beta[rows], se[rows], scale[rows] = mm_regression(X, root * g[rows], seed)

    by_rows(fit, C, size)
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
    model: str = "random",
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
    model : {"random", "fixed"}
        Errors divided by min(1, scale), or by the scale (one effect, known errors).
    distribution : {"normal", "t"}
        Reference of the interval; t has J - 1 degrees of freedom.
    seed : int
        Not used through the origin, where every start is tried.

    Notes
    -----
    Errors are divided by min(1, scale): residuals are never less spread than their known errors.
    Asymptotic errors: too small with few instruments (type-I error .10 at 40 instruments, all valid,
    in simulation).
    """
    choice("weights", weights, ("first", "second"))
    choice("model", model, ("random", "fixed"))
    choice("distribution", distribution, ("normal", "t"))
    shape, J = (len(beta_x), len(beta_y)), beta_x.shape[1]
    b, s, g, t = cells(beta_x, se_x, beta_y, se_y)
    r = 0.0 if rho is None else rho.reshape(-1, 1)
    w = 1.0 / (t * t if weights == "first" else delta_variance(b, s, g, t, r))
    if penalty is not None:
        centre = np.median(g / b, axis=1)[:, None]
        w = w * penalty_weights(w * (g - centre * b) ** 2, penalty)
    beta, se, scale = _all_cells(b, g, w, False, seed)
    if model == "fixed":
        se = se / np.maximum(scale, 1.0)[:, None]
    return Fit(
        beta[:, 0].reshape(shape),
        se[:, 0].reshape(shape),
        residual_df(distribution, J - 1),
        details={"scale": scale.reshape(shape)},
        meta={"uses_error_correlation": weights == "second"},
    )


@estimator(
    "robust_egger",
    "Robust MR-Egger (MM-regression)",
    assumes=("effects around the exposure are independent of instrument strength, but for some outliers",),
    reference=_REFERENCE,
    min_instruments=3,
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

    With more than 500 pairs of instruments the starts are a seeded sample of them. The penalty is
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
    return Fit(
        beta[:, 1].reshape(shape),
        se[:, 1].reshape(shape),
        df,
        details={k: v.reshape(shape) for k, v in details.items()},
    )
