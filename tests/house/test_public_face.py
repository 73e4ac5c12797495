"""The public face: every name is typed once, in a stub; what is finished is reachable, what is reachable documented."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "mrinterp"
STUBS = sorted(PACKAGE.rglob("*.pyi"))
MOST_AT_THE_TOP = 42
"""Names and namespaces of the package itself."""


def _module(path: Path) -> str:
    return ".".join(("mrinterp", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def _names(stub: Path) -> dict[str, str]:
    """Public name -> module that it is imported from, as the stub says."""
    found: dict[str, str] = {}
    for node in ast.parse(stub.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert alias.asname == alias.name, f"{stub}: write `import {alias.name} as {alias.name}`"
                assert alias.name not in found, f"{stub}: {alias.name} is typed twice"
                found[alias.name] = ".".join(filter(None, (_module(stub), node.module or "")))
    return found


FACES = {_module(stub): _names(stub) for stub in STUBS}


@pytest.mark.parametrize("face", sorted(FACES))
def test_what_the_stub_says_is_there(face: str) -> None:
    module = importlib.import_module(face)
    assert set(module.__all__) == set(FACES[face])
    assert set(dir(module)) == set(FACES[face])
    for name, home in FACES[face].items():
        value = getattr(module, name)
        assert value is not None
        if not inspect.ismodule(value) and home != face:
            assert value is getattr(importlib.import_module(home), name)


def test_the_top_is_short() -> None:
    values = Counter(
        inspect.ismodule(getattr(importlib.import_module("mrinterp"), n)) for n in FACES["mrinterp"]
    )
    assert values[False] <= 20
    assert values.total() <= MOST_AT_THE_TOP


def test_stubs_are_part_of_the_package() -> None:
    settings = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    assert "**/*.pyi" in settings["tool"]["setuptools"]["package-data"]["mrinterp"]


def test_every_public_name_is_documented() -> None:
    lacking = []
    for face, names in FACES.items():
        for name in names:
            value = getattr(importlib.import_module(face), name)
            if not inspect.ismodule(value) and callable(value) and not (value.__doc__ or "").strip():
                lacking.append(f"{face}.{name}")
            if inspect.ismodule(value):
                assert value.__doc__, name
    assert not lacking


def _uses(tree: ast.AST) -> set[tuple[str, str]]:
    """(module, name) of every import from a module of ours."""
    return {
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mrinterp.")
        for alias in node.names
    }


def test_nothing_finished_is_unreachable() -> None:
    """Every function and type that a module offers serves another module, or has a public door."""
    trees = {_module(p): ast.parse(p.read_text()) for p in PACKAGE.rglob("*.py")}
    used = set().union(*map(_uses, trees.values()))
    used |= {(home, name) for names in FACES.values() for name, home in names.items()}
    idle = []
    for module, tree in trees.items():
        if module.removeprefix("mrinterp.") in FACES["mrinterp"]:
            continue  # a room in one file: all that it offers is public
        offered = [
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign)
            and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
            and isinstance(node.value, ast.List)
        ]
        defined = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        for name in (n for names in offered for n in names):
            registered = name in defined and defined[name].decorator_list and _is_registered(defined[name])
            if name in defined and not registered and (module, name) not in used:
                idle.append(f"{module}.{name}")
    assert not idle


def _is_registered(node: ast.FunctionDef | ast.ClassDef) -> bool:
    """Whether a decorator puts it into a table that has a door: an estimator, a verb."""
    words = {w.id for d in node.decorator_list for w in ast.walk(d) if isinstance(w, ast.Name)}
    return bool(words & {"estimator", "joint_estimator", "click", "figure"})


def test_light() -> None:
    """Looking around loads nothing heavy."""
    code = (
        "import sys, mrinterp\n"
        "[dir(getattr(mrinterp, n)) for n in ('mr', 'coloc', 'tables', 'results', 'perturbations', 'knockouts')]\n"
        "print(sorted(m for m in ('torch', 'matplotlib', 'numba') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
