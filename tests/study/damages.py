"""Damages of stored files, and what a damaged run folder must do: name the file, or make it anew."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np

from mrinterp.core.errors import DamagedWarning, InputError
from mrinterp.core.storage import digest_files
from mrinterp.study import Study

DAMAGES = ("empty", "cut", "flipped", "zeros", "longer", "gone", "folder", "swapped", "text")
DRAWN = ("figures", "report.html", "report_cards", "report")
"""Parts that every run draws anew."""
READ = {
    "contrast_levels": "contrast_levels",
    "pilot.json": "pilot", "position.json": "choices", "noise.json": "choices", "scale_path.parquet": "scale_path",
    "rungs.parquet": "rungs",
    "results.parquet": "results", "results.json": "results", "estimates": "estimates", "knockouts": "knockouts",
    "panel/estimation": "panel", "panel/replication": "replication_panel", "sumstats": "sumstats", "basis": "basis",
    "design": "design", "kinds": "kinds", "equivalence.parquet": "equivalence", "checks.json": "checks",
    "agreement": "agreement", "rank_path.parquet": "rank_path", "feature_profiles": "feature_profiles",
    "borrowed": "borrowed", "paths": "paths", "grades": "claims", "study.json": "header",
}  # fmt: skip
"""What of a `Study` reads a part of its folder."""


def files(folder: Path) -> list[Path]:
    """Files of a run folder that a damage can meet, in order."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in (".lock", ".holder"))


def damage(path: Path, kind: str, rng: np.random.Generator, others: list[Path]) -> bool:
    """Damage one file; False where this kind leaves it as it was."""
    before = path.read_bytes()
    if kind == "gone":
        path.unlink()
        return True
    if kind == "folder":
        path.unlink()
        path.mkdir()
        return True
    changed = bytearray(before)
    if kind == "empty":
        changed = bytearray()
    elif kind == "cut":
        changed = changed[: int(rng.integers(0, max(len(changed), 1)))]
    elif kind == "flipped":
        for place in rng.integers(0, len(changed), int(rng.integers(1, 4))):
            changed[place] ^= 1 << int(rng.integers(8))
    elif kind == "zeros":
        start = int(rng.integers(0, len(changed)))
        changed[start : start + 4096] = bytes(len(changed[start : start + 4096]))
    elif kind == "longer":
        changed += bytes(rng.integers(0, 256, int(rng.integers(1, 200)), dtype=np.uint8))
    elif kind == "swapped":
        same = [p for p in others if p.suffix == path.suffix and p != path] or others
        changed = bytearray(same[int(rng.integers(len(same)))].read_bytes())
    else:
        changed = bytearray("{}\n" if rng.random() < 0.5 else "not what it was\n", "utf-8")
    path.write_bytes(changed)
    return bytes(changed) != before


@contextmanager
def warned(said: list[str]) -> Iterator[None]:
    """Collect what is warned of damaged files."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", DamagedWarning)
        yield
    said += [str(w.message) for w in found if issubclass(w.category, DamagedWarning)]


@contextmanager
def undrawn() -> Iterator[None]:
    """Leave figures and page as they are: four fifths of the time of a run that finds all else finished."""
    with mock.patch.object(Study, "_draw"), mock.patch.object(Study, "_write_page"):
        yield


def read(out: Path, name: Path | None = None) -> list[str]:
    """What is said when parts are asked for through Python, all of them or the one of a file; nothing where each gives
    its numbers."""
    said: list[str] = []
    for part, asked in READ.items():
        if name is not None and not name.is_relative_to(part):
            continue
        with warned(said):
            try:
                getattr(Study.open(out), asked)
            except InputError as e:
                said.append(str(e))
    return said


def names(said: list[str], path: Path) -> bool:
    """Whether a damaged file is named: itself, and of a part of the run that is gone or another's, the part."""
    return any(
        s.startswith((f"{path}: ", f"{path.parent}: damaged: not what the run stored here")) for s in said
    )


def run_to_the_end(study_file: Path, out: Path, path: Path, whole: str) -> tuple[str, str]:
    """Run a damaged folder as its owner would: ``named`` and mended as the message says, or ``healed``, which is said
    of everything but what every run draws anew.

    Returns
    -------
    outcome, detail
        Else ``silent``, ``unnamed`` or ``not mended``, with what was said.
    """
    said: list[str] = []
    drawn = path.relative_to(out).parts[0] in DRAWN
    try:
        with warned(said):
            Study.from_toml(study_file, out).run()
    except InputError as e:
        words = str(e)
        if not names([words], path):
            return "unnamed", words
        if path == out / "study.json":
            return ("named" if e.fix else "unnamed"), words
        if "Delete " not in e.fix and "Move it elsewhere and run again" not in e.fix:
            return "not mended", words
        lost = Path(e.fix.split("Delete ")[1].split(" and run again")[0]) if "Delete " in e.fix else path
        shutil.rmtree(lost) if lost.is_dir() else lost.unlink(missing_ok=True)
        with warned(said):
            Study.from_toml(study_file, out).run()
        fit = (drawn or names(said, lost)) and digest_with_sums(out) == whole
        return ("named" if fit else "not mended"), words
    if digest_with_sums(out) != whole:
        return "silent", ""
    return ("healed" if drawn or names(said, path) else "healed, UNSAID"), "; ".join(said)


def digest_with_sums(folder: Path) -> str:
    """Digest of every file of a folder, the lists of sums among them."""
    return digest_files(folder, [p.relative_to(folder).as_posix() for p in files(folder)])
