"""The place of a run: one process in it at a time, its header ``study.json`` whole, and no folder of someone else's."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mrinterp.core.errors import DamagedError, InputError
from mrinterp.core.storage import digest, read_header, write_json

__all__ = ["only_process", "read_study_header", "refuse_others", "write_study_header"]

LOCK_FILES = (".lock", ".holder")
"""What lies in a folder while it is used: the lock, which stays as an empty file, and who holds it."""


@contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made where it does not exist, so that no other process writes into it.

    A crash, or a kill, leaves nothing held. A folder in which nothing was made is removed again.

    Raises
    ------
    InputError
        Where another process holds it: says which.
    """
    existed = folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    lock, holder = (folder / name for name in LOCK_FILES)
    try:
        with FileLock(lock, timeout=0):
            try:
                holder.write_text(json.dumps({"process": os.getpid(), "machine": platform.node()}) + "\n")
                yield
            finally:
                holder.unlink(missing_ok=True)
                if not existed and {p.name for p in folder.iterdir()} <= set(LOCK_FILES):
                    lock.unlink(missing_ok=True)
                    folder.rmdir()
    except Timeout:
        fix = "Wait until it is done, or stop it; or give another --out"
        raise InputError(str(folder), f"{_named(holder)} is running in it", fix) from None


def _named(holder: Path) -> str:
    """The process that holds a folder, in words; it says so right after it began."""
    for _ in range(20):
        try:
            said = json.loads(holder.read_text())
            number, machine = int(said["process"]), str(said["machine"])
        except (OSError, ValueError, KeyError, TypeError):
            time.sleep(0.02)
            continue
        here = (number, machine) == (os.getpid(), platform.node())
        return f"process {number}{' (this one, through another Study)' * here} on {machine!r}"
    return "another process"


KEYS = {"source": str, "rules_hash": str, "candidates_hash": str, "knockouts": dict, "provenance": dict}
"""What a header must hold, beside its plan."""
BEGINNING = (*LOCK_FILES, ".work", "design", ".design.partial", ".study.json.partial.json")
"""What may lie in a folder whose run was stopped before its header was written."""


def read_study_header(folder: Path) -> dict[str, Any]:
    """What ``study.json`` holds.

    Raises
    ------
    InputError
        Where there is none, or one of another kind or a newer version; `DamagedError` where it is not what the run
        wrote.
    """
    path = folder / "study.json"
    if not path.is_file():
        raise InputError(
            str(folder),
            "not a run folder: it holds no study.json",
            "Give a folder that mrinterp run has written",
        )
    fix = "Put a copy of this file back, or run into another --out: without it the run cannot go on"
    try:
        header = read_header(path, "study")
    except DamagedError as e:
        raise DamagedError(e.where, e.found, fix) from e
    if not isinstance(header.get("plan"), dict):
        raise InputError(
            str(folder), "its study.json holds no plan", "Give a folder that mrinterp run has written"
        )
    written = header.pop("digest", None)  # older versions wrote none
    if written is not None and not _is_whole(json.dumps(header), written):
        raise DamagedError(str(path), "damaged: it does not say what the run wrote", fix)
    lacking = [key for key, kind in KEYS.items() if not isinstance(header.get(key), kind)]
    if lacking:
        raise DamagedError(str(path), f"damaged: it holds no {lacking[0]}", fix)
    return header


def write_study_header(folder: Path, header: dict[str, Any]) -> None:
    """Write ``study.json`` with a digest of what it says (but for ``source``, which a folder that moves may change)."""
    write_json(folder / "study.json", {**header, "digest": _digest(header)})


@lru_cache(maxsize=4)
def _is_whole(header: str, written: str) -> bool:
    """Whether a header has the digest that stands in it; asked hundreds of times a run, of few headers."""
    return _digest(json.loads(header)) == written


def _digest(header: dict[str, Any]) -> str:
    return digest({key: value for key, value in header.items() if key != "source"})


def refuse_others(folder: Path) -> None:
    """Refuse to run into a folder that is no run's: what it holds is someone else's.

    Raises
    ------
    InputError
        Names what lies there.
    """
    found = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    design = folder / "design"
    other = [name for name in found if name not in BEGINNING]
    other += ["design"] if design.exists() and not (design / "design.json").is_file() else []
    if other:
        more = f" and {len(other) - 3} more" if len(other) > 3 else ""
        named = ", ".join(map(repr, other[:3])) + more
        raise InputError(
            str(folder), f"not a run folder, and it holds {named}", "Give a new or an empty folder (--out)"
        )
