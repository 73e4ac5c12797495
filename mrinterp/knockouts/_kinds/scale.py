"""Values multiplied by a factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._clean_values import clean_values
from mrinterp.knockouts._kinds.kind import Kind, Targets
from mrinterp.knockouts._kinds.options import check_number

__all__ = ["Scale"]


@dataclass(frozen=True)
class Scale(Kind):
    """Every value times ``factor``: 0 is zero ablation, 1 changes nothing."""

    name: ClassVar[str] = "scale"
    chosen: ClassVar[bool] = True
    factor: float = 0.5

    def __post_init__(self) -> None:
        check_number("factor", self.factor)

    @property
    def label(self) -> str:
        """Words for tables and figures."""
        return f"scaled by {self.factor:g}"

    def targets(self, bench: Bench) -> Targets:
        """Clean values times the factor."""
        if not np.isfinite(self.factor):
            raise InputError("factor", f"{self.factor}", "Give a finite number")
        return lambda features: (self.factor * clean_values(bench, features))[:, None]
