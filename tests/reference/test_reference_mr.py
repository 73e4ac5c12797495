"""Every number that published packages gave on the reference cases, compared with ours.

Each entry brings its own tolerance. `mr_mapping.NOT_COVERED` lists what none of ours answers, and
`mr_exceptions.EXCEPTIONS` where ours differs on purpose, with evidence that this file computes.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from mrinterp.mr._engine.driver import estimate
from tests.conftest import reference_folder
from tests.reference.elsewhere import find_test
from tests.reference.mr_cases import ALL, CLASSIC, HERE, MULTIVARIABLE, UNIVARIABLE, load_case
from tests.reference.mr_compare import held, our_values
from tests.reference.mr_exceptions import EXCEPTIONS
from tests.reference.mr_mapping import MAPPED, NOT_COVERED, OTHER_ROOMS


def method_ids() -> list[Any]:
    """Every (case, method) there is; one row for a case whose data are not on this machine."""
    rows = []
    for name in ALL:
        case = load_case(name)
        marks = [pytest.mark.needs("classic")] if name in CLASSIC else []
        methods = ["every entry"] if case is None else [m for m in case.entries if m not in NOT_COVERED]
        rows += [pytest.param(name, m, marks=marks) for m in methods]
    return rows


def exceptions() -> list[Any]:
    return [
        pytest.param(
            x, id=f"{x.case}-{x.method_id}", marks=[pytest.mark.needs("classic")] if x.case in CLASSIC else []
        )
        for x in EXCEPTIONS
    ]


@pytest.mark.parametrize(("name", "method_id"), method_ids())
def test_entry(name: str, method_id: str) -> None:
    case = load_case(name)
    assert case is not None
    rows = list(held(case, case.entries[method_id]))
    assert rows, "nothing was compared"
    wrong = [
        f"{r.field}: ours {r.ours!r}, theirs {r.theirs!r} ({r.tolerance})"
        for r in rows
        if r.status == "differs"
    ]
    assert not wrong, "; ".join(wrong)


def test_every_entry_is_covered_or_listed() -> None:
    seen = {m for name in ALL if (c := load_case(name)) is not None for m in c.entries}
    assert not {m for m in seen if m not in MAPPED and m not in NOT_COVERED}
    assert not set(MAPPED) & set(NOT_COVERED)
    assert all(len(reason) > 20 for reason in NOT_COVERED.values())


@pytest.mark.needs("classic")
def test_every_entry_of_every_case_is_compared_or_has_its_reason() -> None:
    """Fine-mapping and colocalization too, whose comparisons are found in their own tests."""
    seen = {
        entry["method_id"]
        for path in reference_folder().glob("*/*/expected.json")
        for entry in json.loads(path.read_text())["entries"]
    }
    assert len(seen) > 150
    reasons = {**NOT_COVERED, **OTHER_ROOMS}
    assert not {m for m in seen if m not in MAPPED and m not in reasons and not find_test(m)}


def test_entries_said_to_be_tested_elsewhere_are() -> None:
    said = {m for m, reason in NOT_COVERED.items() if "own reference test" in reason}
    assert not {m for m in said if not find_test(m)}


@pytest.mark.needs("classic")
def test_nothing_is_listed_that_no_case_has() -> None:
    known = {m for name in ALL if (c := load_case(name)) is not None for m in c.entries}
    assert set(MAPPED) | set(NOT_COVERED) <= known


@pytest.mark.parametrize("row", exceptions())
def test_exceptions_are_needed_and_have_evidence(row: Any) -> None:
    """Every listed number differs beyond its tolerance, and ours is the right one."""
    case = load_case(row.case)
    assert case is not None
    entry = case.entries[row.method_id]
    differing = {r.field.split("[")[0] for r in held(case, entry) if r.status == "exception"}
    assert not set(row.fields) - differing, "these agree: take them off the list"
    assert row.evidence(case, entry, our_values(row.case, row.method_id)), row.reason


@pytest.mark.needs("classic")
@pytest.mark.parametrize(
    ("options", "estimate_", "se"),
    [
        ({"loss": "l2", "overdispersion": True}, 0.30124, 0.15826),
        ({"loss": "huber", "overdispersion": True}, 0.37807, 0.12074),
        ({"loss": "tukey", "overdispersion": True}, 0.40171, 0.10626),
    ],
)
def test_profile_scores_of_the_paper(options: dict[str, Any], estimate_: float, se: float) -> None:
    """BMI and systolic blood pressure, as the paper (10.1214/19-AOS1866) prints them."""
    case = load_case("uv08_bmi_sbp")
    assert case is not None
    result = estimate(case.data, "raps", **options)
    assert result.beta[0, 0] == pytest.approx(estimate_, abs=6e-6)
    assert result.se[0, 0] == pytest.approx(se, abs=6e-6)


def test_simulated_cases_are_here() -> None:
    here = {p.name for p in (HERE / "cases").iterdir() if (p / "data.csv").exists()}
    assert here >= {*UNIVARIABLE, *MULTIVARIABLE}
