"""Estimates compared with knockouts, method by method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import pandas as pd

from mrinterp.core.shown import listed
from mrinterp.results._result import Result, Rows
from mrinterp.results._sentences import first_lines

__all__ = ["SCORES", "Agreement"]

SCORES = {
    "correlation": "Pearson correlation with the knockouts over features",
    "rank_correlation": "Spearman's rank correlation",
    "kendall": "Kendall's tau-b",
    "sign_concordance": "share of features with the knockout's sign, negligible ones (a coin's throw) included",
    "causal_sign_concordance": "the same among features that the knockout finds causal",
    "slope": "slope on the knockout, errors in both (Deming, one ratio of error variances)",
    "york_slope": "slope on the knockout, each feature's own errors in both (York)",
    "coverage": "share of features that differ from the knockout by no more than both errors allow",
    "coverage_alone": "share of features whose interval alone holds the knockout",
    "auroc": "chance that a causal feature ranks above a negligible one",
    "auprc": "average precision of causal against negligible features",
}
"""Scores of the summary, in words. 1 is best, and .95 for coverages."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Agreement(Result):
    """How well each method predicted the knockouts.

    Parameters
    ----------
    scores : DataFrame
        One row per (method, outcome): ``n`` features held together and ``missing`` ones, of which
        ``no_knockout`` lack the knockout's number and the others the method's; each score of
        `SCORES` with its bootstrap interval ``<score>_boot_lower, <score>_boot_upper``, and for
        ``correlation, slope, coverage`` also an analytic one (``_lower, _upper``); ``rmse``; how many
        features the knockout finds causal and negligible (``knockout_causal, knockout_negligible``), their
        ``base_rate`` (what AUPRC is
        without skill); ``reason``, why a score is nan.
    joined : DataFrame
        One row per (method, feature, outcome): estimate and knockout with intervals and verdicts.
    misled : DataFrame
        Features that univariable MR calls significant and the knockout finds negligible.
    meta : dict
        Options, seeds and whatever else a report needs.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("Agreement").summary)
    agreement of 2 methods with the knockouts of 6 features on outcome 0
    """

    KIND: ClassVar[str] = "agreement"
    HEADER: ClassVar[str] = "agreement.json"
    TABLE: ClassVar[str | None] = None
    FORMER_NAMES: ClassVar[Mapping[str, str]] = {"scores": "summary"}

    scores: Annotated[pd.DataFrame, Rows(columns=("method", "label", "outcome", "n"))]
    joined: Annotated[pd.DataFrame, Rows(columns=("method", "exposure", "outcome", "estimate", "knockout"))]
    misled: Annotated[pd.DataFrame, Rows()]
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """What it is and how large, in one line."""
        methods, outcomes = self.scores["method"].nunique(), self.scores["outcome"].drop_duplicates()
        features = int(self.scores["n"].max()) if len(self.scores) else 0
        return f"agreement of {methods} methods with the knockouts of {features} features on {listed(list(outcomes))}"

    def to_frame(self) -> pd.DataFrame:
        """The summary, one row per (method, outcome, score): ``value, lower, upper`` (bootstrap)."""
        kept = [name for name in SCORES if f"{name}_boot_lower" in self.scores]
        parts = [
            self.scores[["method", "outcome"]].assign(
                score=name,
                value=self.scores[name],
                lower=self.scores[f"{name}_boot_lower"],
                upper=self.scores[f"{name}_boot_upper"],
            )
            for name in kept
        ]
        columns = ["method", "outcome", "score", "value", "lower", "upper"]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)

    def __str__(self) -> str:
        lines = []
        for s in self.scores.to_dict(orient="records"):
            line = f"{s['label']} on {s['outcome']}, {s['n']} features{_absent(s)}:"
            for name, word in (("correlation", ""), ("slope", ""), ("coverage", ""), ("auroc", "AUROC")):
                if s.get(name) == s.get(name) and f"{name}_boot_lower" in s:
                    ends = f"{s[f'{name}_boot_lower']:.2f} to {s[f'{name}_boot_upper']:.2f}"
                    line += f" {word or name} {s[name]:.2f} (95% {ends}),"
            line = line.rstrip(",:") + "."
            lines.append(line + (f" Not defined: {s['reason']}." if s.get("reason") else ""))
        return first_lines(lines, len(lines))

    def _more_header(self) -> dict[str, Any]:
        return {"summary": self.scores.to_dict(orient="records")}


def _absent(row: dict[Any, Any]) -> str:
    """Words for the features that a comparison is silent on."""
    missing, no_knockout = int(row.get("missing", 0)), int(row.get("no_knockout", 0))
    parts = [(missing - no_knockout, "no estimate"), (no_knockout, "no knockout")]
    words = ", ".join(f"{count} with {what}" for count, what in parts if count)
    return f" ({words}: left out)" if words else ""
