"""How well scores rank one class above another, and how two rankings agree; batched over sets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, rankdata

__all__ = ["area_under_roc", "average_precision", "kendall", "row_correlation", "spearman"]

Array = NDArray[np.float64]

PAIRS = 4_000_000
"""Pairs of features held at once."""

MANY = 120
"""Features from which sorting beats comparing all pairs."""


def area_under_roc(score: Array, positive: NDArray[np.bool_], counted: NDArray[np.bool_]) -> Array:
    """Chance that a positive scores above a negative, ties half; (B,).

    Parameters
    ----------
    score : ndarray (B, F)
    positive : ndarray (B, F) of bool
    counted : ndarray (B, F) of bool
        Others are left out.

    Notes
    -----
    nan where one of the classes is empty.

    Source: Hanley & McNeil 1982, 10.1148/radiology.143.1.7063747 (the Mann-Whitney form).
    """
    positive = positive & counted
    rank = rankdata(np.where(counted, score, -np.inf), axis=1)
    left_out = (~counted).sum(axis=1)
    n1, n = positive.sum(axis=1), counted.sum(axis=1)
    n0 = n - n1
    above = (rank * positive).sum(axis=1) - n1 * left_out - n1 * (n1 + 1) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((n1 > 0) & (n0 > 0), above / (n1 * n0), np.nan)


def average_precision(score: Array, positive: NDArray[np.bool_], counted: NDArray[np.bool_]) -> Array:
    """Area under the precision-recall curve as average precision, (B,); arguments as `area_under_roc`.

    Notes
    -----
    Sum over thresholds of the gain in recall times precision, without interpolation; equal scores are
    one threshold. The base rate of positives is what a ranking without any skill reaches. nan where
    one of the classes is empty.

    Source: Davis & Goadrich 2006, 10.1145/1143844.1143874.
    """
    positive = positive & counted
    B, F = score.shape
    order = np.argsort(-np.where(counted, score, -np.inf), axis=1, kind="stable")
    s = np.take_along_axis(np.where(counted, score, -np.inf), order, axis=1)
    hit = np.take_along_axis(positive, order, axis=1)
    seen = np.take_along_axis(counted, order, axis=1)
    hits, all_seen = hit.cumsum(axis=1), seen.cumsum(axis=1)
    # Precision of a threshold is that at the last of the equal scores.
    last = np.concatenate([s[:, 1:] != s[:, :-1], np.ones((B, 1), dtype=bool)], axis=1)
    place = np.where(last, np.arange(F), F)
    end = np.minimum.accumulate(place[:, ::-1], axis=1)[:, ::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.take_along_axis(hits / all_seen, end, axis=1)
        n1 = positive.sum(axis=1)
        both = (n1 > 0) & (counted.sum(axis=1) > n1)
        return np.where(both, np.where(hit, precision, 0.0).sum(axis=1) / n1, np.nan)


def row_correlation(x: Array, y: Array) -> Array:
    """Pearson correlation of each row of x (B, F) with that of y; nan where one does not vary."""
    # A constant row keeps a spread of rounding around its mean: look before centring.
    varies = (np.ptp(x, axis=1) > 0) & (np.ptp(y, axis=1) > 0)
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return np.where(varies, np.clip(r, -1.0, 1.0), np.nan)


def spearman(x: Array, y: Array) -> Array:
    """Spearman's rank correlation of each row, ties at their mean rank."""
    return row_correlation(rankdata(x, axis=1), rankdata(y, axis=1))


def kendall(x: Array, y: Array) -> Array:
    """Kendall's tau-b of each row.

    Source: Kendall 1945, 10.1093/biomet/33.3.239.
    """
    B, F = x.shape
    out = np.full(B, np.nan)
    if F > MANY:
        for b in range(B):
            out[b] = kendalltau(x[b], y[b], method="asymptotic").statistic
        return out
    step = max(PAIRS // max(F * F, 1), 1)
    for a in range(0, B, step):
        rows = slice(a, a + step)
        sx = np.sign(x[rows, :, None] - x[rows, None, :]).astype(np.int8)
        sy = np.sign(y[rows, :, None] - y[rows, None, :]).astype(np.int8)
        concordant = (sx * sy).sum(axis=(1, 2), dtype=np.int64)
        untied = [np.count_nonzero(s, axis=(1, 2)).astype(float) for s in (sx, sy)]
        with np.errstate(divide="ignore", invalid="ignore"):
            out[rows] = concordant / np.sqrt(untied[0] * untied[1])
    return out
