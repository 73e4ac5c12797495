"""Would the tests notice? Random mutants of the rooms that compute, and how many of them a test catches.

``python benchmarks/mutants.py cover`` runs the tests once and keeps which test ran which line, and how long each
test took (about twice as long as the tests themselves). ``python benchmarks/mutants.py run --mutants 300 --seed 0``
then draws mutants at random (one operator or one constant, changed on a covered line of ``stats``, ``mr``, ``coloc``,
``knockouts``, ``scan``, ``diagnostics`` and ``models``), runs for each at most 25 tests that ran its line, and writes
``benchmarks/results/mutants.csv`` and ``mutants.md``. Why a survivor does not matter is kept by hand in
``benchmarks/results/mutants_reasons.csv`` and joined to the table. Both steps take ``--jobs`` processes.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Queue

import pandas as pd
import pytest
from coverage import CoverageData
from tqdm import tqdm

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
ROOMS = ("stats", "mr", "coloc", "knockouts", "scan", "diagnostics", "models")
TESTS = [
    f"tests/{folder}"
    for folder in [
        "stats",
        "mr",
        "knockouts",
        "coloc",
        "networks",
        "diagnostics",
        "study",
        "tables",
        "results",
        "core",
        "attribution",
    ]
]
MOST_TESTS, MOST_SECONDS = 25, 40.0

COMPARISONS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
ARITHMETIC = {"+": "-", "-": "+", "*": "/", "/": "*", "**": "*", "//": "/"}
SYMBOLS = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**", ast.FloorDiv: "//",
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change of one place: ``old`` at ``start`` (offset in the file) becomes ``new``."""

    file: str
    line: int
    start: int
    old: str
    new: str

    def applied(self, text: str) -> str:
        """The file's text with the change made."""
        assert text[self.start : self.start + len(self.old)] == self.old
        return text[: self.start] + self.new + text[self.start + len(self.old) :]


class Places(ast.NodeVisitor):
    """Everything that can be mutated in one file; annotations, messages and docstrings are left alone."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.text, self.found = file, text, []  # type: ignore[var-annotated]
        self.offsets = [0]
        for line in text.splitlines(keepends=True):
            self.offsets.append(self.offsets[-1] + len(line))
        self.visit(ast.parse(text))

    def at(self, line: int, column: int) -> int:
        """Offset of a place that the parser gives by line and byte."""
        whole = self.text[self.offsets[line - 1] : self.offsets[line]]
        return self.offsets[line - 1] + len(whole.encode()[:column].decode())

    def add(self, line: int, start: int, old: str, new: str) -> None:
        self.found.append(Mutant(self.file, line, start, old, new))

    def between(self, left: ast.expr, right: ast.expr, old: str, new: str) -> None:
        """Change an operator that stands between two operands."""
        a = self.at(left.end_lineno or 0, left.end_col_offset or 0)
        b = self.at(right.lineno, right.col_offset)
        here = self.text[a:b].find(old)
        if here >= 0 and "#" not in self.text[a:b]:
            self.add(left.end_lineno or 0, a + here, old, new)

    def visit_Raise(self, node: ast.Raise) -> None: ...

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None: ...

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for part in (*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None), *node.body):
            self.visit(part)

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            old = SYMBOLS.get(type(op))
            if old is not None:
                self.between(left, right, old, COMPARISONS[old])
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        old = SYMBOLS.get(type(node.op))
        words = any(
            isinstance(x, ast.JoinedStr | ast.List | ast.Tuple)
            or (isinstance(x, ast.Constant) and isinstance(x.value, str))
            for x in (node.left, node.right)
        )
        if old is not None and not words:
            self.between(node.left, node.right, old, ARITHMETIC[old])
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self.between(left, right, old, new)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.USub):
            self.add(node.lineno, self.at(node.lineno, node.col_offset), "-", "+")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            return
        start, end = (
            self.at(node.lineno, node.col_offset),
            self.at(node.end_lineno or 0, node.end_col_offset or 0),
        )
        new = value + 1 if isinstance(value, int) or value == 0 else value * 2
        self.add(node.lineno, start, self.text[start:end], repr(new))


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


def covering(work: Path) -> tuple[dict[tuple[str, int], set[str]], dict[str, float]]:
    """Which tests ran each line, and how long each takes, over all processes of the first step."""
    lines: dict[tuple[str, int], set[str]] = defaultdict(set)
    seconds: dict[str, float] = {}
    for part in sorted(p for p in work.iterdir() if (p / "coverage").exists()):
        seconds |= pd.read_csv(part / "seconds.csv").set_index("test")["seconds"].to_dict()
        data = CoverageData(str(part / "coverage"))
        data.read()
        for name in data.measured_files():
            file = str(Path(name).relative_to(ROOT))
            for line, contexts in data.contexts_by_lineno(name).items():
                lines[file, line] |= {c.split("|")[0] for c in contexts if c} & set(seconds)
    return lines, seconds


def drawn(lines: dict[tuple[str, int], set[str]], count: int, seed: int) -> list[Mutant]:
    """Mutants of covered lines, at random."""
    places: list[Mutant] = []
    for room in ROOMS:
        for path in sorted((ROOT / "mrinterp" / room).rglob("*.py")):
            file = str(path.relative_to(ROOT))
            places += [m for m in Places(file, path.read_text()).found if lines.get((file, m.line))]
    return random.Random(seed).sample(places, min(count, len(places)))


def chosen(tests: set[str], seconds: dict[str, float]) -> list[str]:
    """At most 25 tests, the quickest of every file in turn, as long as their time allows."""
    files: dict[str, list[str]] = defaultdict(list)
    for test in sorted(tests, key=lambda t: seconds[t]):
        files[test.split("::")[0]].append(test)
    turns = max(map(len, files.values()))
    order = [f[k] for k in range(turns) for f in files.values() if k < len(f)]
    found, total = order[:1], seconds[order[0]]
    for test in order[1:]:
        if len(found) < MOST_TESTS and total + seconds[test] < MOST_SECONDS:
            found, total = [*found, test], total + seconds[test]
    return found


def verdict(mutant: Mutant, tests: list[str], tree: Path, patience: float) -> str:
    """Whether one of the tests fails in a copy of the project that has the mutant."""
    path = tree / mutant.file
    original = path.read_text()
    path.write_text(mutant.applied(original))
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment["NUMBA_CACHE_DIR"] = str(tree / ".numba")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "--no-header",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        *tests,
    ]
    try:
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, timeout=patience)
        return {0: "survived", 1: "killed", 2: "killed"}.get(
            done.returncode, f"killed (exit {done.returncode})"
        )
    except subprocess.TimeoutExpired:
        return "killed (time)"
    finally:
        path.write_text(original)


def copies(folder: Path, count: int) -> Iterator[Path]:
    """Copies of what the tests need, one for each process."""
    for k in range(count):
        tree = folder / f"tree{k}"
        for part in ("mrinterp", "tests", "docs", "benchmarks"):
            shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, tree / name)
        yield tree


def run(work: Path, count: int, seed: int, jobs: int) -> None:
    """Draw, try and write down."""
    lines, seconds = covering(work)
    mutants = drawn(lines, count, seed)
    os.environ.setdefault("MRINTERP_REFERENCE", str(ROOT.parent / "shared" / "reference"))
    with tempfile.TemporaryDirectory() as temporary:
        trees: Queue[Path] = Queue()
        for tree in copies(Path(temporary), jobs):
            trees.put(tree)

        def tried(mutant: Mutant) -> dict[str, object]:
            tests = chosen(lines[mutant.file, mutant.line], seconds)
            tree = trees.get()
            try:
                found = verdict(mutant, tests, tree, 90 + 10 * sum(seconds[t] for t in tests))
            finally:
                trees.put(tree)
            code = (ROOT / mutant.file).read_text().splitlines()[mutant.line - 1].strip()
            return asdict(mutant) | {"code": code, "tests": len(tests), "verdict": found}

        with ThreadPoolExecutor(jobs) as pool:
            rows = list(tqdm(pool.map(tried, mutants), total=len(mutants), unit="mutant", disable=None))
    report(pd.DataFrame(rows), seed)


def report(table: pd.DataFrame, seed: int) -> None:
    """Write the table with the reasons that are kept by hand, and the score."""
    keys = ["file", "code", "old", "new"]
    table = table.astype({"old": str, "new": str})
    reasons = RESULTS / "mutants_reasons.csv"
    if reasons.exists():
        table = table.merge(pd.read_csv(reasons, dtype=str)[[*keys, "why"]], on=keys, how="left")
    table["why"] = table["why"].fillna("") if "why" in table else ""
    table.to_csv(RESULTS / "mutants.csv", index=False)
    killed = table["verdict"].str.startswith("killed")
    score = killed.mean()
    room = table["file"].str.split("/").str[1]
    lines = [
        "# Mutants",
        "",
        f"`python benchmarks/mutants.py run --mutants {len(table)} --seed {seed}`: {int(killed.sum())} of {len(table)} random"
        f" mutants on covered lines are caught by at most {MOST_TESTS} of the tests that run the line ({score:.2f}).",
        "",
        "| room | mutants | caught |",
        "|---|---|---|",
        *(f"| {name} | {len(of)} | {of.mean():.2f} |" for name, of in killed.groupby(room)),
        "",
        "| survivor | change | why it does not matter |",
        "|---|---|---|",
    ]
    for m in table[~killed].sort_values(["file", "line"]).to_dict("records"):
        code = str(m["code"]).replace("|", "\\|")
        lines.append(
            f"| `{m['file']}:{m['line']}` `{code}` | `{m['old']}` to `{m['new']}` | {m['why'] or 'not looked at'} |"
        )
    (RESULTS / "mutants.md").write_text("\n".join(lines) + "\n")
    print(f"{score:.3f} of {len(table)} caught")


def main() -> None:
    """Both steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("cover", "run"))
    parser.add_argument("--work", type=Path, default=ROOT / ".mutants", help="where lines by test are kept")
    parser.add_argument("--tests", nargs="*", default=TESTS, help="folders or files of tests (cover)")
    parser.add_argument("--mutants", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    if given.step == "run":
        return run(given.work, given.mutants, given.seed, given.jobs)
    shutil.rmtree(given.work, ignore_errors=True)
    given.work.mkdir(parents=True)
    if given.jobs == 1:
        return cover(given.work, given.tests)
    parts = [given.tests[k :: given.jobs] for k in range(given.jobs)]
    running = []
    for k, folders in enumerate(p for p in parts if p):
        command = [
            sys.executable,
            __file__,
            "cover",
            "--jobs",
            "1",
            "--work",
            str(given.work / str(k)),
            "--tests",
        ]
        running.append(subprocess.Popen([*command, *folders], cwd=ROOT))
    for one in running:
        one.wait()
    return None


if __name__ == "__main__":
    main()
