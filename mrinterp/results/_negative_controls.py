"""What controls that cannot act show all the same: the empirical null, and claims held against it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.results._check import Check, NotApplicable
from mrinterp.results._result import Axis, Result, Shape

__all__ = ["CONTROL_SETS", "NegativeControls", "is_control"]

Array = NDArray[np.float64]

PLACEBO_INSTRUMENTS = "placebo instruments"
OUT_OF_REACH = "outcomes out of reach"
RANDOM_SIGNS = "outcomes with random signs"
DIFFERENCES = "differences between families"
PLACEBO_EDITS = "placebo edits"
RANDOM_DIRECTIONS = "random directions"
PERMUTED = "permuted dictionary"
REINITIALIZED = "network drawn anew"
CONTROL_SETS = (
    PLACEBO_INSTRUMENTS,
    OUT_OF_REACH,
    RANDOM_SIGNS,
    DIFFERENCES,
    PLACEBO_EDITS,
    RANDOM_DIRECTIONS,
    PERMUTED,
    REINITIALIZED,
)
"""Names of the checks of negative controls, before their colon."""


def is_control(name: str) -> bool:
    """Whether a check is one of negative controls, by its name."""
    return name.partition(":")[0] in CONTROL_SETS


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class NegativeControls(Result):
    """The empirical null N(mean, sd^2) of C control z-scores, and F claims on O outcomes calibrated by it.

    Parameters
    ----------
    controls : tuple of str
    exposures, outcomes : tuple of str
        Of the claims; empty where none were given.
    z : ndarray (C,)
        z-scores of the controls: N(0, 1) where errors and assumptions are right.
    mean, mean_lower, mean_upper : float
        Mean of the null.
    sd, sd_lower, sd_upper : float
        Its standard deviation.
    beta, se : ndarray (F, O)
        Claims as they were estimated.
    calibrated_lower, calibrated_upper : ndarray (F, O)
        Calibrated intervals: never narrower than the null of theory makes them.
    neglog10p, calibrated_neglog10p : ndarray (F, O)
        -log10 p against N(0, 1) and against the empirical null.
    false_share : float
        Share of controls beyond the two-sided critical value that the empirical null implies.
    test_statistic, test_neglog10p : float
        Likelihood ratio of N(mean, sd^2) against N(0, 1), and -log10 of its p.
    effective : float
        Controls that count as independent.
    method : str
        ``likelihood`` or ``central matching``.
    level : float
        Confidence level of the intervals.
    meta : dict
        What the controls are.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("NegativeControls").summary)
    negative controls: 3 controls, 4 exposures, 2 outcomes
    """

    KIND: ClassVar[str] = "negative controls"

    controls: Annotated[tuple[str, ...], Axis("C")]
    exposures: Annotated[tuple[str, ...], Axis("F")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    z: Annotated[Array, Shape("C")]
    mean: float
    mean_lower: float
    mean_upper: float
    sd: float
    sd_lower: float
    sd_upper: float
    beta: Annotated[Array, Shape("F", "O")]
    se: Annotated[Array, Shape("F", "O")]
    calibrated_lower: Annotated[Array, Shape("F", "O")]
    calibrated_upper: Annotated[Array, Shape("F", "O")]
    neglog10p: Annotated[Array, Shape("F", "O", infinite=True)]
    calibrated_neglog10p: Annotated[Array, Shape("F", "O", infinite=True)]
    false_share: float
    test_statistic: float
    test_neglog10p: float
    effective: float
    method: str
    level: float = 0.95
    meta: dict[str, Any] = field(default_factory=dict)

    def check(self, share: float = 0.10) -> Check | NotApplicable:
        """Whether the null is that of theory: ``failed`` where it is not beyond chance (p below .05) and calls more
        than ``share`` of nothing significant; ``warning`` where only one of the two is so."""
        if self.effective < 5:
            return NotApplicable(
                f"{self.effective:.0f} independent controls, at least 5 are needed", "negative controls"
            )
        beyond, many = self.test_neglog10p > -np.log10(0.05), self.false_share > share
        verdict = "failed" if beyond and many else "warning" if beyond or many else "passed"
        return Check(
            name="negative controls",
            null_in_words="z-scores of what cannot act are standard normal",
            statistic=self.test_statistic,
            df=2.0,
            neglog10p=self.test_neglog10p,
            verdict=verdict,
            note=f"{self} A test at .05 would call {self.false_share:.0%} of nothing significant"
            f" (p {10.0**-self.test_neglog10p:.2g} for the null of theory).",
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per claim, then one per control (``role`` says which)."""
        F, O = self.beta.shape
        claims = {
            "role": "claim",
            "exposure": np.repeat(np.array(self.exposures, dtype=object), O),
            "outcome": np.tile(np.array(self.outcomes, dtype=object), F),
            "estimate": self.beta.ravel(),
            "se": self.se.ravel(),
            "z": (self.beta / np.where(self.se > 0, self.se, np.nan)).ravel(),
            "neglog10p": self.neglog10p.ravel(),
            "calibrated_neglog10p": self.calibrated_neglog10p.ravel(),
            "calibrated_ci_lower": self.calibrated_lower.ravel(),
            "calibrated_ci_upper": self.calibrated_upper.ravel(),
        }
        controls = pd.DataFrame({"role": "control", "exposure": self.controls, "outcome": "", "z": self.z})
        return controls if not F * O else pd.concat([pd.DataFrame(claims), controls], ignore_index=True)

    def __str__(self) -> str:
        return (
            f"{len(self.z):,} controls (as good as {self.effective:.3g} independent): z-scores have mean {self.mean:.2f}"
            f" [{self.mean_lower:.2f}, {self.mean_upper:.2f}] and sd {self.sd:.2f} [{self.sd_lower:.2f}, {self.sd_upper:.2f}],"
            " 0 and 1 in theory."
        )
