"""Specificity: what a knockout does to the outcome it should move, and to negative controls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.results._check import NotApplicable
from mrinterp.results._result import Axis, Result, Shape
from mrinterp.results._sentences import first_lines, off_support_shares, off_support_words

__all__ = ["Specificity", "SpecificityVerdict"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SpecificityVerdict:
    """One feature and one target; prints as a sentence.

    Parameters
    ----------
    feature : str
        Name of the feature.
    target : str
        Outcome that is meant to move.
    effect : float
        On the target, in sd of the outcome.
    lower : float
        Lower end of the interval.
    upper : float
        Upper end of the interval.
    worst_control : str
        Negative control that is least certain to be untouched.
    worst_effect : float
        Effect on it, in sd.
    worst_p : float
        Of two one-sided tests of it.
    verdict : str
        Specific, not specific, no effect or indeterminate.
    margin : float
        Half width of the region of practical equivalence, in sd.
    level : float
        Confidence level of the intervals.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> one = example("Specificity")["feature 0", "target 0"]
    >>> one.verdict
    'specific'
    """

    feature: str
    target: str
    effect: float
    lower: float
    upper: float
    worst_control: str
    worst_effect: float
    worst_p: float
    verdict: str
    margin: float
    level: float

    def __str__(self) -> str:
        return (
            f"{self.feature} on {self.target}: {self.verdict}. Effect {self.effect:.3g} sd of the outcome"
            f" ({self.level:.0%} interval {self.lower:.3g} to {self.upper:.3g}); of the negative controls"
            f" {self.worst_control} is the least certain to be untouched: {self.worst_effect:.3g} sd, p"
            f" {self.worst_p:.2g} against equivalence within {self.margin:g} sd."
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Specificity(Result):
    """Effects of K knockouts on T targets and C negative controls, in sd of each clean outcome.

    Parameters
    ----------
    features, targets, controls : tuple of str
    effect, se, lower, upper : ndarray (K, T + C)
        Standardized effects, targets first; errors clustered by family. nan for an outcome that never
        varies.
    tost_p : ndarray (K, C)
        Two one-sided tests: small where a control is shown to be untouched within ``margin``.
    ratio, ratio_lower, ratio_upper : ndarray (K, T, C)
        Control over target with Fieller's interval; nan ends where the target's effect cannot be told
        from zero.
    difference, difference_lower, difference_upper : ndarray (K, T, C)
        |target| - |control|.
    verdict : ndarray (K, T) of str
        ``specific``: the target moves by more than the region of practical equivalence and every control
        is shown to be untouched; ``not specific``: the target moves and so does a control; ``no effect``:
        the target is shown to be untouched; ``indeterminate``; or ``not applicable``.
    margin : float
        Half width of the region of practical equivalence, in sd of the outcome.
    df : float
        Degrees of freedom of the errors: families minus one.
    level : float
        Confidence level of the intervals.
    noise_floor : float
        Change of an outcome below which nothing is measurable, in its units.
    read_back_error : ndarray, one per feature
        Largest difference between a value written and the one read back, in feature units.
    status : tuple of str, one per target and control
        ``ok``, or why the outcome has no standardized effect.
    meta : dict
        Options, seeds and whatever else a report needs.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("Specificity").summary)
    specificity: 3 features, 4 targets, 5 controls
    """

    KIND: ClassVar[str] = "specificity"

    features: Annotated[tuple[str, ...], Axis("K")]
    targets: Annotated[tuple[str, ...], Axis("T")]
    controls: Annotated[tuple[str, ...], Axis("C")]
    effect: Annotated[Array, Shape("K", "T+C")]
    se: Annotated[Array, Shape("K", "T+C")]
    lower: Annotated[Array, Shape("K", "T+C")]
    upper: Annotated[Array, Shape("K", "T+C")]
    tost_p: Annotated[Array, Shape("K", "C")]
    ratio: Annotated[Array, Shape("K", "T", "C")]
    ratio_lower: Annotated[Array, Shape("K", "T", "C")]
    ratio_upper: Annotated[Array, Shape("K", "T", "C")]
    difference: Annotated[Array, Shape("K", "T", "C")]
    difference_lower: Annotated[Array, Shape("K", "T", "C")]
    difference_upper: Annotated[Array, Shape("K", "T", "C")]
    verdict: Annotated[NDArray[Any], Shape("K", "T")]
    margin: float
    df: float
    level: float
    noise_floor: float
    read_back_error: Annotated[Array, Shape("K")]
    status: Annotated[tuple[str, ...], Axis("T+C", fill="ok")] = ()
    meta: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, key: tuple[str, str]) -> SpecificityVerdict | NotApplicable:
        """One feature and one target; NotApplicable where an outcome never varies or there is no error."""
        f, t = self._at(key, self.features, self.targets)
        T = len(self.targets)
        reasons = [s for s in (self.status[t], *self.status[T:]) if s != "ok"]
        if reasons:
            return NotApplicable(reasons[0], f"specificity of {key[0]} for {key[1]}")
        c = int(np.argmax(self.tost_p[f]))
        return SpecificityVerdict(
            feature=key[0],
            target=key[1],
            effect=float(self.effect[f, t]),
            lower=float(self.lower[f, t]),
            upper=float(self.upper[f, t]),
            worst_control=self.controls[c],
            worst_effect=float(self.effect[f, T + c]),
            worst_p=float(self.tost_p[f, c]),
            verdict=str(self.verdict[f, t]),
            margin=self.margin,
            level=self.level,
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per (feature, target, control); ``outside_support``: share of what was written that its place
        never shows."""
        K, T, C = self.ratio.shape
        index = pd.MultiIndex.from_product(
            [self.features, self.targets, self.controls], names=["feature", "target", "control"]
        )
        frame = index.to_frame(index=False)
        frame["target_effect_sd"] = np.repeat(self.effect[:, :T].ravel(), C)
        frame["control_effect_sd"] = np.repeat(self.effect[:, None, T:], T, axis=1).ravel()
        frame["control_tost_p"] = np.repeat(self.tost_p[:, None], T, axis=1).ravel()
        for name in ("ratio", "ratio_lower", "ratio_upper"):
            frame[name] = getattr(self, name).ravel()
        for name in ("difference", "difference_lower", "difference_upper"):
            frame[name] = getattr(self, name).ravel()
        frame["verdict"] = np.repeat(self.verdict.ravel(), C)
        frame["outside_support"] = np.repeat(off_support_shares(self.meta, self.features), T * C)
        return frame

    def __str__(self) -> str:
        cells = (self[f, t] for t in self.targets for f in self.features)
        return first_lines(cells, self.verdict.size) + off_support_words(self.meta)
