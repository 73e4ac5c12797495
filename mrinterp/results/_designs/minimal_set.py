"""The smallest set of features that a greedy search found, and what it is worth on other families."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.results._result import Axis, Result, Rows, Shape
from mrinterp.results._sentences import off_support_largest, off_support_words

__all__ = ["MinimalSet"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MinimalSet(Result):
    """A set found on half of the families and checked on the other half.

    Parameters
    ----------
    outcome, mode : str
        ``mode``: ``sufficiency`` (all but the set knocked out) or ``necessity`` (the set knocked out).
    chosen : tuple of str
        The set; empty where no set reached the share asked for.
    wanted : float
        Share asked for.
    path : DataFrame
        ``step, action, feature, size, share`` of the search, on its own families.
    search_share : float
        Share of the set on the families it was found on: an optimistic number.
    share, lower, upper : float
        On families that the search has not seen, with Fieller's interval.
    boot_lower, boot_upper : float
        Family bootstrap, percentiles.
    drop, drop_lower, drop_upper : ndarray (size,)
        What the share loses, on the held-out families, when a member is taken out of the set.
    random_share : ndarray (R,)
        Held-out shares of random sets of the same size.
    search_families, held_out_families : int
    status : str
        ``ok``, or why there is no set or no share.
    candidates : int
        Features that were searched.
    df : float
        Degrees of freedom of the errors: families minus one.
    level : float
        Confidence level of the intervals.
    noise_floor : float
        Change of an outcome below which nothing is measurable, in its units.
    meta : dict
        Options, seeds and whatever else a report needs.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("MinimalSet").summary)
    minimal set for the sufficiency of outcome: 3 of 10 features
    """

    KIND: ClassVar[str] = "minimal set"

    outcome: str
    mode: str
    chosen: Annotated[tuple[str, ...], Axis("M")]
    candidates: int
    wanted: float
    path: Annotated[pd.DataFrame, Rows(columns=("step", "feature", "size", "share"))]
    search_share: float
    share: float
    lower: float
    upper: float
    boot_lower: float
    boot_upper: float
    drop: Annotated[Array, Shape("M")]
    drop_lower: Annotated[Array, Shape("M")]
    drop_upper: Annotated[Array, Shape("M")]
    random_share: Annotated[Array, Shape("R")]
    search_families: int
    held_out_families: int
    df: float
    level: float
    noise_floor: float
    status: str = "ok"
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """What it is and how large, in one line."""
        found = f"{len(self.chosen)} of {self.candidates} features" if self.status == "ok" else "none found"
        return f"minimal set for the {self.mode} of {self.outcome}: {found}"

    def to_frame(self) -> pd.DataFrame:
        """One row per member, with what the held-out share loses without it; ``outside_support``: largest share
        of what was written into a candidate that its place never shows."""
        return pd.DataFrame(
            {
                "feature": np.array(self.chosen, dtype=object),
                "drop": self.drop,
                "drop_lower": self.drop_lower,
                "drop_upper": self.drop_upper,
                "outside_support": off_support_largest(self.meta),
            }
        )

    def __str__(self) -> str:
        if self.status != "ok":
            return f"No minimal set for the {self.mode} of {self.outcome}: {self.status}."
        words = ", ".join(self.chosen[:8]) + (" ..." if len(self.chosen) > 8 else "")
        random = (
            f"; random sets of that size {self.random_share.mean():.3g}" if len(self.random_share) else ""
        )
        return (
            f"{len(self.chosen)} of {self.candidates} features ({words}) carry {self.share:.3g} of {self.outcome}"
            f" ({self.mode}; {self.level:.0%} interval {self.lower:.3g} to {self.upper:.3g}) on"
            f" {self.held_out_families} families that the search did not see ({self.search_share:.3g} where it"
            f" looked; {self.wanted:g} asked for{random})."
        ) + off_support_words(self.meta)
