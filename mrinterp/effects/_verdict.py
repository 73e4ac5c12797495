"""Verdicts of estimates and knockouts on the same effects, side by side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.results._estimates import Estimates
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.stats.tests.equivalence import NOT_APPLICABLE, verdict

__all__ = ["estimate_verdicts", "verdicts"]

Array = NDArray[np.float64]


def verdicts(lower: Array, upper: Array, rope: Array, knockout: KnockoutEffects) -> NDArray[np.object_]:
    """Verdicts (F, O) of intervals; none on outcomes that have no slope at the clean run."""
    words = verdict(lower, upper, rope[None, :])
    words[:, knockout.extremal_at_clean] = NOT_APPLICABLE
    return words


def estimate_verdicts(estimates: Estimates, rope: Array, knockout: KnockoutEffects) -> NDArray[np.object_]:
    """Verdicts (F, O) of estimates; a member of a set of dependent features has none of its own."""
    words = verdicts(estimates.ci_lower, estimates.ci_upper, rope, knockout)
    for one in estimates.meta.get("dependent_sets", []):
        rows = [estimates.exposures.index(m) for m in one["members"]]
        words[rows, estimates.outcomes.index(one["outcome"])] = "indeterminate"
    return words
