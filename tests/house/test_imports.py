"""The import table: who may import whom, one way; and what importing the package loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "mrinterp"
BASE = {"core", "results", "stats"}
NETWORK = {"positions", "adapters", "outcomes", "features", "models"}
"""A network, from what is read where to a study's network on its design: one way, in this order."""
KNOCKOUTS = {"knockouts", "attribution", "abstraction", "edits"}
ROOMS = {
    "stats": set(),
    "core": {"stats"},
    "results": {"core", "stats"},
    "tables": BASE,
    "instruments": BASE | {"perturbations"},
    "perturbations": BASE,
    "mr": BASE,
    "coloc": BASE,
    "positions": BASE,
    "adapters": BASE | {"positions"},
    "outcomes": BASE | {"positions", "adapters"},
    "features": BASE | {"positions", "adapters", "outcomes"},
    "models": BASE | {"positions", "adapters", "outcomes", "features"},
    "scan": BASE | NETWORK,
    "knockouts": BASE | NETWORK | {"instruments", "scan"},
    "attribution": BASE | NETWORK | {"knockouts"},
    "abstraction": BASE | NETWORK | {"knockouts"},
    "edits": BASE | NETWORK | {"knockouts", "attribution"},
    "worlds": BASE | NETWORK | KNOCKOUTS | {"tables", "instruments", "scan"},
    "effects": BASE | {"mr"},
    "diagnostics": BASE | {"mr", "coloc", "effects"},
    "evidence": BASE | {"effects", "diagnostics"},
    "plots": BASE,
    "report": {"core", "results", "evidence", "atlas", "plots"},
    "study": BASE
    | NETWORK
    | KNOCKOUTS
    | {
        "tables",
        "instruments",
        "scan",
        "mr",
        "coloc",
        "effects",
        "diagnostics",
        "evidence",
        "atlas",
        "plots",
        "report",
    },
    "bench": BASE
    | NETWORK
    | KNOCKOUTS
    | {
        "tables",
        "instruments",
        "perturbations",
        "scan",
        "mr",
        "coloc",
        "worlds",
        "effects",
        "diagnostics",
        "evidence",
        "atlas",
        "plots",
        "report",
        "study",
    },
    "cli": {"core", "results", "tables", "scan", "mr", "coloc", "plots", "report", "study", "bench"},
}
"""Which room may import which others."""
WITHIN = {
    "knockouts": {"_kinds": set(), "_designs": {"_kinds"}},
    "mr": {
        "_engine": set(),
        "_univariable": {"_engine"},
        "_multivariable": {"_engine", "_univariable"},
        "_runs": {"_engine"},
    },
    "stats": {
        "loops": set(),
        "tests": {"loops"},
        "clustered": {"tests"},
        "scan": {"loops", "clustered", "tests"},
        "robust": {"loops"},
        "sparse": {"tests"},
        "bayes_factors": {"tests"},
        "profile": {"tests"},
        "agreement": {"clustered", "tests"},
    },
    "plots": {
        r: set()
        for r in ("_mr", "_coloc", "_study", "_designs", "_edits", "_abstraction", "_diagnostics", "_sites")
    },
    "results": {r: set() for r in ("_designs", "_edits", "_abstraction", "_scan")},
}
"""Rooms within a room, and which of their neighbors they may import."""
TORCH_ROOMS = NETWORK | KNOCKOUTS | {"scan", "worlds", "bench"}
BLIND_TO = {"mr", "coloc", "effects", "diagnostics", "evidence"}
LARGEST = 26
"""Files in one folder: what a person can hold."""


def _name(path: Path) -> str:
    return ".".join(("mrinterp", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


@cache
def _imports(path: Path) -> frozenset[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import; imports are absolute"
            found.add(node.module)
    return frozenset(found)


def _files(room: str) -> list[Path]:
    single = PACKAGE / f"{room}.py"
    return [single] if single.exists() else sorted((PACKAGE / room).rglob("*.py"))


def test_every_room_is_in_the_table() -> None:
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert rooms <= set(ROOMS), f"rooms without a row in the import table: {rooms - set(ROOMS)}"


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_rooms_import_only_what_the_table_allows(room: str) -> None:
    files = _files(room)
    assert files
    for path in files:
        for name in _imports(path):
            if name == "mrinterp":
                raise AssertionError(f"{path}: imports the package root")
            if name.startswith("mrinterp."):
                target = name.split(".")[1]
                assert target == room or target in ROOMS[room], f"{path}: room {room} may not import {target}"
            top = name.split(".")[0]
            if top == "torch":
                assert room in TORCH_ROOMS, f"{path}: torch outside {sorted(TORCH_ROOMS)}"
            if top == "matplotlib":
                assert room == "plots", f"{path}: matplotlib outside plots"


def test_the_table_goes_one_way() -> None:
    for room, allowed in ROOMS.items():
        for other in allowed & set(ROOMS):
            assert room not in ROOMS[other], f"{room} and {other} may import each other"


@pytest.mark.parametrize("room", sorted(WITHIN))
def test_rooms_within_a_room_build_on_each_other_one_way(room: str) -> None:
    inside = {p.name for p in (PACKAGE / room).iterdir() if (p / "__init__.py").exists()}
    assert inside == set(WITHIN[room])
    for path in (PACKAGE / room).rglob("*.py"):
        here = path.relative_to(PACKAGE / room).parts[0]
        for name in _imports(path):
            parts = name.split(".")
            if here in inside and parts[:2] == ["mrinterp", room] and len(parts) > 2 and parts[2] in inside:
                assert parts[2] == here or parts[2] in WITHIN[room][here], f"{path}: imports {name}"


def test_no_module_imports_itself_by_a_detour() -> None:
    """Imports inside functions count: they hide a circle, they do not break it."""
    graph = {_name(p): _imports(p) for p in PACKAGE.rglob("*.py")}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name in done:
            return
        for target in sorted(graph[name] & graph.keys()):
            visit(target, (*trail, name))
        done.add(name)

    for name in graph:
        visit(name, ())


def test_no_folder_is_larger_than_a_person_can_hold() -> None:
    root = PACKAGE.parent
    folders = {p.parent for top in ("mrinterp", "tests", "benchmarks") for p in (root / top).rglob("*.py")}
    sizes = {f: len([p for p in f.glob("*.py") if p.name != "__init__.py"]) for f in folders}
    assert {str(f): n for f, n in sizes.items() if n > LARGEST} == {}


def test_knockouts_are_blind() -> None:
    reached: set[str] = set()
    todo = list(KNOCKOUTS)
    while todo:
        for target in ROOMS[todo.pop()] - reached:
            reached.add(target)
            todo.append(target)
    assert not reached & BLIND_TO


def test_importing_all_of_knockouts_loads_no_room_that_it_must_not_see() -> None:
    code = (
        "import importlib, pkgutil, sys, mrinterp.knockouts as k\n"
        "for m in pkgutil.walk_packages(k.__path__, 'mrinterp.knockouts.'): importlib.import_module(m.name)\n"
        "print(*sorted({n.split('.')[1] for n in sys.modules if n.startswith('mrinterp.')}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"knockouts", *ROOMS["knockouts"]}


def test_import_is_light() -> None:
    code = (
        "import sys, time; t = time.perf_counter(); import mrinterp; s = time.perf_counter() - t;"
        "print(s); print(sorted(m for m in ('torch', 'matplotlib', 'numba', 'pandas') if m in sys.modules))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    assert float(out[0]) < 0.5
    assert out[1] == "[]"
