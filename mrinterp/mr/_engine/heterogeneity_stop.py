"""The heterogeneity stopping rule of the lasso methods: how many instruments may count as valid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["heterogeneity_stop"]

Array = NDArray[np.float64]


def heterogeneity_stop(
    sigma: Array, count: NDArray[np.int_], usable: NDArray[np.bool_], level: float = 0.95
) -> NDArray[np.int_]:
    """The last penalty before the valid instruments become heterogeneous, one index per row.

    Parameters
    ----------
    sigma : ndarray (C, L)
        Residual standard error of the instruments that are valid at each penalty, penalties ascending.
    count : ndarray (C, L)
        Number of these instruments.
    usable : ndarray (C, L)
        Penalties at which enough of them are left to estimate the effect; others are passed over.
    level : float
        How much of a rise chance explains.

    Returns
    -------
    ndarray (C,)
        Index of the chosen penalty: the largest where sigma never jumps; 0 where none is usable.

    Notes
    -----
    As the penalty grows, instruments with a path of their own are let in among the valid ones and their
    residual standard error rises. A step is refused where sigma, above 1 (the value expected of valid
    instruments), has risen since the last penalty by more than chi2_1(level) / count, a chi2_1 being what one
    more valid instrument adds to Q. Rule of Rees et al. 2019 (10.1371/journal.pone.0222362) and Grant &
    Burgess 2021 (10.1002/sim.9156); the constants are those with which the published numbers come out.
    """
    L = sigma.shape[1]
    last = np.maximum.accumulate(np.where(usable, np.arange(L), -1), axis=1)
    before = np.concatenate([np.full((len(sigma), 1), -1), last[:, :-1]], axis=1)
    previous = np.take_along_axis(sigma, np.maximum(before, 0), axis=1)
    with np.errstate(invalid="ignore"):
        rise = sigma - previous > 2.0 * special.gammaincinv(0.5, level) / np.maximum(count, 1)
        jumps = usable & (before >= 0) & rise & (sigma > 1.0)
    first = np.argmax(jumps, axis=1)
    chosen = np.where(jumps.any(axis=1), before[np.arange(len(sigma)), first], last[:, -1])
    return np.asarray(np.maximum(chosen, 0))
