"""Necessity and sufficiency of sets of features."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.results._check import NotApplicable
from mrinterp.results._result import Axis, Result, Shape
from mrinterp.results._sentences import first_lines, off_support_largest, off_support_words

__all__ = ["SetEffects", "SetShares"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SetShares:
    """One set and one outcome; prints as a sentence.

    Parameters
    ----------
    name : str
        Name of the set.
    size : int
        Features in the set.
    universe : int
        Features in all.
    outcome : str
        Name of the outcome.
    span : float
        Effect of knocking all of them out, in units of the outcome.
    necessity : tuple of float (3,)
        Share lost without the set, and its interval.
    sufficiency : tuple of float (3,)
        Share kept with the set alone, and its interval.
    level : float
        Confidence level of the intervals.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> one = example("SetEffects")["set 0", "outcome 0"]
    >>> one.size
    0
    """

    name: str
    size: int
    universe: int
    outcome: str
    span: float
    necessity: tuple[float, float, float]
    sufficiency: tuple[float, float, float]
    level: float

    def __str__(self) -> str:
        (n, n0, n1), (s, s0, s1) = self.necessity, self.sufficiency
        return (
            f"{self.name} ({self.size} of {self.universe} features), {self.outcome}: knocking everything out"
            f" moves it by {self.span:.3g} (units of the outcome); without the set {n:.3g} of that happens"
            f" ({self.level:.0%} interval {n0:.3g} to {n1:.3g}: necessity), with only the set left {s:.3g} of it is"
            f" kept ({s0:.3g} to {s1:.3g}: sufficiency)."
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SetEffects(Result):
    """Effects of S sets within a universe of n features, for O outcomes.

    Parameters
    ----------
    sets, outcomes, universe : tuple of str
    sizes : ndarray (S,) of int
    span, span_se : ndarray (O,)
        Everything knocked out minus clean, in units of the outcome.
    noised, noised_se : ndarray (S, O)
        The set knocked out (noising) minus clean.
    denoised, denoised_se : ndarray (S, O)
        Everything but the set knocked out minus clean: 0 where the set suffices.
    necessity, sufficiency : ndarray (3, S, O)
        Estimate, lower and upper end (Fieller): noised / span, and 1 - denoised / span. They need not add
        up to one: redundant sets are each sufficient and neither necessary.
    necessity_boot, sufficiency_boot : ndarray (2, S, O)
        Family bootstrap, percentiles.
    status : ndarray (O,) of str
        ``ok``, or why there is no share.
    df : float
        Degrees of freedom of the errors: families minus one.
    level : float
        Confidence level of the intervals.
    noise_floor : float
        Change of an outcome below which nothing is measurable, in its units.
    read_back_error : ndarray, one per feature
        Largest difference between a value written and the one read back, in feature units.
    meta : dict
        Options, seeds and whatever else a report needs.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("SetEffects").summary)
    feature sets: 3 sets, 2 outcomes, 5 features in all
    """

    KIND: ClassVar[str] = "feature sets"

    sets: Annotated[tuple[str, ...], Axis("S")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    universe: Annotated[tuple[str, ...], Axis("N", called="features in all")]
    sizes: Annotated[NDArray[np.int_], Shape("S")]
    span: Annotated[Array, Shape("O")]
    span_se: Annotated[Array, Shape("O")]
    noised: Annotated[Array, Shape("S", "O")]
    noised_se: Annotated[Array, Shape("S", "O")]
    denoised: Annotated[Array, Shape("S", "O")]
    denoised_se: Annotated[Array, Shape("S", "O")]
    necessity: Annotated[Array, Shape(3, "S", "O", ends=(1, 2))]
    sufficiency: Annotated[Array, Shape(3, "S", "O", ends=(1, 2))]
    necessity_boot: Annotated[Array, Shape(2, "S", "O", ends=(0, 1))]
    sufficiency_boot: Annotated[Array, Shape(2, "S", "O", ends=(0, 1))]
    status: Annotated[NDArray[Any], Shape("O")]
    df: float
    level: float
    noise_floor: float
    read_back_error: float
    meta: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, key: tuple[str, str]) -> SetShares | NotApplicable:
        """One set and one outcome; NotApplicable where knocking everything out moves it too little."""
        s, o = self._at(key, self.sets, self.outcomes)
        if self.status[o] != "ok":
            return NotApplicable(str(self.status[o]), f"necessity and sufficiency of {key[0]} for {key[1]}")
        n0, n1, n2 = map(float, self.necessity[:, s, o])
        s0, s1, s2 = map(float, self.sufficiency[:, s, o])
        return SetShares(
            name=key[0],
            size=int(self.sizes[s]),
            universe=len(self.universe),
            outcome=key[1],
            span=float(self.span[o]),
            necessity=(n0, n1, n2),
            sufficiency=(s0, s1, s2),
            level=self.level,
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per (set, outcome); ``outside_support``: largest share of what was written into a
        feature that its place never shows."""
        S, O = self.noised.shape
        frame: dict[str, Any] = {
            "set": np.repeat(np.array(self.sets, dtype=object), O),
            "size": np.repeat(self.sizes, O),
            "outcome": np.tile(np.array(self.outcomes, dtype=object), S),
            "span": np.tile(self.span, S),
        }
        for name in ("noised", "noised_se", "denoised", "denoised_se"):
            frame[name] = getattr(self, name).ravel()
        for name in ("necessity", "sufficiency"):
            for i, end in enumerate(("", "_lower", "_upper")):
                frame[name + end] = getattr(self, name)[i].ravel()
            for i, end in enumerate(("_boot_lower", "_boot_upper")):
                frame[name + end] = getattr(self, f"{name}_boot")[i].ravel()
        frame["status"] = np.tile(self.status, S)
        frame["outside_support"] = off_support_largest(self.meta)
        return pd.DataFrame(frame)

    def __str__(self) -> str:
        cells = (self[s, o] for o in self.outcomes for s in self.sets)
        return first_lines(cells, self.noised.size) + off_support_words(self.meta)
