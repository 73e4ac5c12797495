"""Rescue: how much of a corruption's effect is undone when a feature gets its clean value back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.results._check import NotApplicable
from mrinterp.results._result import Axis, Result, Shape
from mrinterp.results._sentences import first_lines

__all__ = ["STILL", "Rescue", "RescuedShare"]

Array = NDArray[np.float64]

STILL = 1e-6
"""Natural standard deviations up to which the corruption did not move a feature."""


@dataclass(frozen=True, kw_only=True)
class RescuedShare:
    """One set of features and one outcome; prints as a sentence.

    Parameters
    ----------
    restored : str
        What was given back.
    outcome : str
        Name of the outcome.
    corruption : str
        What was done, in words.
    corruption_effect : float
        What that did to the outcome, in its units.
    share : float
        Share of it that was recovered.
    lower : float
        Lower end of the interval.
    upper : float
        Upper end of the interval.
    level : float
        Confidence level of the intervals.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> one = example("Rescue")["restored 0", "outcome 0"]
    >>> one.restored
    'restored 0'
    """

    restored: str
    outcome: str
    corruption: str
    corruption_effect: float
    share: float
    lower: float
    upper: float
    level: float

    def __str__(self) -> str:
        return (
            f"{self.corruption} moved {self.outcome} by {self.corruption_effect:.3g} (units of the outcome);"
            f" restoring {self.restored} recovers {self.share:.3g} of it ({self.level:.0%} interval"
            f" {self.lower:.3g} to {self.upper:.3g})."
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Rescue(Result):
    """Share of a corruption's effect on O outcomes that S restorations recover.

    Parameters
    ----------
    restored, outcomes : tuple of str
        What was given back: a feature, or a set of them under its name.
    corruption : str
        What was done, in words.
    corruption_effect, corruption_se : ndarray (O,)
        Corrupted minus clean, in units of the outcome.
    recovered, recovered_se : ndarray (S, O)
        Restored minus corrupted, in units of the outcome.
    share, lower, upper : ndarray (S, O)
        -recovered / corruption_effect with Fieller's interval, errors clustered by family. Below 0 where
        restoring makes it worse, above 1 where it overshoots.
    boot_lower, boot_upper : ndarray (S, O)
        Family bootstrap, percentiles.
    moved : ndarray (S,)
        How far the corruption had moved the features: root mean square over prompts, in their natural
        standard deviations, the largest of the set. 0: there was nothing to give back, and the share is 0.
    restoration_error : ndarray (S,)
        Largest difference between the clean value and the one read after restoring, in feature units.
    status : ndarray (O,) of str
        ``ok``, or why a share is undefined.
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
    >>> print(example("Rescue").summary)
    rescue: 3 restored sets, 2 outcomes
    """

    KIND: ClassVar[str] = "rescue"
    FORMER_NAMES: ClassVar[Mapping[str, str]] = {
        "corruption": "damage",
        "corruption_effect": "damage_effect",
        "corruption_se": "damage_se",
    }

    restored: Annotated[tuple[str, ...], Axis("S", called="restored sets")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    corruption: str
    corruption_effect: Annotated[Array, Shape("O")]
    corruption_se: Annotated[Array, Shape("O")]
    recovered: Annotated[Array, Shape("S", "O")]
    recovered_se: Annotated[Array, Shape("S", "O")]
    share: Annotated[Array, Shape("S", "O")]
    lower: Annotated[Array, Shape("S", "O")]
    upper: Annotated[Array, Shape("S", "O")]
    boot_lower: Annotated[Array, Shape("S", "O")]
    boot_upper: Annotated[Array, Shape("S", "O")]
    moved: Annotated[Array, Shape("S")]
    restoration_error: Annotated[Array, Shape("S")]
    status: Annotated[NDArray[Any], Shape("O")]
    df: float
    level: float
    noise_floor: float
    meta: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, key: tuple[str, str]) -> RescuedShare | NotApplicable:
        """What restoring ``key[0]`` recovers of outcome ``key[1]``; NotApplicable where the corruption did nothing measurable,
        or where the corruption had not moved what was restored."""
        s, o = self._at(key, self.restored, self.outcomes)
        if self.status[o] != "ok":
            return NotApplicable(str(self.status[o]), f"rescue of {key[1]} by {key[0]}")
        if self.moved[s] <= STILL:
            reason = f"{self.corruption} did not move {key[0]}: there is nothing to give back"
            return NotApplicable(reason, f"rescue of {key[1]} by {key[0]}")
        return RescuedShare(
            restored=key[0],
            outcome=key[1],
            corruption=self.corruption,
            corruption_effect=float(self.corruption_effect[o]),
            share=float(self.share[s, o]),
            lower=float(self.lower[s, o]),
            upper=float(self.upper[s, o]),
            level=self.level,
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per (restoration, outcome); ``status`` says as well where there was nothing to give back."""
        S, O = self.share.shape
        still = (self.moved <= STILL)[:, None] & (self.status == "ok")
        status = np.where(still, "not moved by the corruption", self.status)
        return pd.DataFrame(
            {
                "restored": np.repeat(np.array(self.restored, dtype=object), O),
                "outcome": np.tile(np.array(self.outcomes, dtype=object), S),
                "corruption_effect": np.tile(self.corruption_effect, S),
                "recovered": self.recovered.ravel(),
                "recovered_se": self.recovered_se.ravel(),
                "share": self.share.ravel(),
                "ci_lower": self.lower.ravel(),
                "ci_upper": self.upper.ravel(),
                "boot_lower": self.boot_lower.ravel(),
                "boot_upper": self.boot_upper.ravel(),
                "moved_sd": np.repeat(self.moved, O),
                "restoration_error": np.repeat(self.restoration_error, O),
                "status": status.ravel(),
            }
        )

    def __str__(self) -> str:
        return first_lines((self[s, o] for o in self.outcomes for s in self.restored), self.share.size)
