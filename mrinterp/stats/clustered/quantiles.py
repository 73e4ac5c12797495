"""Quantiles of values that come in families, and what each family adds to their error."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

__all__ = ["quantile_errors", "weighted_quantile"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]


def weighted_quantile(values: Array, weight: Array, level: ArrayLike) -> Array:
    """Quantile (f,) of values (f, n), nan left out, with weights (n,); interpolated between values.

    ``level`` is one number, or one for each row.
    """
    order = np.argsort(values, axis=1, kind="stable")
    ordered, weights = np.take_along_axis(values, order, axis=1), weight[order]
    missing = np.isnan(ordered)
    gone = np.where(missing, weights, 0.0).sum(axis=1, keepdims=True)
    weights = np.where(missing, 0.0, weights)
    # A value stands in the middle of its own weight.
    whole = np.where(missing.all(axis=1, keepdims=True), 1.0, weight.sum() - gone)
    middle = (np.cumsum(weights, axis=1) - weights / 2) / whole
    last = np.maximum((~missing).sum(axis=1, keepdims=True) - 1, 0)
    wanted = np.broadcast_to(np.asarray(level, dtype=float), len(values))[:, None]
    above = np.clip((middle < wanted).sum(axis=1, keepdims=True), 1, np.maximum(last, 1))
    below = above - 1
    above = np.minimum(above, last)
    a, b = (np.take_along_axis(ordered, i, axis=1)[:, 0] for i in (below, above))
    x, y = (np.take_along_axis(middle, i, axis=1)[:, 0] for i in (below, above))
    share = np.clip(np.divide(wanted[:, 0] - x, y - x, out=np.zeros_like(x), where=y > x), 0.0, 1.0)
    return np.asarray(np.where(share == 1.0, b, a + share * (b - a)))


def quantile_errors(values: Array, weight: Array, codes: Rows, families: int, level: float) -> Array:
    """What every family adds to the error of a quantile of values (f, n), (C, f); their sum is the error, to first order.

    Parameters
    ----------
    values : ndarray (f, n)
        nan is left out.
    weight : ndarray (n,)
    codes : ndarray (n,) of int
        Families, 0 to C - 1.
    families : int
        C.
    level : float

    Notes
    -----
    Linearized: a family's share of values below the quantile, less the level, times how fast the quantile rises with the
    level. That rate is read off between the quantiles at one standard error of the share on both sides (Woodruff 1952,
    10.1080/01621459.1952.10483443), since a density at one value is known badly. Leaving families out one at a time is no
    way to an error of a quantile: it jumps from value to value.
    """
    known = ~np.isnan(values)
    own = np.where(known, weight, 0.0)
    total, count = own.sum(axis=1), np.maximum(known.sum(axis=1), 1)
    total = np.where(total > 0, total, 1.0)
    at = weighted_quantile(values, weight, level)[:, None]
    off = own * (np.where(values < at, 1.0, np.where(values == at, 0.5, 0.0)) - level)
    member = csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(families, len(codes)))
    each, held = member @ off.T, member @ own.T
    each = each - held / total * each.sum(axis=0)
    spread = np.sqrt((each**2).sum(axis=0) * families / max(families - 1, 1)) / total
    reach, edge = np.maximum(spread, 1.0 / count), 0.5 / count
    ends = [np.clip(level + side * reach, edge, 1.0 - edge) for side in (-1.0, 1.0)]
    low, high = (weighted_quantile(values, weight, end) for end in ends)
    width = ends[1] - ends[0]
    rate = np.divide(high - low, width, out=np.zeros_like(width), where=width > 0)
    return np.asarray(-each * np.nan_to_num(rate) / total)
