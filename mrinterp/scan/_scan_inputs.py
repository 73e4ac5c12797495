"""What a scan of features is given: arrays, memory maps or sparse matrices, checked before anything is multiplied."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from mrinterp.core.array_checks import checked_array, checked_truths
from mrinterp.core.checks import checked_choice
from mrinterp.core.errors import InputError
from mrinterp.stats.scan.block_scan import Outcomes, outcome_side
from mrinterp.stats.scan.dose_side import ERRORS, DoseSide, Within, dose_side, within

__all__ = ["ScanInputs", "checked_inputs", "opened_features", "side_of"]

Array = NDArray[np.float64]

SAMPLED_ROWS = 16
"""Rows of the features whose bytes tell one array from another: all of a large file would take minutes."""

FEWEST_FAMILIES = 2
"""Families that errors clustered by family need at all; below 40 they are optimistic."""


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
        """SHA-256 of shape, type and a few rows (of sparse columns: their first and last entries)."""
        h = hashlib.sha256(f"{self.shape} {self.values.dtype} {self.sparse}".encode())
        if self.sparse:
            h.update(np.ascontiguousarray(self.values.indptr).tobytes())
            for part in (self.values.indices, self.values.data):
                h.update(np.ascontiguousarray(part[: 1 << 16]).tobytes())
                h.update(np.ascontiguousarray(part[-(1 << 16) :]).tobytes())
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


@dataclass(frozen=True, eq=False)
class ScanInputs:
    """Checked inputs of a scan, names and all."""

    doses: Array
    features: Features
    outcomes: Array
    prompt: NDArray[Any]
    family: NDArray[Any]
    kind: NDArray[Any] | None
    clean: NDArray[np.bool_] | None
    covariates: Array | None
    instruments: pd.DataFrame
    feature_names: tuple[str, ...] | None
    outcome_names: tuple[str, ...]

    def digests(self) -> dict[str, str]:
        """SHA-256 of every input, by name."""

        def of(value: Any) -> str:
            if value is None:
                return ""
            array = np.asarray(value)
            held = array.astype(str) if array.dtype.kind == "O" else np.ascontiguousarray(array)
            return hashlib.sha256(f"{held.shape}{held.dtype.kind}".encode() + held.tobytes()).hexdigest()

        names = ("doses", "outcomes", "prompt", "family", "kind", "clean", "covariates")
        return {name: of(getattr(self, name)) for name in names} | {"features": self.features.digest()}


def opened_features(features: Any) -> Features:
    """Dense or sparse features, or a file of them: ``.npy`` is memory-mapped, ``.npz`` is scipy's of a sparse matrix.

    A folder holds either arrays ``.npy`` of some runs each, in the order of their names, or a sparse matrix in the three
    arrays of its columns, ``data.npy, indices.npy, indptr.npy`` (and its number of runs in ``rows.npy``).

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


SPARSE_FILES = ("data", "indices", "indptr", "rows")


def _folder(path: Path) -> Features:
    """A folder of features, all of it memory-mapped."""
    found = sorted(path.glob("*.npy"))
    if not found:
        raise InputError(str(path), "holds no .npy file", "Give arrays of some runs each, or sparse columns")
    if {p.stem for p in found} == set(SPARSE_FILES):
        data, indices, indptr, rows = (np.load(path / f"{n}.npy", mmap_mode="r") for n in SPARSE_FILES)
        if len(data) != len(indices) or indptr[-1] != len(data) or (np.diff(indptr) < 0).any():
            sizes = f"{len(data)} values, {len(indices)} rows, columns that end at {indptr[-1]}"
            raise InputError(str(path), sizes, "Write data, indices and indptr of one scipy.sparse.csc_array")
        shape = (int(rows), len(indptr) - 1)
        return Features(sparse.csc_array((data, indices, indptr), shape=shape, copy=False), True)
    parts = [np.load(p, mmap_mode="r") for p in found]
    for one, held in zip(found, parts, strict=True):
        if held.ndim != 2 or held.shape[1] != parts[0].shape[1] or held.dtype != parts[0].dtype:
            fix = f"Give every part the same features: {found[0].name} has {parts[0].shape[1:]} {parts[0].dtype}"
            raise InputError(str(one), f"shape {held.shape}, {held.dtype}", fix)
    return Features(RowParts(parts), False)


def checked_inputs(
    doses: Any,
    features: Any,
    outcomes: Any,
    prompt: Any,
    family: Any,
    *,
    kind: Any = None,
    clean: Any = None,
    covariates: Any = None,
    instruments: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    outcome_names: Sequence[str] | None = None,
    placebo: Sequence[str] = (),
) -> ScanInputs:
    """Inputs of one length, with finite doses and outcomes and distinct names.

    Raises
    ------
    InputError
        Names the array, the row and the fix.
    """
    held = opened_features(features)
    N, J = held.shape
    z, y = _matrix("doses", doses, N), _matrix("outcomes", outcomes, N)
    c = None if covariates is None else _matrix("covariates", covariates, N)
    labels = {"prompt": prompt, "family": family, "kind": kind}
    words = {n: None if v is None else _labels(n, v, N) for n, v in labels.items()}
    of = None if clean is None else checked_truths(clean, "clean")
    if of is not None and len(of) != N:
        raise InputError("clean", f"{len(of)} rows; features has {N}", "Give every array one row per run")
    assert words["prompt"] is not None
    assert words["family"] is not None
    _one_family(words["prompt"], words["family"])
    names = _names("instruments", instruments, z.shape[1], "z")
    unknown = sorted(set(placebo) - set(names))
    if unknown:
        raise InputError("placebo", f"{unknown[0]!r} is not an instrument", f"Instruments: {names[:8]}")
    table = pd.DataFrame(
        {"instrument": names, "kind": ["placebo" if n in placebo else "given" for n in names]}
    )
    table = table.assign(locus="", allele="", unit="dose", placebo=[n in placebo for n in names])
    return ScanInputs(
        z,
        held,
        y,
        words["prompt"],
        words["family"],
        words["kind"],
        of,
        c,
        table,
        None if feature_names is None else tuple(_names("feature_names", feature_names, J, "x")),
        tuple(_names("outcome_names", outcome_names, y.shape[1], "y")),
    )


def side_of(
    inputs: ScanInputs, errors: str, joint: bool, paired: bool
) -> tuple[DoseSide, Outcomes, Within, NDArray[np.int64]]:
    """Doses and outcomes ready to be multiplied, how rows become changes, and every row's family.

    Raises
    ------
    InputError
        For doses that do not vary within prompts, clean runs that are missing, too few families, or dependent doses in
        joint effects.
    """
    checked_choice(errors, "errors", ERRORS)
    if paired and inputs.clean is None:
        raise InputError(
            "paired", "no clean runs", "Say which run of every prompt is clean, or leave paired out"
        )
    try:
        how, family = within(
            inputs.prompt, inputs.family, inputs.kind, inputs.clean, paired, inputs.covariates
        )
    except ValueError as e:
        raise InputError("clean", str(e), "Give every prompt exactly one") from None
    count = len(np.unique(family))
    if errors in ("CR3", "CR1") and count < FEWEST_FAMILIES:
        fix = "Errors clustered by family need at least 2 (40 are better); or ask for errors = 'HC3'"
        raise InputError("family", f"{count} family", fix)
    try:
        side = dose_side(inputs.doses, how, family, errors, joint)
    except ValueError as e:
        raise InputError("doses", str(e), "Leave one of them out, or ask for marginal effects") from None
    if not (side.total > 0).any():
        raise InputError("doses", "none varies within prompts", "Give every prompt runs with different doses")
    return side, outcome_side(side, inputs.outcomes), how, family


def _matrix(name: str, value: Any, rows: int) -> Array:
    array = checked_array(value, name)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or len(array) != rows:
        found = f"shape {array.shape}; features has {rows} rows"
        raise InputError(name, found, "Give every array one row per run")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        row, column = bad[0]
        fix = "Values must be finite; drop the run or mend its source"
        raise InputError(f"{name}, row {row}, column {column}", f"value {array[row, column]}", fix)
    return array


def _labels(name: str, value: Any, rows: int) -> NDArray[Any]:
    array = np.asarray(value)
    if array.shape != (rows,):
        raise InputError(name, f"shape {array.shape}; features has {rows} rows", "Give one value per run")
    missing = np.flatnonzero(pd.isna(array))
    if len(missing):
        raise InputError(f"{name}, row {missing[0]}", "missing", "Fill in a value for every run")
    return array


def _one_family(prompt: NDArray[Any], family: NDArray[Any]) -> None:
    per_prompt = (
        pd.DataFrame({"prompt": prompt, "family": family}).groupby("prompt", sort=False)["family"].nunique()
    )
    if (per_prompt > 1).any():
        which = per_prompt.index[per_prompt > 1][0]
        found = f"prompt {which!r} is in {per_prompt[which]} families"
        raise InputError(
            "family", found, "A prompt belongs to exactly one family: give all its runs the same value"
        )


def _names(argument: str, given: Sequence[str] | None, count: int, letter: str) -> list[str]:
    """Distinct names, numbered ones by default."""
    if given is None:
        return [f"{letter}{i}" for i in range(count)]
    if isinstance(given, str):
        raise InputError(argument, repr(given), "Give a list of names, one per column")
    names = [str(n) for n in given]
    if len(names) != count:
        raise InputError(argument, f"{len(names)} names for {count} columns", "Give one name per column")
    if len(set(names)) < count:
        twice = pd.Series(names)
        raise InputError(
            argument, f"{twice[twice.duplicated()].iloc[0]!r} appears twice", "Give distinct names"
        )
    return names
