"""Knockouts one after the other, in a given order and in random ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.results._result import Axis, Result, Shape
from mrinterp.results._sentences import first_lines, off_support_shares, off_support_words

__all__ = ["OrderedKnockouts"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class OrderedKnockouts(Result):
    """Mean effect of knocking out the first k of K features, k = 0 to K, for O outcomes (their units).

    Parameters
    ----------
    order, outcomes : tuple of str
    effect, se, lower, upper : ndarray (K + 1, O)
        In the given order; errors clustered by family.
    random, random_se : ndarray (K + 1, O)
        Mean over random orders of the same features.
    random_low, random_high : ndarray (K + 1, O)
        The central share ``level`` of single random orders.
    gain, gain_se, gain_lower, gain_upper : ndarray (K + 1, O)
        Given order minus random mean, prompt by prompt.
    area, area_lower, area_upper : ndarray (O,)
        Mean gain over k (trapezoid over k / K), its sign turned to that of the effect of all K: above 0
        where the given order comes to the full effect sooner.
    random_orders : int
    df : float
        Degrees of freedom of the errors: families minus one.
    level : float
        Confidence level of the intervals.
    noise_floor : float
        Change of an outcome below which nothing is measurable, in its units.
    read_back_error : ndarray, one per feature
        Largest difference between a value written and the one read back, in feature units.
    status : str
        ``ok``, or why there are no errors and intervals.
    meta : dict
        Options, seeds and whatever else a report needs.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("OrderedKnockouts").summary)
    ordered knockouts: 3 features, 2 outcomes
    """

    KIND: ClassVar[str] = "ordered knockouts"

    order: Annotated[tuple[str, ...], Axis("K", called="features")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    effect: Annotated[Array, Shape("K+1", "O")]
    se: Annotated[Array, Shape("K+1", "O")]
    lower: Annotated[Array, Shape("K+1", "O")]
    upper: Annotated[Array, Shape("K+1", "O")]
    random: Annotated[Array, Shape("K+1", "O")]
    random_se: Annotated[Array, Shape("K+1", "O")]
    random_low: Annotated[Array, Shape("K+1", "O")]
    random_high: Annotated[Array, Shape("K+1", "O")]
    gain: Annotated[Array, Shape("K+1", "O")]
    gain_se: Annotated[Array, Shape("K+1", "O")]
    gain_lower: Annotated[Array, Shape("K+1", "O")]
    gain_upper: Annotated[Array, Shape("K+1", "O")]
    area: Annotated[Array, Shape("O")]
    area_lower: Annotated[Array, Shape("O")]
    area_upper: Annotated[Array, Shape("O")]
    random_orders: int
    df: float
    level: float
    noise_floor: float
    read_back_error: float
    status: str = "ok"
    meta: dict[str, Any] = field(default_factory=dict)

    def to_frame(self) -> pd.DataFrame:
        """One row per (k, outcome); ``outside_support``: share of what was written into the worst of the k
        features that its place never shows."""
        steps, O = self.effect.shape
        last = np.array(["", *self.order], dtype=object)
        frame: dict[str, Any] = {
            "knocked_out": np.repeat(np.arange(steps), O),
            "last": np.repeat(last, O),
            "outcome": np.tile(np.array(self.outcomes, dtype=object), steps),
        }
        for name in ("effect", "se", "lower", "upper", "random", "random_se", "random_low", "random_high"):
            frame[name] = getattr(self, name).ravel()
        for name in ("gain", "gain_se", "gain_lower", "gain_upper"):
            frame[name] = getattr(self, name).ravel()
        share = np.r_[0.0, off_support_shares(self.meta, self.order)]
        frame["outside_support"] = np.repeat(np.maximum.accumulate(share), O)
        return pd.DataFrame(frame)

    def __str__(self) -> str:
        K = len(self.order)
        words = []
        for o, outcome in enumerate(self.outcomes):
            ends = (
                f"{self.level:.0%} interval {self.lower[-1, o]:.3g} to {self.upper[-1, o]:.3g}, "
                if self.status == "ok"
                else ""
            )
            line = f"{outcome}: all {K} knockouts move it by {self.effect[-1, o]:.3g} ({ends}units of the outcome)"
            if self.random_orders and self.status == "ok":
                line += (
                    f"; on the way the given order is ahead of {self.random_orders} random ones by"
                    f" {self.area[o]:.3g} on average ({self.area_lower[o]:.3g} to {self.area_upper[o]:.3g})"
                )
            words.append(line + "." if self.status == "ok" else f"{line}; {self.status}.")
        return first_lines(words, len(words)) + off_support_words(self.meta)
