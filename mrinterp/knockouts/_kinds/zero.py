"""Zero ablation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._clean_values import clean_values
from mrinterp.knockouts._kinds.kind import Kind, Targets

__all__ = ["Zero"]


@dataclass(frozen=True)
class Zero(Kind):
    """Every value set to zero, whatever the input: outside support wherever zero is not a natural value.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> mrinterp.knock_out(bench, mrinterp.knockouts.Zero(), "threshold").mean.round(6)
    array([[-1.]])
    """

    name: ClassVar[str] = "zero"

    @property
    def label(self) -> str:
        """Words for tables and figures."""
        return "set to zero"

    def targets(self, bench: Bench) -> Targets:
        """Zeros."""
        return lambda features: np.zeros_like(clean_values(bench, features))[:, None]
