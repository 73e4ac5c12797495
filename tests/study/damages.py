"""Damages of stored files, and what a damaged run folder must do: name the file, or make it anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from mrinterp.core.errors import InputError
from mrinterp.core.storage import SUMS, digest_files
from mrinterp.study import Study

DAMAGES = ("empty", "cut", "flipped", "zeros", "longer", "gone", "folder", "swapped", "text")
DRAWN = ("figures", "report.html")
"""Parts that every run draws anew."""
READ = {
    "contrast_levels": "contrast_levels",
    "pilot.json": "pilot",
    "rungs.parquet": "rungs",
    "results.parquet": "results", "results.json": "results", "estimates": "estimates", "knockouts": "knockouts",
    "panel/estimation": "panel", "panel/replication": "replication_panel", "sumstats": "sumstats", "basis": "basis",
    "design": "design", "kinds": "kinds", "equivalence.parquet": "equivalence", "checks.json": "checks",
    "agreement": "agreement", "rank_path.parquet": "rank_path", "study.json": "header",
}  # fmt: skip
"""What of a `Study` reads a part of its folder."""


def files(folder: Path) -> list[Path]:
    """Files of a run folder that a damage can meet, in order."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in (".lock", ".holder"))


def damage(path: Path, kind: str, rng: np.random.Generator, others: list[Path]) -> bool:
    """Damage one file; False where this kind leaves it as it was."""
    before = path.read_bytes()
    if kind == "gone" and path.name == SUMS:
        return False  # the record of the run has the digests too
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


def read(out: Path, name: Path | None = None) -> list[str]:
    """What is said when parts are asked for through Python, all of them or the one of a file; nothing where each gives
    its numbers."""
    said = []
    for part, asked in READ.items():
        if name is not None and not name.is_relative_to(part):
            continue
        try:
            getattr(Study.open(out), asked)
        except InputError as e:
            said.append(str(e))
    return said


def run_to_the_end(study_file: Path, out: Path, path: Path, whole: str) -> tuple[str, str]:
    """Run a damaged folder as its owner would: ``named`` and mended as the message says, or ``healed``.

    Returns
    -------
    outcome, detail
        Else ``silent``, ``unnamed`` or ``not mended``, with what was said.
    """
    try:
        Study.from_toml(study_file, out).run()
    except InputError as e:
        said = str(e)
        if path.name == "study.json":
            fit = str(path) in said or str(path.parent) in said
            return ("named" if fit and e.fix else "unnamed"), said
        if e.where not in (str(path), str(path.parent)) or "Delete " not in e.fix:
            return "unnamed", said
        lost = Path(e.fix.split("Delete ")[1].split(" and run again")[0])
        shutil.rmtree(lost) if lost.is_dir() else lost.unlink(missing_ok=True)
        Study.from_toml(study_file, out).run()
        return ("named" if digest_files(out) == whole else "not mended"), said
    return ("healed" if digest_files(out) == whole else "silent"), ""
