"""A new user's first study, as docs/first_study.md has it: its programs and typed lines, carried out and timed.

    python benchmarks/new_user/protocol.py [folder]

For each section of the page (texts, token arrays, images, a table): the program is saved, the lines are given to a shell as they
stand, and each is timed. A person's time is modeled, not measured: typing at 40 words of five characters a minute; reading, at 200
words a minute, the section's own sentences, all that is printed up to the run's first verdict, and then the page's answer. Words
are what has two letters or more; the run's summary after its first verdict says what the page says and is not read twice. Programs
are saved, not typed: they stand in for a network that the person has. Then the answer is held against the page's table: what the
feature of the largest effect responds to must be what was planted, and its verdict `causal`. Writes
benchmarks/results/new_user.md.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE, INSTALL = ROOT / "docs" / "first_study.md", ROOT / "docs" / "install.md"
TYPED, READ = 40, 200
"""Words a minute; a word that is typed has five characters, as typing speeds are counted."""
MOST_LINES, MOST_MINUTES = 15, 10
"""What a first study may take: lines typed, and minutes of a person."""
STEPS = {
    "network": r"python ",
    "describe": r"mrinterp describe",
    "init": r"mrinterp init",
    "dry run": r"mrinterp run .*--dry-run",
    "run": r"mrinterp run (?!.*--dry-run)",
    "page": r"xdg-open",
}
"""What a typed command is, by how it begins."""

Perform = Callable[[str, Path], str]
"""Carries out a command in a folder and returns what it printed."""


@dataclass(frozen=True)
class Section:
    """One section of the page: its sentences, its program, what is typed, and what was planted."""

    title: str
    sentences: str
    program: str
    typed: str
    planted: str

    @property
    def file(self) -> str:
        """Name that the program is saved under: its first line says it."""
        return self.program.splitlines()[0].removeprefix("# ").strip()

    @property
    def commands(self) -> list[str]:
        """What is typed, a command each; a line that ends in a backslash goes on in the next."""
        return self.typed.strip().replace("\\\n", "").splitlines()

    @property
    def lines(self) -> int:
        """Lines typed, continued ones counted."""
        return len(self.typed.strip().splitlines())


@dataclass
class Followed:
    """What came of following one section: seconds of each step by the clock and of the processor, and words read."""

    section: Section
    clock: dict[str, float] = field(default_factory=dict)
    processor: dict[str, float] = field(default_factory=dict)
    until_verdict: int = 0
    page: int = 0

    @property
    def person(self) -> float:
        """Minutes of a person up to the first verdict: typing, and reading the section and what was printed."""
        read = words(self.section.sentences) + self.until_verdict
        return len(self.section.typed) / 5 / TYPED + read / READ

    @property
    def machine(self) -> float:
        """Minutes of one processor."""
        return sum(self.processor.values()) / 60


def words(text: str) -> int:
    """Words of a text: what has two letters or more."""
    return len(re.findall(r"[A-Za-z]{2,}[\w'-]*", text))


def sections(page: str) -> list[Section]:
    """The page's sections that can be followed."""
    found = []
    for part in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        program, typed = (re.search(rf"```{kind}\n(.*?)```", part, flags=re.DOTALL) for kind in ("py", "sh"))
        if program is None or typed is None:
            continue
        sentences = re.sub(r"```.*?```", "", part, flags=re.DOTALL).strip()
        planted = re.findall(r"`([^`]+)`", sentences.splitlines()[-1])[-1]
        found.append(Section(part.splitlines()[0], sentences, program[1], typed[1], planted))
    return found


def shell(folder: Path) -> Perform:
    """A person's shell: ``python``, ``mrinterp``, and an ``xdg-open`` that only looks whether the page is there."""
    folder.mkdir(parents=True, exist_ok=True)
    python = shlex.quote(sys.executable)
    scripts = {
        "python": f'exec {python} "$@"',
        "mrinterp": f'exec {python} -m mrinterp "$@"',
        "xdg-open": 'test -s "$1"',
    }
    for name, line in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "MRINTERP_CONFIG": str(folder / "config"),
        "HF_HUB_OFFLINE": "1",
        "COLUMNS": "80",
    }

    def perform(command: str, where: Path) -> str:
        ran = subprocess.run(command, shell=True, cwd=where, env=environment, capture_output=True, text=True)
        if ran.returncode:
            raise RuntimeError(f"{command}\n{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}")
        return ran.stdout

    return perform


def follow(section: Section, folder: Path, perform: Perform, smaller: str = "") -> Followed:
    """Do what a section says.

    Parameters
    ----------
    smaller : str
        Takes the place of the program's line of training steps and families, for tests.
    """
    folder.mkdir(parents=True, exist_ok=True)
    program = section.program
    if smaller:
        program = re.sub(r"^STEPS, FAMILIES = .*$", smaller, program, flags=re.MULTILINE)
    (folder / section.file).write_text(program)
    done = Followed(section)
    for command in section.commands:
        step = next(name for name, pattern in STEPS.items() if re.match(pattern, command))
        begun, used = time.perf_counter(), _processor()
        printed = perform(command, folder)
        done.clock[step], done.processor[step] = time.perf_counter() - begun, _processor() - used
        if step == "run":
            verdict = re.search(r".*?\b(?:causal|negligible|indeterminate)\b", printed, flags=re.DOTALL)
            printed = verdict[0] if verdict else printed
        done.until_verdict += words(printed)
        if step == "page":
            done.page = words(answer_of((folder / command.split()[1]).read_text(encoding="utf-8")))
    return done


def _processor() -> float:
    """Seconds of the processor that finished commands have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def answer_of(page: str) -> str:
    """The sentences of a page's answer, its figures left out."""
    found = re.search(r'<section id="answer">(.*?)</section>', page, flags=re.DOTALL)
    text = re.sub(r"<(svg|style|script)\b.*?</\1>", " ", found[1] if found else page, flags=re.DOTALL)
    return re.sub(r"<[^>]*>", " ", text)


def names_the_cause(section: Section, folder: Path) -> tuple[bool, str]:
    """Whether the largest effect is causal and its feature responds to what was planted; and what it is, in words."""
    told = json.loads((next(folder.glob("runs/*")) / "results.json").read_text())
    row = max(told, key=lambda r: abs(r["effect"]))
    said = f"{row['label']}: {row['verdict']}, {row['effect']:+.2f}, {row['confirmed']}"
    return section.planted in str(row["label"]) and row["verdict"] == "causal", said


def install_minutes() -> float:
    """How long installing takes, as docs/install.md says it was measured."""
    found = re.search(r"installing takes\s+some ([\d.]+) min", INSTALL.read_text(encoding="utf-8"))
    if found is None:
        raise RuntimeError("docs/install.md no longer says how long installing takes")
    return float(found[1])


def table(rows: list[dict[str, str]]) -> list[str]:
    """Rows as a table."""
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    return lines + ["| " + " | ".join(row.values()) + " |" for row in rows]


def row_of(done: Followed, named: bool, said: str) -> dict[str, str]:
    """One section in the table of results."""
    row = {"inputs": done.section.title, "lines typed": str(done.section.lines)}
    row |= {"machine, min": f"{done.machine:.1f}", "person, min": f"{done.person:.1f}"}
    row |= {"with installing, min": f"{install_minutes() + done.machine + done.person:.1f}"}
    return row | {
        "planted": f"`{done.section.planted}`",
        "largest effect": said,
        "named": "yes" if named else "NO",
    }


def page_of(rows: list[dict[str, str]]) -> str:
    """The page of results."""
    late = [row["inputs"] for row in rows if float(row["with installing, min"]) > MOST_MINUTES]
    whole = f"{', '.join(late)} took longer" if late else "none took longer"
    return "\n".join(
        [
            "# A new user's first studies",
            "",
            "`python benchmarks/new_user/protocol.py`: programs and typed lines of docs/first_study.md, as they stand there.",
            "",
            "- Machine: all steps from training to the page, in minutes of one processor; by the clock it takes longer where the"
            " machine has other work.",
            f"- Person, up to the first verdict: modeled, not measured. Typing at {TYPED} words of five characters a minute; reading"
            f" the section's sentences and all that is printed up to the first verdict at {READ} words a minute.",
            f"- Installing: {install_minutes():g} min, taken from docs/install.md. Nothing is counted as done at once, though a"
            " person can read while the machine works.",
            "",
            f"Bars: at most {MOST_LINES} lines and {MOST_MINUTES} minutes of a person; {MOST_MINUTES} minutes from `pip install` to"
            f" the first verdict: {whole}.",
            "",
            *table(rows),
            "",
        ]
    )


def main() -> None:
    """All sections, and the table of what came out."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    perform, done, rows = shell(folder / "bin"), [], []
    for number, section in enumerate(sections(PAGE.read_text(encoding="utf-8"))):
        done.append(follow(section, folder / str(number), perform))
        rows.append(row_of(done[-1], *names_the_cause(section, folder / str(number))))
        print(*table(rows[-1:])[2:], flush=True)
    (ROOT / "benchmarks" / "results" / "new_user.md").write_text(page_of(rows), encoding="utf-8")
    late = [d.section.title for d in done if d.person > MOST_MINUTES or d.section.lines > MOST_LINES]
    wrong = [row["inputs"] for row in rows if row["named"] != "yes"]
    if late or wrong:
        sys.exit(
            f"more than {MOST_MINUTES} min of a person or {MOST_LINES} lines: {late}; not named: {wrong}"
        )


if __name__ == "__main__":
    main()
