"""Parts of an effect as shares of the whole, with the intervals that sets and rescues report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._outcome_rope import span_status
from mrinterp.stats.clustered.ratio import bootstrap_interval, clustered_ratio

__all__ = ["shares_of"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Shares:
    """Shares (S, O) with Fieller's interval and the family bootstrap's; nan where ``status`` (O,) is not ok."""

    share: Array
    lower: Array
    upper: Array
    boot_lower: Array
    boot_upper: Array
    status: NDArray[Any]
    df: float


def shares_of(
    bench: Bench, parts: Array, whole: Array, what: str, level: float, draws: int, seed: int
) -> Shares:
    """Means of the parts (P, S, O) over the mean of the whole (P, O); ``what`` did the whole, in words."""
    status, df = span_status(bench, whole, level, what)
    ratio = clustered_ratio(parts, whole[:, None], bench.family, level)
    ends = bootstrap_interval(parts, whole[:, None], bench.family, level, draws, seed)

    def known(value: Array) -> Array:
        return np.where(status == "ok", value, np.nan)

    low, high = (known(end) for end in ends)
    return Shares(known(ratio.ratio), known(ratio.lower), known(ratio.upper), low, high, status, df)
