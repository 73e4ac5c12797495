"""Scores of how predictions agree with knockouts, and their bootstrap over features and families."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrinterp.stats.agreement.deming import deming_slope, error_variance_ratio
from mrinterp.stats.agreement.edge_intervals import area_edge, precision_edge, share_edge
from mrinterp.stats.agreement.ranking import (
    area_under_roc,
    average_precision,
    kendall,
    row_correlation,
    spearman,
)
from mrinterp.stats.agreement.york import york_line

__all__ = ["SCORES", "Prediction", "bootstrap_scores", "scores"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

SCORES = (
    "correlation",
    "rank_correlation",
    "kendall",
    "sign_concordance",
    "causal_sign_concordance",
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

EDGED = (
    "sign_concordance",
    "causal_sign_concordance",
    "coverage",
    "coverage_alone",
    "auroc",
    "auprc",
)
"""Shares and areas, whose draws are all alike at 0 and at 1."""

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
    class only) are left out; with more than half of them the interval is nan. Shares and areas of 0 or 1
    are alike in every draw: their ends are those of `mrinterp.stats.agreement.edge_intervals`.
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
    point = scores(p)
    out = {}
    for name, parts in found.items():
        values = np.concatenate(parts)
        kept = values[np.isfinite(values)]
        if len(kept) <= draws / 2:
            out[name] = (float("nan"), float("nan"))
            continue
        low, middle, high = np.quantile(kept, [tail, 0.5, 1 - tail])
        if name in EDGED and low == high and point[name] in (0.0, 1.0):
            out[name] = _edge(name, point[name], p, level)
            continue
        if name in ATTENUATED and observed_draws is not None and np.isfinite(point[name]):
            low, high = np.clip(np.array([low, high]) + point[name] - middle, ATTENUATED[name], 1.0)
        out[name] = (float(low), float(high))
    return out


def _scores(p: Prediction, index: NDArray[np.int_], observed: Array, times: float) -> dict[str, Array]:
    """Scores (B,) of B draws of features ``index`` (B, F) with observed effects (B, F)."""
    y, x = p.predicted[index], observed
    vy, vx = (p.predicted_se**2)[index], times * (p.observed_se**2)[index]
    counted = (p.causal | p.negligible)[index]
    strength, causal = p.strength[index], p.causal[index]
    ratio = error_variance_ratio(p.predicted_se, p.observed_se, times)
    # Estimates that are all alike have no slope on anything.
    lined = (np.ptp(x, axis=1) > 0) & (np.ptp(y, axis=1) > 0)
    return {
        "correlation": row_correlation(x, y),
        "rank_correlation": spearman(x, y),
        "kendall": kendall(x, y),
        "sign_concordance": (np.sign(x) == np.sign(y)).mean(axis=1),
        "causal_sign_concordance": _share(np.sign(p.observed[index]) == np.sign(y), causal),
        "slope": np.where(lined, deming_slope(x, y, ratio), np.nan),
        "york_slope": np.where(lined, york_line(x, y, vx, vy).slope, np.nan),
        "coverage": p.covered[index].mean(axis=1),
        "coverage_alone": p.covered_alone[index].mean(axis=1),
        "auroc": area_under_roc(strength, causal, counted),
        "auprc": average_precision(strength, causal, counted),
    }


def _edge(name: str, value: float, p: Prediction, level: float) -> tuple[float, float]:
    causal, negligible = int(p.causal.sum()), int(p.negligible.sum())
    if name == "auroc":
        return area_edge(value, causal, negligible, level)
    if name == "auprc":
        return precision_edge(causal, negligible, level)
    return share_edge(value, causal if name.startswith("causal") else len(p.predicted), level)


def _share(true: Flags, among: Flags) -> Array:
    """Share (B,) of what is true among some of the features; nan without any."""
    count = among.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(count > 0, (true & among).sum(axis=1) / count, np.nan))
