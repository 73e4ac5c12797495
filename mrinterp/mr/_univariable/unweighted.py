"""Regression through the origin with equal weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.registry import Fit, estimator
from mrinterp.mr._univariable.regression import choice, residual_df

__all__ = ["unweighted"]

Array = NDArray[np.float64]


@estimator(
    "unweighted",
    "Unweighted regression",
    assumes=("effects around the exposure average to zero and do not depend on instrument strength",),
    reference="Burgess, Butterworth & Thompson 2013 Genet Epidemiol, doi:10.1002/gepi.21758",
    blocked=False,
)
def unweighted(beta_x: Array, se_x: Array, beta_y: Array, se_y: Array, *, distribution: str = "t") -> Fit:
    """Ordinary regression of the outcome's on the exposure's effects through the origin.

    Parameters
    ----------
    beta_x, beta_y : ndarray (F, J), (O, J)
        Effects; their errors are not used.
    distribution : {"t", "normal"}
        Reference of the interval; t has J - 1 degrees of freedom.

    Notes
    -----
    The residual variance is that of the regression, in the outcome's own unit, so it is never
    floored. Not valid where precision differs much between instruments: use `ivw`.
    """
    choice("distribution", distribution, ("t", "normal"))
    J = beta_x.shape[1]
    xx = np.einsum("fj,fj->f", beta_x, beta_x)[:, None]
    slope = beta_x @ beta_y.T / xx
    residual = np.maximum(np.einsum("oj,oj->o", beta_y, beta_y) - slope * slope * xx, 0.0)
    se = np.sqrt(residual / (J - 1) / xx)
    return Fit(slope, se, residual_df(distribution, J - 1), details={"residual_sum_of_squares": residual})
