"""What was gained and what was lost when a spurious feature was edited out of a network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.shown import listed
from mrinterp.results._result import Axis, Result, Rows, Shape
from mrinterp.results._sentences import first_lines, off_support_largest, off_support_words

__all__ = ["CUE_GROUPS", "ConfounderRemoval"]

Array = NDArray[np.float64]

CUE_GROUPS = ("agrees", "conflicts", "absent")
"""What the spurious cue says about an input: the truth, something else, or nothing."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ConfounderRemoval(Result):
    """Outcomes of N inputs before and after the edit, by what the cue says about them.

    Parameters
    ----------
    features, outcomes : tuple of str
    how : str
        ``"weights"``: a network whose weights were edited; ``"run time"``: the features were written on
        every run.
    label : str
        Words for the edit.
    before, after : ndarray (N, O)
    inputs : DataFrame
        ``input, family, group`` of the N inputs.
    table : DataFrame
        One row per (group, outcome), groups ``conflicts``, ``agrees``, ``absent``, ``elsewhere`` (agrees or
        absent) and ``all``: ``inputs, families, before, after, change, se, lower, upper`` (t, clustered by
        family), ``boot_lower, boot_upper`` (family bootstrap), ``changed`` (share of inputs), ``status``.
        Outcomes stand as they are measured: a gain is a rise in accuracy and a fall in loss.
    noise_floor : float
    level : float
    meta : dict
        Options, seeds and whatever else a report needs.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("ConfounderRemoval").summary)
    confounder removal: 3 features, 2 outcomes
    """

    KIND: ClassVar[str] = "confounder removal"

    features: Annotated[tuple[str, ...], Axis("F")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    how: str
    label: str
    before: Annotated[Array, Shape("N", "O")]
    after: Annotated[Array, Shape("N", "O")]
    inputs: Annotated[pd.DataFrame, Rows("N", columns=("input", "family", "group"))]
    table: Annotated[
        pd.DataFrame,
        Rows(columns=("group", "outcome", "before", "after", "change", "lower", "upper", "status")),
    ]
    noise_floor: float
    level: float = 0.95
    meta: dict[str, Any] = field(default_factory=dict)

    def to_frame(self) -> pd.DataFrame:
        """The table: one row per (group, outcome); ``outside_support``: largest share of what was written into
        a feature that its place never shows."""
        return self.table.assign(outside_support=off_support_largest(self.meta))

    def row(self, group: str, outcome: str) -> dict[str, Any]:
        """One row of the table.

        Raises
        ------
        InputError
            For a group or an outcome that is not there.
        """
        for name, column in ((group, "group"), (outcome, "outcome")):
            known = list(dict.fromkeys(self.table[column]))
            if name not in known:
                raise InputError(
                    f"{column} {name!r}", "not there", near_misses(name, known) or f"Known: {known}"
                )
        chosen = (self.table["group"] == group) & (self.table["outcome"] == outcome)
        (found,) = self.table[chosen].to_dict(orient="records")
        return {str(k): v for k, v in found.items()}

    def sentence(self, outcome: str) -> str:
        """What the edit did to one outcome, where the cue misleads and elsewhere."""
        return (
            f"{listed(self.features)} edited out ({self.how}), {outcome}:"
            f" where the cue conflicts {self._words('conflicts', outcome)};"
            f" elsewhere {self._words('elsewhere', outcome)}."
        )

    def _words(self, group: str, outcome: str) -> str:
        r = self.row(group, outcome)
        if r["inputs"] == 0:
            return "there are no inputs"
        text = f"from {r['before']:.3g} to {r['after']:.3g} on {r['inputs']} inputs"
        if np.isfinite(r["lower"]):
            text += f" (change {r['change']:+.3g}, {self.level:.0%} interval {r['lower']:.3g} to {r['upper']:.3g})"
        return text + ("" if r["status"] == "ok" else f" [{r['status']}]")

    def __str__(self) -> str:
        sentences = (self.sentence(outcome) for outcome in self.outcomes)
        return first_lines(sentences, len(self.outcomes)) + off_support_words(self.meta)
