"""What every attribution method says of the same features and outcomes, or why it does not apply."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import pandas as pd

from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.shown import listed
from mrinterp.results._check import NotApplicable
from mrinterp.results._estimates import Estimates
from mrinterp.results._result import Named, Result
from mrinterp.results._sentences import first_lines

__all__ = ["AttributionScores"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AttributionScores(Result):
    """Effects per unit of each feature by several attribution methods; a mapping from method to result.

    Parameters
    ----------
    methods : dict of str to Estimates or NotApplicable
        In the order in which they are shown.
    meta : dict
        Options, and anything a report needs.

    Raises
    ------
    InputError
        For a value of another type.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.results import AttributionScores, Estimates, NotApplicable
    >>> gradient = Estimates(
    ...     method="gradient", label="gradient", exposures=("size",), outcomes=("loss",),
    ...     beta=np.array([[0.5]]), se=np.array([[0.1]]), status="ok", n_instruments=20,
    ... )
    >>> scores = AttributionScores(methods={"gradient": gradient, "probe": NotApplicable("one class only")})
    >>> scores["gradient"].beta.item(), str(scores["probe"])
    (0.5, 'this does not apply: one class only')
    """

    KIND: ClassVar[str] = "attribution scores"

    methods: Annotated[dict[str, Estimates | NotApplicable], Named(Estimates)]
    meta: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, method: str) -> Estimates | NotApplicable:
        """What one method says, or why it does not apply.

        Raises
        ------
        InputError
            For a method that is not among them.
        """
        if method not in self.methods:
            fix = near_misses(method, self.methods) or f"Known: {', '.join(self.methods)}"
            raise InputError(f"attribution scores: {method!r}", "no such method", fix)
        return self.methods[method]

    def __iter__(self) -> Iterator[str]:
        return iter(self.methods)

    def __len__(self) -> int:
        return len(self.methods)

    def items(self) -> Iterator[tuple[str, Estimates | NotApplicable]]:
        """Every method and what it says."""
        return iter(self.methods.items())

    @property
    def estimates(self) -> dict[str, Estimates]:
        """The methods that apply."""
        return {name: e for name, e in self.methods.items() if isinstance(e, Estimates)}

    @property
    def summary(self) -> str:
        """What it is and how large, in one line."""
        first = next(iter(self.estimates.values()), None)
        size = (
            f" of {first.beta.shape[0]:,} features on {listed(first.outcomes)}" if first is not None else ""
        )
        absent = len(self.methods) - len(self.estimates)
        return f"{len(self.estimates)} attribution methods{size}" + (
            f"; {absent} do not apply" if absent else ""
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per (method, feature, outcome), as in `Estimates.to_frame`; one per method that does not apply,
        with the reason as its ``status``."""
        parts = [
            e.to_frame().assign(method=name)
            if isinstance(e, Estimates)
            else pd.DataFrame({"method": [name], "status": [e.reason]})
            for name, e in self.methods.items()
        ]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["method", "status"])

    def __str__(self) -> str:
        lines = []
        for name, e in self.methods.items():
            if isinstance(e, NotApplicable):
                lines.append(f"{name} does not apply: {e.reason}.")
            else:
                lines.append(f"{name}: {e.largest()}")
        return first_lines([self.summary + ".", *lines], len(lines) + 1)
