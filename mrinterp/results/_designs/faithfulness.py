"""How faithful and how complete the first features of a ranking are, over the size of the set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.results._check import NotApplicable
from mrinterp.results._result import Axis, Result, Shape
from mrinterp.results._sentences import first_lines, off_support_largest, off_support_words

__all__ = ["CircuitAreas", "Faithfulness"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CircuitAreas:
    """CPR and CMD for one outcome, with intervals; prints as a sentence.

    Parameters
    ----------
    outcome : str
        Name of the outcome.
    cpr : float
        Area under the faithfulness curve; higher is better.
    cpr_lower : float
        Lower end of its interval.
    cpr_upper : float
        Upper end of its interval.
    cmd : float
        Area under its distance from 1; 0 is best.
    cmd_lower : float
        Lower end of its interval.
    cmd_upper : float
        Upper end of its interval.
    features : int
        Number of features in the ranking.
    level : float
        Confidence level of the intervals.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> one = example("Faithfulness")["outcome 0"]
    >>> one.cpr < 2
    True
    """

    outcome: str
    cpr: float
    cpr_lower: float
    cpr_upper: float
    cmd: float
    cmd_lower: float
    cmd_upper: float
    features: int
    level: float

    def __str__(self) -> str:
        return (
            f"{self.outcome}: over the ranking of {self.features} features CPR is {self.cpr:.3g} ({self.level:.0%}"
            f" interval {self.cpr_lower:.3g} to {self.cpr_upper:.3g}; higher is better), CMD {self.cmd:.3g}"
            f" ({self.cmd_lower:.3g} to {self.cmd_upper:.3g}; 0 is best)."
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Faithfulness(Result):
    """Curves over D proportions of a ranking of n features, for O outcomes.

    Parameters
    ----------
    ranking, outcomes : tuple of str
    proportions : ndarray (D,)
    sizes : ndarray (D,) of int
        Features in the circuit: the whole part of proportion x n.
    score, score_complement : ndarray (D, O)
        Mean outcome m with only the circuit left, and with everything but the circuit left.
    full, empty : ndarray (O,)
        Mean outcome of the whole network, and with all n knocked out.
    faithfulness, lower, upper : ndarray (D, O)
        (m(circuit) - m(empty)) / (m(full) - m(empty)), family bootstrap.
    completeness, completeness_lower, completeness_upper : ndarray (D, O)
        The same of the complement: near 0 where nothing that matters was left out of the circuit.
    cpr, cmd, cpr_interval, cmd_interval : ndarray (O,), (2, O)
        Areas under f and under abs(1 - f); see `mrinterp.stats.agreement.circuit_area`.
    status : ndarray (O,) of str
        ``ok``, or why there is no ratio.
    df : float
        Degrees of freedom of the errors: families minus one.
    level : float
        Confidence level of the intervals.
    noise_floor : float
        Change of an outcome below which nothing is measurable, in its units.
    read_back_error : float
        Largest difference between a value written and the one read back, in feature units.
    meta : dict
        Options, seeds and whatever else a report needs.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("Faithfulness").summary)
    faithfulness: 3 ranked features, 2 outcomes
    """

    KIND: ClassVar[str] = "faithfulness"

    ranking: Annotated[tuple[str, ...], Axis("N", called="ranked features")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    proportions: Annotated[Array, Shape("D")]
    sizes: Annotated[NDArray[np.int_], Shape("D")]
    score: Annotated[Array, Shape("D", "O")]
    score_complement: Annotated[Array, Shape("D", "O")]
    full: Annotated[Array, Shape("O")]
    empty: Annotated[Array, Shape("O")]
    faithfulness: Annotated[Array, Shape("D", "O")]
    lower: Annotated[Array, Shape("D", "O")]
    upper: Annotated[Array, Shape("D", "O")]
    completeness: Annotated[Array, Shape("D", "O")]
    completeness_lower: Annotated[Array, Shape("D", "O")]
    completeness_upper: Annotated[Array, Shape("D", "O")]
    cpr: Annotated[Array, Shape("O")]
    cpr_interval: Annotated[Array, Shape(2, "O", ends=(0, 1))]
    cmd: Annotated[Array, Shape("O")]
    cmd_interval: Annotated[Array, Shape(2, "O", ends=(0, 1))]
    status: Annotated[NDArray[Any], Shape("O")]
    df: float
    level: float
    noise_floor: float
    read_back_error: float
    meta: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, outcome: str) -> CircuitAreas | NotApplicable:
        """CPR and CMD of one outcome; NotApplicable where knocking everything out moves it too little."""
        if outcome not in self.outcomes:
            raise InputError(f"faithfulness[{outcome!r}]", "no such outcome", f"Known: {list(self.outcomes)}")
        o = self.outcomes.index(outcome)
        if self.status[o] != "ok":
            return NotApplicable(str(self.status[o]), f"faithfulness for {outcome}")
        (a, b), (c, d) = self.cpr_interval[:, o].tolist(), self.cmd_interval[:, o].tolist()
        cpr, cmd = float(self.cpr[o]), float(self.cmd[o])
        return CircuitAreas(
            outcome=outcome,
            cpr=cpr,
            cpr_lower=a,
            cpr_upper=b,
            cmd=cmd,
            cmd_lower=c,
            cmd_upper=d,
            features=len(self.ranking),
            level=self.level,
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per (proportion, outcome); ``outside_support``: largest share of what was written into a
        feature that its place never shows."""
        D, O = self.faithfulness.shape
        frame: dict[str, Any] = {
            "proportion": np.repeat(self.proportions, O),
            "size": np.repeat(self.sizes, O),
            "outcome": np.tile(np.array(self.outcomes, dtype=object), D),
        }
        for name in ("score", "score_complement", "faithfulness", "lower", "upper"):
            frame[name] = getattr(self, name).ravel()
        for name in ("completeness", "completeness_lower", "completeness_upper"):
            frame[name] = getattr(self, name).ravel()
        frame["status"] = np.tile(self.status, D)
        frame["outside_support"] = off_support_largest(self.meta)
        return pd.DataFrame(frame)

    def __str__(self) -> str:
        return first_lines((self[o] for o in self.outcomes), len(self.outcomes)) + off_support_words(
            self.meta
        )
