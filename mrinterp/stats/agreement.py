"""How two sets of noisy effects agree: correlation, slope with errors in both, coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from mrinterp.stats.tails import critical_value

__all__ = ["PairAgreement", "agree", "deming_slope"]

Array = NDArray[np.float64]


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


def deming_slope(x: Array, y: Array, variance_ratio: float) -> float:
    """Slope of y on x with errors in both; ``variance_ratio`` = error variance of y / of x.

    Source: Deming 1943; Fuller, Measurement Error Models, 1987, section 1.3.
    """
    sxx, syy = np.var(x), np.var(y)
    sxy = np.mean((x - x.mean()) * (y - y.mean()))
    if sxy == 0:
        return float("nan")
    gap = syy - variance_ratio * sxx
    return float((gap + np.sqrt(gap**2 + 4 * variance_ratio * sxy**2)) / (2 * sxy))


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
    jackknife over features for its interval. Fewer than 4 features give nan.
    """
    ok = np.isfinite(predicted) & np.isfinite(observed) & np.isfinite(predicted_se) & np.isfinite(observed_se)
    x, y = observed[ok], predicted[ok]
    n = int(ok.sum())
    nan = float("nan")
    if n < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return PairAgreement(n, *([nan] * 12))
    ratio = max(float(np.median(predicted_se[ok] ** 2) / max(np.median(observed_se[ok] ** 2), 1e-300)), 1e-6)
    slope = deming_slope(x, y, ratio)
    left_out = np.array([deming_slope(np.delete(x, i), np.delete(y, i), ratio) for i in range(n)])
    slope_se = np.sqrt((n - 1) / n * np.sum((left_out - left_out.mean()) ** 2))
    half = float(critical_value(level, n - 2)) * slope_se
    r = float(np.corrcoef(x, y)[0, 1])
    z, zh = np.arctanh(np.clip(r, -1 + 1e-15, 1 - 1e-15)), critical_value(level) / np.sqrt(max(n - 3, 1))
    width = critical_value(level, df) * np.sqrt(predicted_se[ok] ** 2 + observed_se[ok] ** 2)
    inside = int((np.abs(y - x) <= width).sum())
    low, high = proportion_confint(inside, n, alpha=1 - level, method="beta")
    return PairAgreement(
        n,
        r,
        float(np.tanh(z - zh)),
        float(np.tanh(z + zh)),
        float(stats.spearmanr(x, y).statistic),
        slope,
        slope - half,
        slope + half,
        inside / n,
        float(low),
        float(high),
        float(np.sqrt(np.mean((y - x) ** 2))),
        float(np.mean(np.sign(x) == np.sign(y))),
    )
