"""Test of effects against a null that is a region, not a point."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = ["minimum_effect_p"]


def minimum_effect_p(effect: ArrayLike, se: ArrayLike, rope: ArrayLike, df: float) -> NDArray[np.float64]:
    """p of the null that an effect lies within (-rope, rope); with rope 0 the two-sided p of t.

    nan where the error is not measurable. An effect without any error is 0 outside the region, 1 inside.

    Source: Murphy & Myors 1999, 10.1037/0021-9010.84.2.234.
    """
    effect, se, rope = np.broadcast_arrays(
        np.abs(np.asarray(effect, float)), np.asarray(se, float), np.asarray(rope, float)
    )
    if not df > 0:
        return np.full(effect.shape, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        near, far = (effect - rope) / se, (effect + rope) / se
    p = special.stdtr(df, -near) + special.stdtr(df, -far)
    certain = np.where(effect > rope, 0.0, 1.0)
    return np.asarray(np.where(se == 0, certain, np.minimum(p, 1.0)))
