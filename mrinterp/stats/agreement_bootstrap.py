"""Scores of how predictions agree with knockouts, and their bootstrap over features and families."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrinterp.stats.ranking import area_under_roc, average_precision, kendall, row_correlation, spearman
from mrinterp.stats.york import york_line

__all__ = ["SCORES", "Prediction", "bootstrap_scores", "scores"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

SCORES = (
    "correlation",
    "rank_correlation",
    "kendall",
    "sign_concordance",
    "slope",
    "york_slope",
    "coverage",
    "coverage_alone",
    "auroc",
    "auprc",
)
"""Scores in the order of tables."""

ATTENUATED = {"correlation": -1.0, "rank_correlation": -1.0, "kendall": -1.0, "sign_concordance": 0.0}
"""Scores that the knockout's error in its draws lowers, with their least values."""

CELLS = 2_000_000
"""Draws x features held at once."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted and observed effects of F features, all finite, in one unit; every array (F,).

    ``covered`` and ``covered_alone``: whether the two differ by no more than both errors allow, and
    whether the prediction's own interval holds the observed effect. ``causal`` and ``negligible`` are
    the knockout's verdicts; ``strength`` is what ranks features (larger is more causal).
    """

    predicted: Array
    predicted_se: Array
    observed: Array
    observed_se: Array
    covered: Flags
    covered_alone: Flags
    causal: Flags
    negligible: Flags
    strength: Array


def scores(p: Prediction) -> dict[str, float]:
    """Every score of `SCORES`; nan where it is not defined."""
    index = np.arange(len(p.predicted))[None]
    return {k: float(v[0]) for k, v in _scores(p, index, p.observed[None], 1.0).items()}


def bootstrap_scores(
    p: Prediction,
    observed_draws: Callable[[int, int], Array] | None,
    draws: int,
    seed: int,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Percentile interval of every score.

    Parameters
    ----------
    p : Prediction
    observed_draws : callable, optional
        ``observed_draws(a, b)``: observed effects (b - a, F) with families drawn anew, draws a to b. Both
        features and families are then resampled; without it, features only.
    draws, seed : int
    level : float

    Notes
    -----
    Draws with families hold the knockout's error twice: slopes are corrected for both, correlations
    are not, so that their intervals lean towards less agreement. Coverages hold that error in their
    width already and resample features only, and so does what compares classes. Undefined draws (one
    class only) are left out; with more than half of them the interval is nan.
    """
    F = len(p.predicted)
    rng = np.random.default_rng([seed, 21])
    found: dict[str, list[Array]] = {name: [] for name in SCORES}
    step = max(CELLS // max(F, 1), 1)
    for a in range(0, draws, step):
        index = rng.integers(0, F, (min(step, draws - a), F))
        if observed_draws is None:
            observed, times = p.observed[index], 1.0
        else:
            observed = np.take_along_axis(observed_draws(a, a + len(index)), index, axis=1)
            times = 2.0
        for name, values in _scores(p, index, observed, times).items():
            found[name].append(values)
    tail = (1 - level) / 2
    point = scores(p) if observed_draws is not None else {}
    out = {}
    for name, parts in found.items():
        values = np.concatenate(parts)
        kept = values[np.isfinite(values)]
        if len(kept) <= draws / 2:
            out[name] = (float("nan"), float("nan"))
            continue
        low, middle, high = np.quantile(kept, [tail, 0.5, 1 - tail])
        if name in ATTENUATED and np.isfinite(point.get(name, np.nan)):
            low, high = np.clip(np.array([low, high]) + point[name] - middle, ATTENUATED[name], 1.0)
        out[name] = (float(low), float(high))
    return out


def _scores(p: Prediction, index: NDArray[np.int_], observed: Array, times: float) -> dict[str, Array]:
    """Scores (B,) of B draws of features ``index`` (B, F) with observed effects (B, F)."""
    y, x = p.predicted[index], observed
    vy, vx = (p.predicted_se**2)[index], times * (p.observed_se**2)[index]
    counted = (p.causal | p.negligible)[index]
    strength, causal = p.strength[index], p.causal[index]
    # Estimates that are all alike have no slope on anything.
    lined = (np.ptp(x, axis=1) > 0) & (np.ptp(y, axis=1) > 0)
    return {
        "correlation": row_correlation(x, y),
        "rank_correlation": spearman(x, y),
        "kendall": kendall(x, y),
        "sign_concordance": (np.sign(x) == np.sign(y)).mean(axis=1),
        "slope": np.where(lined, _deming(x, y, _variance_ratio(p, times)), np.nan),
        "york_slope": np.where(lined, york_line(x, y, vx, vy).slope, np.nan),
        "coverage": p.covered[index].mean(axis=1),
        "coverage_alone": p.covered_alone[index].mean(axis=1),
        "auroc": area_under_roc(strength, causal, counted),
        "auprc": average_precision(strength, causal, counted),
    }


def _variance_ratio(p: Prediction, times: float) -> float:
    """Median error variance of predictions over that of observations, as `agree` has it."""
    observed = max(float(np.median(p.observed_se**2)) * times, 1e-300)
    return max(float(np.median(p.predicted_se**2)) / observed, 1e-6)


def _deming(x: Array, y: Array, ratio: float) -> Array:
    """Deming slopes (B,) of y on x."""
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    sxx, syy, sxy = (x**2).mean(axis=1), (y**2).mean(axis=1), (x * y).mean(axis=1)
    gap = syy - ratio * sxx
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sxy == 0, np.nan, (gap + np.sqrt(gap**2 + 4 * ratio * sxy**2)) / (2 * sxy))
