"""Holds our number against the published one, field by field, each with its own tolerance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tests.reference.mr_cases import Case, Entry, load_case
from tests.reference.mr_exceptions import EXCEPTIONS
from tests.reference.mr_fits import values
from tests.reference.mr_mapping import MAPPED

CLOSED_FORM = {"rel": 1e-8, "abs": 1e-10}
P_FIELDS = ("p", "Q_p", "Q_pval", "intercept_p", "pval", "pval_i", "pval.adj", "steiger_test", "steiger_pval")
LIMITS = ("ci_lower", "ci_upper")


@dataclass(frozen=True)
class Held:
    """One published number and ours; ``status`` is agrees, differs or exception."""

    case: str
    method_id: str
    package: str
    field: str
    ours: Any
    theirs: Any
    tolerance: str
    status: str
    reason: str = ""

    @property
    def difference(self) -> float:
        """Relative to theirs (absolute where theirs is 0); nan for words."""
        try:
            gap = abs(float(self.ours) - float(self.theirs))
            return gap / abs(float(self.theirs)) if float(self.theirs) else gap
        except (TypeError, ValueError):
            return math.nan


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


def agree(ours: float, theirs: float, tol: dict[str, float], field: str) -> bool:
    """Within tolerance; p on the log scale, with the slack that the tolerance of z gives it there."""
    if field in P_FIELDS:
        if theirs < 1e-300:
            return ours < 1e-15
        slack = max(tol.get("rel", 0.0), 1e-8) * 20 * max(1.0, -math.log10(theirs))
        rounded = theirs > 1e-16 and abs(ours - theirs) <= 1e-15  # theirs is 1 minus a distribution function
        return rounded or abs(math.log(max(ours, 1e-320) / theirs)) <= slack + 10 * tol.get("abs", 0.0)
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


def held(case: Case, entry: Entry) -> Iterator[Held]:
    """Every number of the entry that ours answers."""
    ours, known = MAPPED[entry.method_id], published(entry)
    for field, value in flat(our_values(case.name, entry.method_id)).items():
        if field in known:
            theirs = known[field]
            yield from _field(entry, field, value, theirs, tolerance(entry, field, ours.tolerance))


def _field(entry: Entry, field: str, value: Any, theirs: Any, tol: dict[str, float]) -> Iterator[Held]:
    reason = next((x.reason for x in EXCEPTIONS if x.covers(entry, field)), "")
    first = (entry.case, entry.method_id, entry.package)
    if theirs is None or isinstance(theirs, str) or isinstance(value, str) or _words(theirs) or _words(value):
        mine = value[0] if isinstance(theirs, str) and isinstance(value, list) and len(value) == 1 else value
        same = not np.isfinite(value) if theirs is None else mine == theirs
        yield Held(*first, field, mine, theirs, "equal", _status(same, reason), reason)
        return
    a, b = np.asarray(value, object), np.asarray(theirs, object)
    if a.ndim and b.ndim and a.shape != b.shape:
        yield Held(*first, field, value, theirs, "equal", _status(False, reason), reason)
        return
    text = " + ".join(f"{v:g} {k}" for k, v in tol.items() if isinstance(v, int | float))
    pairs = list(np.broadcast(a, b))
    for i, (x, y) in enumerate(pairs):
        if y is not None:
            name = f"{field}[{i + 1}]" if len(pairs) > 1 else field
            yield Held(*first, name, x, y, text, _status(agree(x, y, tol, field), reason), reason)


def _words(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], str)


def _status(same: bool, reason: str) -> str:
    return "agrees" if same else "exception" if reason else "differs"
