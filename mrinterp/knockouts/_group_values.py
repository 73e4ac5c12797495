"""A number of every group of tokens, handed back to its tokens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mrinterp.knockouts._token_groups import TokenGroups

__all__ = ["by_group"]

Array = NDArray[np.float64]


def by_group(values: Array, groups: TokenGroups, summary: Callable[..., Array]) -> Array:
    """Every token's value replaced by the summary of its group's tokens in all inputs.

    Parameters
    ----------
    values : ndarray (f, P, T)
    summary : callable
        ``summary(values (f, n), axis=1) -> (f,)``: a mean, a quantile.

    Returns
    -------
    ndarray (f, P, T)
        nan on padding.
    """
    out = np.full(values.shape, np.nan)
    for k in range(len(groups.names)):
        here = groups.code == k
        if here.any():
            out[:, here] = np.asarray(summary(values[:, here], axis=1))[:, None]
    return out
