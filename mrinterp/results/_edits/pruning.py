"""What became of a network's size and outcomes when features were pruned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.results._result import Axis, Result, Rows, Shape
from mrinterp.results._sentences import first_lines

__all__ = ["Pruning"]

Array = NDArray[np.float64]

VERDICTS = {
    "negligible": "negligible: inside {:.2g} either way",
    "causal": "not negligible: outside {:.2g} either way",
    "indeterminate": "indeterminate: neither inside nor outside {:.2g} either way",
}
"""Words for the change compared with the region of practical equivalence."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Pruning(Result):
    """Size and outcomes before and after, on P inputs held out.

    Parameters
    ----------
    label : str
    removed : int
        Features pruned.
    outcomes : tuple of str
    parameters_before, parameters_after, bytes_before, bytes_after : int
        Parameters and buffers that are kept in memory, tied ones once; zeros count as numbers.
    zeros_after : int
        Parameters that are exactly zero afterwards (a weight edit empties them without removing them).
    before, after : ndarray (P, O)
    table : DataFrame
        One row per outcome: ``outcome, inputs, families, before, after, change, se, lower, upper,
        boot_lower, boot_upper, changed, sd, rope, verdict``; the verdict holds the change against the
        region of practical equivalence, in sd of the outcome over inputs.
    level : float
    meta : dict
        Options, seeds and whatever else a report needs.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("Pruning").summary)
    pruning: 2 outcomes
    """

    KIND: ClassVar[str] = "pruning"

    label: str
    removed: int
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    parameters_before: int
    parameters_after: int
    bytes_before: int
    bytes_after: int
    zeros_after: int
    before: Annotated[Array, Shape("P", "O")]
    after: Annotated[Array, Shape("P", "O")]
    table: Annotated[
        pd.DataFrame, Rows("O", columns=("outcome", "before", "after", "change", "lower", "upper", "verdict"))
    ]
    level: float = 0.95
    meta: dict[str, Any] = field(default_factory=dict)

    def to_frame(self) -> pd.DataFrame:
        """One row per outcome."""
        return self.table

    def __str__(self) -> str:
        size = (
            f"{self.label}: {self.parameters_before:,} parameters became {self.parameters_after:,}"
            f" ({self.bytes_before:,} to {self.bytes_after:,} bytes)."
        )
        lines = [
            f"{r['outcome']} went from {r['before']:.4g} to {r['after']:.4g} on {r['inputs']} inputs held out"
            f" (change {r['change']:+.2g}, {self.level:.0%} interval {r['lower']:.2g} to {r['upper']:.2g};"
            f" {VERDICTS[r['verdict']].format(r['rope'])})."
            for r in self.table.to_dict(orient="records")
        ]
        return first_lines([size, *lines], 1 + len(lines))
