"""Steering: an amount added along a feature's write direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mrinterp.core.checks import checked_choice, checked_number
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._clean_values import clean_values
from mrinterp.knockouts._kinds.kind import Kind, Targets
from mrinterp.knockouts._kinds.shift import UNITS, step_sizes

__all__ = ["Steer"]


@dataclass(frozen=True)
class Steer(Kind):
    """``amount`` added to every input's value, to one side only; every written token moves by it.

    Parameters
    ----------
    amount : float
        How far, in ``unit``; below zero the other way.
    unit : {"sd", "feature"}
        Natural standard deviations of each feature, or its own units: multiples of the write vector. For a
        steering vector of your own, read by nothing, make the view with `Directions.from_write`.

    Notes
    -----
    Source: Turner et al. 2023, arXiv:2308.10248.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> mrinterp.knock_out(bench, mrinterp.knockouts.Steer(0.2), "linear").effect.round(6)
    array([[1.]])
    """

    name: ClassVar[str] = "steer"
    chosen: ClassVar[bool] = True
    amount: float = 1.0
    unit: str = "sd"

    def __post_init__(self) -> None:
        checked_number(self.amount, "amount")
        checked_choice(self.unit, "unit", UNITS)

    @property
    def label(self) -> str:
        """Words for tables and figures."""
        return f"steered by {self.amount:+g} {'natural sd' if self.unit == 'sd' else 'units'}"

    def targets(self, bench: Bench) -> Targets:
        """Clean values plus the amount."""

        def of(features: np.ndarray) -> np.ndarray:
            clean = clean_values(bench, features)
            return (clean + step_sizes(clean, self.amount, self.unit))[:, None]

        return of
