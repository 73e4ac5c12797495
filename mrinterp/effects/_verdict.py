"""Verdicts of estimates and knockouts on the same effects, side by side: the answer of a study."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.results._estimates import Estimates
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.stats.tests.equivalence import NOT_APPLICABLE, verdict

__all__ = ["estimate_verdicts", "verdict_table", "verdicts"]

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


def verdict_table(
    primary: Estimates, knockout: KnockoutEffects, rope: Array, labels: tuple[str, ...]
) -> pd.DataFrame:
    """The answer: per feature the effect with interval, the knockout, and both verdicts; largest first."""
    frame = primary.to_frame()
    O = len(primary.outcomes)
    lower, upper = knockout.interval()
    out = pd.DataFrame(
        {
            "feature": frame["exposure"],
            "label": np.repeat(np.array(labels, dtype=object), O),
            "outcome": frame["outcome"],
            "effect": frame["estimate"],
            "ci_lower": frame["ci_lower"],
            "ci_upper": frame["ci_upper"],
            "neglog10p": frame["neglog10p"],
            "verdict": estimate_verdicts(primary, rope, knockout).ravel(),
            "knockout": knockout.effect.ravel(),
            "knockout_lower": lower.ravel(),
            "knockout_upper": upper.ravel(),
            "knockout_verdict": verdicts(lower, upper, rope, knockout).ravel(),
            "status": frame["status"],
        }
    )
    order = np.argsort(-np.abs(out["effect"].to_numpy()), kind="stable")
    return out.iloc[order].reset_index(drop=True)
