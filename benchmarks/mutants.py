"""Would the tests notice? Random mutants of the rooms that compute, and how many of them a test catches.

``python benchmarks/mutants.py cover`` runs the tests once and keeps which test ran which line, and how long each
test took (about twice as long as the tests themselves). ``python benchmarks/mutants.py run --mutants 300 --seed 0``
then draws mutants at random (one operator or one constant, changed on a covered line of ``stats``, ``mr``, ``coloc``,
``knockouts``, ``scan``, ``diagnostics`` and ``models``), runs for each at most 25 tests that ran its line, the most
specific first, and writes ``benchmarks/results/mutants.csv`` and ``mutants.md``. Each verdict is kept as it comes, and
a second call goes on from there.

Lines of compiled kernels are not seen by coverage: they count as covered by the tests that ran a line which names a
function of the kernel's module.

After tests were added, ``cover --work .mutants/new --tests FILES`` learns what they run and ``retry --seed 0`` tries
the survivors again, the added tests first; the table states the score before and after. Why a survivor does not matter
is kept by hand in ``benchmarks/results/mutants_reasons.csv`` and joined to the table. Where several samples were
drawn, each has its table (``--name``).
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import count as counted
from pathlib import Path
from queue import Queue

import pandas as pd
import pytest
from coverage import CoverageData
from tqdm import tqdm

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
ROOMS = ("stats", "mr", "coloc", "knockouts", "contrasts", "scan", "diagnostics", "models")
TESTS = [
    f"tests/{folder}"
    for folder in [
        "stats",
        "mr",
        "knockouts",
        "contrasts",
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
MOST_TESTS, MOST_SECONDS = 25, 15.0
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
Lines = dict[tuple[str, int], set[str]]

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
    add_compiled(lines)
    return lines, seconds


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


def drawn(lines: Lines, count: int, seed: int) -> list[Mutant]:
    """Mutants of covered lines, at random: all places are shuffled, and the first covered ones taken."""
    places: list[Mutant] = []
    for room in ROOMS:
        for path in sorted((ROOT / "mrinterp" / room).rglob("*.py")):
            places += Places(str(path.relative_to(ROOT)), path.read_text()).found
    random.Random(seed).shuffle(places)
    return [m for m in places if lines.get((m.file, m.line))][:count]


def chosen(tests: set[str], seconds: dict[str, float], ran: dict[str, int], first: list[str]) -> list[str]:
    """At most 25 tests: each test function in turn, those that run the fewest lines first, as time allows.

    Tests of the files in ``first`` come before all others.
    """
    functions: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for test in sorted(tests, key=lambda t: (ran[t], seconds[t], t)):
        functions[not any(test.startswith(f) for f in first), test.split("[")[0]].append(test)
    turns = max(map(len, functions.values()))
    by_turn = [(added, k, f[k]) for k in range(turns) for (added, _), f in functions.items() if k < len(f)]
    order = [test for _, _, test in sorted(by_turn, key=lambda t: t[:2])]
    found, total = order[:1], seconds[order[0]]
    for test in order[1:]:
        if len(found) < MOST_TESTS and total + seconds[test] < MOST_SECONDS:
            found, total = [*found, test], total + seconds[test]
    return found


STAMPS = counted(1_000_000_000)
SOUND: set[str] = set()  # tests that pass without a mutant in the copies


def verdict(mutant: Mutant, tests: list[str], runner: Runner, patience: float) -> tuple[str, str]:
    """Whether one of the tests fails in a copy of the project that has the mutant, and which one.

    Stored byte code goes by the file's time in seconds: every mutant has a time of its own, and the original its old one.
    """
    tree = runner.tree
    path = tree / mutant.file
    original, times = path.read_text(), path.stat()
    path.write_text(mutant.applied(original))
    stamp = next(STAMPS)
    os.utime(path, (stamp, stamp))
    store = tree / ".numba"
    if "@njit" in original:
        store = without_callers(store, Path(mutant.file).stem, tree / f".numba{stamp}")
    try:
        code, failed = runner(tests, store, patience)
    except TimeoutError:
        return "killed (time)", ""
    finally:
        path.write_text(original)
        os.utime(path, (times.st_atime, times.st_mtime))
        if store.name != ".numba":
            shutil.rmtree(store, ignore_errors=True)
    if code == 0:
        return "survived", ""
    # What fails without the mutant as well shows nothing: it is left out and the others are run again.
    if failed in SOUND:
        return "killed", failed
    suspects = [failed] if failed in tests else tests
    if runner(suspects, tree / ".numba", patience)[0] == 0:
        SOUND.add(failed if failed in tests else "")
        return "killed", failed or f"exit {code}"
    rest = [t for t in tests if t != failed]
    return verdict(mutant, rest, runner, patience) if failed in tests and rest else ("not tried", failed)


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
    if store.exists():
        shutil.copytree(store, copy, ignore=lambda _, names: [n for n in names if n.split(".")[0] in stale])
    return copy


class Runner:
    """A process that has imported what all tests need and forks for each run of tests; it has one thread only."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        command = [sys.executable, __file__, "serve"]
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
                *(p for p in sys.path if p not in ("", str(ROOT), str(ROOT / "benchmarks"))),
            ]
            options = ["-q", "-x", "--no-header", "--tb=no", "-pno:cacheprovider", "-pno:cov", "-pno:xdist"]
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


def tried(
    mutants: list[Mutant],
    found: tuple[Lines, dict[str, float]],
    work: Path,
    kept: Path,
    jobs: int,
    first: list[str],
) -> pd.DataFrame:
    """The verdict on every mutant; those that ``kept`` has already are not tried again."""
    lines, seconds = found
    ran: dict[str, int] = defaultdict(int)
    for tests in lines.values():
        for test in tests:
            ran[test] += 1
    os.environ.setdefault("MRINTERP_REFERENCE", str(ROOT.parent / "shared" / "reference"))
    before = pd.read_csv(kept, dtype={"old": str, "new": str}) if kept.exists() else pd.DataFrame()
    known = {(m["file"], m["start"], m["new"]): m for m in before.to_dict("records")}
    runners: Queue[Runner] = Queue()
    for tree in copies(work, jobs):
        runners.put(Runner(tree))

    def one(mutant: Mutant) -> dict[str, object]:
        key = (mutant.file, mutant.start, mutant.new)
        if key in known:
            return dict(known[key])
        tests = chosen(lines[mutant.file, mutant.line], seconds, ran, first)
        runner, start = runners.get(), time.monotonic()
        try:
            outcome, by = verdict(mutant, tests, runner, 40 + 4 * sum(seconds[t] for t in tests))
        finally:
            runners.put(runner)
        code = (ROOT / mutant.file).read_text().splitlines()[mutant.line - 1].strip()
        row = asdict(mutant) | {"code": code, "tests": len(tests), "verdict": outcome, "by": by}
        row["seconds"] = round(time.monotonic() - start, 1)
        pd.DataFrame([row]).to_csv(kept, mode="a", header=not kept.exists(), index=False)
        return row

    with ThreadPoolExecutor(jobs) as pool:
        return pd.DataFrame(tqdm(pool.map(one, mutants), total=len(mutants), unit="mutant", disable=None))


def run(work: Path, count: int, seed: int, jobs: int, name: str) -> None:
    """Draw, try and write down."""
    found = covering(work)
    report(tried(drawn(found[0], count, seed), found, work, work / f"tried{seed}.csv", jobs, []), seed, name)


def retry(work: Path, seed: int, jobs: int, name: str) -> None:
    """Try the survivors of a sample again, the tests that were added since first, and write down."""
    table = pd.read_csv(work / f"tried{seed}.csv", dtype={"old": str, "new": str})
    survivors = table[table["verdict"] == "survived"]
    added = pd.read_csv(work / "new" / "seconds.csv")["test"].str.split("[").str[0].unique().tolist()
    mutants = [Mutant(*m) for m in survivors[["file", "line", "start", "old", "new"]].itertuples(index=False)]
    kept = work / f"retried{seed}.csv"
    kept.unlink(missing_ok=True)
    again = tried(mutants, covering(work), work, kept, jobs, added)
    table["first"] = table["verdict"]
    table.loc[survivors.index, "verdict"] = again["verdict"].to_numpy()
    report(table, seed, name)


def report(table: pd.DataFrame, seed: int, name: str) -> None:
    """Write the table with the reasons that are kept by hand, and the score."""
    keys = ["file", "code", "old", "new"]
    table = table.astype({"old": str, "new": str})
    reasons = RESULTS / "mutants_reasons.csv"
    if reasons.exists():
        table = table.merge(pd.read_csv(reasons, dtype=str)[[*keys, "why"]], on=keys, how="left")
    table["why"] = table["why"].fillna("") if "why" in table else ""
    table = table.drop(columns=["seconds", "by"], errors="ignore")
    table = table[table["verdict"] != "not tried"]
    table.to_csv(RESULTS / f"{name}.csv", index=False)
    killed = table["verdict"].str.startswith("killed")
    score = killed.mean()
    room = table["file"].str.split("/").str[1]
    lines = [
        "# Mutants",
        "",
        f"`python benchmarks/mutants.py run --mutants {len(table)} --seed {seed}`: {int(killed.sum())} of {len(table)} random"
        f" mutants on covered lines are caught by at most {MOST_TESTS} of the tests that run the line ({score:.3f}).",
        *added_since(table),
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
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
    print(f"{score:.3f} of {len(table)} caught")


def added_since(table: pd.DataFrame) -> list[str]:
    """What the score was before tests were added for survivors."""
    if "first" not in table:
        return []
    caught = table["first"].str.startswith("killed")
    return [
        "",
        f"That is after tests were added for survivors of this very sample and the survivors tried again; in the first pass"
        f" {int(caught.sum())} were caught ({caught.mean():.3f}). A fresh sample is the unbiased figure.",
    ]


def main() -> None:
    """The steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("cover", "run", "retry", "serve"))
    parser.add_argument("--work", type=Path, default=ROOT / ".mutants", help="where lines by test are kept")
    parser.add_argument("--tests", nargs="*", default=TESTS, help="folders or files of tests (cover)")
    parser.add_argument("--mutants", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--name", default="mutants", help="name of the table in benchmarks/results")
    given = parser.parse_args()
    given.work = given.work.resolve()
    if given.step == "serve":  # started by the steps below
        return serve()
    if given.step == "run":
        return run(given.work, given.mutants, given.seed, given.jobs, given.name)
    if given.step == "retry":
        return retry(given.work, given.seed, given.jobs, given.name)
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
