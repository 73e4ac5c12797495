"""Is a knockout's effect shown to be practically nothing? Two one-sided tests, cell by cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.errors import InputError
from mrinterp.stats.tests.equivalence import NOT_APPLICABLE, tost

if TYPE_CHECKING:
    from mrinterp.results._knockout_effects import KnockoutEffects

__all__ = ["ROPE_PER_SD", "knockout_equivalence"]

ROPE_PER_SD = 0.02
"""Default region of practical equivalence: standard deviations of the outcome per one of the feature."""

EVEN = (
    "the outcome is least or largest at the clean run: it has no slope there and its changes to both sides cancel;"
    " read the mean effect of a kind that goes one way"
)
NOT_MOVED = "nothing was moved"
NO_ERROR = "no error can be had: all change comes from one family"


def knockout_equivalence(
    k: KnockoutEffects, rope: ArrayLike | None = None, alpha: float = 0.05, of: str = "effect"
) -> pd.DataFrame:
    """See `KnockoutEffects.equivalence`."""
    tested = {
        "effect": (k.effect, k.se, k.effect_df[:, None], k.feature_sd[:, None]),
        "mean": (k.mean, k.mean_se, np.array(k.mean_df), np.ones((len(k.features), 1))),
    }
    if not isinstance(of, str) or of not in tested:
        raise InputError("of", repr(of), "Give 'effect' or 'mean'")
    if not isinstance(alpha, int | float | np.number) or not 0 < alpha < 0.5:
        raise InputError("alpha", f"{alpha!r}", "Give a level between 0 and 0.5, such as 0.05")
    value, se, df, scale = tested[of]
    wide = _region(k, rope, scale)
    test = tost(value, se, df, wide, alpha)
    even = np.broadcast_to(k.even & (of == "effect" or k.two_sided), value.shape)
    reason = np.where(np.isnan(value), NOT_MOVED, np.where(np.isfinite(se), "", NO_ERROR))
    columns: dict[str, NDArray] = {"effect": value, "rope": wide, "lower": test.lower, "upper": test.upper}
    columns |= {
        "neglog10p": np.where(even, np.nan, test.neglog10p),
        "verdict": np.where(even, NOT_APPLICABLE, test.verdict),
        "reason": np.where(even, EVEN, reason),
        "flags": np.broadcast_to(np.array(k.flags, dtype=object)[:, None], value.shape),
    }
    return k.keys().assign(**{name: column.ravel() for name, column in columns.items()})


def _region(k: KnockoutEffects, rope: ArrayLike | None, scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half widths (F, O) of the region of practical equivalence."""
    shape = (len(k.features), len(k.outcomes))
    if rope is None:
        if np.isnan(k.outcome_sd).all():
            raise InputError("rope", "none given, and no natural spread is known", "Give the region")
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.broadcast_to(np.where(scale > 0, ROPE_PER_SD * k.outcome_sd / scale, np.nan), shape)
    fix = f"Give half a width above zero, for all cells, each of {shape[1]} outcomes, or {shape}"
    try:
        wide = np.broadcast_to(np.asarray(rope, dtype=float), shape)
    except (TypeError, ValueError):
        raise InputError("rope", f"{str(rope)[:60]!r}", fix) from None
    if not (wide > 0).all():
        raise InputError("rope", f"{np.min(wide):g}", fix)
    return wide
