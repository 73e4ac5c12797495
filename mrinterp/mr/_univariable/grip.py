"""MR-GRIP: a regression of products, whose slope does not depend on how instruments are oriented."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.inference import p_value
from mrinterp.mr._engine.registry import Fit, estimator

__all__ = ["grip"]

Array = NDArray[np.float64]


def _adjusted_slope(b: Array, s: Array, g: Array, t: Array) -> Array:
    """Slope with the error of b taken out of the moments of b^2 (normal errors, independent of g's)."""
    share = 1.0 / (t * t)
    share = share / share.sum(axis=1, keepdims=True)

    def mean(values: Array) -> Array:
        return np.asarray((share * values).sum(axis=1))

    x, y, v = b * b, g * b, s * s
    m_x, m_y = mean(x - v), mean(y)
    return np.asarray(
        (mean(x * y - 3 * y * v) - m_y * m_x) / (mean(x * x - 6 * x * v + 3 * v * v) - m_x * m_x)
    )


@estimator(
    "grip",
    "MR-GRIP",
    assumes=(
        "effects around the exposure, times those on it, are independent of instrument strength (VICE)",
        "errors of the exposure effects are small (see slope_adjusted)",
    ),
    reference="Dudbridge et al., Getting to GRIPS with MR-Egger, PLoS Genet, doi:10.1371/journal.pgen.1011967",
    min_instruments=3,
    divides=True,
)
def grip(effects: Effects) -> Fit:
    """Weighted regression of g b on b^2 with intercept, weights 1/(b^2 syy).

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes.

    Notes
    -----
    g_j b_j = intercept + theta b_j^2 + error: both sides stay when g_j and b_j change sign together, so no
    orientation is needed. Errors are not floored; t on J - 2 degrees of freedom. ``slope_adjusted`` takes
    the error of b out of the moments of b^2, with means m weighted by 1/syy::

        (m[g b^3 - 3 g b s^2] - m[g b] m[b^2 - s^2]) / (m[b^4 - 6 b^2 s^2 + 3 s^4] - m[b^2 - s^2]^2)

    (E b^4 = beta^4 + 6 beta^2 s^2 + 3 s^4 for a normal error). Not valid with weak instruments, where
    the plain slope is diluted.
    """
    shape, J = effects.shape, effects.count
    b, s, g, t = effects.cells()
    x, y, w = b * b, g * b, 1.0 / (b * b * t * t)
    total = w.sum(axis=1)
    mx, my = (w * x).sum(axis=1) / total, (w * y).sum(axis=1) / total
    dx, dy = x - mx[:, None], y - my[:, None]
    spread = (w * dx * dx).sum(axis=1)
    equal = spread <= 1e-12 * (w * x * x).sum(axis=1)
    slope = (w * dx * dy).sum(axis=1) / spread
    variance = (w * (dy - slope[:, None] * dx) ** 2).sum(axis=1) / (J - 2)
    se = np.sqrt(variance / spread)
    intercept = my - slope * mx
    intercept_se = np.sqrt(variance * (1.0 / total + mx * mx / spread))
    details = {
        "intercept": intercept,
        "intercept_se": intercept_se,
        "intercept_p": p_value(intercept / intercept_se, J - 2),
        "slope_adjusted": _adjusted_slope(b, s, g, t),
    }
    bad = np.where(equal, np.nan, 1.0)
    why = "effects on the exposure are all equal in size: slope and intercept cannot be told apart"
    status = np.where(equal, why, "ok").astype(object).reshape(shape)
    return Fit(
        (slope * bad).reshape(shape),
        (se * bad).reshape(shape),
        J - 2,
        status=status,
        details={k: (v * bad).reshape(shape) for k, v in details.items()},
    )
