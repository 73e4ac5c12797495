"""The files of the report beside its page: for machines, for spreadsheets, for writing up."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd

from mrinterp.core.printable import printable
from mrinterp.core.storage import whole_folder
from mrinterp.report.controls import calibrated_evidence
from mrinterp.report.finished import FinishedStudy
from mrinterp.report.twin.document import ReportDocument, document, schema
from mrinterp.report.twin.methods_text import bibtex

__all__ = ["without_formulas", "write_files", "write_twin"]

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""How a cell begins that a spreadsheet would carry out."""
SHOWN = 50
"""Claims in the Markdown summary; claims.csv has all."""


def write_twin(study: FinishedStudy, folder: Path) -> None:
    """Write ``report.json`` with its schema, ``claims.csv``, ``summary.md``, ``methods.md``, ``references.bib`` and ``strobe_mr.md``.

    Parameters
    ----------
    study : FinishedStudy
    folder : Path
        Whole or not at all; the same run gives the same bytes.
    """
    write_files(document(study), claims_table(study), bibtex(study), folder)


def write_files(made: ReportDocument, claims: pd.DataFrame, references: str, folder: Path) -> None:
    """Write a document in all its forms, whole or not at all.

    Parameters
    ----------
    made : ReportDocument
    claims : DataFrame
        What becomes ``claims.csv``; its words are free of formulas already.
    references : str
        As BibTeX.
    folder : Path
    """
    with whole_folder(folder) as partial:
        for name, text in {
            "report.json": json.dumps(made.model_dump(), indent=1, allow_nan=False) + "\n",
            "report.schema.json": json.dumps(schema(), indent=1) + "\n",
            "summary.md": _summary(made),
            "methods.md": f"{_plain(made.methods)}\n\nReferences:\n\n"
            + "".join(f"- {_plain(r)}\n" for r in made.references),
            "references.bib": references,
            "strobe_mr.md": _strobe(made),
        }.items():
            (partial / name).write_bytes(text.encode("utf-8", "replace"))
        claims.to_csv(partial / "claims.csv", index=False, lineterminator="\n", errors="replace")


def claims_table(study: FinishedStudy) -> pd.DataFrame:
    """Every tested effect: grade and reasons, knockouts, replication, and every rung with its error; cells are no formulas."""
    graded, results = study.claims.claims, study.results.drop(columns=["ceiling", "ceiling_why"])
    first = [
        "feature",
        "outcome",
        "grade",
        "points",
        "size",
        "contradiction",
        "lacking",
        "exploratory",
        "rope",
        "unit",
        "estimand",
    ]
    more = [c for c in graded if c not in first and c not in results and c != "sentence"]
    table = graded[first + more].merge(results, on=["feature", "outcome"])
    evidence = study.results[["feature", "outcome"]].assign(calibrated_neglog10p=calibrated_evidence(study))
    rungs = study.ladder.rename(columns={n: f"contradicting {n}" for n in ("local slopes", "contrasts")})
    rungs = rungs.rename(columns=lambda c: c.replace(" ", "_")).rename(columns={"finding": "extrapolation"})
    table = table.merge(evidence, on=["feature", "outcome"]).merge(rungs, on=["feature", "outcome"])
    return without_formulas(table)


def without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    """The same, with cells of text that a spreadsheet shows and does not carry out."""
    words = [c for c in table if table[c].dtype == object or isinstance(table[c].dtype, pd.StringDtype)]
    return table.assign(**{str(c): [_cell(v) for v in table[c]] for c in words})


def _cell(value: Any) -> Any:
    """Text that a spreadsheet shows and does not carry out."""
    if not isinstance(value, str):
        return value
    shown = printable(value, lines=True)
    return f"'{shown}" if shown.startswith(FORMULA) else shown


def _plain(text: str) -> str:
    """Words of others as Markdown that shows them: no markup, no line of their own."""
    one = " ".join(printable(text).split())
    return (
        re.sub(r"([\\`*_{}\[\]|#~])", r"\\\1", one)
        .replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
    )


def _summary(made: ReportDocument) -> str:
    """The answer, and the claims as a table."""
    lines = [f"**{_plain(made.negative_controls.failed)}**", ""] if made.negative_controls.failed else []
    lines += [f"# {_plain(made.title)}", "", _plain(made.summary), "", _plain(made.rests_on), ""]
    lines += [
        f"| feature | outcome | grade | effect | {100 * made.level:.4g}% interval | verdict | size | against it |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for c in made.claims[:SHOWN]:
        e = c.effect
        known = None not in (e.value, e.lower, e.upper)
        cells = (c.feature, c.outcome, c.grade, f"{e.value:+.3g}" if known else "none", f"{e.lower:+.3g} to {e.upper:+.3g}" if known else "", c.verdict, c.size, c.contradiction)  # fmt: skip
        lines.append("| " + " | ".join(_plain(str(cell)) for cell in cells) + " |")
    more = len(made.claims) - SHOWN
    lines += ["", f"{more} more in claims.csv."] if more > 0 else []
    failed = [c for c in made.checks if c.verdict not in ("passed", "not applicable")]
    lines += (
        ["", "Checks that failed or warned:", "", *(f"- {_plain(c.name)}: {_plain(c.note)}" for c in failed)]
        if failed
        else []
    )
    lines += [
        "",
        f"Effects in {_plain(made.unit)}. {f'Graded by {made.rules}' if made.rules else 'Not graded'}; effects tested: {made.tested}.",
    ]
    return "\n".join(lines) + "\n"


def _strobe(made: ReportDocument) -> str:
    lines = ["# STROBE-MR", "", "| item | | what this study says |", "|---|---|---|"]
    lines += [f"| {i.number} {i.item} | {i.section} | {_plain(i.said)} |" for i in made.strobe_mr]
    return "\n".join(lines) + "\n"
