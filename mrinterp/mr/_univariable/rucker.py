"""Rucker's framework: heterogeneity decides between fixed and random effects, IVW and Egger."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.inference import p_value
from mrinterp.mr._engine.registry import Fit, estimator
from mrinterp.mr._univariable.egger import egger
from mrinterp.mr._univariable.ivw import ivw_fixed
from mrinterp.stats.tests.tails import neglog10p_chi2, two_sided_p

__all__ = ["rucker"]

Array = NDArray[np.float64]


@estimator(
    "rucker",
    "Rucker's framework",
    assumes=(
        "what the chosen one of four models assumes",
        "the choice itself does not count (the interval is too narrow where the data chose)",
    ),
    reference="Bowden et al. 2017 Stat Med, doi:10.1002/sim.7221",
    min_instruments=3,
    blocked=False,
)
def rucker(effects: Effects, *, alpha: float = 0.05) -> Fit:
    """Fixed-effect IVW unless Q is large; then Egger, if an intercept lowers Q by more than chance, or random IVW.

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes.
    alpha : float
        Level of the three tests (Q, Q of Egger, their difference).

    Notes
    -----
    ``model`` is 1 (IVW, fixed: Q within chance), 2 (IVW, random), 3 (Egger, fixed: Q of Egger within chance) or 4
    (Egger, random). Normal inference. A choice made by tests on the same data does not hold its level.
    """
    J = effects.count
    straight, tilted = ivw_fixed(effects), egger(effects)
    q, q_egger = straight.details["q"], tilted.details["q"]
    sigma, sigma_egger = np.sqrt(q / (J - 1)), np.sqrt(q_egger / (J - 2))
    q_diff = np.maximum(q - q_egger, 0.0)
    q_diff_p = two_sided_p(neglog10p_chi2(q_diff, 1.0))
    use_egger = (straight.details["q_p"] <= alpha) & (q_diff_p <= alpha)  # Q decides first, as published
    random = np.where(use_egger, tilted.details["q_p"], straight.details["q_p"]) <= alpha
    unit = tilted.se / np.maximum(sigma_egger, 1.0)
    fixed_se = np.where(use_egger, unit, straight.se)
    random_se = np.where(use_egger, unit * sigma_egger, straight.se * sigma)
    intercept_se = tilted.details["intercept_se"] / np.maximum(sigma_egger, 1.0)
    intercept_se = intercept_se * np.where(random, sigma_egger, 1.0)
    details = {
        "model": 1.0 + random + 2.0 * use_egger,
        "q": q,
        "q_df": straight.details["q_df"],
        "q_p": straight.details["q_p"],
        "q_egger": q_egger,
        "q_difference": q_diff,
        "q_difference_p": q_diff_p,
        "intercept": tilted.details["intercept"],
        "intercept_se": intercept_se,
        "intercept_p": p_value(tilted.details["intercept"] / intercept_se),
    }
    beta = np.where(use_egger, tilted.beta, straight.beta)
    return Fit(beta, np.where(random, random_se, fixed_se), details=details)
