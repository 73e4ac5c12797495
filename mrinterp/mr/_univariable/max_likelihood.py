"""Maximum likelihood: the exposure effects are nuisance parameters, profiled out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.inference import choice, heterogeneity, residual_df
from mrinterp.mr._engine.registry import Fit, estimator

__all__ = ["max_likelihood"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def profile(b: Array, s: Array, g: Array, t: Array, rho: Array, theta: Array) -> tuple[Array, Array, Array]:
    """Q(theta) = Sum e^2 / v with its first and second derivative, one row per cell.

    Rows (C, J), ``theta`` and ``rho`` (C,); e = g - theta b, v = t^2 + theta^2 s^2 - 2 theta rho s t.
    """
    th, r = theta[:, None], rho[:, None]
    e = g - th * b
    v = t * t + th * th * s * s - 2.0 * th * r * s * t
    dv = 2.0 * (th * s * s - r * s * t)
    z = e / v
    q = (e * z).sum(axis=1)
    first = (-2.0 * z * b - z * z * dv).sum(axis=1)
    second = (2.0 * b * b / v + 4.0 * z * b * dv / v - 2.0 * z * z * s * s + 2.0 * z * z * dv * dv / v).sum(
        axis=1
    )
    return q, first, second


def minimize_on_line(
    value: Callable[[Array], Array],
    slope: Callable[[Array], Array],
    centre: Array,
    scale: Array,
    points: int = 64,
) -> Array:
    """Minimum over the whole line of one function per row.

    Looked for on ``points`` angles (theta = centre + scale tan(angle)), then by bisection on the
    derivative between the neighbours of the best one.
    """
    angles = (np.arange(points) + 0.5) / points * np.pi - np.pi / 2
    best, at = np.full(len(centre), np.inf), np.zeros(len(centre), int)
    for i, angle in enumerate(angles):
        q = value(centre + scale * np.tan(angle))
        better = q < best
        best, at = np.where(better, q, best), np.where(better, i, at)
    width = np.pi / points
    edge = np.pi / 2 - 1e-9
    low, high = np.clip(angles[at] - width, -edge, edge), np.clip(angles[at] + width, -edge, edge)
    for _ in range(60):
        middle = (low + high) / 2
        rising = slope(centre + scale * np.tan(middle)) > 0
        low, high = np.where(rising, low, middle), np.where(rising, middle, high)
    return np.asarray(centre + scale * np.tan((low + high) / 2))


def fit_profile(b: Array, s: Array, g: Array, t: Array, rho: Array) -> tuple[Array, Array, Array]:
    """The optimum, its error from the observed information, and Q there; rows as in `profile`."""
    w = 1.0 / (t * t)
    xx = (w * b * b).sum(axis=1)
    centre = (w * b * g).sum(axis=1) / xx
    q_ivw = (w * (g - centre[:, None] * b) ** 2).sum(axis=1)
    scale = np.sqrt(np.maximum(q_ivw / b.shape[1], 1.0) / xx) * 3.0
    theta = minimize_on_line(
        lambda x: profile(b, s, g, t, rho, x)[0], lambda x: profile(b, s, g, t, rho, x)[1], centre, scale
    )
    q, _, second = profile(b, s, g, t, rho, theta)
    return theta, np.sqrt(2.0 / np.where(second > 0, second, np.nan)), q


@estimator(
    "max_likelihood",
    "Maximum likelihood",
    assumes=(
        "no instrument acts around the exposure, or such paths average to zero (balanced pleiotropy)",
        "errors of the effects are normal with known variances",
    ),
    reference="Burgess, Butterworth & Thompson 2013 Genet Epidemiol, doi:10.1002/gepi.21758",
    subtracts="shared",
)
def max_likelihood(
    effects: Effects,
    *,
    model: str = "random",
    distribution: str = "normal",
    rho: Array | None = None,
) -> Fit:
    """Minimum of Q(theta) = Sum (g - theta b)^2 / (syy + theta^2 sxx - 2 theta sxy), at the true optimum.

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes.
    model : {"random", "fixed"}
        Error from the observed information, multiplied by max(1, sqrt(Q / (J - 1))) or not.
    distribution : {"normal", "t"}
        Reference of the interval; t has J - 1 degrees of freedom.
    rho : ndarray (F, O), optional
        Correlation of the errors of b and g.

    Notes
    -----
    Q is the exact heterogeneity statistic, on J - 1 degrees of freedom. Not valid where instruments
    are very weak (Q flat to infinity: the interval is then unbounded and the error useless).
    """
    choice("model", model, ("random", "fixed"))
    choice("distribution", distribution, ("normal", "t"))
    shape, J = effects.shape, effects.count
    b, s, g, t = effects.cells()
    r = np.zeros(len(b)) if rho is None else np.asarray(rho, float).reshape(-1)
    theta, se, q = fit_profile(b, s, g, t, r)
    if model == "random":
        se = se * np.maximum(1.0, np.sqrt(q / (J - 1)))
    flat = ~np.isfinite(se)
    status = np.where(flat, "the likelihood has no inner optimum: instruments are too weak", "ok").astype(
        object
    )
    details = {k: v.reshape(shape) for k, v in heterogeneity(q, J - 1).items()}
    bad = np.where(flat, np.nan, 1.0)
    return Fit(
        (theta * bad).reshape(shape),
        se.reshape(shape),
        residual_df(distribution, J - 1),
        status=status.reshape(shape),
        details=details,
    )
