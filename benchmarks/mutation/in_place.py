"""Mutants of code that is loaded already: a fork of a process that has imported everything changes it and runs the tests.

Several times as fast as a copy of the project that is imported anew. What runs when a module is imported (decorators,
bodies of classes) cannot be changed so: such mutants are left to copies (`forks`).
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from covering import ROOT
from places import Mutant

UNCHANGED = 77
"""Exit code where the mutant is of a kind that cannot be put in place."""


def functions_of(module: types.ModuleType) -> dict[str, list[types.FunctionType]]:
    """Qualified name to the plain functions of a module, whatever wraps them; what they have cached is forgotten."""
    found: dict[str, list[types.FunctionType]] = {}
    seen: set[int] = set()

    def visit(thing: Any) -> None:
        if id(thing) in seen:
            return
        seen.add(id(thing))
        if isinstance(thing, types.FunctionType):
            if thing.__code__.co_filename == module.__file__:
                found.setdefault(thing.__code__.co_qualname, []).append(thing)
            for cell in thing.__closure__ or ():
                with contextlib.suppress(ValueError):
                    visit(cell.cell_contents)
        if hasattr(thing, "cache_clear"):
            thing.cache_clear()
        for inner in ("__wrapped__", "__func__", "fget", "func", "py_func", "kernel"):
            with contextlib.suppress(Exception):
                visit(getattr(thing, inner))
        if isinstance(thing, type) and thing.__module__ == module.__name__:
            for value in list(vars(thing).values()):
                visit(value)
        if isinstance(thing, dict | list | tuple):
            for value in thing.values() if isinstance(thing, dict) else thing:
                visit(value)

    for value in list(vars(module).values()):
        visit(value)
    return found


def code_of(code: types.CodeType) -> Iterator[types.CodeType]:
    """Code of all functions inside."""
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            yield one
            yield from code_of(one)


def put(mutant: Mutant) -> bool:
    """Change the functions, defaults or constants that are loaded; whether there was something to change."""
    path = ROOT / mutant.file
    module = importlib.import_module(".".join(Path(mutant.file).with_suffix("").parts))
    text = path.read_text()
    new = mutant.applied(text)
    before, after = (list(code_of(compile(t, str(path), "exec"))) for t in (text, new))
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    functions = functions_of(module)
    done = False
    for a, b in changed:
        for f in functions.get(a.co_qualname, []):
            if f.__code__ == a:
                f.__code__, done = b, True
    if changed:
        if done and "@njit" in text:
            forget_compiled(module)
        return done
    return put_default(module, mutant, ast.parse(new), functions) or put_constant(
        module, mutant, ast.parse(new)
    )


def forget_compiled(module: types.ModuleType) -> None:
    """Kernels of a module and those that may hold one of them are compiled anew, and nothing of it is stored."""
    from numba.core.caching import NullCache

    kernels = [
        (m, v)
        for m in list(sys.modules.values())
        if getattr(m, "__name__", "").startswith("mrinterp.")
        for v in list(vars(m).values())
        if hasattr(v, "py_func") and v.__module__ == m.__name__
    ]
    stale = {module.__name__}
    for _ in range(3):
        for m, _ in kernels:
            held = (getattr(v, "__module__", "") for v in vars(m).values() if hasattr(v, "py_func"))
            if stale & set(held):
                stale.add(m.__name__)
    for m, kernel in kernels:
        if m.__name__ in stale:
            kernel._cache = NullCache()
            kernel._reset_overloads()


def _value(node: ast.expr, module: types.ModuleType) -> Any:
    return eval(compile(ast.Expression(node), "mutant", "eval"), vars(module))


def put_default(
    module: types.ModuleType, mutant: Mutant, tree: ast.Module, functions: dict[str, list[types.FunctionType]]
) -> bool:
    """Change the defaults of a function that is not registered (a registry holds defaults of its own)."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef) or node.decorator_list:
            continue
        given = [*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)]
        if not any(d.lineno <= mutant.line <= (d.end_lineno or 0) for d in given):
            continue
        same = [
            f
            for of in functions.values()
            for f in of
            if f.__code__.co_name == node.name and f.__code__.co_firstlineno == node.lineno
        ]
        for f in same:
            if node.args.defaults:
                f.__defaults__ = tuple(_value(d, module) for d in node.args.defaults)
            words = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            named = {k.arg: _value(d, module) for k, d in words if d is not None}
            f.__kwdefaults__ = named or f.__kwdefaults__
        return bool(same)
    return False


def looked_up_at_import(tree: ast.AST, names: list[str]) -> bool:
    """Whether one of the names is read when a module is imported: in a default, a decorator, or outside of functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names:
            return True
        if isinstance(node, ast.FunctionDef):
            outside = [*node.args.defaults, *(d for d in node.args.kw_defaults if d), *node.decorator_list]
            if any(looked_up_at_import(ast.Expression(part), names) for part in outside):
                return True
        elif looked_up_at_import(node, names):
            return True
    return False


def put_constant(module: types.ModuleType, mutant: Mutant, tree: ast.Module) -> bool:
    """Change a constant of a module that functions look up when they run, not before; in compiled code it is fixed."""
    if "@njit" in Path(str(module.__file__)).read_text():
        return False
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        if not node.lineno <= mutant.line <= (node.end_lineno or 0):
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        names = [n.id for n in ast.walk(target) if isinstance(n, ast.Name)]
        holders = [m for m in list(sys.modules.values()) if getattr(m, "__name__", "").startswith("mrinterp")]
        holders = [m for m in holders if any(vars(m).get(n) is vars(module)[n] for n in names)]
        if any(looked_up_at_import(ast.parse(Path(str(m.__file__)).read_text()), names) for m in holders):
            return False
        value = _value(node.value, module)
        for name, new in zip(names, value if isinstance(target, ast.Tuple) else [value], strict=True):
            old = vars(module)[name]
            for m in holders:
                if vars(m).get(name) is old:
                    setattr(m, name, new)
        return True
    return False


class First:
    """A pytest plugin that keeps what failed first."""

    failed = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


OPTIONS = ["-q", "--no-header", "--tb=no", "-pno:cacheprovider", "-pno:cov", "-pno:xdist"]


def attempt(mutant: Mutant | None, tests: list[str], patience: float) -> tuple[int | None, str]:
    """Pytest's exit code (None: out of time) and what failed first, in a fork that has the mutant (None: as it is)."""
    reading, writing = os.pipe()
    folder = tempfile.mkdtemp()
    child = os.fork()
    if child == 0:
        code, first = 99, First()
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (int(patience), int(patience)))
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            if mutant is not None and not put(mutant):
                code = UNCHANGED
            else:
                code = int(pytest.main([*OPTIONS, "-x", f"--basetemp={folder}", *tests], plugins=[first]))
        finally:
            os.write(writing, json.dumps([code, first.failed]).encode())
            os._exit(0)
    os.close(writing)
    end, said = time.monotonic() + 15 * patience, b""
    while time.monotonic() < end:
        if os.waitpid(child, os.WNOHANG)[0]:
            break
        time.sleep(0.02)
    else:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    said = os.read(reading, 1 << 16) if time.monotonic() < end else b""
    os.close(reading)
    shutil.rmtree(folder, ignore_errors=True)
    return tuple(json.loads(said)) if said else (None, "")


def serve(rooms: list[str], folders: list[str]) -> None:
    """Import rooms and tests once; then try the mutants that are asked for on standard input."""
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    for room in rooms:
        for path in sorted((ROOT / "mrinterp" / room).rglob("[!_]*.py")) + sorted(
            (ROOT / "mrinterp" / room).rglob("_[!_]*.py")
        ):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    pytest.main(["--collect-only", *OPTIONS, "--ignore-glob=*test_cli*", *folders])
    for line in sys.stdin:
        order = json.loads(line)
        mutant = Mutant(**order["mutant"]) if order["mutant"] else None
        os.write(answers, (json.dumps(attempt(mutant, order["tests"], order["patience"])) + "\n").encode())


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]), json.loads(sys.argv[2]))
