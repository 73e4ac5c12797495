"""How everything of ours lies on disk: versioned, written whole or not at all, same bytes every time."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import DamagedError, InputError, warn_damaged

__all__ = [
    "FORMAT_VERSION",
    "SUMS",
    "check_format",
    "check_part",
    "check_sums",
    "digest",
    "digest_file",
    "digest_files",
    "read_arrays",
    "read_header",
    "read_json",
    "read_table",
    "rounded",
    "to_plain",
    "whole_file",
    "whole_folder",
    "write_arrays",
    "write_json",
    "write_table",
]

FORMAT_VERSION = 1
"""Version of the layout of run folders; code reads its own version and older ones."""

DIGITS = 6
"""Digits of numbers that are hashed: single precision does not determine more."""

SUMS = "SHA256SUMS"
"""File of every stored folder with the sums of the others (``sha256sum -c SHA256SUMS`` checks them too)."""

AGAIN = "Take it from a copy, or make it again"
AWAY = "Move it elsewhere and run again"


def to_plain(value: Any) -> Any:
    """Turn arrays, numpy scalars, paths and tuples into what JSON knows (not-a-number becomes null)."""
    if isinstance(value, dict):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return [to_plain(v) for v in items]
    if isinstance(value, np.ndarray):
        return to_plain(value.tolist())
    if isinstance(value, np.generic):
        return to_plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None if np.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Path):
        return str(value)
    return value


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of a plain value (keys sorted)."""
    text = json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_files(folder: Path, names: Iterator[str] | list[str] | None = None) -> str:
    """SHA-256 over names and bytes of the files below a folder (or of the named ones), `SUMS` left out."""
    folder = Path(folder)
    h = hashlib.sha256()
    for name in _files(folder) if names is None else names:
        h.update(name.encode())
        with (folder / name).open("rb") as file:
            while part := file.read(1 << 20):
                h.update(part)
    return h.hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> list[str]:
    """Files below a folder, by relative name, those with sums left out."""
    found = (p for p in folder.rglob("*") if p.name != SUMS and p.is_file())
    return sorted(str(p.relative_to(folder)) for p in found)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; move it into place, safe on the disk, only when the block succeeded.

    Raises
    ------
    InputError
        Where the disk is full, or a folder stands in the file's place or a file in its folder's.
    """
    path = Path(path)
    _make_parent(path)
    if path.is_dir():
        raise InputError(str(path), "a folder, where a file is to be written", AWAY)
    partial = path.with_name(f".{path.name}.partial{path.suffix}")
    try:
        with _room_on_disk(path):
            yield partial
            _on_disk(partial)
            os.replace(partial, path)
            _on_disk(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path``; rename it into place, with the sums of its files (`SUMS`) and safe on
    the disk, only when the block succeeded. An earlier folder of ours is gone only after the new one stands.

    Raises
    ------
    InputError
        Where ``path`` is a folder with files that were not written by this function; where the disk is full.
    """
    path = Path(path)
    _refuse_others(path)
    _make_parent(path)
    partial, former = (path.with_name(f".{path.name}.{what}") for what in ("partial", "former"))
    if former.exists() and not path.exists():  # a crash came between the two moves below
        os.replace(former, path)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with _room_on_disk(path):
            partial.mkdir()
            yield partial
            _write_sums(partial)
            if path.exists():
                os.replace(path, former)
            os.replace(partial, path)
            _on_disk(path.parent)
    finally:
        if former.exists() and not path.exists():
            os.replace(former, path)
        for left in (partial, former):
            shutil.rmtree(left, ignore_errors=True)


def _make_parent(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as e:
        place = e.filename or str(path.parent)
        raise InputError(str(place), "a file, where a folder is to be written", AWAY) from None


def _refuse_others(path: Path) -> None:
    """Refuse to replace a folder that holds anything but what `whole_folder` put there."""
    if path.exists() and not path.is_dir():
        raise InputError(str(path), "a file", "Give a folder that does not exist yet")
    if not path.is_dir() or not any(path.iterdir()):
        return
    own = {name for name, _ in _sums(path)} if (path / SUMS).is_file() else set()
    foreign = [name for name in _files(path) if name not in own]
    if foreign or not own:
        named = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
        raise InputError(
            str(path),
            f"holds what mrinterp did not write there ({named or 'other folders'})",
            "Give a folder that does not exist yet, or empty this one yourself",
        )


def _write_sums(folder: Path) -> None:
    """Write the sums of a folder's files in the format of ``sha256sum``, and make sure that all is on the disk."""
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    lines = [f"{digest_file(folder / name)}  {name}\n" for name in names]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")
    for path in [*folder.rglob("*"), folder]:
        _on_disk(path)


def _sums(folder: Path) -> list[tuple[str, str]]:
    """Name and sum of every file, as the folder's `SUMS` has them."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise DamagedError(str(folder / SUMS), f"damaged ({e})", AGAIN) from None
    found = [(line[66:], line[:64]) for line in lines]
    if not found or any(
        not name or line[64:66] != "  " for line, (name, _) in zip(lines, found, strict=True)
    ):
        raise DamagedError(str(folder / SUMS), "damaged (not a list of sums)", AGAIN)
    return found


def check_sums(folder: Path, ours: bool = True) -> None:
    """Hold every file of a stored folder against the sum that was written with it.

    A folder of ``ours`` that has no sums is warned of (older versions wrote none).

    Raises
    ------
    DamagedError
        Names the file that is missing, empty or changed; the sums themselves, where they fit none of several files.
    """
    folder = Path(folder)
    if not (folder / SUMS).exists():
        if ours and folder.is_dir() and _files(folder):
            found = "missing: whether the files beside it are those that were written cannot be told"
            warn_damaged(
                str(folder / SUMS), found, "Take it from a copy; folders of older versions have none"
            )
        return
    sums = _sums(folder)
    damaged = ((name, found) for name, wanted in sums if (found := _damage(folder / name, wanted)))
    first = next(damaged, None)
    if first is not None:
        if len(sums) == 1 + sum(1 for _ in damaged) > 1:
            raise DamagedError(str(folder / SUMS), "damaged: it fits none of the files beside it", AGAIN)
        raise DamagedError(str(folder / first[0]), f"damaged{first[1]}", AGAIN)


def _damage(path: Path, wanted: str) -> str:
    """What is wrong with a file of which the sum is known, in words; empty where nothing is."""
    if not path.is_file():
        return ": the file is missing"
    try:
        found = digest_file(path)
    except OSError as e:
        return f" ({e.strerror or e})"
    if found == wanted:
        return ""
    return ": its bytes are not those that were written" if path.stat().st_size else ": it is empty"


def check_part(path: Path, recorded: str | None, mend: bool, frozen: bool = False) -> None:
    """Hold a part of a run folder, a file or a folder with sums, against its sums and against the record of the run.

    Parameters
    ----------
    path : Path
    recorded : str or None
        Its digest in the record. Sums that are gone or damaged while this is right are no loss: they are written anew
        where ``mend``, else it is said that they will be.
    frozen : bool
        A knockout: one that was changed, sums and all, is left to who knows whether its digest was frozen.

    Raises
    ------
    DamagedError
        Names the file, and what to do.
    InputError
        Where a file that the run did not write lies in a folder of its results.
    """
    fix = f"Delete {path} and run again: only what is missing is made anew"
    if not path.exists():
        raise DamagedError(str(path), "missing, though the run has stored it", "Run again: it is made anew")
    if not path.is_dir():
        if not path.stat().st_size:
            raise DamagedError(str(path), "damaged: it is empty", fix)
        if recorded is not None and digest_file(path) != recorded:
            raise DamagedError(str(path), "damaged: not what the run stored here", fix)
        return
    whole = recorded is not None and digest_files(path) == recorded
    if whole and not (path / SUMS).exists():
        _mend_sums(path, mend, "missing")
        return
    try:
        check_sums(path)
    except DamagedError as e:
        if not whole:
            raise DamagedError(e.where, e.found, fix) from None
        _mend_sums(path, mend, "damaged")
    if recorded is not None and not whole:
        _refuse_foreign(path)
        if frozen:
            return
        raise DamagedError(str(path), "damaged: not what the run stored here", fix)


def _mend_sums(folder: Path, mend: bool, found: str) -> None:
    """Write the sums of a folder anew, whose files are those of the record; or say how that is done."""
    path, whole = folder / SUMS, f"{found}; the files beside it are whole, by the record in study.json"
    if path.is_dir() and any(path.iterdir()):
        raise InputError(str(path), "a folder", AWAY)
    if not mend and path.exists():
        raise DamagedError(str(path), whole, f"Delete {path} and run again: it alone is written anew")
    if mend:
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)
        _write_sums(folder)
    warn_damaged(str(path), whole, "It is written anew" if mend else "The next run writes it anew")


def _refuse_foreign(folder: Path) -> None:
    """Name what lies in a folder of results and is not in its sums, where those that are are whole."""
    known = {name for name, _ in _sums(folder)} if (folder / SUMS).is_file() else None
    foreign = [name for name in _files(folder) if known is not None and name not in known]
    if foreign:
        found = "a file that the run did not write, in a folder of its results"
        raise InputError(str(folder / foreign[0]), found, AWAY)


def _on_disk(path: Path) -> None:
    """Ask the system to have a file's or folder's bytes on the disk, not only in memory."""
    if path.is_dir() and os.name == "nt":  # which cannot open folders
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that know no such request
            raise
    finally:
        os.close(handle)


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LEFT = 1 << 20
"""Bytes below which a disk counts as full: some libraries report a failed write without its reason."""


@contextmanager
def _room_on_disk(path: Path) -> Iterator[None]:
    """Say in one sentence that the disk is full, whichever library met it while writing to ``path``."""
    try:
        yield
    except (KeyboardInterrupt, InputError):
        raise
    except Exception as e:
        number, said = getattr(e, "errno", None), str(e)
        # Libraries put the system's words into errors of their own; numpy says only how much was written.
        known = number in FULL or any(os.strerror(n) in said for n in FULL)
        if isinstance(e, OSError) and number is None:
            known = known or "requested and" in said or shutil.disk_usage(path.parent).free < LEFT
        if not known:
            raise
        large = number == errno.EFBIG or os.strerror(errno.EFBIG) in said
        found = "the file is larger than may be written there" if large else "the disk is full"
        fix = "Free space there, or choose another place; what was finished before is kept"
        raise InputError(str(path), f"{found} (nothing of this was written)", fix) from e


def rounded(value: Any) -> Any:
    """Plain values with their numbers at `DIGITS` significant digits."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def write_json(path: Path, value: Any) -> None:
    """Write plain JSON, keys sorted, whole or not at all."""
    with whole_file(Path(path)) as partial:
        partial.write_text(json.dumps(to_plain(value), indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON, with a clear error for a file that is missing or cut short."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DamagedError(
            str(path), "no such file", "Give a folder that a finished run has written"
        ) from None
    except (OSError, ValueError, RecursionError) as e:
        found = "empty" if path.is_file() and not path.stat().st_size else f"not JSON ({e})"
        raise DamagedError(str(path), f"damaged: {found}", AGAIN) from None


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a Parquet table (no index), whole or not at all."""
    with whole_file(Path(path)) as partial:
        frame.to_parquet(partial, index=False, compression="zstd")


def read_table(path: Path) -> pd.DataFrame:
    """Read a Parquet table."""
    return pd.read_parquet(path)


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write named arrays (``.npz``) with their digest, whole or not at all."""
    with whole_file(Path(path)) as partial:
        np.savez(partial, allow_pickle=False, **arrays, **{_DIGEST: np.array(_of_arrays(arrays))})


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """What `write_arrays` wrote, all read and held against its digest.

    Raises
    ------
    DamagedError
        For a file that is not what was written.
    """
    fix = "Delete this file and run again: only its own part is repeated"
    try:
        with np.load(path, allow_pickle=False) as saved:
            arrays = dict(saved)
        written = arrays.pop(_DIGEST, None)
    except Exception as e:  # a damaged archive breaks its reader in many ways
        raise DamagedError(str(path), f"damaged ({type(e).__name__}: {e})", fix) from e
    if written is not None and str(written) != _of_arrays(arrays):
        raise DamagedError(str(path), "damaged: its numbers are not those that were written", fix)
    return arrays


_DIGEST = "sha256"


def _of_arrays(arrays: dict[str, NDArray[Any]]) -> str:
    h = hashlib.sha256()
    for name, value in sorted(arrays.items()):
        h.update(f"{name} {value.dtype.str} {value.shape} ".encode())
        h.update(np.ascontiguousarray(value).tobytes())
    return h.hexdigest()


def read_header(path: Path, kind: str) -> dict[str, Any]:
    """Header of a saved object: what `check_sums`, `read_json` and `check_format` let pass.

    Raises
    ------
    InputError
        For a file that is missing, no header of that kind, or one from a newer version; for a folder with a
        damaged file.
    """
    check_sums(Path(path).parent, ours=kind != "study")
    header = read_json(path)
    if not isinstance(header, dict):
        raise InputError(str(path), "holds no object", f"Give the folder of a {kind}")
    check_format(str(Path(path).parent), header, kind)
    return header


def check_format(place: str, header: dict[str, Any], kind: str) -> None:
    """Refuse a file of another kind, or one from a newer version of this package.

    Raises
    ------
    InputError
        Names the place, the version found and the fix.
    """
    if header.get("kind") != kind:
        raise InputError(place, f"holds {header.get('kind')!r}, not {kind!r}", f"Give the folder of a {kind}")
    version = header.get("format_version")
    if not isinstance(version, int):
        raise InputError(
            place, "carries no format version", "Was it written by mrinterp? Run the study again"
        )
    if version > FORMAT_VERSION:
        raise InputError(
            place,
            f"has format version {version}; this mrinterp reads up to {FORMAT_VERSION}",
            "Upgrade mrinterp (pip install --upgrade mrinterp)",
        )
