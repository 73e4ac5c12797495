"""The matched shift: the knockout that intervals of estimates are scored against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mrinterp.core.checks import checked_choice, checked_number
from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._clean_values import clean_values, spread
from mrinterp.knockouts._kinds.kind import Kind, Targets

__all__ = ["UNITS", "Shift", "step_sizes"]

UNITS = ("sd", "feature")


@dataclass(frozen=True)
class Shift(Kind):
    """Every input's value moved by plus and by minus ``size`` along the dual write vector, the rest held.

    Parameters
    ----------
    size : float
        How far, in ``unit``; above zero.
    unit : {"sd", "feature"}
        Natural standard deviations of each feature, or its own units.

    Notes
    -----
    The effect per unit is (Y(+size) - Y(-size)) / (2 size), the part that is odd in the shift, every input
    alike: the estimand of the within regression where the bench reads the mean over tokens.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> mrinterp.knock_out(bench, mrinterp.knockouts.Shift(0.5), "linear").effect.round(6)
    array([[1.]])
    """

    name: ClassVar[str] = "shift"
    chosen: ClassVar[bool] = True
    size: float = 1.0
    unit: str = "sd"

    def __post_init__(self) -> None:
        if not checked_number(self.size, "size", least=0):
            raise InputError("size", "0", "Give a step above zero")
        checked_choice(self.unit, "unit", UNITS)

    @property
    def signs(self) -> tuple[float, ...]:
        """Up and down."""
        return (1.0, -1.0)

    @property
    def label(self) -> str:
        """Words for tables and figures."""
        return f"matched shift by plus and minus {self.size:g} {_words(self.unit)}"

    def targets(self, bench: Bench) -> Targets:
        """Clean values plus and minus the step."""

        def of(features: np.ndarray) -> np.ndarray:
            clean = clean_values(bench, features)
            step = step_sizes(clean, self.size, self.unit)
            return np.stack([clean + step, clean - step], axis=1)

        return of


def step_sizes(clean: np.ndarray, size: float, unit: str) -> np.ndarray:
    """Size of a step in the features' own units, broadcast against clean values (f, P[, T])."""
    sizes = size * spread(clean) if unit == "sd" else np.full(len(clean), float(size))
    return sizes.reshape(-1, *[1] * (clean.ndim - 1))


def _words(unit: str) -> str:
    return "natural sd" if unit == "sd" else "units"
