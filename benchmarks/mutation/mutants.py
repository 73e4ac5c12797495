"""Would the tests notice? Random mutants of the rooms that compute, and how many of them a test catches.

``python benchmarks/mutation/mutants.py cover`` runs the tests once and keeps which test ran which line, and how long each
test took (about twice as long as the tests themselves). ``python benchmarks/mutation/mutants.py run --mutants 300 --seed 0``
then draws mutants at random (one operator or one constant, changed on a covered line of ``stats``, ``mr``, ``coloc``,
``knockouts``, ``scan``, ``diagnostics`` and ``models``), runs for each at most 40 tests that ran its line, the most
specific first, and as many cases of kept numbers before them, and writes ``benchmarks/results/mutants.csv`` and ``mutants.md``. Each verdict is kept as it comes, and
a second call goes on from there. A mutant is put into code that is loaded already (`in_place`), or, where it changes
what runs at import, into a copy of the project (`forks`).

Lines of compiled kernels are not seen by coverage: they count as covered by the tests that ran a line which names a
function of the kernel's module.

After tests were added, ``cover --work .mutants/new --tests FILES`` learns what they run and ``retry --seed 0`` tries
the survivors again that are not equivalent, the added tests first and four times as many in all; the table states the score before and after. Why a survivor does not matter
is kept by hand in ``benchmarks/results/mutants_reasons.csv`` (``equivalent``: yes where nothing that a user can see changes)
and joined to the table. Where several samples were
drawn, each has its table (``--name``).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import count as counted
from pathlib import Path
from queue import Queue

import numpy as np
import pandas as pd
from covering import AGAIN, MOST_TESTS, ROOT, Lines, chosen, cover, covering, shares
from forks import Runner, copies, without_callers
from in_place import UNCHANGED
from places import Mutant, Places
from tqdm import tqdm

RESULTS = ROOT / "benchmarks" / "results"
ROOMS = ("stats", "mr", "coloc", "knockouts", "scan", "diagnostics", "models")
TESTS = [
    f"tests/{folder}"
    for folder in ("stats", "mr", "knockouts", "contrasts", "coloc", "networks", "diagnostics", "kept")
]
"""Tests that run whole studies are too slow for this: lines that only they run are not drawn."""


def drawn(lines: Lines, count: int, seed: int) -> list[Mutant]:
    """Mutants of covered lines, at random: all places are shuffled, and one change of each of the first covered taken."""
    places: list[list[Mutant]] = []
    for room in ROOMS:
        for path in sorted((ROOT / "mrinterp" / room).rglob("*.py")):
            places += Places(str(path.relative_to(ROOT)), path.read_text()).found
    dice = random.Random(seed)
    dice.shuffle(places)
    return [m for m in map(dice.choice, places) if lines.get((m.file, m.line))][:count]


class InPlace:
    """A process that has imported rooms and tests, and changes what is loaded in a fork for each mutant."""

    def __init__(self) -> None:
        command = [
            sys.executable,
            str(Path(__file__).with_name("in_place.py")),
            json.dumps(ROOMS),
            json.dumps(TESTS),
        ]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, mutant: Mutant | None, tests: list[str], patience: float) -> tuple[int | None, str]:
        """Pytest's exit code (None: out of time) and the first test that failed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        order = {"mutant": mutant and asdict(mutant), "tests": tests, "patience": patience}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        code, failed = json.loads(self.process.stdout.readline())
        return code, failed

    def verdict(self, mutant: Mutant, tests: list[str], patience: float) -> tuple[str, str] | None:
        """Whether one of the tests fails with the mutant, and which one; None where it cannot be put in place."""
        while tests:
            code, failed = self(mutant, tests, patience)
            if code == UNCHANGED:
                return None
            if code is None:
                return "killed (time)", ""
            if code == 0:
                return "survived", ""
            suspects = [failed] if failed in tests else tests
            if failed in SOUND or self(None, suspects, patience)[0] == 0:
                SOUND.add(failed)
                return "killed", failed or f"exit {code}"
            if failed not in tests:
                break
            tests = [t for t in tests if t != failed]
        return "not tried", ""


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
    specific = shares(lines, {m.file for m in mutants})
    os.environ.setdefault("MRINTERP_REFERENCE", str(ROOT.parent / "shared" / "reference"))
    before = pd.read_csv(kept, dtype={"old": str, "new": str}) if kept.exists() else pd.DataFrame()
    known = {(m["file"], m["start"], m["new"]): m for m in before.to_dict("records")}
    runners: Queue[tuple[InPlace, Runner]] = Queue()
    for tree in copies(work, jobs):
        runners.put((InPlace(), Runner(tree)))

    def one(mutant: Mutant) -> dict[str, object]:
        key = (mutant.file, mutant.start, mutant.new)
        if key in known:
            return dict(known[key])
        tests = chosen(lines[mutant.file, mutant.line], seconds, specific[mutant.file], first)
        both, start = runners.get(), time.monotonic()
        patience = 20 + 2 * sum(seconds[t] for t in tests)
        try:
            outcome, by = both[0].verdict(mutant, tests, patience) or verdict(
                mutant, tests, both[1], patience
            )
        finally:
            runners.put(both)
        code = (ROOT / mutant.file).read_text().splitlines()[mutant.line - 1].strip()
        row = asdict(mutant) | {"code": code, "tests": len(tests), "verdict": outcome, "by": by}
        row["seconds"] = round(time.monotonic() - start, 1)
        pd.DataFrame([row]).to_csv(kept, mode="a", header=not kept.exists(), index=False)
        return row

    with ThreadPoolExecutor(jobs) as pool:
        return pd.DataFrame(tqdm(pool.map(one, mutants), total=len(mutants), unit="mutant", disable=None))


def run(work: Path, count: int, seed: int, jobs: int, name: str, note: str) -> None:
    """Draw, try and write down."""
    found = covering(work)
    report(
        tried(drawn(found[0], count, seed), found, work, work / f"tried{seed}.csv", jobs, []),
        seed,
        name,
        note,
    )


def retry(work: Path, seed: int, jobs: int, name: str, note: str) -> None:
    """Try the survivors of a sample again, the tests that were added since first, and write down."""
    table = pd.read_csv(work / f"tried{seed}.csv", dtype={"old": str, "new": str})
    keys = ["file", "code", "old", "new"]
    reasons = pd.read_csv(RESULTS / "mutants_reasons.csv", dtype=str)
    same = set(map(tuple, reasons[reasons["equivalent"] == "yes"][keys].to_numpy()))
    left = np.array([tuple(row) not in same for row in table[keys].astype(str).to_numpy()])
    survivors = table[(table["verdict"] == "survived") & left]
    added = pd.read_csv(work / "new" / "seconds.csv")["test"].str.split("[").str[0].unique().tolist()
    mutants = [Mutant(*m) for m in survivors[["file", "line", "start", "old", "new"]].itertuples(index=False)]
    kept = work / f"retried{seed}.csv"
    kept.unlink(missing_ok=True)
    again = tried(mutants, covering(work), work, kept, jobs, added)
    table["first"] = table["verdict"]
    table.loc[survivors.index, "verdict"] = again["verdict"].to_numpy()
    report(table, seed, name, note)


def report(table: pd.DataFrame, seed: int, name: str, note: str) -> None:
    """Write the table with the reasons that are kept by hand, and the score."""
    keys = ["file", "code", "old", "new"]
    table = table.astype({"old": str, "new": str})
    reasons = RESULTS / "mutants_reasons.csv"
    known = pd.read_csv(reasons, dtype=str).drop_duplicates(keys)[[*keys, "equivalent", "why"]]
    table = table.merge(known, on=keys, how="left").fillna({"why": "", "equivalent": "no"})
    table = table.drop(columns=["seconds", "by"], errors="ignore")
    table = table[table["verdict"] != "not tried"]
    table.to_csv(RESULTS / f"{name}.csv", index=False)
    killed = table["verdict"].str.startswith("killed")
    same = ~killed & table["equivalent"].eq("yes")
    score = killed.sum() / (~same).sum()
    room = table["file"].str.split("/").str[1]
    lines = [
        "# Mutants",
        "",
        f"`python benchmarks/mutation/mutants.py run --mutants {len(table)} --seed {seed}`: {int(killed.sum())} of {len(table)} random"
        f" mutants on covered lines are caught by at most {MOST_TESTS} kept numbers and {MOST_TESTS} other tests that run the line ({killed.mean():.3f}).",
        f"{int(same.sum())} others change nothing that a user can see, each with its reason below (*equivalent*). Without them, as"
        f" the score is defined (DeMillo, Lipton & Sayward 1978, 10.1109/C-M.1978.218136): **{score:.3f}**.",
        *added_since(table, same),
        *(["", note] if note else []),
        "",
        "| room | mutants | caught |",
        "|---|---|---|",
        *(f"| {name} | {len(of)} | {of.mean():.2f} |" for name, of in killed.groupby(room)),
        "",
        "| survivor | change | equivalent | why |",
        "|---|---|---|---|",
    ]
    for m in table[~killed].sort_values(["file", "line"]).to_dict("records"):
        code = str(m["code"]).replace("|", "\\|")
        lines.append(
            f"| `{m['file']}:{m['line']}` `{code}` | `{m['old']}` to `{m['new']}` | {m['equivalent']} | {m['why'] or 'not looked at'} |"
        )
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
    print(f"{killed.mean():.3f} of {len(table)} caught, {score:.3f} of those that change something")


def added_since(table: pd.DataFrame, same: pd.Series) -> list[str]:
    """What the score was before tests were added for survivors."""
    if "first" not in table:
        return []
    caught = table["first"].str.startswith("killed")
    return [
        "",
        f"That is after tests were added for survivors of this very sample and the survivors tried again, on up to {AGAIN * MOST_TESTS} tests. In the first pass"
        f" {int(caught.sum())} were caught ({caught.mean():.3f}; {caught.sum() / (~same).sum():.3f} without equivalent ones): a fresh"
        " sample would come out near there.",
    ]


def main() -> None:
    """The steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("cover", "run", "retry"))
    parser.add_argument("--work", type=Path, default=ROOT / ".mutants", help="where lines by test are kept")
    parser.add_argument("--tests", nargs="*", default=TESTS, help="folders or files of tests (cover)")
    parser.add_argument("--mutants", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--name", default="mutants", help="name of the table in benchmarks/results")
    parser.add_argument("--note", default="", help="words for the table, such as which version it is of")
    given = parser.parse_args()
    given.work = given.work.resolve()
    if given.step == "run":
        return run(given.work, given.mutants, given.seed, given.jobs, given.name, given.note)
    if given.step == "retry":
        return retry(given.work, given.seed, given.jobs, given.name, given.note)
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
