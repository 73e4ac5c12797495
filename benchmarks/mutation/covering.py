"""Which tests ran each line of the project, how long each takes, and which of them to try on a mutant."""

from __future__ import annotations

import ast
import os
from collections import Counter, defaultdict
from pathlib import Path

import pandas as pd
import pytest
from coverage import CoverageData

ROOT = Path(__file__).parents[2]
MOST_TESTS, MOST_SECONDS = 40, 25.0
KEPT, MOST_KEPT = "tests/kept/test_kept_numbers.py", 10.0
"""Cases of kept numbers take milliseconds each: as many as the other tests, in at most so many seconds, come first."""
AGAIN = 4
"""So many times as much for survivors that are tried again."""
Lines = dict[tuple[str, int], set[str]]


class Timer:
    """A pytest plugin that keeps the seconds of every test that passed."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.outcome != "passed":
            self.failed.add(report.nodeid)


def cover(work: Path, folders: list[str]) -> None:
    """Run the tests of one list of folders; keep lines by test, and seconds by test."""
    timer = Timer()
    os.environ["COVERAGE_FILE"] = str(work / "coverage")
    # Tests of the command line run it as a process, whose lines are not seen from here.
    options = ["-q", "-pno:cacheprovider", "-pno:xdist", "--ignore-glob=*test_cli*"]
    options += ["--cov=mrinterp", "--cov-context=test", "--cov-report="]
    pytest.main([*options, *folders], plugins=[timer])
    rows = [(n, s) for n, s in timer.seconds.items() if n not in timer.failed]
    pd.DataFrame(rows, columns=["test", "seconds"]).to_csv(work / "seconds.csv", index=False)


def covering(work: Path) -> tuple[Lines, dict[str, float]]:
    """Which tests ran each line, and how long each takes, over all processes of the first step."""
    lines: Lines = defaultdict(set)
    seconds: dict[str, float] = {}
    for part in sorted(p for p in work.iterdir() if (p / "coverage").exists()):
        seconds |= pd.read_csv(part / "seconds.csv").set_index("test")["seconds"].to_dict()
        data = CoverageData(str(part / "coverage"))
        data.read()
        for name in data.measured_files():
            file = str(Path(name).relative_to(ROOT))
            for line, contexts in data.contexts_by_lineno(name).items():
                lines[file, line] |= {c.split("|")[0] for c in contexts if c} & set(seconds)
    add_imported(lines)
    add_compiled(lines)
    return lines, seconds


def add_imported(lines: Lines) -> None:
    """Lines that run when a module is imported, with the tests that use what they define.

    The default of a parameter counts as run by the tests that run the function, a constant by those that run a line
    with its name, the attributes of a class by those that run its methods.
    """
    trees = {
        str(p.relative_to(ROOT)): ast.parse(p.read_text()) for p in sorted((ROOT / "mrinterp").rglob("*.py"))
    }
    for file, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                inside = isinstance(node, ast.ClassDef)
                first, last = node.body[0].lineno, node.end_lineno or 0
                tests = set().union(*(lines.get((file, k), set()) for k in range(first, last + 1)))
                for k in range(node.lineno, last if inside else first):
                    if inside and any(
                        isinstance(m, ast.FunctionDef) and m.lineno <= k <= (m.end_lineno or 0)
                        for m in node.body
                    ):
                        continue
                    lines[file, k] |= tests
    by_name: dict[str, set[str]] = defaultdict(set)
    for file, tree in trees.items():
        for node in ast.walk(tree):
            name = (
                node.id
                if isinstance(node, ast.Name)
                else node.attr
                if isinstance(node, ast.Attribute)
                else ""
            )
            if name.isupper() or name.startswith("_"):
                by_name[name] |= lines.get((file, node.lineno), set())
    for file, tree in trees.items():
        for node in tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                for k in range(node.lineno, (node.end_lineno or 0) + 1):
                    lines[file, k] |= by_name.get(ast.unparse(target), set())


def add_compiled(lines: Lines) -> None:
    """Lines of compiled functions, with the tests that ran a line which names a function of their module."""
    texts = {p: p.read_text() for p in sorted((ROOT / "mrinterp").rglob("*.py"))}
    module_of = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in texts}
    compiled = {m: p for m, p in module_of.items() if "@njit" in texts[p]}
    tests: dict[str, set[str]] = defaultdict(set)
    for _ in range(3):  # kernels that call kernels of another module
        for path, text in texts.items():
            file, tree = str(path.relative_to(ROOT)), ast.parse(text)
            here = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            origin = {
                name.asname or name.name: node.module
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom) and node.module in compiled
                for name in node.names
            }
            for node in ast.walk(tree):
                if isinstance(node, ast.Name) and node.id in origin:
                    tests[str(origin[node.id])] |= lines.get((file, node.lineno), set()) | tests[here]
            if here in compiled:  # called from the module's own plain functions
                for line in range(1, text.count("\n") + 2):
                    tests[here] |= lines.get((file, line), set())
    for module, path in compiled.items():
        file = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(texts[path])):
            if isinstance(node, ast.FunctionDef) and any(
                "njit" in ast.unparse(d) for d in node.decorator_list
            ):
                for line in range(node.body[0].lineno, (node.end_lineno or 0) + 1):
                    lines[file, line] |= tests[module]


def chosen(
    tests: set[str], seconds: dict[str, float], share: dict[str, float], first: list[str]
) -> list[str]:
    """At most 40 tests, 160 where some come first: four of each test function in turn, as time allows; before them kept numbers.

    Parameters
    ----------
    share : dict of str to float
        Part of the lines that a test runs which are the mutant's file's: those with the largest are the most specific.
    first : list of str
        Tests of these files come before all others.
    """
    times = AGAIN if first else 1
    kept: list[str] = []
    for test in sorted((t for t in tests if t.startswith(KEPT)), key=lambda t: (-share[t], seconds[t], t)):
        if len(kept) < MOST_TESTS * times and sum(seconds[t] for t in [*kept, test]) < MOST_KEPT * times:
            kept.append(test)
    functions: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for test in sorted(tests - set(kept), key=lambda t: (-share[t], seconds[t], t)):
        functions[not any(test.startswith(f) for f in first), test.split("[")[0]].append(test)
    by_turn = [(later, k // 4, test) for (later, _), of in functions.items() for k, test in enumerate(of)]
    order = [test for _, _, test in sorted(by_turn, key=lambda t: t[:2])]
    found, total = order[: not kept], sum(seconds[t] for t in order[: not kept])
    for test in order[len(found) :]:
        if len(found) < MOST_TESTS * times and total + seconds[test] < MOST_SECONDS * times:
            found, total = [*found, test], total + seconds[test]
    return kept + found


def shares(lines: Lines, files: set[str]) -> dict[str, dict[str, float]]:
    """Of the lines that each test runs, the part that is in each of these files."""
    every: Counter[str] = Counter()
    own: dict[str, Counter[str]] = {file: Counter() for file in files}
    for (file, _), tests in lines.items():
        every.update(tests)
        if file in own:
            own[file].update(tests)
    return {file: {test: count / every[test] for test, count in of.items()} for file, of in own.items()}
