"""Intervals of shares and areas at 0 or 1, where every bootstrap draw is the same and says nothing."""

from __future__ import annotations

import numpy as np

__all__ = ["area_edge", "precision_edge", "share_edge"]

Ends = tuple[float, float]


def share_edge(share: float, count: int, level: float = 0.95) -> Ends:
    """Exact interval of a share that is 0 or 1 among ``count`` features.

    Source: Clopper & Pearson 1934, 10.1093/biomet/26.4.404.
    """
    least = float(((1 - level) / 2) ** (1 / count))
    return (least, 1.0) if share == 1 else (0.0, 1 - least)


def area_edge(area: float, positives: int, negatives: int, level: float = 0.95) -> Ends:
    """Conservative interval of an area under the ROC curve that is 0 or 1.

    Of m = min(positives, negatives) disjoint pairs all are then ranked alike, which has at most the chance
    area^m: the area is at least tail^(1/m).
    """
    return share_edge(area, min(positives, negatives), level)


def precision_edge(positives: int, negatives: int, level: float = 0.95) -> Ends:
    """Interval of an average precision of 1: its lower end is what a ranking with the least area of
    `area_edge` has when all its errors stand at the top."""
    least, _ = area_edge(1.0, positives, negatives, level)
    c = (1 - least) * negatives / positives
    return float(1 - c * np.log1p(1 / c)), 1.0
