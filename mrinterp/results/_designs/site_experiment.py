"""The randomized experiment at the site: effects of all features from runs in which all are set at random together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.results._check import NotApplicable
from mrinterp.results._result import Axis, Result, Shape
from mrinterp.results._sentences import first_lines, off_support_shares, off_support_words

__all__ = ["DEPENDS", "JointEffect", "SiteExperiment"]

Array = NDArray[np.float64]

DEPENDS = "depends on other features"
"""The verdict where the effect with the other features at random is another than with them as they are."""


@dataclass(frozen=True, kw_only=True)
class JointEffect:
    """One feature and one outcome; prints as a sentence.

    Parameters
    ----------
    feature : str
        Name of the feature.
    outcome : str
        Name of the outcome.
    effect : float
        Per natural sd, averaged as ``averaged`` says, in units of the outcome.
    lower : float
        Lower end of the interval.
    upper : float
        Upper end of the interval.
    alone : float
        The same with the other features as they are; nan where that was not run.
    difference : float
        Joint less alone, the joint number from runs that had no part in choosing the feature.
    difference_p : float
        That there is no difference, after Holm over the features compared.
    verdict : str
        Causal, negligible, indeterminate or `depends on other features`.
    averaged : str
        What the effect is averaged over.
    level : float
        Confidence level of the interval.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> one = example("SiteExperiment")["feature 0", "outcome 1"]
    >>> one.verdict
    'depends on other features'
    """

    feature: str
    outcome: str
    effect: float
    lower: float
    upper: float
    alone: float
    difference: float
    difference_p: float
    verdict: str
    averaged: str
    level: float

    def __str__(self) -> str:
        ends = f" ({self.level:.0%} interval {self.lower:.3g} to {self.upper:.3g})"
        found = (
            f"{self.feature} on {self.outcome}: {self.verdict}. {self.effect:.3g} per natural sd"
            f"{ends if np.isfinite(self.lower) else ''}, {self.averaged}"
        )
        if np.isnan(self.alone):
            return f"{found}."
        return (
            f"{found}; with the others as they are {self.alone:.3g} (difference: p {self.difference_p:.2g})."
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SiteExperiment(Result):
    """Effects of K features on O outcomes, all set to their low or high values at random in the same runs.

    A number of its own kind, named by ``averaged``: each effect is averaged over the settings of the other features, where
    a knockout leaves them as they are. Units: of the outcome per natural sd of the feature, which is its contrast between
    high and low over 2.563 (the width of a normal distribution between the quantiles .1 and .9).

    Parameters
    ----------
    features, outcomes : tuple of str
    averaged : str
        What the effects are averaged over.
    effect, se, lower, upper : ndarray (K, O)
        Effects with errors by leaving families out of the whole procedure. nan: see ``status``. Along the site's
        components: calibrated against features that were run one at a time.
    alone, alone_se, alone_lower, alone_upper : ndarray (K, O)
        One at a time, the other features as they are, on the same prompts; nan for features that were not run so.
    difference, difference_se, difference_p : ndarray (K, O)
        Joint less alone, from the half of the joint runs that had no part in choosing which features to run alone; paired
        by family; p after Holm over the features of an outcome.
    verdict : ndarray (K, O) of str
        ``causal``: the interval of ``effect`` lies outside the region of practical equivalence; ``negligible``: inside;
        `depends on other features`: the difference is beyond its error (p below 1 - level) and beyond the region (not
        along components, where the mapping may make it);
        else ``indeterminate``.
    rope : ndarray (O,)
        Half width of the region, in units of the outcome per natural sd.
    df : float
        Degrees of freedom of the errors: families minus one, less where families differ in size.
    level : float
    noise_floor : float
        Change of an outcome below which nothing is measurable, in its units.
    read_back_error : ndarray (K,)
        Largest difference between a value written, together with all the others, and the one read back.
    runs : int
        Edited runs of the joint experiment; ``meta["runs_alone"]`` those of the features run alone.
    advice : str
        Where one at a time is as good or better, and why; empty where the joint experiment is the better one.
    status : tuple of str (K,)
        ``ok``, or why a feature has no effect or no interval.
    flags : tuple of str (K,)
        What to know before a feature's numbers are used.
    meta : dict
        Options, seeds and whatever else a report needs.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("SiteExperiment").summary)
    randomized experiment at a site: 3 features, 2 outcomes
    """

    KIND: ClassVar[str] = "randomized experiment at a site"

    features: Annotated[tuple[str, ...], Axis("K")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    averaged: str
    effect: Annotated[Array, Shape("K", "O")]
    se: Annotated[Array, Shape("K", "O")]
    lower: Annotated[Array, Shape("K", "O")]
    upper: Annotated[Array, Shape("K", "O")]
    alone: Annotated[Array, Shape("K", "O")]
    alone_se: Annotated[Array, Shape("K", "O")]
    alone_lower: Annotated[Array, Shape("K", "O")]
    alone_upper: Annotated[Array, Shape("K", "O")]
    difference: Annotated[Array, Shape("K", "O")]
    difference_se: Annotated[Array, Shape("K", "O")]
    difference_p: Annotated[Array, Shape("K", "O")]
    verdict: Annotated[NDArray[Any], Shape("K", "O")]
    rope: Annotated[Array, Shape("O")]
    df: float
    level: float
    noise_floor: float
    read_back_error: Annotated[Array, Shape("K")]
    runs: int
    advice: str = ""
    status: Annotated[tuple[str, ...], Axis("K", fill="ok")] = ()
    flags: Annotated[tuple[str, ...], Axis("K", fill="")] = ()
    meta: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, key: tuple[str, str]) -> JointEffect | NotApplicable:
        """One feature and one outcome; NotApplicable where the feature has no effect."""
        k, o = self._at(key, self.features, self.outcomes)
        if np.isnan(self.effect[k, o]):
            return NotApplicable(self.status[k], f"effect of {key[0]} on {key[1]}")
        numbers = ("effect", "lower", "upper", "alone", "difference", "difference_p")
        return JointEffect(
            feature=key[0],
            outcome=key[1],
            verdict=str(self.verdict[k, o]),
            averaged=self.averaged,
            level=self.level,
            **{name: float(getattr(self, name)[k, o]) for name in numbers},
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per (feature, outcome), effects per natural sd; ``outside_support``: share of what was written that its
        place never shows."""
        K, O = self.effect.shape
        index = pd.MultiIndex.from_product([self.features, self.outcomes], names=["feature", "outcome"])
        frame = index.to_frame(index=False)
        columns = {
            "effect": "effect",
            "se": "se",
            "ci_lower": "lower",
            "ci_upper": "upper",
            "verdict": "verdict",
        }
        own = (
            "alone", "alone_se", "alone_lower", "alone_upper", "difference", "difference_se", "difference_p"
        )  # fmt: skip
        for column, name in {**columns, **{n: n for n in own}}.items():
            frame[column] = getattr(self, name).ravel()
        frame["rope"] = np.tile(self.rope, K)
        for name in ("status", "flags"):
            frame[name] = np.repeat(np.array(getattr(self, name), dtype=object), O)
        frame["outside_support"] = np.repeat(off_support_shares(self.meta, self.features), O)
        return frame

    def __str__(self) -> str:
        words = []
        for o, outcome in enumerate(self.outcomes):
            known = np.flatnonzero(np.isfinite(self.effect[:, o]))
            if not len(known):
                words.append(f"{outcome}: no effects. {self.status[0]}")
                continue
            counts: dict[str, int] = {}
            for k in known:
                counts[str(self.verdict[k, o])] = counts.get(str(self.verdict[k, o]), 0) + 1
            listed = ", ".join(f"{n} {word}" for word, n in counts.items())
            largest = self.features[known[np.argmax(np.abs(self.effect[known, o]))]]
            words.append(f"{outcome}: {listed}. The largest: {self[largest, outcome]}")
        head = f"{len(self.features)} features set at random together in {self.runs:,} runs.\n"
        without = [s for s in self.status if s != "ok"]
        tail = f"\n{len(without)} of {len(self.features)} features: {without[0]}." if without else ""
        advice = f"\n{self.advice}" if self.advice else ""
        return head + first_lines(words, len(words), 700) + advice + tail + off_support_words(self.meta)
