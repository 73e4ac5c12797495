"""Sign test: do instruments that raise the exposure raise the outcome more often than not?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.registry import Fit, estimator

__all__ = ["sign"]

Array = NDArray[np.float64]


@estimator(
    "sign",
    "Concordance of signs",
    assumes=("effects around the exposure have no systematic direction relative to it",),
    reference="Dixon & Mood 1946 J Am Stat Assoc, doi:10.1080/01621459.1946.10501898",
    min_instruments=6,
)
def sign(effects: Effects, *, level: float = 0.95) -> Fit:
    """Twice the share of instruments with concordant signs, minus 1: from -1 to 1, not an effect size.

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes. Instruments with a zero
        on either side do not count. Errors are not used.

    Notes
    -----
    Exact binomial p and Clopper-Pearson limits. At least six instruments must count. The number is
    a concordance, not a causal effect in units.
    """
    from scipy import stats  # takes a second to import: only where it is asked for

    x, y = np.sign(effects.beta_x), np.sign(effects.beta_y)
    n = np.abs(x) @ np.abs(y).T
    k = (n + x @ y.T) / 2.0
    most = np.maximum(k, n - k)
    with np.errstate(divide="ignore"):
        p = np.minimum(1.0, 2.0 * stats.binom.sf(most - 1.0, n, 0.5))
    tail = (1.0 - level) / 2.0
    lower = np.where(k > 0, stats.beta.ppf(tail, np.maximum(k, 0.5), n - k + 1.0), 0.0)
    upper = np.where(k < n, stats.beta.ppf(1.0 - tail, k + 1.0, np.maximum(n - k, 0.5)), 1.0)
    enough = np.where(n >= 6, 1.0, np.nan)
    status = np.where(n >= 6, "ok", "needs at least 6 instruments with effects that are not zero").astype(
        object
    )
    share = k / n
    return Fit(
        (2.0 * share - 1.0) * enough,
        2.0 * np.sqrt(share * (1.0 - share) / n) * enough,
        ci_lower=(2.0 * lower - 1.0) * enough,
        ci_upper=(2.0 * upper - 1.0) * enough,
        neglog10p=-np.log10(p) * enough,
        status=status,
        details={"signs_counted": n},
        meta={"scale": "concordance"},
    )
