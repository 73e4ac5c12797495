"""Regression through the origin with equal weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.inference import choice, residual_df
from mrinterp.mr._engine.registry import Fit, estimator

__all__ = ["unweighted"]

Array = NDArray[np.float64]


@estimator(
    "unweighted",
    "Unweighted regression",
    assumes=("effects around the exposure average to zero and do not depend on instrument strength",),
    reference="Burgess, Butterworth & Thompson 2013 Genet Epidemiol, doi:10.1002/gepi.21758",
    blocked=False,
)
def unweighted(effects: Effects, *, distribution: str = "t") -> Fit:
    """Ordinary regression of the outcome's on the exposure's effects through the origin.

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes. Errors are not used.
    distribution : {"t", "normal"}
        Reference of the interval; t has J - 1 degrees of freedom.

    Notes
    -----
    The residual variance is that of the regression, in the outcome's own unit, so it is never
    floored. Not valid where precision differs much between instruments: use `ivw`.
    """
    choice("distribution", distribution, ("t", "normal"))
    J = effects.count
    xx = np.einsum("fj,fj->f", effects.beta_x, effects.beta_x)[:, None]
    slope = effects.beta_x @ effects.beta_y.T / xx
    residual = np.maximum(np.einsum("oj,oj->o", effects.beta_y, effects.beta_y) - slope * slope * xx, 0.0)
    se = np.sqrt(residual / (J - 1) / xx)
    return Fit(slope, se, residual_df(distribution, J - 1), details={"residual_sum_of_squares": residual})
