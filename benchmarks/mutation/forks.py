"""Runs of tests in forks of a process that has imported what they need, on copies of the project."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from covering import ROOT

# Imported once and shared by all runs of tests, which are forks: nothing of the project is among them.
SHARED_MODULES = [
    "numpy",
    "scipy.stats",
    "scipy.optimize",
    "scipy.special",
    "scipy.linalg",
    "scipy.sparse",
    "pandas",
    "pyarrow.parquet",
    "numba",
    "torch",
    "matplotlib.pyplot",
    "statsmodels.api",
    "sklearn.linear_model",
    "hypothesis",
    "transformers",
    "safetensors.torch",
    "click",
    "jinja2",
]


class FirstFailure:
    """A pytest plugin that writes down what failed first."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.path.exists():
            self.path.write_text(report.nodeid)


def without_callers(store: Path, kernel: str, copy: Path) -> Path:
    """Stored compiled code, but for what may hold a kernel of the changed module: the compiled callers keep it."""
    sources = {p.stem: p.read_text() for p in (ROOT / "mrinterp").rglob("*.py") if "@njit" in p.read_text()}
    stale = {kernel}
    for _ in range(3):
        stale |= {name for name, text in sources.items() if any(f".{k} import" in text for k in stale)}
    shutil.rmtree(copy, ignore_errors=True)  # of a call that was ended
    if store.exists():
        shutil.copytree(store, copy, ignore=lambda _, names: [n for n in names if n.split(".")[0] in stale])
    return copy


class Runner:
    """A process that has imported what all tests need and forks for each run of tests; it has one thread only."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        command = [sys.executable, __file__]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, tests: list[str], store: Path, patience: float) -> tuple[int, str]:
        """Pytest's exit code and the first test that failed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        order = {"tests": tests, "tree": str(self.tree), "store": str(store), "patience": patience}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        code, failed = json.loads(self.process.stdout.readline())
        if code is None:
            raise TimeoutError
        return code, failed


def serve() -> None:
    """Run tests as they are asked for on standard input, each time in a fork of this process."""
    for module in SHARED_MODULES:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    for line in sys.stdin:
        order = json.loads(line)
        print(
            json.dumps(forked(order["tests"], Path(order["tree"]), order["store"], order["patience"])),
            flush=True,
        )


def forked(tests: list[str], tree: Path, store: str, patience: float) -> tuple[int | None, str]:
    """Pytest's exit code (None: out of time) and the first test that failed, from a fork that works in ``tree``."""
    failure = tree / ".failed"
    failure.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        status = 99
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            os.chdir(tree)
            os.environ |= {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "NUMBA_CACHE_DIR": store}
            # Seconds of work, not of waiting: a busy machine kills no mutant.
            resource.setrlimit(resource.RLIMIT_CPU, (int(patience), int(patience)))
            sys.dont_write_bytecode = False  # what is unchanged is compiled once
            importlib.import_module("numba").config.CACHE_DIR = store
            sys.path[:] = [
                str(tree),
                *(p for p in sys.path if p not in ("", str(ROOT), str(Path(__file__).parent))),
            ]
            options = ["-q", "-x", "--no-header", "--tb=no", "-pno:cacheprovider", "-pno:cov", "-pno:xdist"]
            options += [f"--basetemp={tree / '.tmp'}"]  # no time for what other runs have left
            status = int(pytest.main([*options, *tests], plugins=[FirstFailure(failure)]))
        finally:
            os._exit(status)
    end = time.monotonic() + 15 * patience
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return None if code < 0 else code, failure.read_text() if failure.exists() else ""
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None, ""


def copies(folder: Path, count: int) -> Iterator[Path]:
    """Copies of what the tests need, one for each process; compiled code of an earlier call stays there."""
    for k in range(count):
        tree = folder / f"tree{k}"
        for part in ("mrinterp", "tests", "docs", "benchmarks"):
            shutil.rmtree(tree / part, ignore_errors=True)
        for part in ("mrinterp", "tests", "docs", "benchmarks"):
            shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, tree / name)
        yield tree


if __name__ == "__main__":
    serve()
