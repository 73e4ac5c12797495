"""How two sets of noisy effects agree: correlation, slope with errors in both, coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from mrinterp.stats.agreement.deming import deming_error, deming_slope, error_variance_ratio
from mrinterp.stats.tests.tails import critical_value

__all__ = ["FEWEST", "agree"]

Array = NDArray[np.float64]

FEWEST = 4
"""Features below which nothing about agreement is said."""


@dataclass(frozen=True)
class PairAgreement:
    """Agreement of predicted with observed effects over n features (nan where not measurable)."""

    n: int
    correlation: float
    correlation_lower: float
    correlation_upper: float
    rank_correlation: float
    slope: float
    slope_lower: float
    slope_upper: float
    coverage: float
    coverage_lower: float
    coverage_upper: float
    rmse: float
    sign_concordance: float


def agree(
    predicted: Array,
    predicted_se: Array,
    observed: Array,
    observed_se: Array,
    df: float = np.inf,
    level: float = 0.95,
) -> PairAgreement:
    """Hold predictions against observations, feature by feature.

    Parameters
    ----------
    predicted, predicted_se, observed, observed_se : ndarray (F,)
        Cells that are not finite in any of the four are left out (their number is ``F - n``).
    df : float
        Degrees of freedom of the coverage interval.

    Notes
    -----
    Coverage: share of features whose difference lies within the t interval of both errors
    together, with the Clopper-Pearson interval; features are not independent, so that interval is
    a guide. Slope: predicted on observed, Deming with the ratio of median error variances,
    jackknife over features for its interval. Fewer than 4 features give nan; where all predictions or all
    observations are equal there is no correlation and no slope.
    """
    ok = np.isfinite(predicted) & np.isfinite(observed) & np.isfinite(predicted_se) & np.isfinite(observed_se)
    x, y = observed[ok], predicted[ok]
    n = int(ok.sum())
    nan = float("nan")
    if n < FEWEST:
        return PairAgreement(n, *([nan] * 12))
    width = critical_value(level, df) * np.hypot(predicted_se[ok], observed_se[ok])
    inside = int((np.abs(y - x) <= width).sum())
    low, high = proportion_confint(inside, n, alpha=1 - level, method="beta")
    # What all are alike has no slope and no rank; signs and coverage it has.
    lined = np.ptp(x) > 0 and np.ptp(y) > 0
    ratio = error_variance_ratio(predicted_se[ok], observed_se[ok])
    return PairAgreement(
        n,
        *(_correlation(x, y, level) if lined else (nan, nan, nan)),
        float(stats.spearmanr(x, y).statistic) if lined else nan,
        *(_slope(x, y, ratio, level) if lined else (nan, nan, nan)),
        inside / n,
        float(low),
        float(high),
        float(np.sqrt(np.mean((y - x) ** 2))),
        float(np.mean(np.sign(x) == np.sign(y))),
    )


def _correlation(x: Array, y: Array, level: float) -> tuple[float, float, float]:
    """Pearson's correlation with Fisher's interval."""
    r = float(np.corrcoef(x, y)[0, 1])
    z = np.arctanh(np.clip(r, -1 + 1e-15, 1 - 1e-15))
    half = critical_value(level) / np.sqrt(max(len(x) - 3, 1))
    return r, float(np.tanh(z - half)), float(np.tanh(z + half))


def _slope(x: Array, y: Array, ratio: float, level: float) -> tuple[float, float, float]:
    """Deming's slope of y on x, jackknife interval."""
    slope = float(deming_slope(x, y, ratio))
    half = float(critical_value(level, len(x) - 2) * deming_error(x, y, ratio))
    return slope, slope - half, slope + half
