"""Every number that published packages gave on the reference cases, held against ours.

Each entry brings its own tolerance. `mr_mapping.NOT_COVERED` lists what none of ours answers, and
`mr_exceptions.EXCEPTIONS` where ours differs on purpose, with evidence that this file computes.
"""

from __future__ import annotations

from typing import Any

import pytest

from mrinterp.mr.driver import estimate
from tests.reference.elsewhere import find_test
from tests.reference.mr_cases import ALL, CLASSIC, HERE, MULTIVARIABLE, UNIVARIABLE, load_case
from tests.reference.mr_compare import held, our_values
from tests.reference.mr_exceptions import EXCEPTIONS
from tests.reference.mr_mapping import MAPPED, NOT_COVERED


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
        pytest.param(x, id=x.method_id, marks=[pytest.mark.needs("classic")] if _only_classic(x) else [])
        for x in EXCEPTIONS
    ]


def _only_classic(row: Any) -> bool:
    return bool(row.cases) and set(row.cases) <= set(CLASSIC)


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


def test_entries_said_to_be_tested_elsewhere_are() -> None:
    said = {m for m, reason in NOT_COVERED.items() if "own reference test" in reason}
    assert not {m for m in said if not find_test(m)}


@pytest.mark.needs("classic")
def test_nothing_is_listed_that_no_case_has() -> None:
    known = {m for name in ALL if (c := load_case(name)) is not None for m in c.entries}
    assert set(MAPPED) | set(NOT_COVERED) <= known


@pytest.mark.parametrize("row", exceptions())
def test_exceptions_have_evidence(row: Any) -> None:
    """Ours is right where it differs, on every case at hand that the exception covers."""
    checked = 0
    for name in row.cases or ALL:
        case = load_case(name)
        if case is None or row.method_id not in case.entries:
            continue
        entry = case.entries[row.method_id]
        assert row.evidence(case, entry, our_values(name, row.method_id)), f"{name}: {row.reason}"
        checked += 1
    assert checked, "the exception covers no case"


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
