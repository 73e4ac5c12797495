"""What cheaper methods say, beside the knockout that they stand in for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd

from mrinterp.results._result import Axis, Result, Rows
from mrinterp.results._sentences import first_lines

__all__ = ["AttributionTable"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AttributionTable(Result):
    """Effects per unit by knockout and by M cheaper methods, and how well each method agrees.

    Parameters
    ----------
    knockout : str
        Its kind.
    methods : tuple of str
    table : DataFrame
        One row per (feature, outcome): ``feature, outcome, knockout, knockout_lower, knockout_upper`` (95%),
        ``flags`` of the knockout, then one column per method, nan where it does not apply.
    scores : DataFrame
        One row per (method, outcome): ``method, outcome, features`` (that are finite in both), ``correlation,
        slope`` (errors in both; of the method on the knockout, 1 where they agree), each with ``_lower`` and
        ``_upper``, ``rank_correlation, sign_concordance, coverage, rmse``, and ``status``: ``ok``, or why there
        are no numbers.
    meta : dict
        Options, seeds and whatever else a report needs.

    Notes
    -----
    Intervals of correlation and slope are over features (see `mrinterp.stats.agreement.agreement.agree`);
    `mrinterp.diagnostics.agreement` draws the knockout's families too, and ranks causal features.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("AttributionTable").summary)
    attribution table: 3 methods
    """

    KIND: ClassVar[str] = "attribution table"
    FORMER_KINDS: ClassVar[tuple[str, ...]] = ("comparator table",)

    knockout: str
    methods: Annotated[tuple[str, ...], Axis("M")]
    table: Annotated[pd.DataFrame, Rows(columns=("feature", "outcome", "knockout"))]
    scores: Annotated[pd.DataFrame, Rows(columns=("method", "outcome", "status"))]
    meta: dict[str, Any] = field(default_factory=dict)

    def to_frame(self) -> pd.DataFrame:
        """One row per (feature, outcome), knockout and methods side by side."""
        return self.table

    def __str__(self) -> str:
        lines = []
        for outcome, rows in self.scores.groupby("outcome", sort=False):
            words = "; ".join(_words(r) for r in rows.to_dict(orient="records"))
            lines.append(f"Against the knockout ({self.knockout}), {outcome}: {words}.")
        rows = self.table.drop_duplicates("feature")
        flagged = rows[rows["flags"] != ""] if "flags" in rows else rows[:0]  # an older version wrote none
        if len(flagged):
            first = flagged.iloc[0]
            lines.append(
                f"{len(flagged)} features of the knockout flagged, first {first['feature']}: {first['flags']}."
            )
        return first_lines(lines, len(lines))


def _words(row: dict[Any, Any]) -> str:
    if row["status"] != "ok":
        return f"{row['method']}: {row['status']}"
    if not np.isfinite(row["correlation"]):
        return f"{row['method']} sign alike in {row['sign_concordance']:.0%} of {row['features']} features"
    return (
        f"{row['method']} r {row['correlation']:.2f} ({row['correlation_lower']:.2f} to"
        f" {row['correlation_upper']:.2f}), slope {row['slope']:.2g}, sign alike in"
        f" {row['sign_concordance']:.0%} of {row['features']} features"
    )
