"""Multivariable MR-Egger: every exposure given the others, with an intercept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.inference import choice, p_value, residual_df
from mrinterp.mr._engine.registry import Fit, estimator
from mrinterp.mr._multivariable.mv_ivw import (
    COLLINEAR,
    MODELS,
    collinear,
    infer,
    no_fit,
    scaled_errors,
    strength,
    weighted_fit,
    whitening_problem,
)

__all__ = ["mv_egger"]

Array = NDArray[np.float64]


@estimator(
    "mv_egger",
    "Multivariable MR-Egger",
    kind="multivariable",
    assumes=(
        "effects around the exposures are independent of the strength for the exposure that orients (InSIDE)",
        "errors of the exposure effects are small beside their spread (conditional F above 10)",
    ),
    reference="Rees, Wood & Burgess 2017 Stat Med, doi:10.1002/sim.7492",
    min_instruments=2,
)
def mv_egger(
    effects: Effects,
    *,
    orientate: int = 1,
    model: str = "random",
    distribution: str = "t",
    sigma: Array | None = None,
    ld: Array | None = None,
) -> Fit:
    """Weighted regression with intercept on all exposures, instruments oriented to one of them.

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes. Weights are 1/syy.
    orientate : int
        Exposure (counted from 1) whose effects are made positive; the estimate depends on it.
    model : {"random", "fixed", "unfloored", "sandwich"}
        Errors as in `mv_ivw`, sigma^2 = Q / (J - F - 1).
    distribution : {"t", "normal"}
        Reference of the intervals; t has J - F - 1 degrees of freedom.
    sigma : ndarray (J, F + O, F + O), optional
        Covariance of the errors; used for the conditional F only, not for the estimate.
    ld : ndarray (J, J), optional
        Correlation of the instruments: generalized least squares.

    Raises
    ------
    InputError
        Where ``orientate`` is not an exposure's number.

    Notes
    -----
    Not valid where pleiotropy
    follows the strength for the orienting exposure, or conditionally weak instruments.
    """
    (F, O), J = effects.shape, effects.count
    if not 1 <= int(orientate) <= F:
        raise InputError("option 'orientate'", str(orientate), f"Give the number of an exposure, 1 to {F}")
    choice("model", model, MODELS)
    sign = np.where(effects.beta_x[int(orientate) - 1] < 0, -1.0, 1.0)
    design = np.concatenate([np.ones((1, J)), sign * effects.beta_x]).T
    if collinear(design):
        alone = collinear(effects.beta_x.T)
        return no_fit(
            F,
            O,
            COLLINEAR if alone else "effects on the exposures are collinear with the intercept",
        )
    problem = whitening_problem(ld)
    if problem:
        return no_fit(F, O, problem)
    fit = weighted_fit(
        design, sign * effects.beta_y, effects.se_y, None if ld is None else sign[:, None] * ld * sign
    )
    df = J - F - 1
    shape = effects.shape
    intercept, intercept_se = fit.beta[0], scaled_errors(fit, df, model)[0]
    details = {
        **strength(effects, sigma, ld),
        "intercept": np.broadcast_to(intercept, shape),
        "intercept_se": np.broadcast_to(intercept_se, shape),
        "intercept_p": np.broadcast_to(
            p_value(intercept / intercept_se, residual_df(distribution, df)), shape
        ),
    }
    return infer(fit, df, model, distribution, details)
