"""The place of a run: one process in it at a time, its parts and its header whole, and no folder of someone else's."""

from __future__ import annotations

import json
import os
import pickle
import platform
import shutil
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from filelock import FileLock, Timeout

from mrinterp.core.errors import DamagedError, DamagedWarning, InputError, warn_damaged
from mrinterp.core.storage import (
    check_part,
    digest,
    digest_file,
    digest_files,
    read_header,
    read_json,
    read_table,
    write_json,
    write_table,
)

__all__ = ["StoredParts", "refuse_others", "write_study_header"]

T = TypeVar("T")

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
BEGINNING = (*LOCK_FILES, ".work", "given", "design", ".design.partial", ".study.json.partial.json")
"""What may lie in a folder whose run was stopped before its header was written."""


BACK = "Put a copy of this file back, or run into another --out: without it the run cannot go on"


def _refuse_headless(folder: Path) -> None:
    """Name a header that is gone where the parts of a run lie beside its place, or that is a folder."""
    path = folder / "study.json"
    if path.is_dir():
        raise DamagedError(str(path), "damaged: a folder", BACK)
    if not path.exists() and all((folder / p).is_file() for p in ("design/design.json", "basis/basis.json")):
        raise DamagedError(str(path), "missing, though the parts of a run lie beside it", BACK)


def read_study_header(folder: Path) -> dict[str, Any]:
    """What ``study.json`` holds.

    Raises
    ------
    InputError
        Where there is none, or one of another kind or a newer version; `DamagedError` where it is not what the run
        wrote.
    """
    path = folder / "study.json"
    _refuse_headless(folder)
    if not path.is_file():
        raise InputError(
            str(folder),
            "not a run folder: it holds no study.json",
            "Give a folder that mrinterp run has written",
        )
    header: dict[str, Any] = pickle.loads(_checked_header(path, path.read_bytes()))
    return header


@lru_cache(maxsize=4)
def _checked_header(path: Path, content: bytes) -> bytes:
    """The header, pickled, of a file that holds ``content``: asked hundreds of times a run, of few headers."""
    try:
        found = read_json(path)
    except DamagedError as e:
        raise DamagedError(e.where, e.found, BACK) from e
    kind = found.get("kind") if isinstance(found, dict) else type(found).__name__
    if kind != "study":
        raise DamagedError(str(path), f"damaged: it holds {kind!r}, not 'study'", BACK)
    header = read_header(path, "study")
    if not isinstance(header.get("plan"), dict):
        raise InputError(
            str(path.parent), "its study.json holds no plan", "Give a folder that mrinterp run has written"
        )
    written = header.pop("digest", None)  # older versions wrote none
    if written is not None and _digest(header) != written:
        raise DamagedError(str(path), "damaged: it does not say what the run wrote", BACK)
    lacking = [key for key, kind in KEYS.items() if not isinstance(header.get(key), kind)]
    if lacking:
        raise DamagedError(str(path), f"damaged: it holds no {lacking[0]}", BACK)
    return pickle.dumps(header)


def write_study_header(folder: Path, header: dict[str, Any]) -> None:
    """Write ``study.json`` with a digest of what it says (but for ``source``, which a folder that moves may change)."""
    write_json(folder / "study.json", {**header, "digest": _digest(header)})


def _digest(header: dict[str, Any]) -> str:
    return digest({key: value for key, value in header.items() if key != "source"})


def refuse_others(folder: Path) -> None:
    """Refuse to run into a folder that is no run's: what it holds is someone else's.

    Raises
    ------
    InputError
        Names what lies there.
    """
    _refuse_headless(folder)
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


class StoredParts(ABC):
    """What is stored in the folder of a run: each part made once, whole, and held against its digests when it is opened.

    Parameters
    ----------
    path : Path
        May not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._made: set[str] = set()
        self._is_held = False

    @property
    def work(self) -> Path:
        """Where finished shards of unfinished steps wait."""
        return self.path / ".work"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out of the folder: `only_process`."""
        with nullcontext() if self._is_held else only_process(self.path):
            before, self._is_held = self._is_held, True
            try:
                yield
            finally:
                self._is_held = before

    def kept(self, name: str, load: Callable[[Path], T], make: Callable[[], Any]) -> T:
        """A step's result: reopened where it is finished, made and saved whole where it is not.

        Raises
        ------
        InputError
            If what is there is damaged, or is not what the run stored; or for a number that uses outcomes, before the
            knockouts are frozen.
        """
        folder = self.path / name
        if self._is_absent(name):
            self.place(name)
            make().save(folder)
            shutil.rmtree(self.work / name.rsplit("/", 1)[-1], ignore_errors=True)
        return self._loaded(folder, load)

    def kept_table(self, name: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """A step's table (Parquet), made where it is not there."""
        if self._is_absent(name):
            write_table(self.place(name), make())
        return self._loaded(self.path / name, read_table)

    def kept_json(self, name: str, make: Callable[[], Any]) -> Any:
        """A step's plain values (JSON), made where they are not there."""
        if self._is_absent(name):
            write_json(self.place(name), make())
        return self._loaded(self.path / name, read_json)

    @abstractmethod
    def place(self, name: str) -> Path:
        """Where a step may write a result of this name; it is then one that was made by this process."""

    def _is_absent(self, name: str) -> bool:
        """Whether a part is to be made; one that the run had stored is not made anew without a word."""
        path = self.path / name
        if not path.exists() and self._stored_digest(name) is not None:
            found = "missing, though the run has stored it"
            if not self._is_held:
                raise DamagedError(str(path), found, "Run again: only what is missing is made anew")
            warn_damaged(str(path), found, "It is made anew")
        return not path.exists()

    def _loaded(self, path: Path, load: Callable[[Path], T]) -> T:
        """What is stored, once its bytes are those that were written."""
        name = path.relative_to(self.path).as_posix()
        stored = None if name in self._made else self._stored_digest(name)
        # Knockouts are held against the digest that was frozen, by `check_frozen`.
        check_part(path, stored, self._is_held, frozen=name.startswith("knockouts/"))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DamagedWarning)  # said by `check_part`
                return load(path)
        except InputError as e:
            if not isinstance(e, DamagedError):
                raise
            where, found = e.where, e.found
        except (
            Exception
        ) as e:  # a damaged file of an older version, without sums, breaks its reader in many ways
            where, found = str(path), f"damaged ({(str(e).splitlines() or [type(e).__name__])[0]})"
        raise DamagedError(where, found, f"Delete {path} and run again: only what is missing is made anew")

    def _stored_digest(self, name: str) -> str | None:
        """The digest that the record has of a part, the last one where it was made more than once."""
        return next(reversed(self._wrote(name)), None)

    def _wrote(self, name: str) -> list[str]:
        """Every digest that the record has of a part, in the order in which they came."""
        return [e["wrote"][name] for e in self._history if name in e["wrote"]]

    @property
    def header(self) -> dict[str, Any]:
        """What ``study.json`` holds: plan, hashes, record of the steps, provenance."""
        return read_study_header(self.path)

    def _digest(self, name: str) -> str:
        path = self.path / name
        return digest_files(path) if path.is_dir() else digest_file(path)

    @property
    def _history(self) -> list[dict[str, Any]]:
        return self.header.get("history", []) if (self.path / "study.json").exists() else []
