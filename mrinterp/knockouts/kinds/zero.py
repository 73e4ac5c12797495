"""Zero ablation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mrinterp.knockouts.bench import Bench
from mrinterp.knockouts.kinds.kind import Kind, Targets
from mrinterp.knockouts.natural import clean_values

__all__ = ["Zero"]


@dataclass(frozen=True)
class Zero(Kind):
    """Every value set to zero, whatever the input: outside support wherever zero is not a natural value."""

    name: ClassVar[str] = "zero"

    @property
    def label(self) -> str:
        """Words for tables and figures."""
        return "set to zero"

    def targets(self, bench: Bench) -> Targets:
        """Zeros."""
        return lambda features: np.zeros_like(clean_values(bench, features))[:, None]
