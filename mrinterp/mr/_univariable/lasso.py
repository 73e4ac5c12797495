"""MR-Lasso: instruments whose own path to the outcome is not shrunk to zero are left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.heterogeneity_stop import heterogeneity_stop
from mrinterp.mr._engine.inference import choice
from mrinterp.mr._engine.registry import Fit, estimator

__all__ = ["lasso"]

Array = NDArray[np.float64]

_PATH, _SMALLEST = 100, 1e-4


def _thresholds(b: Array, t: Array) -> Array:
    """Penalty per unit lambda on each path, in units of |residual|, (C, J).

    The penalty of path j is lambda J sd_j |alpha_j|, sd_j the standard deviation of its column after
    the exposure is projected out of the weighted data (each path in units of its own spread), with
    instruments oriented to the exposure (the spread depends on their signs).
    """
    J = b.shape[1]
    x = np.abs(b) / t
    norm = (x * x).sum(axis=1)[:, None]
    # Column j of (I - xx'/x'x) diag(1/t): its square sum is (1 - x_j^2/x'x)/t_j^2, its sum (1 - x_j S/x'x)/t_j.
    squares = (1.0 - x * x / norm) / (t * t)
    total = (1.0 - x * x.sum(axis=1)[:, None] / norm) / t
    sd = np.sqrt(np.maximum(squares / J - (total / J) ** 2, 0.0))
    return np.asarray(J * sd * t * t)


def _slopes(b: Array, g: Array, w: Array, cut: Array) -> Array:
    """argmin over theta of Sum w H_cut(g - theta b), H Huber's loss: the lasso with its paths profiled out.

    Rows (C, J). Bisection on the monotone derivative, then the exact line for the set found.
    """
    ratio = g / np.where(b == 0, 1.0, b)
    low = np.where(b == 0, np.inf, ratio).min(axis=1)
    high = np.where(b == 0, -np.inf, ratio).max(axis=1)

    def rising(theta: Array) -> NDArray[np.bool_]:
        residual = g - theta[:, None] * b
        return np.asarray((w * b * np.clip(residual, -cut, cut)).sum(axis=1) < 0)

    for _ in range(50):
        middle = (low + high) / 2
        up = rising(middle)
        low, high = np.where(up, low, middle), np.where(up, middle, high)
    theta = (low + high) / 2
    residual = g - theta[:, None] * b
    outside = np.abs(residual) > cut
    pull = np.where(outside, g - np.sign(residual) * (np.abs(residual) - cut) - theta[:, None] * b, 0.0)
    xx = np.where(outside, 0.0, w * b * b).sum(axis=1)
    exact = (np.where(outside, 0.0, w * b * g).sum(axis=1) + (w * b * pull).sum(axis=1)) / xx
    return np.asarray(np.where(xx > 0, exact, theta))


def _valid(b: Array, g: Array, w: Array, cut: Array) -> tuple[NDArray[np.bool_], Array]:
    theta = _slopes(b, g, w, cut)
    return np.abs(g - theta[:, None] * b) <= cut * (1 + 1e-12), theta


def _refit(b: Array, g: Array, w: Array, valid: NDArray[np.bool_]) -> tuple[Array, Array, Array, Array]:
    """IVW over the valid: slope, unit-variance error, Q, count."""
    wv = np.where(valid, w, 0.0)
    xx = (wv * b * b).sum(axis=1)
    slope = (wv * b * g).sum(axis=1) / xx
    return slope, 1.0 / np.sqrt(xx), (wv * np.square(g - slope[:, None] * b)).sum(axis=1), valid.sum(axis=1)


def _choose_lambda(b: Array, g: Array, w: Array, unit: Array) -> Array:
    """The penalty of the heterogeneity stopping rule on a path of 100 from the largest down to 1e-4 of it, (C,)."""
    slope = (w * b * g).sum(axis=1) / (w * b * b).sum(axis=1)
    top = (np.abs(g - slope[:, None] * b) / unit).max(axis=1)
    path = top[:, None] * np.geomspace(_SMALLEST, 1.0, _PATH)
    sigma, count = np.empty(path.shape), np.empty(path.shape, int)
    for i in range(_PATH):
        valid, _ = _valid(b, g, w, path[:, i : i + 1] * unit)
        if i == _PATH - 1:
            valid[:] = True  # by definition of the largest, but for rounding
        _, _, q, n = _refit(b, g, w, valid)
        sigma[:, i], count[:, i] = np.sqrt(q / np.where(n > 1, n - 1.0, np.nan)), n
    return np.asarray(
        np.take_along_axis(path, heterogeneity_stop(sigma, count, count > 1)[:, None], axis=1)[:, 0]
    )


@estimator(
    "lasso",
    "MR-Lasso",
    assumes=(
        "more than half of the instruments act through the exposure only",
        "leaving out instruments on the same data does not count (the interval is too narrow)",
    ),
    reference="Rees, Wood, Dudbridge & Burgess 2019 PLoS ONE, doi:10.1371/journal.pone.0222362",
    min_instruments=3,
)
def lasso(
    effects: Effects,
    *,
    lam: float | None = None,
    distribution: str = "normal",
) -> Fit:
    """IVW over the instruments whose path alpha is zero in min 1/2 Sum w (g - theta b - alpha)^2 + penalty.

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes.
    lam : float, optional
        Penalty lambda; by default chosen by `heterogeneity_stop` on a path of 100 from the smallest
        that calls all instruments valid down to 1e-4 of it, evenly on the log scale.
    distribution : {"normal", "t"}
        Reference of the interval; t has one degree of freedom less than instruments are left.

    Notes
    -----
    The lasso minimizes, w_j = 1/syy_j, instruments oriented to the exposure::

        Sum w_j (g_j - theta b_j - alpha_j)^2 / (2 J)  +  lambda Sum s_j |alpha_j|

    s_j is the standard deviation of column j of (I - x x' / x'x) W^(1/2), x = W^(1/2) b: each path in units
    of its own spread once theta is projected out, as lasso regressors are usually standardized. For given
    theta, alpha_j = 0 where w_j |g_j - theta b_j| <= lambda J s_j, so that theta minimizes a sum of Huber losses:
    solved exactly. The estimate is IVW over the instruments with alpha_j = 0, its error multiplied by
    max(1, residual standard error). Model and rule: Rees et al. 2019, after Kang, Zhang, Cai & Small
    2016 (10.1080/01621459.2014.994705). Not valid where half of the instruments or more are invalid.
    """
    choice("distribution", distribution, ("normal", "t"))
    shape = effects.shape
    b, _, g, t = effects.cells()
    w, unit = 1.0 / (t * t), _thresholds(b, t)
    chosen = _choose_lambda(b, g, w, unit) if lam is None else np.full(len(b), float(lam))
    valid, penalized = _valid(b, g, w, chosen[:, None] * unit * (1 + 1e-10))
    beta, se, q, n = _refit(b, g, w, valid)
    enough = n > 1
    scale = np.maximum(np.sqrt(q / np.where(enough, n - 1.0, np.nan)), 1.0)
    bad = np.where(enough, 1.0, np.nan)
    status = np.where(enough, "ok", "fewer than two instruments are left: use a larger lam").astype(object)
    details = {
        "q": np.where(enough, q, np.nan),
        "q_df": n - 1.0,
        "valid_instruments": n.astype(float),
        "penalized_estimate": penalized,
        "lambda": chosen,
    }
    return Fit(
        (beta * bad).reshape(shape),
        (se * scale * bad).reshape(shape),
        np.inf if distribution == "normal" else (n - 1.0).reshape(shape),
        status=status.reshape(shape),
        details={k: v.reshape(shape) for k, v in details.items()},
        flags={"outliers": (~valid).reshape(*shape, -1)},
    )
