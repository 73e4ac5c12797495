"""Total and direct effects of knockouts, and what the layers downstream make of the difference."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.results._check import NotApplicable
from mrinterp.results._result import Axis, Result, Shape
from mrinterp.results._sentences import first_lines, off_support_shares, off_support_words

__all__ = ["DOWNSTREAM", "DirectEffect", "Mediation"]

Array = NDArray[np.float64]

DOWNSTREAM = ("self-repair", "amplification", "mediation", "negligible", "indeterminate")
"""What the indirect part does: opposes the direct one; adds to it; acts where nothing is direct; nothing."""


@dataclass(frozen=True, kw_only=True)
class Mediation:
    """One feature and one outcome; prints as a sentence.

    Parameters
    ----------
    feature : str
        Name of the feature.
    outcome : str
        Name of the outcome.
    total : float
        Effect of the knockout, in units of the outcome.
    direct : float
        The same with everything downstream frozen.
    indirect : float
        Total less direct.
    lower : float
        Lower end of the interval.
    upper : float
        Upper end of the interval.
    downstream : str
        What the layers downstream do: self-repair, amplification, mediation, negligible or indeterminate.
    level : float
        Confidence level of the intervals.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> one = example("DirectEffect")["feature 0", "outcome 0"]
    >>> one.downstream
    'self-repair'
    """

    feature: str
    outcome: str
    total: float
    direct: float
    indirect: float
    lower: float
    upper: float
    downstream: str
    level: float

    def __str__(self) -> str:
        return (
            f"Knocking out {self.feature} moves {self.outcome} by {self.total:.3g}, by {self.direct:.3g} with"
            f" everything downstream frozen; downstream adds {self.indirect:.3g} ({self.level:.0%} interval"
            f" {self.lower:.3g} to {self.upper:.3g}; units of the outcome): {self.downstream}."
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DirectEffect(Result):
    """Effects of K knockouts on O outcomes, in units of the outcome.

    Parameters
    ----------
    features, outcomes, frozen : tuple of str
        ``frozen``: the downstream sites held at their clean activations for the direct effect.
    total, total_se, direct, direct_se : ndarray (K, O)
        Mean effects, errors clustered by family.
    indirect, se, lower, upper : ndarray (K, O)
        total - direct, prompt by prompt: mediation downstream.
    downstream : ndarray (K, O) of str
        One of `DOWNSTREAM`. Self-repair only where both the direct and the indirect interval exclude
        zero and the two have opposite signs.
    rope : ndarray (O,)
        Half width of the region of practical equivalence.
    freeze_error : float
        Largest outcome difference from the clean run when everything is frozen and nothing knocked out.
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
    >>> print(example("DirectEffect").summary)
    direct effects: 3 features, 2 outcomes, 5 frozen sites
    """

    KIND: ClassVar[str] = "direct effects"

    features: Annotated[tuple[str, ...], Axis("K")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    frozen: Annotated[tuple[str, ...], Axis("D", called="frozen sites")]
    total: Annotated[Array, Shape("K", "O")]
    total_se: Annotated[Array, Shape("K", "O")]
    direct: Annotated[Array, Shape("K", "O")]
    direct_se: Annotated[Array, Shape("K", "O")]
    indirect: Annotated[Array, Shape("K", "O")]
    se: Annotated[Array, Shape("K", "O")]
    lower: Annotated[Array, Shape("K", "O")]
    upper: Annotated[Array, Shape("K", "O")]
    downstream: Annotated[NDArray[Any], Shape("K", "O")]
    rope: Annotated[Array, Shape("O")]
    df: float
    level: float
    noise_floor: float
    freeze_error: float
    read_back_error: Annotated[Array, Shape("K")]
    status: str = "ok"
    meta: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, key: tuple[str, str]) -> Mediation | NotApplicable:
        """One feature and one outcome; NotApplicable where one family leaves no error."""
        f, o = self._at(key, self.features, self.outcomes)
        if self.status != "ok":
            return NotApplicable(self.status, f"mediation of {key[0]} on {key[1]}")
        return Mediation(
            feature=key[0],
            outcome=key[1],
            total=float(self.total[f, o]),
            direct=float(self.direct[f, o]),
            indirect=float(self.indirect[f, o]),
            lower=float(self.lower[f, o]),
            upper=float(self.upper[f, o]),
            downstream=str(self.downstream[f, o]),
            level=self.level,
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per (feature, outcome); ``outside_support``: share of what was written that its place never
        shows."""
        K, O = self.total.shape
        frame = {
            "feature": np.repeat(np.array(self.features, dtype=object), O),
            "outcome": np.tile(np.array(self.outcomes, dtype=object), K),
        }
        for name in ("total", "total_se", "direct", "direct_se", "indirect", "se", "lower", "upper"):
            frame[name.replace("lower", "ci_lower").replace("upper", "ci_upper")] = getattr(
                self, name
            ).ravel()
        frame["downstream"] = self.downstream.ravel()
        frame["read_back_error"] = np.repeat(self.read_back_error, O)
        frame["outside_support"] = np.repeat(off_support_shares(self.meta, self.features), O)
        return pd.DataFrame(frame)

    def __str__(self) -> str:
        held = f"{len(self.frozen)} sites frozen downstream.\n"
        cells = (self[f, o] for o in self.outcomes for f in self.features)
        return held + first_lines(cells, self.total.size) + off_support_words(self.meta)
