"""Inputs that are no texts, from files: token numbers, images, rows of a table, with their families and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.plan_inputs import InputsSection

__all__ = ["GivenInputs", "read_inputs"]

Array = NDArray[Any]

USUAL = {"tokens": "input_ids", "images": "pixel_values", "table": "rows"}
"""Names that the inputs' array of an ``.npz`` file is known by."""

AXES = {
    "tokens": (2, "(inputs, tokens)"),
    "images": (4, "(inputs, channels, height, width)"),
    "table": (2, "(inputs, columns)"),
}

TABLES = (".csv", ".parquet")
READ_FROM = {
    "tokens": (".npy", ".npz", ".csv"),
    "images": (".npy", ".npz"),
    "table": (".npy", ".npz", ".csv", ".parquet"),
}


@dataclass(frozen=True, eq=False)
class GivenInputs:
    """n inputs as the network gets them.

    Parameters
    ----------
    values : ndarray (n, tokens) of int64, (n, channels, height, width) or (n, columns) of float
    family : ndarray (n,) of str
    label : ndarray (n,) of str, optional
    names : tuple of str
        Of the columns of a table.
    own : ndarray (n, tokens) of bool, optional
        For tokens: an input's own, not padding.
    """

    values: Array
    family: Array
    label: Array | None = None
    names: tuple[str, ...] = ()
    own: Array | None = None

    def __len__(self) -> int:
        return len(self.values)


def read_inputs(section: InputsSection, folder: Path) -> GivenInputs:
    """Read the inputs that a plan names.

    Parameters
    ----------
    folder : Path
        Where the plan's relative paths start.

    Raises
    ------
    InputError
        Names the file, the row (from 1), the column or array, and the fix: for a file that cannot be read, an array of
        another shape or type, values that are not finite, a family or label that is not there or empty, or an input that
        repeats one of another family.
    """
    values, columns, place = _read_source(section, folder)
    if not len(values):
        raise InputError(place, "no inputs", "Give at least one input per row")
    columns = columns | _index_columns(section, folder, len(values))
    family = (
        np.array([f"i{i:06d}" for i in range(len(values))])
        if section.family is None
        else _column(columns, section.family, "inputs.family", len(values))
    )
    label = None if section.label is None else _column(columns, section.label, "inputs.label", len(values))
    made, own = values, None
    if section.kind == "tokens":
        made, own = _token_numbers(section, values, columns, place)
    elif section.kind == "images":
        made = _pixels(section, values, place)
    else:
        made = _finite(values.astype(values.dtype if values.dtype.kind == "f" else float), place)
    _refuse_repeats(made, family, place)
    return GivenInputs(made, family, label, _names(section, columns, made), own)


def _read_source(section: InputsSection, folder: Path) -> tuple[Array, dict[str, Array], str]:
    """The inputs' array, all other columns or arrays by name, and what messages call the file."""
    if section.folder is not None:
        values, files = _png_folder(folder / section.folder)
        return values, {"file": files}, section.folder
    path = folder / str(section.file)
    suffix, known = path.suffix.lower(), READ_FROM[section.kind]
    if suffix not in known:
        raise InputError(f"inputs.file {path.name!r}", f"ends in {suffix!r}", f"Give {' or '.join(known)}")
    if suffix in TABLES:
        return _from_table(section, _table(path), path.name)
    try:
        # Pickled objects are never opened: loading one runs its code.
        loaded = np.load(path, allow_pickle=False)
        arrays = {"": loaded} if isinstance(loaded, np.ndarray) else {k: loaded[k] for k in loaded.files}
    except FileNotFoundError:
        raise _missing(path, "inputs.file") from None
    except (OSError, ValueError, EOFError) as e:
        raise InputError(
            str(path), f"cannot be read ({e})", "Save it with numpy, without pickled objects"
        ) from None
    name = "" if "" in arrays else _array_name(section, arrays, path.name)
    values, (axes, shape) = arrays.pop(name), AXES[section.kind]
    place = f"{path.name}, array {name!r}" if name else path.name
    if values.ndim != axes:
        turned = values.ndim == 3 and axes == 4
        fix = "Add the axis of channels: x[:, None]" if turned else f"Give {shape}"
        raise InputError(place, f"shape {values.shape}", fix)
    if section.columns is not None and section.kind == "table" and len(section.columns) != values.shape[1]:
        found = f"{len(section.columns)} names for {values.shape[1]} columns"
        raise InputError("inputs.columns", found, "Give one name per column, or leave it out")
    return values, arrays, place


def _array_name(section: InputsSection, arrays: Mapping[str, Array], place: str) -> str:
    if section.array is not None:
        if section.array not in arrays:
            fix = near_misses(section.array, arrays) or f"Arrays: {', '.join(arrays)}"
            raise InputError("inputs.array", f"{place} has no array {section.array!r}", fix)
        return section.array
    if USUAL[section.kind] in arrays:
        return USUAL[section.kind]
    others = {section.family, section.label, section.mask}
    fit = [n for n, a in arrays.items() if a.ndim == AXES[section.kind][0] and n not in others]
    if len(fit) != 1:
        found = f"arrays {', '.join(f'{n} {a.shape}' for n, a in arrays.items()) or 'none'}"
        raise InputError(place, found, f"Say which holds the inputs {AXES[section.kind][1]}: inputs.array")
    return fit[0]


def _table(path: Path) -> pd.DataFrame:
    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, skipinitialspace=True)
    except FileNotFoundError:
        raise _missing(path, "inputs.file") from None
    except (OSError, ValueError, pd.errors.ParserError) as e:
        raise InputError(str(path), f"cannot be read ({e})", "Give a CSV or Parquet file") from None


def _from_table(
    section: InputsSection, frame: pd.DataFrame, place: str
) -> tuple[Array, dict[str, Array], str]:
    others = [c for c in (section.family, section.label) if c is not None]
    chosen = (
        [str(c) for c in frame.columns if c not in others]
        if section.columns is None
        else list(section.columns)
    )
    for name in chosen:
        if name not in frame:
            fix = near_misses(name, frame.columns.map(str)) or f"Columns: {', '.join(map(str, frame))}"
            raise InputError("inputs.columns", f"{place} has no column {name!r}", fix)
        if frame[name].dtype.kind not in "iufb":
            raise InputError(
                f"{place}, column {name!r}",
                f"holds {frame[name].iloc[0]!r}: not numbers",
                "Leave it out (inputs.columns names those that the network gets), or write it as numbers",
            )
    if not chosen:
        raise InputError(place, "no columns but family and label", "Add the inputs' own columns")
    values = frame[chosen].to_numpy()
    if section.kind == "table" and values.dtype.kind == "f" and np.isnan(values).any():
        row, column = np.argwhere(np.isnan(values))[0]
        where = f"{place}, row {row + 1}, column {chosen[column]!r}"
        raise InputError(where, "empty", "Fill it in or leave the row out")
    rest = {str(c): frame[c].to_numpy() for c in frame if c not in chosen or c in others}
    return values, rest | {"": np.array(chosen)}, place


def _png_folder(path: Path) -> tuple[Array, Array]:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise InputError(
            "inputs.folder", "Pillow is not installed", "pip install pillow, or give an .npz file"
        ) from None
    if not path.is_dir():
        raise InputError("inputs.folder", f"{path}: no such folder", "Give a path relative to the study file")
    files = sorted(p for p in path.iterdir() if p.suffix.lower() == ".png")
    if not files:
        raise InputError("inputs.folder", f"{path} holds no .png file", "Give a folder of PNG files")
    images: list[Array] = []
    for file in files:
        try:
            with Image.open(file) as opened:
                gray = opened.mode in ("1", "L", "I", "I;16")
                image = np.asarray(opened.convert("L" if gray else "RGB"))
        except (OSError, UnidentifiedImageError) as e:
            raise InputError(str(file), f"cannot be read ({e})", "Leave it out, or save it anew") from None
        image = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
        if images and image.shape != images[0].shape:
            found = f"shape {image.shape}, {files[0].name} has {images[0].shape}"
            raise InputError(str(file), found, "Give images of one size and kind")
        images.append(image)
    return np.stack(images), np.array([f.name for f in files])


def _index_columns(section: InputsSection, folder: Path, count: int) -> dict[str, Array]:
    """Columns of the file that says more of every input, in the inputs' order."""
    if section.index is None:
        return {}
    path = folder / section.index
    try:
        frame = pd.read_csv(path, dtype=str, skipinitialspace=True)
    except FileNotFoundError:
        raise _missing(path, "inputs.index") from None
    except (OSError, ValueError, pd.errors.ParserError) as e:
        raise InputError(str(path), f"cannot be read ({e})", "Give a CSV file") from None
    if section.folder is not None:
        if "file" not in frame:
            raise InputError(path.name, "no column 'file'", "Add it: the name of every PNG file")
        files = [p.name for p in sorted((folder / section.folder).iterdir()) if p.suffix.lower() == ".png"]
        absent = sorted(set(files) - set(frame["file"]))
        if absent:
            raise InputError(path.name, f"no row for {absent[0]!r}", "Give one row per PNG file")
        frame = frame.drop_duplicates("file").set_index("file").loc[files].reset_index()
    if len(frame) != count:
        raise InputError(
            path.name, f"{len(frame)} rows for {count} inputs", "Give one row per input, in their order"
        )
    return {str(c): frame[c].to_numpy() for c in frame}


def _column(columns: Mapping[str, Array], name: str, key: str, count: int) -> Array:
    if name not in columns:
        known = [c for c in columns if c]
        fix = near_misses(name, known) or (
            f"Known: {', '.join(known)}" if known else "Give inputs.index, a CSV file with one row per input"
        )
        raise InputError(key, f"no column or array {name!r}", fix)
    found = columns[name]
    if found.shape != (count,):
        raise InputError(
            key, f"{name!r} has shape {found.shape} for {count} inputs", "Give one entry per input"
        )
    empty = pd.isna(found) | (found.astype(str) == "")
    if empty.any():
        raise InputError(
            f"{key} {name!r}, row {int(empty.argmax()) + 1}", "empty", "Fill it in or drop the row"
        )
    whole = found.dtype.kind == "f" and (found == np.round(found)).all()
    return np.asarray((found.astype(np.int64) if whole else found).astype(str))


def _token_numbers(
    section: InputsSection, values: Array, columns: Mapping[str, Array], place: str
) -> tuple[Array, Array]:
    """Token numbers as integers, and which of them are an input's own."""
    own = np.ones(values.shape, dtype=bool)
    if values.dtype.kind == "f" and section.file is not None and section.file.endswith(".csv"):
        own = ~np.isnan(values)  # empty cells, which must be the end of the row
        values = np.where(own, values, 0 if section.pad_id is None else section.pad_id)
        if (values == np.round(values)).all():
            values = values.astype(np.int64)
    if values.dtype.kind not in "iu":
        raise InputError(place, f"numbers of type {values.dtype}", "Give whole numbers: x.astype('int64')")
    if values.min() < 0:
        row, token = np.argwhere(values < 0)[0]
        raise InputError(
            f"{place}, row {row + 1}, token {token}", f"{values[row, token]}", "Token numbers start from 0"
        )
    ids = values.astype(np.int64)
    if section.mask is not None:
        if section.mask not in columns:
            known = [c for c in columns if c]
            fix = near_misses(section.mask, known) or f"Arrays: {', '.join(known) or 'none'}"
            raise InputError("inputs.mask", f"no array {section.mask!r}", fix)
        mask = columns[section.mask]
        if mask.shape != ids.shape or not np.isin(mask, (0, 1)).all():
            found = f"{section.mask!r} of shape {mask.shape} for tokens {ids.shape}"
            raise InputError("inputs.mask", found, "Give 1 on an input's own tokens and 0 on padding")
        own &= mask.astype(bool)
    elif section.pad_id is not None:
        # Only at the end: the padding token may also stand inside a text.
        own &= np.flip(np.cumsum(np.flip(ids != section.pad_id, 1), 1), 1) > 0
    empty = ~own.any(axis=1)
    if empty.any():
        raise InputError(
            f"{place}, row {int(empty.argmax()) + 1}", "nothing but padding", "Leave the row out"
        )
    gaps = (np.diff(own.astype(int), axis=1) > 0).any(axis=1)
    if gaps.any():
        found = "padding before or between its own tokens"
        raise InputError(f"{place}, row {int(gaps.argmax()) + 1}", found, "Pad at the end of every row")
    return ids, own


def _pixels(section: InputsSection, values: Array, place: str) -> Array:
    channels = values.shape[1]
    if channels > 4 and values.shape[-1] in (1, 3, 4):
        found = f"shape {values.shape}: channels seem to be last"
        raise InputError(place, found, "Give (inputs, channels, height, width): x.transpose(0, 3, 1, 2)")
    if values.dtype == np.uint8:
        values = values.astype(np.float32) / 255
    if values.dtype.kind != "f":
        raise InputError(
            place, f"numbers of type {values.dtype}", "Give uint8 (0 to 255) or floating-point numbers"
        )
    for name, turn in (("mean", np.subtract), ("sd", np.divide)):
        given = getattr(section, name)
        if given is None:
            continue
        if len(given) != channels or (name == "sd" and min(given) <= 0):
            fix = "Give one number per channel" + (", above 0" if name == "sd" else "")
            raise InputError(f"inputs.{name}", f"{list(given)} for {channels} channels", fix)
        values = turn(values, np.asarray(given, dtype=values.dtype)[:, None, None])
    return _finite(values, place)


def _finite(values: Array, place: str) -> Array:
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(np.argwhere(bad)[0, 0])
        raise InputError(
            f"{place}, row {row + 1}", "a value that is not finite", "Fill it in or leave the row out"
        )
    return values


def _names(section: InputsSection, columns: Mapping[str, Array], values: Array) -> tuple[str, ...]:
    if section.kind != "table":
        return ()
    if section.columns is not None:
        return section.columns
    return tuple(map(str, columns[""])) if "" in columns else tuple(f"c{i}" for i in range(values.shape[1]))


def _refuse_repeats(values: Array, family: Array, place: str) -> None:
    """One input in two families would be read twice and counted as two: families are what errors are clustered by."""
    seen: dict[bytes, int] = {}
    for row, value in enumerate(np.ascontiguousarray(values)):
        first = seen.setdefault(value.tobytes(), row)
        if family[first] != family[row]:
            raise InputError(
                f"{place}, row {row + 1}",
                f"repeats row {first + 1}, of another family",
                "Drop one of the two, or give both the same family",
            )


def _missing(path: Path, key: str) -> InputError:
    return InputError(key, f"{path}: no such file", "Give a path relative to the study file")
