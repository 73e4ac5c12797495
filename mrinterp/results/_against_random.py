"""Candidate features compared with random directions of the same site, knocked out in the same way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.results._check import NotApplicable
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.results._result import Axis, Result, Shape
from mrinterp.results._sentences import first_lines

__all__ = ["PER", "AgainstRandom", "RankAmongRandom"]

Array = NDArray[np.float64]

PER = {
    "sd": "per natural sd of the feature",
    "unit": "per unit of the feature",
    "knockout": "of the knockout itself",
}
"""What effects are of, in words: `KnockoutEffects.effect` times ``feature_sd``, ``effect`` or ``mean``."""


@dataclass(frozen=True, kw_only=True)
class RankAmongRandom:
    """One feature and one outcome; prints as a sentence.

    Parameters
    ----------
    feature : str
        Name of the feature.
    outcome : str
        Name of the outcome.
    effect : float
        The effect, in the units of its result.
    lower : float
        Lower end of the interval.
    upper : float
        Upper end of the interval.
    unit : str
        Words for the unit of the effect.
    rank : int
        Place among the random directions, 1 where it is larger than all.
    controls : int
        Number of random directions.
    p : float
        Of one more random direction doing as much.
    adjusted_p : float
        Adjusted for the number of tests.
    median_control : float
        Median size of the random directions' effects.
    largest_control : float
        Largest of them.
    flag : str
        What to know before using the number; empty where there is nothing.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> one = example("AgainstRandom")["feature 0", "outcome 0"]
    >>> one.rank
    1
    """

    feature: str
    outcome: str
    effect: float
    lower: float
    upper: float
    unit: str
    rank: int
    controls: int
    p: float
    adjusted_p: float
    median_control: float
    largest_control: float
    flag: str = ""

    def __str__(self) -> str:
        ends = "" if np.isnan(self.lower) else f"; 95% interval {self.lower:.3g} to {self.upper:.3g}"
        return (
            f"{self.feature} on {self.outcome}: {self.effect:.3g} ({self.unit}{ends}), rank {self.rank} of {self.controls + 1} among {self.controls} random directions"
            f" (p {self.p:.2g}, adjusted {self.adjusted_p:.2g}), whose effects are {self.median_control:.3g} in size at"
            f" the median and {self.largest_control:.3g} at most."
            + (f" Flagged: {self.flag}." if self.flag else "")
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AgainstRandom(Result):
    """Effects of F features and of R random directions on O outcomes.

    Parameters
    ----------
    knockout, unit : str
        Kind of knockout; words for what effects are of, one of `PER`.
    features, controls, outcomes : tuple of str
    effect, lower, upper : ndarray (F, O)
        With 95% intervals, errors clustered by family.
    control, control_lower, control_upper : ndarray (R, O)
    rank : ndarray (F, O)
        Place of the feature among the random directions, by size of effect: 1 where it is larger than all of
        them, ties against the feature; what lies within the noise floor is one tie. nan where there is no effect.
    p : ndarray (F, O)
        rank / (R + 1): of the null that the feature is one more random direction. No smaller than 1 / (R + 1).
    adjusted_p : ndarray (F, O)
        Benjamini & Hochberg over the features of an outcome; valid although all share the same controls.
    flags, control_flags : tuple of str
        What to know before using a number, from `KnockoutEffects.flags`.
    status : tuple of str, one per outcome
        ``ok``, or why features cannot be ranked by it.
    meta : dict
        Options, seeds and whatever else a report needs.

    Notes
    -----
    A rank says whether an effect is more than what any direction of the site has, not whether it matters:
    that is for the region of practical equivalence.

    Source: p-values from a shared set of controls, Bates et al. 2023, 10.1214/22-AOS2244.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("AgainstRandom").summary)
    features against random directions: 3 features, 4 controls, 2 outcomes
    """

    KIND: ClassVar[str] = "features against random directions"

    knockout: str
    unit: str
    features: Annotated[tuple[str, ...], Axis("F")]
    controls: Annotated[tuple[str, ...], Axis("R")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    effect: Annotated[Array, Shape("F", "O")]
    lower: Annotated[Array, Shape("F", "O")]
    upper: Annotated[Array, Shape("F", "O")]
    control: Annotated[Array, Shape("R", "O")]
    control_lower: Annotated[Array, Shape("R", "O")]
    control_upper: Annotated[Array, Shape("R", "O")]
    rank: Annotated[Array, Shape("F", "O")]
    p: Annotated[Array, Shape("F", "O")]
    adjusted_p: Annotated[Array, Shape("F", "O")]
    flags: Annotated[tuple[str, ...], Axis("F", fill="")]
    control_flags: Annotated[tuple[str, ...], Axis("R", fill="")]
    status: Annotated[tuple[str, ...], Axis("O", fill="ok")] = ()
    meta: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, effects: KnockoutEffects, random: KnockoutEffects, per: str = "sd") -> Self:
        """Hold effects against those of random directions of the same kind and outcomes.

        Parameters
        ----------
        per : {"sd", "unit", "knockout"}

        Raises
        ------
        InputError
            For another kind or other outcomes, or another ``per``.
        """
        if per not in PER:
            raise InputError("per", repr(per), f"Give one of {', '.join(PER)}")
        for name in ("kind", "outcomes"):
            mine, theirs = getattr(effects, name), getattr(random, name)
            if mine != theirs:
                raise InputError(
                    f"random controls: {name}",
                    f"{theirs!r} for features with {mine!r}",
                    "Knock both out alike",
                )
        each, control = _numbers(effects, per), _numbers(random, per)
        rank = _ranks(_sizes(effects, per), _sizes(random, per))
        known = np.isfinite(control[0]).sum(axis=0)
        p = np.where(known > 0, rank / (known + 1), np.nan)
        return cls(
            knockout=effects.kind,
            unit=PER[per],
            features=effects.features,
            controls=random.features,
            outcomes=effects.outcomes,
            **dict(zip(("effect", "lower", "upper"), each, strict=True)),
            **dict(zip(("control", "control_lower", "control_upper"), control, strict=True)),
            rank=rank,
            p=p,
            adjusted_p=_adjusted(p),
            flags=effects.flags,
            control_flags=random.flags,
            status=tuple(_status(effects, per)),
            meta={"per": per},
        )

    def __getitem__(self, key: tuple[str, str]) -> RankAmongRandom | NotApplicable:
        """One feature and one outcome; NotApplicable where nothing was moved, or nothing to compare with."""
        f, o = self._at(key, self.features, self.outcomes)
        size = np.abs(self.control[np.isfinite(self.control[:, o]), o])
        if not np.isfinite(self.p[f, o]):
            why = self.flags[f] if len(size) else "no random direction has an effect"
            reason = why if self.status[o] == "ok" else self.status[o]
            return NotApplicable(reason or "it has no effect to rank", f"rank of {key[0]} on {key[1]}")
        return RankAmongRandom(
            feature=key[0],
            outcome=key[1],
            effect=float(self.effect[f, o]),
            lower=float(self.lower[f, o]),
            upper=float(self.upper[f, o]),
            unit=self.unit,
            rank=int(self.rank[f, o]),
            controls=len(size),
            p=float(self.p[f, o]),
            adjusted_p=float(self.adjusted_p[f, o]),
            median_control=float(np.median(size)),
            largest_control=float(size.max()),
            flag=self.flags[f],
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per (feature, outcome), then the random directions' rows, without a rank (``control`` true)."""
        F, R, O = len(self.features), len(self.controls), len(self.outcomes)
        names = np.array([*self.features, *self.controls], dtype=object)
        absent = np.full((R, O), np.nan)
        numbers = {
            "effect": (self.effect, self.control),
            "ci_lower": (self.lower, self.control_lower),
            "ci_upper": (self.upper, self.control_upper),
            "rank": (self.rank, absent),
            "p": (self.p, absent),
            "adjusted_p": (self.adjusted_p, absent),
        }
        frame = {
            "feature": np.repeat(names, O),
            "outcome": np.tile(np.array(self.outcomes, dtype=object), F + R),
            "control": np.repeat(np.arange(F + R) >= F, O),
            **{name: np.concatenate(both).ravel() for name, both in numbers.items()},
            "flags": np.repeat(np.array([*self.flags, *self.control_flags], dtype=object), O),
        }
        return pd.DataFrame(frame)

    def __str__(self) -> str:
        largest = np.argsort(-np.nan_to_num(np.abs(self.effect)), axis=0, kind="stable")
        cells = (self[self.features[f], name] for o, name in enumerate(self.outcomes) for f in largest[:, o])
        return first_lines(cells, self.effect.size)


def _numbers(effects: KnockoutEffects, per: str) -> tuple[Array, Array, Array]:
    """What is ranked, (F, O), and its ends."""
    if per == "knockout":
        return (effects.mean, *effects.mean_interval())
    scale = effects.feature_sd[:, None] if per == "sd" else 1.0
    lower, upper = effects.interval()
    return effects.effect * scale, lower * scale, upper * scale


def _sizes(effects: KnockoutEffects, per: str) -> Array:
    """Sizes (F, O) of what is ranked, 0 within the noise floor; nan for an outcome that has none."""
    size = np.abs(_numbers(effects, per)[0])
    scale = {"sd": effects.feature_sd, "unit": np.ones(len(size)), "knockout": effects.moved_by}[per]
    size[size <= effects.floor_per_unit * scale[:, None]] = 0.0
    size[:, np.array(_status(effects, per)) != "ok"] = np.nan
    return size


def _status(effects: KnockoutEffects, per: str) -> list[str]:
    """Words for every outcome."""
    cancels = effects.two_sided if per == "knockout" else True
    extremal = "it is least or largest at the clean run and has no slope there: compare the knockout of a one-way kind"
    return [extremal if flag and cancels else "ok" for flag in effects.extremal_at_clean]


def _ranks(size: Array, control: Array) -> Array:
    """1 + random directions whose effect is at least as large, (F, O)."""
    out = np.full(size.shape, np.nan)
    for o in range(size.shape[1]):
        others = np.sort(control[np.isfinite(control[:, o]), o])
        known = np.isfinite(size[:, o])
        larger = len(others) - np.searchsorted(others, size[known, o], side="left")
        out[known, o] = 1.0 + larger
    return out


def _adjusted(p: Array) -> Array:
    from scipy.stats import false_discovery_control  # takes a second to import

    out = np.full(p.shape, np.nan)
    for o in range(p.shape[1]):
        known = np.isfinite(p[:, o])
        if known.any():
            out[known, o] = false_discovery_control(p[known, o])
    return out
