"""Features of a scan where they lie: arrays, memory maps, sparse columns, in one piece or in parts of some runs each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mrinterp.core.array_checks import checked_array
from mrinterp.core.errors import InputError

__all__ = ["DENSE_FILE", "SPARSE_FILES", "Features", "opened_features", "stacked"]

SAMPLED_ROWS = 16
"""Rows of the features whose bytes tell one array from another: all of a large file would take minutes."""

DENSE_FILE = "features"
SPARSE_FILES = ("data", "indices", "indptr", "rows")
"""Arrays of a part, by the names of their files: dense, and sparse columns with their number of runs."""

WRITE_SPARSE = (
    "Write data, indices and indptr of one scipy.sparse.csc_array, and its number of runs in rows.npy"
)


@dataclass(frozen=True, eq=False)
class Features:
    """Traits (N, J): a dense array or memory map, or sparse columns."""

    values: Any
    sparse: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Runs and features."""
        return int(self.values.shape[0]), int(self.values.shape[1])

    def dense(self, first: int, last: int) -> NDArray[Any]:
        """Columns first to last - 1 as a matrix whose rows lie together, in single or double precision."""
        part = self.values[:, first:last]
        part = part.toarray() if self.sparse else np.asarray(part)
        return np.ascontiguousarray(part, None if part.dtype in (np.float32, np.float64) else np.float32)

    def columns(self, which: NDArray[np.int_]) -> NDArray[Any]:
        """Some columns as a matrix."""
        part = self.values[:, which]
        part = part.toarray() if self.sparse else np.asarray(part)
        return np.ascontiguousarray(part, None if part.dtype in (np.float32, np.float64) else np.float32)

    def digest(self) -> str:
        """SHA-256 of shape, type and a few rows (of sparse columns, part by part: their first and last entries)."""
        h = hashlib.sha256(f"{self.shape} {self.values.dtype} {self.sparse}".encode())
        if self.sparse:
            for part in self.values.parts if isinstance(self.values, SparseParts) else [self.values]:
                h.update(np.ascontiguousarray(part.indptr).tobytes())
                for held in (part.indices, part.data):
                    h.update(np.ascontiguousarray(held[: 1 << 16]).tobytes())
                    h.update(np.ascontiguousarray(held[-(1 << 16) :]).tobytes())
        else:
            for row in np.unique(np.linspace(0, self.shape[0] - 1, SAMPLED_ROWS).astype(int)):
                h.update(np.ascontiguousarray(self.values[row]).tobytes())
        return h.hexdigest()


class RowParts:
    """Memory-mapped arrays of some runs each, read as one array (N, F): no process holds more than it asks for."""

    def __init__(self, parts: list[NDArray[Any]]) -> None:
        self.parts = parts
        self.ends = np.cumsum([len(p) for p in parts])
        self.shape = (int(self.ends[-1]), int(parts[0].shape[1]))
        self.dtype = parts[0].dtype
        self.ndim = 2

    def __getitem__(self, at: Any) -> NDArray[Any]:
        """One row, or all rows of some columns."""
        if not isinstance(at, tuple):
            part = int(np.searchsorted(self.ends, at, side="right"))
            return np.asarray(self.parts[part][at - self.ends[part]])
        return np.concatenate([p[at] for p in self.parts])


class SparseParts:
    """Memory-mapped sparse columns of some runs each, read as one matrix (N, F): of every part only the columns asked for."""

    def __init__(self, parts: list[sparse.csc_array]) -> None:
        self.parts = parts
        self.shape = (sum(p.shape[0] for p in parts), int(parts[0].shape[1]))
        self.dtype = parts[0].dtype

    def __getitem__(self, at: tuple[slice, Any]) -> sparse.csc_array:
        """All rows of some columns."""
        return stacked([p[at] for p in self.parts])


def stacked(parts: Sequence[sparse.csc_array]) -> sparse.csc_array:
    """Sparse columns of some runs each (n, F) as one matrix (N, F), the runs of one part below those of the other."""
    if len(parts) == 1:
        return parts[0]
    counts = [np.diff(p.indptr).astype(np.int64) for p in parts]
    ends = np.concatenate([[0], np.cumsum(np.sum(counts, axis=0))]).astype(np.int64)
    rows, start = sum(p.shape[0] for p in parts), ends[:-1].copy()
    size = np.int32 if max(rows, int(ends[-1])) < np.iinfo(np.int32).max else np.int64
    data, indices, first = np.empty(ends[-1], parts[0].dtype), np.empty(ends[-1], size), 0
    for part, count in zip(parts, counts, strict=True):
        # Entries of a column lie together in the part: they move there as they lie.
        place = np.repeat(start - part.indptr[:-1], count) + np.arange(part.nnz)
        data[place], indices[place] = part.data, part.indices + first
        start, first = start + count, first + part.shape[0]
    return sparse.csc_array((data, indices, ends.astype(size)), shape=(rows, len(ends) - 1), copy=False)


def opened_features(features: Any) -> Features:
    """Dense or sparse features, or a file of them: ``.npy`` is memory-mapped, ``.npz`` is scipy's of a sparse matrix.

    A folder holds either arrays ``.npy`` of some runs each, in the order of their names; or a sparse matrix in the three
    arrays of its columns, ``data.npy, indices.npy, indptr.npy`` (and its number of runs in ``rows.npy``); or folders of
    some runs each, in the order of their names, each such a sparse matrix, or a dense one in ``features.npy``.

    Raises
    ------
    InputError
        For another kind of file or of object.
    """
    if isinstance(features, str | Path):
        path = Path(features)
        try:
            if path.is_dir():
                return _folder(path)
            if path.suffix == ".npz":
                features = sparse.load_npz(path)
            elif path.suffix == ".npy":
                features = np.load(path, mmap_mode="r")
            else:
                raise InputError(
                    str(path),
                    "no array of features",
                    "Give .npy, .npz of scipy.sparse.save_npz, or a folder of .npy",
                )
        except (OSError, ValueError) as e:
            if isinstance(e, InputError):
                raise
            raise InputError(
                str(path), f"cannot be read ({e})", "Give .npy, or .npz of scipy.sparse.save_npz"
            ) from None
    if sparse.issparse(features):
        if features.ndim != 2:
            raise InputError("features", f"{features.ndim} dimensions", "Give a matrix, runs on rows")
        return Features(sparse.csc_array(features), True)
    if not (isinstance(features, np.ndarray) and features.dtype.kind in "fiu") or isinstance(
        features, np.ma.MaskedArray
    ):
        features = checked_array(features, "features")
    if features.ndim != 2:
        raise InputError("features", f"{features.ndim} dimensions", "Give a matrix, runs on rows")
    return Features(features, False)


def _folder(path: Path) -> Features:
    """A folder of features, all of it memory-mapped."""
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    if folders:
        return _folders(folders)
    found = sorted(path.glob("*.npy"))
    if not found:
        raise InputError(str(path), "holds no .npy file", "Give arrays of some runs each, or sparse columns")
    if {p.stem for p in found} == set(SPARSE_FILES):
        return Features(_sparse_columns(path), True)
    return Features(_rows_below(found), False)


def _folders(folders: list[Path]) -> Features:
    """Parts of some runs each, all sparse columns or all dense."""
    if not (folders[0] / f"{SPARSE_FILES[0]}.npy").exists():
        return Features(_rows_below([p / f"{DENSE_FILE}.npy" for p in folders]), False)
    parts = [_sparse_columns(p) for p in folders]
    for one, held in zip(folders, parts, strict=True):
        if held.shape[1] != parts[0].shape[1] or held.dtype != parts[0].dtype:
            found = f"{held.shape[1]} columns of {held.dtype}"
            fix = f"Give every part the same features: {folders[0].name} has {parts[0].shape[1]} of {parts[0].dtype}"
            raise InputError(str(one), found, fix)
    return Features(SparseParts(parts), True)


def _sparse_columns(path: Path) -> sparse.csc_array:
    """A memory-mapped sparse matrix."""
    lacking = [n for n in SPARSE_FILES if not (path / f"{n}.npy").exists()]
    if lacking:
        raise InputError(str(path), f"no {lacking[0]}.npy", WRITE_SPARSE)
    data, indices, indptr, rows = (np.load(path / f"{n}.npy", mmap_mode="r") for n in SPARSE_FILES)
    if len(data) != len(indices) or indptr[-1] != len(data) or (np.diff(indptr) < 0).any():
        sizes = f"{len(data)} values, {len(indices)} rows, columns that end at {indptr[-1]}"
        raise InputError(str(path), sizes, WRITE_SPARSE)
    return sparse.csc_array((data, indices, indptr), shape=(int(rows), len(indptr) - 1), copy=False)


def _rows_below(files: list[Path]) -> RowParts:
    """Memory-mapped arrays of some runs each."""
    parts = [np.load(p, mmap_mode="r") for p in files]
    for one, held in zip(files, parts, strict=True):
        if held.ndim != 2 or held.shape[1] != parts[0].shape[1] or held.dtype != parts[0].dtype:
            fix = f"Give every part the same features: {files[0].name} has {parts[0].shape[1:]} {parts[0].dtype}"
            raise InputError(str(one), f"shape {held.shape}, {held.dtype}", fix)
    return RowParts(parts)
