"""The report for machines: it keeps to its published schema, holds what the results hold, and obeys no hostile text."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pandas as pd
import pytest

from mrinterp.report.twin.document import ReportDocument, document
from mrinterp.report.twin.files import SHOWN, claims_table, write_twin
from mrinterp.report.twin.methods_text import bibtex, references
from mrinterp.report.twin.strobe import BLANK, strobe
from tests.house.test_readme import ROOT
from tests.report_document import document as document_in
from tests.study.finished_study import HOSTILE, Finished, study, tall

FORMULA = '=HYPERLINK("http://x.test","+1")'


@pytest.fixture(scope="module")
def plain() -> Finished:
    return study()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("twin") / "report"
    write_twin(study(HOSTILE + "| x |\n# y"), folder)
    return folder


def test_the_schema_that_ships_is_the_one_that_documents_keep_to() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_report_schema.py"))
    assert made["PATH"].read_text(encoding="utf-8") == made["text"](), "run python docs/make_report_schema.py"
    schema = json.loads(made["text"]())
    assert schema["$id"] == "mrinterp/report-1"
    assert schema["additionalProperties"] is False
    assert "claims" in schema["required"]


def test_a_document_says_what_the_results_say(plain: Finished) -> None:
    made = document(plain)
    assert ReportDocument.model_validate_json(made.model_dump_json()) == made
    assert made.tested == len(made.claims) == 5
    first, row = made.claims[0], plain.results.iloc[0]
    assert (first.effect.value, first.effect.lower) == (row["effect"], row["ci_lower"])
    assert {r.rung for r in first.rungs} == {"rectified", "ivw_noise", "within", "gradient"}
    assert next(r for r in first.rungs if r.rung == "within").se == row["within_se"]
    assert len(first.evidence) == 8
    assert set(first.card) == {"claim", "strategy", "assumptions", "stress", "consequence"}
    assert sum(made.grades.values()) == 5


def test_claims_csv_has_every_rung_with_its_error_and_the_grade(plain: Finished, tmp_path: Path) -> None:
    write_twin(plain, tmp_path / "report")
    table = pd.read_csv(tmp_path / "report" / "claims.csv")
    assert len(table) == 5
    wanted = {
        "grade",
        "points",
        "lacking",
        "ceiling",
        "within",
        "within_se",
        "rectified_se",
        "knockout",
        "replication",
    }
    assert wanted <= set(table)
    assert not table.columns.duplicated().any()
    assert table["effect"].tolist() == plain.results["effect"].tolist()


def test_cells_are_no_formulas() -> None:
    made = study()
    first = made.results["feature"] == made.results["feature"][0]
    results = made.results.assign(label=made.results["label"].mask(first, FORMULA))
    made.__dict__["results"] = results
    cells = claims_table(made)["label"].astype(str)
    assert "'" + FORMULA in set(cells)
    assert not cells.str.startswith(("=", "+", "-", "@")).any()


def test_hostile_names_stay_text(hostile: Path) -> None:
    made = document_in(hostile.parent)
    assert any("<script>" in c.feature for c in made.claims), "JSON holds what was given"
    for name in ("summary.md", "strobe_mr.md", "methods.md"):
        text = (hostile / name).read_text(encoding="utf-8")
        assert "<script>" not in text
        assert "<img" not in text
        assert "\u202e" not in text
        assert "\x07" not in text
    rows = [r for r in (hostile / "summary.md").read_text(encoding="utf-8").splitlines() if r.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", r)) for r in rows} == {9}, "a name makes no cell and no row"
    assert "\x07" not in (hostile / "claims.csv").read_text(encoding="utf-8")


def test_references_are_those_of_the_methods_that_gave_numbers(plain: Finished) -> None:
    named = references(plain)
    assert len(named) == len(set(named))
    assert any(r.startswith("Ref within") for r in named)
    entries = bibtex(plain)
    keys = re.findall(r"^@\w+\{(\w+),$", entries, flags=re.MULTILINE)
    assert len(keys) == len(set(keys)) == len(named)
    assert entries.count("{") == entries.count("}")
    assert "doi = {10.1111/j.2517-6161.1954.tb00159.x}" in entries


def test_sixteen_of_twenty_items_are_filled_and_four_are_blanks(plain: Finished) -> None:
    items = strobe(plain)
    assert [i.number for i in items] == list(range(1, 21))
    blank = [i.item for i in items if i.said == BLANK]
    assert blank == ["background", "interpretation", "funding", "conflicts of interest"]
    assert all(len(i.said) > 10 for i in items)


def test_the_same_study_gives_the_same_bytes(plain: Finished, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_twin(plain, tmp_path / name)
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert {
        "report.json",
        "report.schema.json",
        "claims.csv",
        "summary.md",
        "methods.md",
        "references.bib",
    } <= set(files)
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_thousands_of_claims_all_stand_in_the_document_and_the_table(tmp_path: Path) -> None:
    finished = tall(2_100)
    write_twin(finished, tmp_path / "report")
    made = document_in(tmp_path)
    assert made.tested == len(made.claims) == 2_100
    assert sum(made.grades.values()) == 2_100
    assert [c.feature for c in made.claims] == finished.results["feature"].tolist()
    table = pd.read_csv(tmp_path / "report" / "claims.csv")
    assert table["feature"].tolist() == finished.results["feature"].tolist()
    assert table["grade"].tolist() == [c.grade for c in made.claims]
    alike = {(c.grade, c.points) for c in made.claims[::5]}
    assert len(alike) == 1, "claims of equal evidence have equal grades, whatever their place"
    rows = [
        r
        for r in (tmp_path / "report" / "summary.md").read_text(encoding="utf-8").splitlines()
        if r.startswith("|")
    ]
    assert len(rows) == 2 + SHOWN, "the summary shows the first ones"


def test_a_run_writes_it_beside_its_page(finished_run: Path) -> None:
    made = document_in(finished_run)
    assert made.tested == 6
    assert str(finished_run) not in (finished_run / "report" / "report.json").read_text(encoding="utf-8")
