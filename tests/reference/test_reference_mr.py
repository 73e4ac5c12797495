"""Every number that published packages gave on the reference cases, held against ours.

Each entry brings its own tolerance. `mr_mapping.NOT_COVERED` lists what none of ours answers, and
`mr_exceptions.EXCEPTIONS` where ours differs on purpose, with evidence that this file computes.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from mr_cases import ALL, CLASSIC, HERE, MULTIVARIABLE, UNIVARIABLE, Case, Entry, load_case
from mr_exceptions import EXCEPTIONS
from mr_mapping import MAPPED, NOT_COVERED, values

CLOSED_FORM = {"rel": 1e-8, "abs": 1e-10}
P_FIELDS = ("p", "Q_p", "Q_pval", "intercept_p", "pval", "pval_i", "pval.adj")
LIMITS = ("ci_lower", "ci_upper")


def method_ids() -> list[Any]:
    """Every (case, method) there is; one row for a case whose data are not on this machine."""
    rows = []
    for name in ALL:
        case = load_case(name)
        marks = [pytest.mark.needs("classic")] if name in CLASSIC else []
        methods = ["every entry"] if case is None else list(case.entries)
        rows += [pytest.param(name, m, marks=marks) for m in methods]
    return rows


def exceptions() -> list[Any]:
    return [
        pytest.param(x, id=x.method_id, marks=[pytest.mark.needs("classic")] if _only_classic(x) else [])
        for x in EXCEPTIONS
    ]


def _only_classic(row: Any) -> bool:
    return bool(row.cases) and set(row.cases) <= set(CLASSIC)


def tolerance(entry: Entry, field: str, override: dict[str, Any]) -> dict[str, float]:
    hint = override or entry.tolerance
    if field.endswith("_se") and isinstance(hint.get(field[:-3]), dict):
        return hint[field[:-3]]
    if field in hint and isinstance(hint[field], dict):
        return hint[field]
    if "rel" in hint or "abs" in hint:
        return hint
    if field in LIMITS and isinstance(hint.get("se"), dict):
        return hint["se"]
    return CLOSED_FORM


def agree(ours: float, theirs: float | None, tol: dict[str, float], field: str) -> bool:
    if theirs is None:
        return True
    if field in P_FIELDS:
        if theirs < 1e-300:
            return ours < 1e-15
        slack = max(tol.get("rel", 0.0), 1e-8) * 20 * max(1.0, -math.log10(theirs))
        return abs(ours - theirs) <= 2e-15 or abs(
            math.log(max(ours, 1e-320) / theirs)
        ) <= slack + 10 * tol.get("abs", 0.0)
    return abs(ours - theirs) <= tol.get("rel", 0.0) * abs(theirs) + tol.get("abs", 0.0)


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested fields by dotted name."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        out |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return out


def published(entry: Entry) -> dict[str, Any]:
    """The entry's fields, rows of RadialMR's table under their own names."""
    out = flat(entry.results)
    if entry.method_id.startswith("radial.ivw"):
        for i, row in enumerate(("effect", "iterative")):
            out[row], out[f"{row}_se"] = entry.results["estimate"][i], entry.results["se"][i]
    return out


@cache
def our_values(name: str, method_id: str) -> dict[str, Any]:
    case = load_case(name)
    assert case is not None
    return values(case, case.entries[method_id], MAPPED[method_id])


def compare(case: Case, entry: Entry) -> tuple[list[str], int]:
    ours = MAPPED[entry.method_id]
    mine = our_values(case.name, entry.method_id)
    wrong, compared = [], 0
    for field, value in flat(mine).items():
        theirs = published(entry).get(field)
        if any(x.covers(entry, field) for x in EXCEPTIONS):
            compared += 1
            continue
        if theirs is None:
            compared += field in published(entry) and not np.isfinite(value)
            continue
        if isinstance(value, list) and isinstance(theirs, str):
            theirs = [theirs]
        tol = tolerance(entry, field, ours.tolerance)
        if isinstance(theirs, str) or (isinstance(theirs, list) and theirs and isinstance(theirs[0], str)):
            compared += 1
            if theirs != value:
                wrong.append(f"{field}: ours {value}, theirs {theirs}")
            continue
        pairs = np.broadcast(np.asarray(value, object), np.asarray(theirs, object))
        for a, b in pairs:
            compared += b is not None
            if not agree(a, b, tol, field):
                wrong.append(f"{field}: ours {a!r}, theirs {b!r} (tolerance {tol})")
    return wrong, compared


@pytest.mark.parametrize(("name", "method_id"), method_ids())
def test_entry(name: str, method_id: str) -> None:
    case = load_case(name)
    assert case is not None
    if method_id in NOT_COVERED:
        return
    wrong, compared = compare(case, case.entries[method_id])
    assert compared, "nothing was compared"
    assert not wrong, "; ".join(wrong)


def test_every_entry_is_covered_or_listed() -> None:
    seen = {m for row in method_ids() if (m := row.values[1]) != "every entry"}
    unknown = {m for m in seen if m not in MAPPED and m not in NOT_COVERED}
    assert not unknown
    both = set(MAPPED) & set(NOT_COVERED)
    assert not both
    assert all(len(reason) > 20 for reason in NOT_COVERED.values())
    known = {m for name in ALL if (c := load_case(name)) is not None for m in c.entries}
    if load_case(CLASSIC[0]) is not None:
        assert set(MAPPED) | set(NOT_COVERED) <= known, "listed, but in no case"


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


def test_simulated_cases_are_here() -> None:
    here = {p.name for p in (HERE / "cases").iterdir() if (p / "data.csv").exists()}
    assert here >= {*UNIVARIABLE, *MULTIVARIABLE}
