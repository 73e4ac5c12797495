"""Numbers as a report prints them, and the study file that the page carries."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from mrinterp.core.plan import Plan
from mrinterp.report.numbers import NONE, Precision, plain
from mrinterp.report.provenance import study_file
from tests.study.finished_study import HOSTILE, study


def test_study_file_reads_back_as_the_plan() -> None:
    plan = study(HOSTILE).header["plan"]

    def without_none(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: without_none(v) for k, v in value.items() if v is not None}
        return [without_none(v) for v in value] if isinstance(value, list) else value

    assert tomllib.loads(study_file(plan)) == without_none(plan)
    assert Plan.model_validate(tomllib.loads(study_file(plan))).to_dict() == plan


@pytest.mark.parametrize(
    "kinds",
    [
        ["resample", {"kind": "clamp", "quantile": 0.9}, {"kind": "clamp", "name": "low", "value": 2.0}],
        [{"kind": "steer", "amount": -1.0}, {"kind": "scale", "factor": 3.0, "allow_off_support": True}],
        ["mean", "zero"],
    ],
)
def test_kinds_by_name_and_as_tables_read_back(kinds: list[Any]) -> None:
    plan = study(HOSTILE).header["plan"] | {"knockouts": {"kinds": kinds}}
    written = Plan.model_validate(plan).to_dict()
    assert Plan.model_validate(tomllib.loads(study_file(written))).to_dict() == written
    assert tomllib.loads(study_file(written))["knockouts"]["kinds"] == kinds


@pytest.mark.parametrize(
    ("rope", "value", "text"),
    [
        (0.0019, 0.0399, "+0.0399"),
        (0.02, -0.5, "\N{MINUS SIGN}0.500"),
        (20.0, 1234.5, "+1234"),
        (0.0, 0.25, "+0.2500"),
        (0.02, float("inf"), NONE),
        (0.02, -1e-9, "+0.000"),
        (1e-12, 123456.0, "+1.23e+05"),
    ],
)
def test_numbers_show_a_tenth_of_what_counts_as_nothing(rope: float, value: float, text: str) -> None:
    assert Precision.of(rope).signed(value) == text


def test_plain_numbers() -> None:
    assert plain(float("nan")) == NONE
    assert plain(-0.0001) == "0.00"
    assert plain(0.0, ".1e") == "0"
    assert plain(1.5e-7, ".1e") == "1.5e\N{MINUS SIGN}07"
