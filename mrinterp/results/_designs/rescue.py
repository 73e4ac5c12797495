"""Rescue: how much of a damage is undone when a feature gets its clean value back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError, near_misses
from mrinterp.results._check import NotApplicable
from mrinterp.results._result import Axis, Result, Shape
from mrinterp.results._sentences import first_lines

__all__ = ["STILL", "Rescue", "RescuedShare"]

Array = NDArray[np.float64]

STILL = 1e-6
"""Natural standard deviations up to which the damage did not move a feature."""


@dataclass(frozen=True, kw_only=True)
class RescuedShare:
    """One set of features and one outcome; prints as a sentence.

    Parameters
    ----------
    restored : str
        What was given back.
    outcome : str
        Name of the outcome.
    damage : str
        What was done, in words.
    damage_effect : float
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
    damage: str
    damage_effect: float
    share: float
    lower: float
    upper: float
    level: float

    def __str__(self) -> str:
        return (
            f"{self.damage} moved {self.outcome} by {self.damage_effect:.3g} (units of the outcome);"
            f" restoring {self.restored} recovers {self.share:.3g} of it ({self.level:.0%} interval"
            f" {self.lower:.3g} to {self.upper:.3g})."
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Rescue(Result):
    """Share of a damage's effect on O outcomes that S restorations recover.

    Parameters
    ----------
    restored, outcomes : tuple of str
        What was given back: a feature, or a set of them under its name.
    damage : str
        What was done, in words.
    damage_effect, damage_se : ndarray (O,)
        Damaged minus clean, in units of the outcome.
    recovered, recovered_se : ndarray (S, O)
        Restored minus damaged, in units of the outcome.
    share, lower, upper : ndarray (S, O)
        -recovered / damage_effect with Fieller's interval, errors clustered by family. Below 0 where
        restoring makes it worse, above 1 where it overshoots.
    boot_lower, boot_upper : ndarray (S, O)
        Family bootstrap, percentiles.
    moved : ndarray (S,)
        How far the damage had moved the features: root mean square over prompts, in their natural
        standard deviations, the largest of the set. 0: there was nothing to give back, and the share is 0.
    restoration_error : ndarray (S,)
        Largest difference between the clean value and the one read after restoring, in feature units.
    status : ndarray (O,) of str
        ``ok``, or why there is no share.
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

    restored: Annotated[tuple[str, ...], Axis("S", called="restored sets")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    damage: str
    damage_effect: Annotated[Array, Shape("O")]
    damage_se: Annotated[Array, Shape("O")]
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
        """What restoring ``key[0]`` recovers of outcome ``key[1]``; NotApplicable without measurable damage,
        or where the damage had not moved what was restored."""
        for name, known in zip(key, (self.restored, self.outcomes), strict=True):
            if name not in known:
                raise InputError(f"rescue[{key}]", f"no {name!r}", near_misses(name, known) or f"{known}")
        s, o = self.restored.index(key[0]), self.outcomes.index(key[1])
        if self.status[o] != "ok":
            return NotApplicable(str(self.status[o]), f"rescue of {key[1]} by {key[0]}")
        if self.moved[s] <= STILL:
            reason = f"{self.damage} did not move {key[0]}: there is nothing to give back"
            return NotApplicable(reason, f"rescue of {key[1]} by {key[0]}")
        return RescuedShare(
            restored=key[0],
            outcome=key[1],
            damage=self.damage,
            damage_effect=float(self.damage_effect[o]),
            share=float(self.share[s, o]),
            lower=float(self.lower[s, o]),
            upper=float(self.upper[s, o]),
            level=self.level,
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per (restoration, outcome); ``status`` says as well where there was nothing to give back."""
        S, O = self.share.shape
        still = (self.moved <= STILL)[:, None] & (self.status == "ok")
        status = np.where(still, "not moved by the damage", self.status)
        return pd.DataFrame(
            {
                "restored": np.repeat(np.array(self.restored, dtype=object), O),
                "outcome": np.tile(np.array(self.outcomes, dtype=object), S),
                "damage_effect": np.tile(self.damage_effect, S),
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
