"""Dose-response curves of features, their shape, and where they start and stop to respond."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.results._check import NotApplicable
from mrinterp.results._result import Axis, Result, Shape
from mrinterp.results._sentences import first_lines

__all__ = ["SHAPES", "DoseCurve", "DoseResponse"]

Array = NDArray[np.float64]

SHAPES = ("rising", "falling", "not monotone", "flat", "indeterminate", "not applicable")


@dataclass(frozen=True, kw_only=True, eq=False)
class DoseCurve:
    """One feature and one outcome; prints as a sentence. Ends of a knot that does not exist are nan.

    Parameters
    ----------
    feature : str
        Name of the feature.
    outcome : str
        Name of the outcome.
    dose : ndarray (D,)
        Values written, in units of the feature.
    outside : ndarray (D,)
        Share of the values written outside what their position ever shows.
    effect : ndarray (D,)
        Clamped minus clean, in units of the outcome.
    lower : ndarray (D,)
        Lower ends of the intervals.
    upper : ndarray (D,)
        Upper ends of the intervals.
    shape : str
        Rising, falling, flat ...
    p_rising : float
        Of the null that the curve rises nowhere.
    p_falling : float
        Of the null that it falls nowhere.
    threshold : tuple of float (3,)
        Dose below which the curve is flat, and its interval; nan where there is none.
    plateau : tuple of float (3,)
        Dose above which the curve is flat, and its interval; nan where there is none.
    level : float
        Confidence level of the intervals.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> one = example("DoseResponse")["feature 0", "outcome 0"]
    >>> one.shape
    'rising'
    """

    feature: str
    outcome: str
    dose: Array
    outside: Array
    effect: Array
    lower: Array
    upper: Array
    shape: str
    p_rising: float
    p_falling: float
    threshold: tuple[float, float, float]
    plateau: tuple[float, float, float]
    level: float

    def __str__(self) -> str:
        knots = []
        for name, (at, low, high) in (("threshold", self.threshold), ("plateau", self.plateau)):
            found = f"{name} at {at:.3g} ({low:.3g} to {high:.3g})"
            knots.append(f"no {name}" if np.isnan(at) else found)
        beyond = int((self.outside > 0).sum())
        flag = f" {beyond} of {len(self.dose)} doses lie outside natural support." if beyond else ""
        return (
            f"{self.feature}, clamped from {self.dose[0]:.3g} to {self.dose[-1]:.3g}, moves {self.outcome} from"
            f" {self.effect[0]:.3g} ({self.level:.0%} interval {self.lower[0]:.3g} to {self.upper[0]:.3g}) to"
            f" {self.effect[-1]:.3g} ({self.lower[-1]:.3g} to {self.upper[-1]:.3g}; units of the outcome against"
            f" the clean run): {self.shape} (p {self.p_rising:.2g} against rising nowhere, {self.p_falling:.2g}"
            f" against falling nowhere), {knots[0]}, {knots[1]}.{flag}"
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DoseResponse(Result):
    """Mean effects of F features clamped to D doses each, on O outcomes, in units of the outcome.

    Parameters
    ----------
    features, outcomes : tuple of str
    dose : ndarray (F, D)
        Value written, in units of the feature; where tokens were written their own quantiles, the mean of
        what was written.
    outside : ndarray (F, D)
        Share of the values written that lie outside what their position ever shows: 0 unless asked for.
    effect, se, lower, upper : ndarray (F, D, O)
        Clamped minus clean, errors clustered by family.
    boot_lower, boot_upper : ndarray (F, D, O)
        Family bootstrap, percentiles.
    p_rising, p_falling : ndarray (F, O)
        Of the nulls that the curve rises (falls) nowhere.
    shape : ndarray (F, O) of str
        One of `SHAPES`: ``rising`` where it rises somewhere and no fall was found; ``flat`` where all
        differences between doses lie within the region of practical equivalence at once, whatever the tests.
    threshold, plateau : ndarray (3, F, O)
        Dose below (above) which the curve is flat, with its interval by family bootstrap; nan where there
        is none, or the curve is neither rising nor falling.
    ramp_r2 : ndarray (F, O)
        Share of the curve's variation that flat - straight - flat explains.
    status : tuple of str, one per feature
        ``ok``, or why there is no curve.
    rope : ndarray (O,)
        Half width of the region of practical equivalence, in units of the outcome.
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
    >>> print(example("DoseResponse").summary)
    dose response: 3 features, 2 outcomes
    """

    KIND: ClassVar[str] = "dose response"

    features: Annotated[tuple[str, ...], Axis("F")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    dose: Annotated[Array, Shape("F", "D")]
    outside: Annotated[Array, Shape("F", "D")]
    effect: Annotated[Array, Shape("F", "D", "O")]
    se: Annotated[Array, Shape("F", "D", "O")]
    lower: Annotated[Array, Shape("F", "D", "O")]
    upper: Annotated[Array, Shape("F", "D", "O")]
    boot_lower: Annotated[Array, Shape("F", "D", "O")]
    boot_upper: Annotated[Array, Shape("F", "D", "O")]
    p_rising: Annotated[Array, Shape("F", "O")]
    p_falling: Annotated[Array, Shape("F", "O")]
    shape: Annotated[NDArray[Any], Shape("F", "O")]
    threshold: Annotated[Array, Shape(3, "F", "O", ends=(1, 2))]
    plateau: Annotated[Array, Shape(3, "F", "O", ends=(1, 2))]
    ramp_r2: Annotated[Array, Shape("F", "O")]
    rope: Annotated[Array, Shape("O")]
    status: Annotated[tuple[str, ...], Axis("F", fill="ok")]
    df: float
    level: float
    noise_floor: float
    read_back_error: Annotated[Array, Shape("F")]
    meta: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, key: tuple[str, str]) -> DoseCurve | NotApplicable:
        """One feature and one outcome; NotApplicable for a feature that never varies."""
        f, o = self._at(key, self.features, self.outcomes)
        if self.status[f] != "ok":
            return NotApplicable(self.status[f], f"dose-response of {key[0]} on {key[1]}")
        t0, t1, t2 = map(float, self.threshold[:, f, o])
        p0, p1, p2 = map(float, self.plateau[:, f, o])
        return DoseCurve(
            feature=key[0],
            outcome=key[1],
            dose=self.dose[f],
            outside=self.outside[f],
            effect=self.effect[f, :, o],
            lower=self.lower[f, :, o],
            upper=self.upper[f, :, o],
            shape=str(self.shape[f, o]),
            p_rising=float(self.p_rising[f, o]),
            p_falling=float(self.p_falling[f, o]),
            threshold=(t0, t1, t2),
            plateau=(p0, p1, p2),
            level=self.level,
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per (feature, dose, outcome)."""
        F, D, O = self.effect.shape
        frame: dict[str, Any] = {
            "feature": np.repeat(np.array(self.features, dtype=object), D * O),
            "dose": np.repeat(self.dose.ravel(), O),
            "outside_support": np.repeat(self.outside.ravel(), O),
            "outcome": np.tile(np.array(self.outcomes, dtype=object), F * D),
        }
        for name in ("effect", "se", "lower", "upper", "boot_lower", "boot_upper"):
            frame[name] = getattr(self, name).ravel()
        frame["shape"] = np.repeat(self.shape[:, None], D, axis=1).ravel()
        frame["status"] = np.repeat(np.array(self.status, dtype=object), D * O)
        return pd.DataFrame(frame)

    def __str__(self) -> str:
        lines = first_lines((self[f, o] for o in self.outcomes for f in self.features), self.shape.size)
        families = int(self.df) + 1
        if families < 2 or 2.0**-families <= 1 - self.level:
            return lines
        return lines + (
            f"\n{families} families are too few to show a shape at {self.level:.0%}: no p is below"
            f" {2.0**-families:.2g}."
        )
