"""How everything of ours lies on disk: versioned, written whole or not at all, same bytes every time."""

from __future__ import annotations

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

from mrinterp.core.errors import InputError

__all__ = [
    "FORMAT_VERSION",
    "check_format",
    "digest",
    "digest_files",
    "read_header",
    "read_json",
    "read_table",
    "to_plain",
    "whole_file",
    "whole_folder",
    "write_json",
    "write_table",
]

FORMAT_VERSION = 1
"""Version of the layout of run folders; code reads its own version and older ones."""


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
    """SHA-256 over names and bytes of the files below a folder (or of the named ones)."""
    folder = Path(folder)
    if names is None:
        names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    h = hashlib.sha256()
    for name in names:
        h.update(name.encode())
        h.update((folder / name).read_bytes())
    return h.hexdigest()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; move it into place only when the block succeeded."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path``; rename it into place only when the block succeeded."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            shutil.rmtree(path)
        os.replace(partial, path)
    finally:
        if partial.exists():
            shutil.rmtree(partial)


def write_json(path: Path, value: Any) -> None:
    """Write plain JSON, keys sorted, whole or not at all."""
    with whole_file(Path(path)) as partial:
        partial.write_text(json.dumps(to_plain(value), indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON, with a clear error for a file that is missing or cut short."""
    path = Path(path)
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(str(path), "no such file", "Give a folder that a finished run has written") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as e:
        raise InputError(str(path), f"not JSON ({e})", "Delete the file's folder and run again") from None


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a Parquet table (no index), whole or not at all."""
    with whole_file(Path(path)) as partial:
        frame.to_parquet(partial, index=False, compression="zstd")


def read_table(path: Path) -> pd.DataFrame:
    """Read a Parquet table."""
    return pd.read_parquet(path)


def read_header(path: Path, kind: str) -> dict[str, Any]:
    """Header of a saved object: what `read_json` and `check_format` let pass.

    Raises
    ------
    InputError
        For a file that is missing, no header of that kind, or one from a newer version.
    """
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
