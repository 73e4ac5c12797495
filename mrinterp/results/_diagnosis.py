"""Assumption cards: per claim every assumption, the checks that attacked it, and what they found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import pandas as pd

from mrinterp.core.checks import checked_names
from mrinterp.core.errors import InputError
from mrinterp.results._result import Result, Rows

__all__ = ["ASSUMPTIONS", "COLOURS", "Diagnosis"]

COLOURS = {
    "green": "checked, nothing found",
    "grey": "not tested",
    "amber": "doubtful",
    "red": "failed",
}
"""What became of an assumption, the best first."""

ASSUMPTIONS = {
    "relevance": "the instruments move the feature, beyond what they do to others",
    "exclusion": "the instruments reach the outcome only through what is listed",
    "exchangeability": "nothing unmeasured moves feature and outcome together",
    "linearity": "the outcome follows the feature in proportion, whatever the size",
    "homogeneity": "effects are alike across prompts, families and doses, or their average is what is asked for",
    "selection": "an effect that was found is as large where it was not looked for",
    "direction": "the feature acts on the outcome, not the outcome on the feature",
    "data": "runs, families and independent changes are enough",
    "knockouts": "knockouts on other families say the same",
}
"""Every assumption in words."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Diagnosis(Result):
    """What was asked of every claim's assumptions, and what came out.

    Parameters
    ----------
    findings : DataFrame
        One row per claim and check: ``feature, outcome, assumption, check, colour, reason, next_step, bears`` (whether the
        check bears on what the claim rests on; those that do not mark another rung of the ladder).
    meta : dict
        What was diagnosed, and what its claims rest on.

    Raises
    ------
    InputError
        For colours and assumptions that are none of `COLOURS` and `ASSUMPTIONS`.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("Diagnosis").summary)
    assumptions of 2 claims: 1 red, 1 green
    """

    KIND: ClassVar[str] = "diagnosis"
    HEADER: ClassVar[str] = "diagnosis.json"
    TABLE: ClassVar[str | None] = "cards.parquet"

    findings: Annotated[
        pd.DataFrame,
        Rows(columns=("feature", "outcome", "assumption", "check", "colour", "reason", "next_step", "bears")),
    ]
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for column, known in (("colour", COLOURS), ("assumption", ASSUMPTIONS)):
            for word in self.findings[column].unique():
                if word not in known:
                    raise InputError(f"findings, {column}", repr(word), f"One of {', '.join(known)}")

    @property
    def summary(self) -> str:
        """How many claims have which colour."""
        counts = self.to_frame()["colour"].value_counts()
        said = ", ".join(f"{counts[c]} {c}" for c in reversed(COLOURS) if c in counts)
        return f"assumptions of {counts.sum()} claims: {said or 'none'}"

    def to_frame(self) -> pd.DataFrame:
        """One card per claim: ``feature, outcome, colour``, a column of colours per assumption, and ``reasons``.

        A claim's colour is the worst of the checks that bear on what it rests on; of each assumption, of all its checks. A
        claim of which nothing was tested is grey.
        """
        worst = {c: k for k, c in enumerate(("grey", "green", "amber", "red"))}
        ranked = self.findings.assign(rank=self.findings["colour"].map(worst))
        claims = ranked.groupby(["feature", "outcome"], sort=False)
        bearing = ranked[ranked["bears"].astype(bool)]
        top = bearing.groupby(["feature", "outcome"], sort=False)["rank"].max()
        back = {k: c for c, k in worst.items()}
        grid = ranked.pivot_table(
            index=["feature", "outcome"], columns="assumption", values="rank", aggfunc="max", sort=False
        )
        grid = grid.reindex(columns=list(ASSUMPTIONS)).map(lambda k: back[int(k)] if k == k else "grey")
        reasons = bearing[bearing["colour"].isin(["amber", "red"])]
        why = reasons.groupby(["feature", "outcome"], sort=False)["reason"].agg(" ".join)
        keys = claims.size().index
        colour = top.reindex(keys).map(lambda k: back[int(k)] if k == k else "grey")
        return pd.concat(
            [colour.rename("colour"), grid.reindex(keys), why.reindex(keys).fillna("").rename("reasons")],
            axis=1,
        ).reset_index()

    @property
    def assumptions(self) -> Mapping[str, str]:
        """Every assumption in words."""
        return ASSUMPTIONS

    def only(self, features: Sequence[str]) -> Diagnosis:
        """The cards of some features.

        Parameters
        ----------
        features : list of str
            Names.

        Returns
        -------
        Diagnosis

        Raises
        ------
        InputError
            For a name without a card.

        Examples
        --------
        >>> from mrinterp.results import example
        >>> print(example("Diagnosis").only(["a"]).summary)
        assumptions of 1 claims: 1 green
        """
        chosen = checked_names(features, "features", list(dict.fromkeys(self.findings["feature"])))
        kept = self.findings[self.findings["feature"].isin(chosen)].reset_index(drop=True)
        return Diagnosis(findings=kept, meta=self.meta)

    def of(self, feature: str, outcome: str | None = None) -> pd.DataFrame:
        """The findings on one feature, worst first.

        Parameters
        ----------
        feature : str
            Its name.
        outcome : str, optional
            Default all outcomes.

        Raises
        ------
        InputError
            For a feature or outcome without a card.

        Examples
        --------
        >>> from mrinterp.results import example
        >>> example("Diagnosis").of("b")["colour"].tolist()
        ['red', 'green']
        """
        found = self.findings[self.findings["feature"] == feature]
        if found.empty:
            known = ", ".join(self.findings["feature"].astype(str).unique()[:5])
            raise InputError("feature", repr(feature), f"One of {known}, ...")
        if outcome is not None:
            found = found[found["outcome"] == outcome]
            if found.empty:
                raise InputError(
                    "outcome", repr(outcome), f"One of {', '.join(self.findings['outcome'].unique())}"
                )
        order = found["colour"].map({c: -k for k, c in enumerate(COLOURS)})
        return found.assign(order=order).sort_values("order", kind="stable").drop(columns="order")
