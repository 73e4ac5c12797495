"""The import table: who may import whom, and what importing the package loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mrinterp"
ROOMS = {
    "stats": set(),
    "core": {"stats"},
    "tables": {"core", "stats"},
    "instruments": {"core", "stats"},
    "mr": {"core", "stats"},
    "coloc": {"core", "stats"},
    "models": {"core", "stats"},
    "scan": {"core", "stats", "models"},
    "knockouts": {"core", "stats", "instruments", "models", "scan"},
    "worlds": {"core", "stats", "tables", "instruments", "models", "scan", "knockouts"},
    "diagnostics": {"core", "stats", "mr", "coloc"},
    "plots": {"core", "stats"},
    "report": {"core", "evidence", "plots"},
    "ladder": {"core", "stats", "mr"},
    "study": {
        "core",
        "ladder",
        "stats",
        "tables",
        "instruments",
        "models",
        "scan",
        "mr",
        "coloc",
        "diagnostics",
        "knockouts",
        "evidence",
        "atlas",
        "plots",
        "report",
    },
    "cli": {"core", "tables", "mr", "coloc", "plots", "report", "study"},
}
WITHIN_KNOCKOUTS = {
    "kinds": set(),
    "designs": {"kinds"},
    "abstraction": set(),
    "comparators": {"kinds"},
    "edits": {"kinds", "comparators"},
    "": {"kinds"},
}
"""Which rooms within the knockouts room import which; all of them stand on its own files, named ""."""
TORCH_ROOMS = {"models", "scan", "knockouts", "worlds", "bench"}


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import; imports are absolute"
            found.add(node.module)
    return found


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


def test_knockouts_are_blind() -> None:
    reached, todo = set(), ["knockouts"]
    while todo:
        for target in ROOMS[todo.pop()] - reached:
            reached.add(target)
            todo.append(target)
    assert not reached & {"mr", "coloc", "diagnostics", "evidence"}


def test_importing_all_of_knockouts_loads_no_room_that_it_must_not_see() -> None:
    code = (
        "import importlib, pkgutil, sys, mrinterp.knockouts as k\n"
        "for m in pkgutil.walk_packages(k.__path__, 'mrinterp.knockouts.'): importlib.import_module(m.name)\n"
        "print(*sorted({n.split('.')[1] for n in sys.modules if n.startswith('mrinterp.')}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"knockouts", *ROOMS["knockouts"]}


@pytest.mark.parametrize("room", sorted(WITHIN_KNOCKOUTS))
def test_knockout_rooms_build_on_each_other_one_way(room: str) -> None:
    home = PACKAGE / "knockouts"
    for path in sorted((home / room).glob("*.py")):
        for name in _imports(path):
            parts = name.split(".")
            if parts[:2] == ["mrinterp", "knockouts"] and len(parts) == 4:
                assert parts[2] == room or parts[2] in WITHIN_KNOCKOUTS[room], f"{path}: imports {name}"
    inside = {p.name for p in home.iterdir() if (p / "__init__.py").exists()}
    assert inside | {""} == set(WITHIN_KNOCKOUTS)


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


def test_public_names_are_listed_once_and_found() -> None:
    import mrinterp

    source = ast.parse((PACKAGE / "__init__.py").read_text())
    typed = {
        f"{node.module}.{name.name}"
        for node in ast.walk(source)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mrinterp.")
        for name in node.names
    }
    assert typed == {f"mrinterp.{home}.{name}" for name, home in mrinterp._HOMES.items()}
    assert set(mrinterp.__all__) == set(mrinterp._HOMES) | {"__version__"}
    for name in mrinterp.__all__:
        assert getattr(mrinterp, name) is not None
