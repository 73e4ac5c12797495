"""Effects per unit: least squares through the origin, errors clustered by family."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.stats.clustered.least_squares import families_of, satterthwaite

__all__ = ["through_origin"]

Array = NDArray[np.float64]


def through_origin(x: Array, y: Array, family: NDArray[Any]) -> tuple[Array, Array, Array]:
    """Slope of outcome changes on feature changes, feature by feature.

    Parameters
    ----------
    x : ndarray (P, F)
        Change of every feature on every prompt.
    y : ndarray (P, F, O)
        Change of the outcomes that goes with it.
    family : ndarray (P,)
        Cluster of each prompt.

    Returns
    -------
    beta, se : ndarray (F, O)
        sum x y / sum x^2, a swap between equal values weighing nothing; CR3 error (leave one family
        out, in closed form). nan where x never changes; the error also where it changes in one
        family only.
    df : ndarray (F,)
        Satterthwaite's degrees of freedom: families minus one where all changed alike, fewer where some
        carry most of the change, 0 where there is no error.

    Source: Bell & McCaffrey 2002; Cameron & Miller 2015, 10.3368/jhr.50.2.317.
    """
    codes, names = families_of(family)
    C = len(names)
    square = np.zeros((C, x.shape[1]))
    cross = np.zeros((C, *y.shape[1:]))
    np.add.at(square, codes, x * x)
    np.add.at(cross, codes, x[:, :, None] * y)
    total = square.sum(axis=0)
    varies = total > 0
    safe = np.where(varies, total, 1.0)
    beta = np.where(varies[:, None], cross.sum(axis=0) / safe[:, None], np.nan)
    h = square / safe
    # A family that carries all the change determines the slope alone: nothing is left to estimate an error from.
    alone = (h > 1.0 - 1e-8).any(axis=0) | ~varies
    grow = 1.0 / np.where(alone, 1.0, 1.0 - np.where(alone, 0.0, h))
    score = (cross - square[:, :, None] * beta) * grow[:, :, None]
    se = np.sqrt((score**2).sum(axis=0) * (C - 1) / C) / safe[:, None]
    df = satterthwaite(np.where(alone, 0.0, h), grow)
    return beta, np.where(alone[:, None], np.nan, se), np.where(alone, 0.0, df)
