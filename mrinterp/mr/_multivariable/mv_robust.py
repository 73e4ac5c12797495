"""Multivariable robust regression: MM-estimation keeps outlying instruments from pulling the plane."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.inference import choice, residual_df
from mrinterp.mr._engine.registry import Fit, estimator
from mrinterp.mr._multivariable.mv_ivw import COLLINEAR, collinear, no_fit, strength
from mrinterp.mr._univariable.robust import mm_regression
from mrinterp.stats.loops.row_threads import by_rows

__all__ = ["mv_robust"]

Array = NDArray[np.float64]


@estimator(
    "mv_robust",
    "Multivariable robust regression (MM)",
    kind="multivariable",
    assumes=(
        "more than half of the instruments act through these exposures only",
        "errors of the exposure effects are small beside their spread (conditional F above 10)",
    ),
    reference="Grant & Burgess 2021 Stat Med, doi:10.1002/sim.9156; Yohai 1987 Ann Stat, doi:10.1214/aos/1176350366",
    min_instruments=2,
)
def mv_robust(
    effects: Effects,
    *,
    model: str = "random",
    errors: str = "small_sample",
    distribution: str = "t",
    seed: int = 0,
    sigma: Array | None = None,
) -> Fit:
    """MM-regression of the weighted outcome's effects on those of all exposures, through the origin.

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes. Weights are 1/syy.
    model : {"random", "fixed"}
        Errors divided by min(1, scale), or by the scale (one effect, known errors).
    errors : {"small_sample", "influence"}
        Huber's small-sample error, or the asymptotic one of the published method.
    distribution : {"t", "normal"}
        Reference of the interval; t has J - F degrees of freedom. Published: normal.
    seed : int
        Of the subsets of F instruments through which the search starts (all of them for one exposure).
    sigma : ndarray (J, F + O, F + O), optional
        Covariance of the errors; used for the conditional F only, not for the estimate.

    Notes
    -----
    Minimizes Sum rho((g_j - b_j'theta) / (t_j s)) for Tukey's bisquare rho, from the S-estimate whose scale s is
    least (see `mrinterp.mr._univariable.robust`). ``scale`` is that s. Errors of exposures are not corrected for. Not
    valid where half of the instruments or more are invalid.
    """
    choice("model", model, ("random", "fixed"))
    choice("errors", errors, ("small_sample", "influence"))
    choice("distribution", distribution, ("normal", "t"))
    (F, O), J = effects.shape, effects.count
    if collinear(effects.beta_x.T):
        return no_fit(F, O, COLLINEAR)
    beta, se, scale = np.empty((O, F)), np.empty((O, F)), np.empty(O)

    def fit(first: int, last: int) -> None:
        with np.errstate(all="ignore"):
            for o in range(first, last):
                X, y = (effects.beta_x / effects.se_y[o]).T, effects.beta_y[o] / effects.se_y[o]
                beta[o : o + 1], se[o : o + 1], scale[o : o + 1] = mm_regression(
                    X[None], y[None], seed, errors
                )

    by_rows(fit, O)
    se /= np.minimum(scale, 1.0)[:, None] if model == "random" else scale[:, None]
    return Fit(
        beta.T,
        se.T,
        residual_df(distribution, J - F),
        details={"scale": np.broadcast_to(scale, (F, O)), **strength(effects, sigma)},
        meta={"uses_error_correlation": False},
    )
