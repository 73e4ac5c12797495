"""Multivariable median: weighted least absolute deviations through the origin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr.joint_data import joint_data, outcome_blocks
from mrinterp.mr.registry import Fit, estimator
from mrinterp.stats.least_absolute import least_absolute_deviations

__all__ = ["mv_median"]

Array = NDArray[np.float64]


@estimator(
    "mv_median",
    "MV median",
    kind="multivariable",
    assumes=(
        "instruments are independent of one another",
        "instruments carrying more than half of the weight are valid",
        "errors of the exposure effects are small beside their spread (conditional F above 10)",
    ),
    reference="Grant & Burgess 2021 Stat Med, doi:10.1002/sim.9156",
    min_instruments=1,
)
def mv_median(
    beta_x: Array,
    se_x: Array,
    beta_y: Array,
    se_y: Array,
    *,
    sigma_xx: Array | None = None,
    sigma_xy: Array | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Fit:
    """Minimize Sum |g_j - b_j'theta| / syy_j.

    Parameters
    ----------
    beta_x, se_x : ndarray (F, J)
        Effects on the exposures per dose unit, and their standard errors.
    beta_y, se_y : ndarray (O, J)
        The same for the outcomes.
    sigma_xx : ndarray (J, F, F), optional
        Covariance of the errors of the exposure effects, for the bootstrap (uncorrelated by default).
    sigma_xy : ndarray (J, F, O), optional
        Their covariance with the outcome's error, for the bootstrap (none by default).
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
    (type-I error .14 to .17 in ``benchmarks/mr_simulations.py``). Source: Grant & Burgess 2021, doi:10.1002/sim.9156.
    """
    F, J = beta_x.shape
    data = joint_data(beta_x, se_x, beta_y, se_y, sigma_xx, sigma_xy, needed=F + 1)
    if isinstance(data, Fit):
        return data
    O = len(beta_y)
    rng = np.random.default_rng(seed)
    beta, se = np.empty((F, O)), np.empty((F, O))
    for rows in outcome_blocks(O, 10 * J * F):
        errors = data.outcome_errors(rows)
        centre = least_absolute_deviations(errors.beta_x, errors.beta_y, 1.0 / errors.var_y)
        beta[:, rows] = centre.T
        total, square = np.zeros_like(centre), np.zeros_like(centre)
        for part in outcome_blocks(draws, len(rows) * 10 * J * F):
            drawn = errors.take(np.tile(np.arange(len(rows)), len(part))).redraw(rng)
            theta = least_absolute_deviations(drawn.beta_x, drawn.beta_y, 1.0 / drawn.var_y)
            away = theta.reshape(len(part), len(rows), F) - centre
            total, square = total + away.sum(axis=0), square + (away**2).sum(axis=0)
        spread = np.maximum(square - total**2 / max(draws, 1), 0.0) / max(draws - 1, 1)
        se[:, rows] = np.sqrt(spread).T if draws > 1 else np.nan
    failed = np.array([p != "" for p in data.problem])
    beta[:, failed], se[:, failed] = np.nan, np.nan
    meta = {"right_for_design": "either", "uses_overlap": sigma_xy is not None, "draws": draws, "seed": seed}
    return Fit(beta, se, status=data.finish(["ok"] * O), meta=meta)
