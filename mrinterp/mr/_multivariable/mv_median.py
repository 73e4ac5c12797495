"""Multivariable median: weighted least absolute deviations through the origin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.shown import A_WHILE, counted
from mrinterp.mr._engine.registry import Fit
from mrinterp.mr._multivariable.joint_data import JointData, outcome_blocks
from mrinterp.mr._multivariable.joint_estimator import joint_estimator
from mrinterp.stats.profile.likelihood import KnownErrors
from mrinterp.stats.robust.least_absolute import least_absolute_deviations

__all__ = ["mv_median"]

Array = NDArray[np.float64]


@joint_estimator(
    "mv_median",
    "MV median",
    assumes=(
        "instruments are independent of one another",
        "instruments carrying more than half of the weight are valid",
        "the rest have no balanced pleiotropy of their own (it is not in the error: intervals are then too narrow)",
        "errors of the exposure effects are small beside their spread (conditional F above 10)",
    ),
    reference="Grant & Burgess 2021 Stat Med, doi:10.1002/sim.9156",
    beyond=1,
    subtracts="nothing",
    most_exposures=200,
)
def mv_median(
    data: JointData,
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Fit:
    """Minimize Sum |g_j - b_j'theta| / syy_j.

    Parameters
    ----------
    data : JointData
        Effects with their errors.
    draws, seed : int
        Parametric bootstrap: all effects redrawn around the observed ones from their joint errors.

    Returns
    -------
    Fit
        Arrays (F, O).

    Notes
    -----
    With one exposure it is not the weighted median of ratios. No correction for weak instruments:
    the estimate shrinks, and with correlated errors moves in any direction. Right for either design
    where instruments are strong. Its level does not hold under balanced pleiotropy of all instruments
    (type-I error .08 to .15, Monte-Carlo error .03, in ``benchmarks/mr_simulations.py``). Source: Grant & Burgess 2021, doi:10.1002/sim.9156.
    """
    J, F, O = data.size
    beta, se = np.empty((F, O)), np.empty((F, O))
    for rows in outcome_blocks(O, 10 * J * F):
        errors = data.outcome_errors(rows)
        centre = least_absolute_deviations(errors.beta_x, errors.beta_y, _weights(errors))
        beta[:, rows] = centre.T
        total, square = np.zeros_like(centre), np.zeros_like(centre)
        rng = np.random.default_rng(seed)  # the same draws for every outcome, whichever stand beside it
        for part in counted(
            outcome_blocks(draws, len(rows) * 10 * J * F), "mv_median: bootstrap", "block", A_WHILE
        ):
            normals = np.repeat(rng.standard_normal((len(part), J, F + 1)), len(rows), axis=0)
            drawn = errors.take(np.tile(np.arange(len(rows)), len(part))).redraw(normals)
            theta = least_absolute_deviations(drawn.beta_x, drawn.beta_y, _weights(drawn))
            away = theta.reshape(len(part), len(rows), F) - centre
            total, square = total + away.sum(axis=0), square + (away**2).sum(axis=0)
        spread = np.maximum(square - total**2 / max(draws, 1), 0.0) / max(draws - 1, 1)
        se[:, rows] = np.sqrt(spread).T if draws > 1 else np.nan
    meta = {"draws": draws, "seed": seed}
    return Fit(beta, se, meta=meta)


def _weights(errors: KnownErrors) -> Array:
    """1/syy over its largest, (N, J): only ratios of weights matter, whatever the outcome's unit."""
    return np.asarray(errors.var_y.min(axis=1, keepdims=True) / errors.var_y)
