"""The rules of grading as data: one versioned table per file, and how its conditions are read."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.storage import digest, read_json

__all__ = [
    "DEFAULT",
    "SCALE",
    "Condition",
    "Domain",
    "Level",
    "Rules",
    "measured_truth",
    "read_rules",
    "rule_versions",
]

FOLDER = Path(__file__).parent / "rules"
MEASURED = Path(__file__).parent / "measured.json"
DEFAULT = "MIG-4"
"""Rules by which a study grades its claims."""
SCALE = "ABCDE"
"""Grades that are a scale, the best first."""

_COMPARISON = re.compile(r"(\w+) (>=|<=) (-?\d+)")
_COMPARED = {">=": np.greater_equal, "<=": np.less_equal}


@dataclass(frozen=True)
class Condition:
    """One condition: a fact, its opposite, or a comparison of points; a domain that does not apply meets none."""

    text: str

    @property
    def compared(self) -> tuple[str, str, int] | None:
        """What is compared, how and with what number; None where the condition is a fact."""
        found = _COMPARISON.fullmatch(self.text)
        return None if found is None else (found[1], found[2], int(found[3]))

    @property
    def fact(self) -> str:
        """Name of the fact."""
        return self.text.removeprefix("not ")

    def holds(
        self, facts: Mapping[str, NDArray[np.bool_]], points: Mapping[str, NDArray[np.float64]]
    ) -> NDArray[np.bool_]:
        """Where it holds, one entry per claim."""
        if self.compared is not None:
            name, how, number = self.compared
            return np.asarray(_COMPARED[how](points[name], number))
        found = facts[self.fact]
        return ~found if self.text.startswith("not ") else found


@dataclass(frozen=True)
class Level:
    """Points that a domain gives where all conditions hold, and the reason in words."""

    points: int
    when: tuple[Condition, ...]
    words: str


@dataclass(frozen=True)
class Domain:
    """One kind of evidence: when it does not apply, its levels (the first that fits counts), what is added, what gives more.

    Where it does not count alone, its points against a claim count only where another domain is against it too.
    """

    name: str
    title: str
    otherwise: str
    not_applicable: tuple[Level, ...]
    levels: tuple[Level, ...]
    extras: tuple[Level, ...]
    more: str
    counts_alone: bool


@dataclass(frozen=True)
class Gate:
    """A best grade that a claim can reach where all conditions hold, and why; ``N`` is not evaluable."""

    grade: str
    when: tuple[Condition, ...]
    words: str


@dataclass(frozen=True)
class Decision:
    """A grade that a claim has where all conditions hold, and none above it did."""

    grade: str
    when: tuple[Condition, ...]


@dataclass(frozen=True)
class Rules:
    """One version of the rules.

    Attributes
    ----------
    version, about : str
    digest : str
        Of everything that the rules say.
    stored_ceilings : bool
        Whether the ceilings count that a study has found for what its claims rest on (``ceiling`` in its results).
    gates : tuple of Gate
    domains : tuple of Domain
    decisions : tuple of Decision
        In their order; the last one always holds.

    Examples
    --------
    >>> from mrinterp.evidence import read_rules
    >>> [domain.title for domain in read_rules("MIG-4").domains][:2]
    ['the estimate itself', 'other ways to ask the same']
    """

    version: str
    about: str
    digest: str
    stored_ceilings: bool
    gates: tuple[Gate, ...]
    domains: tuple[Domain, ...]
    decisions: tuple[Decision, ...]


def rule_versions() -> tuple[str, ...]:
    """Names of the rules that ship with the package, the first version first.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> from mrinterp.evidence import rule_versions
    >>> rule_versions()
    ('MIG-1', 'MIG-2', 'MIG-3', 'MIG-4')
    """
    return tuple(sorted(p.stem for p in FOLDER.glob("*.toml")))


@cache
def read_rules(version: str = DEFAULT) -> Rules:
    """The rules of a version.

    Parameters
    ----------
    version : str
        One of `rule_versions`.

    Returns
    -------
    Rules

    Raises
    ------
    InputError
        For another name.

    Examples
    --------
    >>> from mrinterp.evidence import read_rules
    >>> [decision.grade for decision in read_rules().decisions][-3:]
    ['C', 'D', 'E']
    """
    known = rule_versions()
    if version not in known:
        fix = near_misses(str(version), known) or f"Give one of {', '.join(known)}"
        raise InputError("rules", repr(version), fix)
    data = tomllib.loads((FOLDER / f"{version}.toml").read_text(encoding="utf-8"))
    return Rules(
        data["version"],
        data["about"],
        digest(data),
        data["stored_ceilings"],
        tuple(Gate(g["grade"], _conditions(g), g["words"]) for g in data["gates"]),
        tuple(_domain(d) for d in data["domains"]),
        tuple(Decision(d["grade"], _conditions(d)) for d in data["decisions"]),
    )


def _conditions(entry: Mapping[str, Any]) -> tuple[Condition, ...]:
    return tuple(Condition(text) for text in entry["when"])


def _domain(data: Mapping[str, Any]) -> Domain:
    def levels(name: str) -> tuple[Level, ...]:
        found = data.get(name, ())
        return tuple(
            Level(e.get("points", 0), _conditions(e), e.get("words", e.get("because", ""))) for e in found
        )

    return Domain(
        data["name"],
        data["title"],
        data.get("otherwise", ""),
        levels("not_applicable"),
        levels("levels"),
        levels("extras"),
        data.get("more", ""),
        data.get("counts_alone", True),
    )


@cache
def measured_truth(version: str) -> dict[str, str]:
    """How often claims of each grade were true where causes are known, in words; empty for rules that were not measured.

    Written by ``benchmarks/evidence/grade_calibration.py``.
    """
    found = read_json(MEASURED)
    if found["rules"] != version:
        return {}
    return {
        grade: f"Of {one['claims']:,} claims graded {grade} on small networks whose causes are known {one['share']:.1%} were true"
        f" ({one['lower']:.1%} to {one['upper']:.1%})."
        for grade, one in found["grades"].items()
    }
