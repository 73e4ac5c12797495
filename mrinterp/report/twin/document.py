"""The report as one document with a published schema: every claim with its evidence, and where the numbers come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from mrinterp.core.storage import to_plain
from mrinterp.report.claims import closing, resting, ropes, unit
from mrinterp.report.controls import control_words, failed_controls, null_in_words
from mrinterp.report.finished import FinishedStudy
from mrinterp.report.order import recorded_order
from mrinterp.report.twin.methods_text import methods_paragraph, references
from mrinterp.report.twin.strobe import Item, strobe

__all__ = [
    "SCHEMA",
    "WHOLE",
    "CheckRecord",
    "ClaimRecord",
    "Controls",
    "Interval",
    "ReportDocument",
    "Rung",
    "check_record",
    "document",
    "interval_of",
    "number_of",
    "schema",
]

SCHEMA = "report-1"
"""Name and version of the schema; what is added keeps it, what is changed or taken out gets a new one."""
WHOLE = 2000
"""Claims up to which each carries its reasons and its card; beyond, only those that say something (no E, no N)."""
SILENT = ("E", "N")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Interval(_Part):
    """A number with the ends of its interval, of the document's level; null where there is none."""

    value: float | None
    lower: float | None
    upper: float | None


class Rung(Interval):
    """What one rung of the ladder says, per natural sd of the feature; slopes are extrapolated."""

    rung: str
    se: float | None


class Evidence(_Part):
    """One domain: points (null: does not apply) and the reason."""

    domain: str
    title: str
    points: float | None
    reason: str


class ClaimRecord(_Part):
    """One tested effect."""

    feature: str
    outcome: str
    label: str
    grade: str = Field(
        description="A to E, Z (shown absent), X (conflicting), R (refuted) or N (not evaluable); of tables and runs in hand D at best"
    )
    points: float
    verdict: str
    effect: Interval
    rope: float | None = Field(
        description="Half width of the region of practical equivalence, in units of the effect; null where none was stated"
    )
    unit: str
    rests_on: str
    estimand: Literal["contrast", "averaged", "local slope"]
    bias: str
    size: str = Field(description="How knockouts on other families bear on its size")
    contradiction: str
    lacking: str = Field(description="What is missing for the next better grade")
    ceiling: str
    ceiling_why: str
    exploratory: bool
    status: str
    knockout: Interval
    knockout_verdict: str
    replication: Interval
    replicated: str
    rungs: list[Rung]
    evidence: list[Evidence] = Field(
        description="Empty where the run folder alone has it: beyond 2,000 claims, of E and N"
    )
    card: dict[str, str] = Field(
        description="The identification card: claim, strategy, assumptions, stress, consequence"
    )


class CheckRecord(_Part):
    """One assumption that was tested."""

    name: str
    verdict: str
    note: str
    outcome: str
    rungs: list[str]


class Controls(_Part):
    """What negative controls showed, before anything that was found."""

    failed: str = Field(description="What they found, and what is not calibrated for it; empty: nothing")
    null: str = Field(
        description="The empirical null of what claims rest on, and how many claims stand against it"
    )
    sets: list[str] = Field(description="What every set of controls showed, or why it does not apply")


class ReportDocument(_Part):
    """A finished study."""

    schema_name: Literal["report-1"]
    source: Literal["study", "table", "runs"] = Field(
        default="study",
        description="A study of a network; a table of summary statistics; or runs that were in hand. The last two have no"
        " knockouts: verdicts are what the interval says of 0, rungs are methods, and the best grade is D",
    )
    level: float = Field(default=0.95, description="Confidence level of the intervals")
    negative_controls: Controls
    title: str
    summary: str = Field(description="What was shown, in a sentence for somebody who knows nothing of it")
    rests_on: str
    unit: str
    tested: int
    ropes: dict[str, float]
    rules: str = Field(description="Version of the rules of grading")
    rules_digest: str
    grades: dict[str, int]
    exploratory: bool
    knockouts_blind: bool
    earlier_plans: int
    claims: list[ClaimRecord]
    checks: list[CheckRecord]
    methods: str
    references: list[str]
    strobe_mr: list[Item]
    hashes: dict[str, str]
    seeds: dict[str, int]
    versions: dict[str, str]
    plan: dict[str, Any]


def schema() -> dict[str, Any]:
    """The JSON Schema that documents keep to."""
    made = ReportDocument.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"mrinterp/{SCHEMA}", **made}


def document(study: FinishedStudy) -> ReportDocument:
    """The report of a finished study, checked against its own schema.

    Parameters
    ----------
    study : FinishedStudy

    Returns
    -------
    ReportDocument
    """
    claims, header, order = study.claims, study.header, recorded_order(study)
    origin = header["provenance"]
    every = [*study.checks, *(c.to_dict() for c in study.claim_checks)]
    return ReportDocument(
        schema_name="report-1",
        negative_controls=Controls(
            failed=failed_controls(study), null=null_in_words(study), sets=control_words(study)
        ),
        title=header["plan"]["title"],
        summary=closing(study),
        rests_on=resting(study).replace("They rest", "Claims rest", 1),
        unit=unit(study),
        tested=len(claims.claims),
        ropes=ropes(study),
        rules=str(claims.meta["rules"]),
        rules_digest=str(claims.meta["rules_digest"]),
        grades=claims.counts,
        exploratory=bool(claims.claims["exploratory"].any()),
        knockouts_blind=order.blind,
        earlier_plans=int(header["earlier_plans"]),
        claims=_claims(study),
        checks=[check_record(c) for c in every],
        methods=methods_paragraph(study),
        references=references(study),
        strobe_mr=strobe(study),
        hashes={
            "rules": header["rules_hash"],
            "candidates": header["candidates_hash"],
            **header["knockouts"],
        },
        seeds={k: int(v) for k, v in origin["seeds"].items()},
        versions=origin["versions"],
        plan=to_plain(header["plan"]),
    )


def _rung_names(study: FinishedStudy) -> list[str]:
    """Rungs that have columns of their own in the results."""
    return [n for n in study.estimates if f"{n}_se" in study.results]


def check_record(check: Mapping[str, Any]) -> CheckRecord:
    """A check as studies store it, or its plain dictionary."""
    return CheckRecord(
        name=check["name"],
        verdict=check["verdict"],
        note=str(check.get("note", "")),
        outcome=str(check.get("outcome", "")),
        rungs=list(check.get("rungs", ())),
    )


def _claims(study: FinishedStudy) -> list[ClaimRecord]:
    """Every tested effect, as the results have them, with its evidence."""
    graded, names = study.claims, _rung_names(study)
    frame = graded.claims.drop(columns=["effect", "ci_lower", "ci_upper", "verdict", "rests_on", "label"])
    table = study.results.merge(frame, on=["feature", "outcome"], suffixes=("_stored", ""))
    said = set(
        zip(*(table.loc[~table["grade"].isin(SILENT), k] for k in ("feature", "outcome")), strict=True)
    )
    whole = len(table) <= WHOLE
    evidence, cards = _by_claim(graded.domains), _by_claim(graded.cards)
    records = []
    for row in table.to_dict("records"):
        key = (row["feature"], row["outcome"])
        shown = whole or key in said
        records.append(
            _record(
                {str(k): v for k, v in row.items()},
                names,
                evidence.get(key, []) if shown else [],
                cards.get(key, []) if shown else [],
            )
        )
    return records


def _by_claim(table: pd.DataFrame) -> dict[tuple[str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in table.to_dict("records"):
        found.setdefault((row["feature"], row["outcome"]), []).append({str(k): v for k, v in row.items()})
    return found


def _record(
    row: Mapping[str, Any], names: list[str], evidence: list[dict[str, Any]], card: list[dict[str, Any]]
) -> ClaimRecord:
    words = (
        "feature", "outcome", "label", "grade", "verdict", "unit", "rests_on", "estimand", "bias", "size", "contradiction",
        "lacking", "ceiling", "ceiling_why", "status", "knockout_verdict", "replicated",
    )  # fmt: skip
    given: dict[str, Any] = {w: str(row[w]) for w in words}
    return ClaimRecord(
        **given,
        points=float(row["points"]),
        rope=float(row["rope"]),
        exploratory=bool(row["exploratory"]),
        effect=interval_of(row, "effect", "ci_lower", "ci_upper"),
        knockout=interval_of(row, "knockout", "knockout_lower", "knockout_upper"),
        replication=interval_of(row, "replication", "replication_lower", "replication_upper"),
        rungs=[
            Rung(
                rung=n,
                se=number_of(row[f"{n}_se"]),
                **interval_of(row, n, f"{n}_lower", f"{n}_upper").model_dump(),
            )
            for n in names
        ],
        evidence=[
            Evidence(domain=e["domain"], title=e["title"], points=number_of(e["points"]), reason=e["reason"])
            for e in evidence
        ],
        card={c["item"]: c["answer"] for c in card},
    )


def interval_of(row: Mapping[str, Any], value: str, lower: str, upper: str) -> Interval:
    """A number of a row with the ends of its interval."""
    return Interval(value=number_of(row[value]), lower=number_of(row[lower]), upper=number_of(row[upper]))


def number_of(value: Any) -> float | None:
    """A finite number, else nothing: JSON knows no others."""
    number = float(value)
    return number if abs(number) < float("inf") else None
