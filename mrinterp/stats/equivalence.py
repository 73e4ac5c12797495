"""Practical equivalence: is an effect outside the region that counts as nothing, or inside it?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["VERDICTS", "verdict"]

VERDICTS = ("causal", "negligible", "indeterminate")


def verdict(ci_lower: ArrayLike, ci_upper: ArrayLike, rope: ArrayLike) -> NDArray[np.object_]:
    """Verdict of intervals against the region of practical equivalence (-rope, rope).

    ``causal``: the whole interval lies outside the region. ``negligible``: the whole interval lies
    inside. ``indeterminate``: anything else, a missing interval included.
    """
    lower, upper, rope = np.broadcast_arrays(
        np.asarray(ci_lower, float), np.asarray(ci_upper, float), np.asarray(rope, float)
    )
    out = np.full(lower.shape, "indeterminate", dtype=object)
    out[(lower > rope) | (upper < -rope)] = "causal"
    out[(lower >= -rope) & (upper <= rope)] = "negligible"
    return out
