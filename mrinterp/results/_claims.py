"""Graded claims: what each one says, how well it is supported, why, and what it takes to bring it down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import pandas as pd

from mrinterp.core.checks import checked_names
from mrinterp.core.errors import InputError
from mrinterp.results._result import Result, Rows
from mrinterp.results._sentences import first_lines

__all__ = ["CARD_ITEMS", "GRADES", "SURVIVAL", "Claim", "Claims", "points_in_words"]

GRADES = {
    "A": "definitive",
    "B": "strong",
    "C": "moderate",
    "D": "suggestive",
    "E": "insufficient",
    "Z": "shown absent",
    "X": "conflicting",
    "R": "refuted",
    "N": "not evaluable",
}
"""What a grade says of a claim, in a word or two; the first five are a scale, the best first."""

SURVIVAL = (
    "does not survive",
    "survives in sign, not in size",
    "not resolved there",
    "survives",
    "absent there too",
    "no claim",
)
"""How a claim can come out in another run, what matters most first."""

CARD_ITEMS = {
    "claim": "Is the claim causal, and what is its estimand?",
    "strategy": "Which strategy identifies it?",
    "assumptions": "Which assumptions does that need, and which check attacked each?",
    "stress": "How strongly would one of them have to fail to overturn the claim?",
    "consequence": "What changes if it does?",
}
"""The five questions of an identification card."""

ABSENT = "does not apply"
DOMAINS = tuple(f"E{k}" for k in range(1, 9))
KEYS = ["feature", "outcome"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One graded claim; prints its grade, the reasons, what it lacks, and its identification card.

    Parameters
    ----------
    feature : str
        Name of the feature.
    outcome : str
        Name of the outcome.
    grade : str
        One of `GRADES`.
    points : float
        Sum over the domains that apply.
    sentence : str
        The claim in one sentence.
    domains : tuple of tuple of str
        Name, title, points and reason of each domain.
    lacking : str
        What is missing for the next better grade.
    contradiction : str
        What speaks against the claim; empty where nothing does.
    card : tuple of tuple of str
        Question and answer of each of `CARD_ITEMS`.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> example("Claims")["a", "y"].grade
    'B'
    """

    feature: str
    outcome: str
    grade: str
    points: float
    sentence: str
    domains: tuple[tuple[str, str, str, str], ...]
    lacking: str
    contradiction: str
    card: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        lines = [self.sentence]
        lines += [f"Against it: {self.contradiction}."] if self.contradiction else []
        for name, title, points, reason in self.domains:
            lines.append(f"  {name} {title}: {reason if points == ABSENT else f'{points}. {reason}'}")
        lines += [f"What is missing: {self.lacking}."] if self.lacking else []
        return "\n".join([*lines, *(f"{question}\n  {said}" for question, said in self.card)])


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Claims(Result):
    """Every tested effect with its grade: rules applied to what a study has computed.

    Parameters
    ----------
    claims : DataFrame
        One row per feature and outcome: ``feature, outcome, label, grade, points, size`` (how knockouts on other families bear on
        its size), ``contradiction, lacking`` (for the next better grade), ``ceiling, ceiling_why`` (best grade that its design
        allows), ``exploratory`` (no record that the plan was hashed first), ``sentence``, the numbers that it rests on
        (``effect, ci_lower, ci_upper`` and ``rope`` in ``unit``; ``rests_on, estimand, verdict``), and the points ``E1`` to
        ``E8`` of every domain (nan: does not apply).
    domains : DataFrame
        One row per claim and domain: ``feature, outcome, domain, title, points, reason``.
    cards : DataFrame
        Identification cards, one row per claim and question: ``feature, outcome, item, answer``.
    meta : dict
        ``rules`` (version), ``rules_digest``, ``tested`` (number of claims).

    Raises
    ------
    InputError
        For a grade that is none of `GRADES`, or an item that is none of `CARD_ITEMS`.

    Notes
    -----
    A grade is a rule applied to numbers: how often claims of each grade are true is measured by
    ``benchmarks/evidence/grade_calibration.py`` and stands in docs/grades.md.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("Claims").summary)
    2 claims graded by MIG-2: 1 B (strong), 1 E (insufficient)
    """

    KIND: ClassVar[str] = "claims"
    HEADER: ClassVar[str] = "grades.json"
    TABLE: ClassVar[str | None] = None

    claims: Annotated[
        pd.DataFrame,
        Rows(
            columns=(
                *KEYS, "grade", "points", "size", "contradiction", "lacking", "ceiling", "ceiling_why", "exploratory",
                "sentence", "effect", "ci_lower", "ci_upper", *DOMAINS,
            )
        ),
    ]  # fmt: skip
    domains: Annotated[pd.DataFrame, Rows(columns=(*KEYS, "domain", "title", "points", "reason"))]
    cards: Annotated[pd.DataFrame, Rows(columns=(*KEYS, "item", "answer"))]
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for table, column, known in (("claims", "grade", GRADES), ("cards", "item", CARD_ITEMS)):
            for word in getattr(self, table)[column].unique():
                if word not in known:
                    raise InputError(f"{table}, {column}", repr(word), f"One of {', '.join(known)}")

    @property
    def counts(self) -> dict[str, int]:
        """Number of claims by grade, in the order of `GRADES`; those without any are left out."""
        found = self.claims["grade"].value_counts()
        return {g: int(found[g]) for g in GRADES if g in found}

    @property
    def summary(self) -> str:
        """How many claims have which grade, and by which rules."""
        said = ", ".join(f"{n} {g} ({GRADES[g]})" for g, n in self.counts.items())
        return (
            f"{len(self.claims)} claims graded by {self.meta.get('rules', 'unnamed rules')}: {said or 'none'}"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per claim, as `claims` has them."""
        return self.claims

    def only(self, features: list[str]) -> Claims:
        """The claims about some features.

        Raises
        ------
        InputError
            For a feature that has none.
        """
        known = list(dict.fromkeys(self.claims["feature"]))
        wanted = checked_names(features, "features", known)
        parts = {n: getattr(self, n) for n in ("claims", "domains", "cards")}
        kept = {n: t[t["feature"].isin(wanted)].reset_index(drop=True) for n, t in parts.items()}
        return Claims(**kept, meta=self.meta)

    def __getitem__(self, key: tuple[str, str]) -> Claim:
        """One feature and one outcome."""
        features, outcomes = (tuple(dict.fromkeys(self.claims[k])) for k in KEYS)
        f, o = self._at(key, features, outcomes)
        rows = self.claims[(self.claims["feature"] == features[f]) & (self.claims["outcome"] == outcomes[o])]
        if rows.empty:
            raise InputError(
                f"Claims[{key!r}]", "no such claim", "Give a feature and an outcome that were tested"
            )
        return self._claim(rows.iloc[0].to_dict())

    def _claim(self, row: Mapping[str, Any]) -> Claim:
        def of(table: pd.DataFrame) -> list[dict[str, Any]]:
            here = (table["feature"] == row["feature"]) & (table["outcome"] == row["outcome"])
            return [{str(k): v for k, v in r.items()} for r in table[here].to_dict("records")]

        parts = tuple(
            (r["domain"], r["title"], points_in_words(r["points"]), r["reason"]) for r in of(self.domains)
        )
        return Claim(
            feature=row["feature"],
            outcome=row["outcome"],
            grade=row["grade"],
            points=float(row["points"]),
            sentence=row["sentence"],
            domains=parts,
            lacking=row["lacking"],
            contradiction=row["contradiction"],
            card=tuple((CARD_ITEMS[r["item"]], r["answer"]) for r in of(self.cards)),
        )

    def __str__(self) -> str:
        return f"{self.summary}\n{first_lines(self.claims['sentence'], len(self.claims))}"


def points_in_words(points: float) -> str:
    """Points of a domain, with their sign."""
    return ABSENT if points != points else f"{points:+.0f}" if points else "0"
