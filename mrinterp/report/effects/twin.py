"""The twin of the page of estimated effects: the document, and the table of claims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mrinterp.core.storage import to_plain
from mrinterp.report.effects.checks import identification
from mrinterp.report.effects.grades import Reasons
from mrinterp.report.effects.source import EffectsSource
from mrinterp.report.effects.words import (
    closing,
    effects_strobe,
    methods_words,
    references_used,
    resting_words,
)
from mrinterp.report.twin.document import (
    WHOLE,
    CheckRecord,
    ClaimRecord,
    Controls,
    Evidence,
    Interval,
    ReportDocument,
    Rung,
    check_record,
    interval_of,
    number_of,
)
from mrinterp.report.twin.files import without_formulas

__all__ = ["effects_document", "effects_table_file"]

_NONE = Interval(value=None, lower=None, upper=None)


def effects_document(source: EffectsSource) -> ReportDocument:
    """The report of estimated effects, by the schema of the reports of studies."""
    table, graded = source.table, source.grades
    reasons = graded.reasons(range(len(table)))
    return ReportDocument(
        schema_name="report-1",
        source=source.source,
        level=source.level,
        negative_controls=Controls(failed="", null="Negative controls: none in these data.", sets=[]),
        title=source.title,
        summary=closing(source),
        rests_on=resting_words(source),
        unit=source.unit,
        tested=len(table),
        ropes={},
        rules=graded.rules.version,
        rules_digest=graded.rules.digest,
        grades=graded.counts,
        exploratory=True,
        knockouts_blind=False,
        earlier_plans=0,
        claims=[
            _claim(source, row, k, why, k < WHOLE)
            for k, (row, why) in enumerate(zip(table.to_dict("records"), reasons, strict=True))
        ],
        checks=_checks(source),
        methods=methods_words(source),
        references=references_used(source),
        strobe_mr=effects_strobe(source),
        hashes={"data": source.digest},
        seeds={},
        versions=dict(source.versions),
        plan=to_plain(dict(source.settings)),
    )


def _checks(source: EffectsSource) -> list[CheckRecord]:
    """Checks of all runs, each with the assumption that it asks about where studies have rungs."""
    return [check_record({**check.to_dict(), "rungs": [assumption]}) for assumption, check in source.checks]


def _claim(source: EffectsSource, row: Mapping[Any, Any], k: int, why: Reasons, whole: bool) -> ClaimRecord:
    first, graded = source.primary, source.grades
    methods = [(first.method, "effect", "se", "ci_lower", "ci_upper")]
    methods += [(r.method, r.method, f"{r.method}_se", f"{r.method}_lower", f"{r.method}_upper") for r in source.results[1:]]  # fmt: skip
    return ClaimRecord(
        feature=row["feature"],
        outcome=row["outcome"],
        label=row["label"],
        grade=str(graded.letter[k]),
        points=float(graded.points["points"][k]),
        verdict=row["verdict"],
        effect=interval_of(row, "effect", "ci_lower", "ci_upper"),
        rope=None,
        unit=source.unit,
        rests_on=first.method,
        estimand="local slope",
        bias="unmeasured",
        size="no knockout",
        contradiction=row["contradiction"],
        lacking=why.lacking,
        ceiling=str(graded.ceiling[k]),
        ceiling_why=why.ceiling_why,
        exploratory=True,
        status=row["status"],
        knockout=_NONE,
        knockout_verdict="",
        replication=_NONE,
        replicated="",
        rungs=[Rung(rung=n, se=number_of(row[se]), **interval_of(row, v, low, high).model_dump()) for n, v, se, low, high in methods],
        evidence=[
            Evidence(domain=name, title=title, points=number_of(points), reason=reason)
            for name, title, points, reason in (why.domains if whole else ())
        ],
        card=identification(source, row) if whole else {},
    )  # fmt: skip


def effects_table_file(source: EffectsSource) -> pd.DataFrame:
    """Every effect by every method, with errors, evidence and q; cells are no formulas."""
    first = source.primary
    names = {"effect": first.method, "se": f"{first.method}_se", "ci_lower": f"{first.method}_lower", "ci_upper": f"{first.method}_upper"}  # fmt: skip
    graded = source.grades
    points = {d.name: graded.points[d.name] for d in graded.rules.domains}
    table = source.table.assign(
        grade=graded.letter, points=graded.points["points"], **points, ceiling=graded.ceiling
    )
    own = table[list(names)].rename(columns=names)
    front = ["feature", "outcome", "grade", "points", "effect", "se", "ci_lower", "ci_upper", "neglog10p", "q", "verdict", "against", "contradiction"]  # fmt: skip
    rest = [c for c in table if c not in front]
    labelled = table[rest].drop(columns=["label"] if not np.any(table["label"] != "") else [])
    return without_formulas(pd.concat([table[front], own, labelled.assign(unit=source.unit)], axis=1))
