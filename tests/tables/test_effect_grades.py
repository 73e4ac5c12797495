"""Grades of effects from a table: by the rules of studies, as far as facts exist, with reasons and what is missing."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

from mrinterp import MRData
from mrinterp.report.effects import figures
from mrinterp.report.twin.document import ClaimRecord
from mrinterp.study import report_effects
from tests.report_document import document


def table(rows: int, strong: float = 0.0, ratio: float = 1.0) -> MRData:
    """An exposure whose effect is 0.5; the first row can be a strong one with a ratio of its own."""
    rng = np.random.default_rng(4)
    beta = rng.uniform(0.2, 0.5, rows)
    outcome = 0.5 * beta + rng.normal(0, 0.01, rows)
    if strong:
        beta[0], outcome[0] = strong, strong * ratio
    return two_traits(beta, outcome, 0.01)


def two_traits(beta: NDArray[np.float64], outcome: NDArray[np.float64], error: float) -> MRData:
    """Effects on one exposure and one outcome."""
    se = np.full((1, len(beta)), error)
    return MRData(
        beta_x=beta[None],
        se_x=se,
        beta_y=outcome[None],
        se_y=se,
        exposures=("size",),
        outcomes=("loss",),
        instruments=tuple(f"r{k}" for k in range(len(beta))),
    )


def claim(data: MRData, folder: Path, *methods: str) -> ClaimRecord:
    with mock.patch.object(figures, "inline_svg", return_value=""):
        report_effects(data, folder, methods=list(methods))
    return document(folder).claims[0]


def test_without_a_knockout_the_best_grade_is_d_and_it_says_what_is_missing(tmp_path: Path) -> None:
    made = claim(table(12), tmp_path, "ivw", "weighted_median")
    assert (made.grade, made.ceiling, made.points) == ("D", "D", 2)
    points = {e.domain: e.points for e in made.evidence}
    assert points == {"E1": 1, "E2": 1, "E3": 0, "E4": None, "E5": None, "E6": 0, "E7": None, "E8": None}
    assert "exploratory" in made.ceiling_why
    assert "bias not measured" in made.lacking
    assert document(tmp_path).rules == "MIG-4"
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "grade D" in page
    assert "were true" not in page, "how often grades of tables are true was not measured"
    assert (
        (tmp_path / "report" / "claims.csv")
        .read_text(encoding="utf-8")
        .startswith("feature,outcome,grade,points")
    )


@pytest.mark.parametrize(("rows", "grade"), [(9, "N"), (10, "D")])
def test_fewer_than_ten_rows_cannot_be_evaluated(rows: int, grade: str, tmp_path: Path) -> None:
    made = claim(table(rows), tmp_path, "ivw")
    assert made.grade == grade
    assert ("needs 10 instruments, and 5 more than it fits effects: 9 for 1" in made.lacking) == (
        grade == "N"
    )


def test_a_single_row_that_carries_the_estimate_counts_against_it(tmp_path: Path) -> None:
    made = claim(table(12, strong=10.0, ratio=2.0), tmp_path, "ivw")
    reason = next(e for e in made.evidence if e.domain == "E3")
    assert reason.points == -1
    assert "without r0 +0.49" in reason.reason


def test_methods_that_contradict_each_other_make_a_conflict(tmp_path: Path) -> None:
    beta = np.linspace(0.1, 1.0, 40)
    past = (
        0.6 - 0.3 * beta + np.random.default_rng(1).normal(0, 0.005, 40)
    )  # all rows act past the exposure too
    data = two_traits(beta, past, 0.005)
    made = claim(data, tmp_path, "ivw", "egger")
    assert made.grade == "X"
    assert next(e for e in made.evidence if e.domain == "E2").points == -2
    assert made.contradiction
