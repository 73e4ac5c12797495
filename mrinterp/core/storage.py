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

from mrinterp.core.errors import DamagedError, InputError

__all__ = [
    "FORMAT_VERSION",
    "SUMS",
    "check_format",
    "check_sums",
    "digest",
    "digest_file",
    "digest_files",
    "read_arrays",
    "read_header",
    "read_json",
    "read_table",
    "to_plain",
    "whole_file",
    "whole_folder",
    "write_arrays",
    "write_json",
    "write_table",
]

FORMAT_VERSION = 1
"""Version of the layout of run folders; code reads its own version and older ones."""

SUMS = "SHA256SUMS"
"""File of every stored folder with the sums of the others (``sha256sum -c SHA256SUMS`` checks them too)."""

AGAIN = "Take it from a copy, or make it again"


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
        Where the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
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
    path.parent.mkdir(parents=True, exist_ok=True)
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


def check_sums(folder: Path) -> None:
    """Hold every file of a stored folder against the sum that was written with it; older folders have none.

    Raises
    ------
    DamagedError
        Names the file that is missing, empty or changed.
    """
    folder = Path(folder)
    if not (folder / SUMS).exists():
        return
    for name, wanted in _sums(folder):
        path = folder / name
        if not path.is_file():
            raise DamagedError(str(path), "damaged: the file is missing", AGAIN)
        try:
            found = digest_file(path)
        except OSError as e:
            raise DamagedError(str(path), f"damaged ({e.strerror or e})", AGAIN) from None
        if found != wanted:
            what = "its bytes are not those that were written" if path.stat().st_size else "it is empty"
            raise DamagedError(str(path), f"damaged: {what}", AGAIN)


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
    check_sums(Path(path).parent)
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
