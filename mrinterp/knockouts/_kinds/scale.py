"""Values multiplied by a factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mrinterp.core.checks import checked_number
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._clean_values import clean_values
from mrinterp.knockouts._kinds.kind import Kind, Targets

__all__ = ["Scale"]


@dataclass(frozen=True)
class Scale(Kind):
    """Every value times a factor.

    Parameters
    ----------
    factor : float
        0 is zero ablation, 1 changes nothing.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> mrinterp.knock_out(bench, mrinterp.knockouts.Scale(0.5), "linear").effect.round(6)
    array([[1.]])
    """

    name: ClassVar[str] = "scale"
    chosen: ClassVar[bool] = True
    factor: float = 0.5

    def __post_init__(self) -> None:
        checked_number(self.factor, "factor")

    @property
    def label(self) -> str:
        """Words for tables and figures."""
        return f"scaled by {self.factor:g}"

    def targets(self, bench: Bench) -> Targets:
        """Clean values times the factor."""
        return lambda features: (self.factor * clean_values(bench, features))[:, None]
