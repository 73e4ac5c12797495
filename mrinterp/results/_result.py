"""The contract of every result: keyword-only, checked when it is made, shown, saved and reopened.

A result declares its fields by annotated types, and everything else follows from that:

    features: Annotated[tuple[str, ...], Axis("F")]     # names of axis F
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    effect: Annotated[Array, Shape("F", "O")]           # finite or nan, one number per feature and outcome
    inputs: Annotated[pd.DataFrame, Rows("P")]          # one row per input

Fields whose names end in ``lower`` and ``upper`` are the ends of one interval, and so are columns of tables.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self, get_origin, get_type_hints

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.checks import places_by_name
from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.shown import Shown
from mrinterp.core.storage import (
    FORMAT_VERSION,
    check_format,
    check_sums,
    read_json,
    read_table,
    whole_folder,
    write_json,
    write_table,
)
from mrinterp.results._check import NotApplicable

__all__ = ["Axis", "Named", "Parts", "Result", "Rows", "Shape", "unknown"]

ROUNDING = 1e-9
"""Relative amount by which rounding may turn an interval without width around: quantiles interpolate."""

PAIRS = (("lower", "upper"), ("low", "high"))
"""How names of the ends of an interval end."""


def unknown() -> NDArray[np.float64]:
    """Default of a number that a source may not give: becomes nan in the field's shape."""
    return np.array(np.nan)


@dataclass(frozen=True)
class Axis:
    """One entry per element of an axis (or a sum, ``"T+C"``); ``fill`` stands where none are given.

    ``called`` is what a summary calls the entries, where the field's name does not say it.
    """

    name: str
    fill: str | None = None
    called: str = ""


class Shape:
    """Numbers or words of a shape: axes by name, sums of them (``"K+1"``) or lengths.

    Numbers are finite, or nan where there is none; ``infinite`` allows infinities too. ``ends`` are the
    places, along the first axis, of the lower and upper ends of intervals.
    """

    def __init__(self, *axes: str | int, infinite: bool = False, ends: tuple[int, int] | None = None) -> None:
        self.axes, self.infinite, self.ends = axes, infinite, ends


@dataclass(frozen=True)
class Rows:
    """A table, with one row per element of an axis where one is named, and at least these columns."""

    axis: str = ""
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parts:
    """Tuples (of tuples, one per element of an axis) of a small dataclass, stored in the header."""

    made_of: type
    axis: str = ""


@dataclass(frozen=True)
class Named:
    """A dict from name to array, or to a result of a type or why there is none; each in a file or folder of its own."""

    made_of: type | None = None
    shape: Shape | None = None


@cache
def declared(cls: type) -> dict[str, tuple[Any, Any]]:
    """Every field's declaration (None where it is plain) and type."""
    hints = get_type_hints(cls, include_extras=True)
    found = {}
    for item in fields(cls):
        hint = hints[item.name]
        marks = [
            m for m in getattr(hint, "__metadata__", ()) if isinstance(m, Axis | Shape | Rows | Parts | Named)
        ]
        mark = marks[0] if marks else Shape() if hint is float else None
        found[item.name] = (mark, getattr(hint, "__origin__", hint) if marks else hint)
    return found


class Result(Shown, ABC):
    """Base of frozen, keyword-only dataclasses whose fields are arrays, tables, names and numbers.

    A subclass sets ``KIND`` (words for what it is), declares its fields and gives `to_frame`. It may name
    its files: ``HEADER``; ``TABLE``, the file of `to_frame` for readers who have no mrinterp (None: none is
    written); ``STORED_AS``, for fields that lie under another name; ``FORMER_NAMES``, under which older
    versions wrote a field or its kind.

    Raises
    ------
    InputError
        When it is made: for an array whose shape does not fit the names, an infinite number where a finite
        one is promised, an interval whose lower end lies above its upper one.

    Examples
    --------
    >>> from mrinterp.results import Result, example
    >>> isinstance(example("Rescue"), Result)
    True
    """

    KIND: ClassVar[str] = ""
    HEADER: ClassVar[str] = "header.json"
    TABLE: ClassVar[str | None] = ""
    IN_TABLE: ClassVar[frozenset[str]] = frozenset()
    """Fields that are columns of the table and have no file of their own."""
    STORED_AS: ClassVar[Mapping[str, str]] = {}
    FORMER_NAMES: ClassVar[Mapping[str, str]] = {}
    FORMER_KINDS: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        _Checked(self).run()

    @abstractmethod
    def to_frame(self) -> pd.DataFrame:
        """The result as one table."""

    @property
    def summary(self) -> str:
        """What it is and how large, in one line."""
        found = [
            f"{len(getattr(self, name)):,} {mark.called or name}"
            for name, (mark, _) in declared(type(self)).items()
            if isinstance(mark, Axis) and len(mark.name) == 1 and mark.fill is None
        ]
        return f"{self.KIND}: {', '.join(found)}" if found else self.KIND

    def _first_rows(self, rows: int) -> tuple[pd.DataFrame, int]:
        frame = self.to_frame()
        return frame.head(rows), len(frame)

    def _at(self, key: Any, *axes: tuple[str, ...]) -> tuple[int, ...]:
        """Places of the names of a key, one on each axis; refuses another key and unknown names."""
        where = f"{type(self).__name__}[{key!r}]"
        if not isinstance(key, tuple) or len(key) != len(axes):
            example = ", ".join(repr(names[0]) if names else "..." for names in axes)
            raise InputError(where, f"not {len(axes)} names", f"Give one of each: [{example}]")
        return tuple(_place(where, name, names) for name, names in zip(key, axes, strict=True))

    def save(self, folder: Path) -> None:
        """Write into ``folder``, whole or not at all."""
        header: dict[str, Any] = {"kind": self.KIND, "format_version": FORMAT_VERSION}
        with whole_folder(Path(folder)) as partial:
            for name in declared(type(self)):
                if name not in self.IN_TABLE:
                    _write(partial, self.STORED_AS.get(name, name), getattr(self, name), header)
            header |= self._more_header()
            if self.TABLE is not None:
                write_table(partial / self._table_file(), self.to_frame())
            write_json(partial / self.HEADER, header)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reopen what `save` wrote.

        Raises
        ------
        InputError
            For a folder of another kind or of a newer version, one that lacks a part, or a file that is not what was
            written.
        """
        folder = Path(folder)
        check_sums(folder)
        header = read_json(folder / cls.HEADER)
        if not isinstance(header, dict):
            raise InputError(str(folder / cls.HEADER), "holds no object", f"Give the folder of a {cls.KIND}")
        kind = header["kind"] if header.get("kind") in cls.FORMER_KINDS else cls.KIND
        check_format(str(folder), header, kind)
        given: dict[str, Any] = {}
        for name, (mark, hint) in declared(cls).items():
            if name in cls.IN_TABLE:
                continue
            stored = [cls.STORED_AS.get(name, name)]
            stored += [cls.FORMER_NAMES[name]] if name in cls.FORMER_NAMES else []
            found = next((v for s in stored for v in _read(folder, s, header, mark, hint)), MISSING)
            if found is not MISSING:
                given[name] = found
        if cls.IN_TABLE:
            given |= cls._from_table(read_table(folder / cls._table_file()), header, given)
        needed = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]  # type: ignore[arg-type]
        lacking = [name for name in needed if name not in given]
        if lacking:
            raise InputError(str(folder), f"lacks {', '.join(lacking)}", "Run again what wrote it")
        return cls(**given)

    @classmethod
    def _table_file(cls) -> str:
        return cls.TABLE or f"{cls.KIND.replace(' ', '_')}.parquet"

    def _more_header(self) -> dict[str, Any]:
        """What the header says beside the fields, for readers who have no mrinterp."""
        return {}

    @classmethod
    def _from_table(
        cls, table: pd.DataFrame, header: dict[str, Any], given: dict[str, Any]
    ) -> dict[str, Any]:
        """The fields of `IN_TABLE`, from the stored table: none, unless a type keeps fields there."""
        return {}


class _Checked:
    """One result being checked: lengths of its axes, then every field against them."""

    def __init__(self, result: Result) -> None:
        self.result, self.kind = result, type(result).__name__
        self.fields = {name: mark for name, (mark, _) in declared(type(result)).items()}
        self.sizes: dict[str, int] = {}
        self.sources: dict[str, str] = {}

    def run(self) -> None:
        for name, mark in self.fields.items():
            if isinstance(mark, Axis):
                self._names(name, mark)
            elif isinstance(mark, Rows):
                self._table(name, mark)
            elif isinstance(mark, Shape):
                self._as_array(name)
        for name, mark in self.fields.items():
            if isinstance(mark, Axis):
                self._length(name, mark)
            elif isinstance(mark, Shape):
                self._array(name, mark, getattr(self.result, name))
            elif isinstance(mark, Parts) and mark.axis:
                self._length(name, Axis(mark.axis))
            elif isinstance(mark, Named):
                for key, value in getattr(self.result, name).items():
                    self._named(f"{name}[{key!r}]", mark, value)
        self._intervals()

    def _put(self, name: str, value: Any) -> None:
        object.__setattr__(self.result, name, value)

    def _refuse(self, name: str, found: str, fix: str) -> None:
        raise InputError(f"{self.kind}.{name}", found, fix)

    def _names(self, name: str, mark: Axis) -> None:
        value = getattr(self.result, name)
        if isinstance(value, str):
            self._refuse(name, repr(value), "Give a tuple of names")
        self._put(name, tuple(value))
        if mark.fill is None or value:
            self._bind(mark.name, len(value), name)

    def _bind(self, axis: str, size: int, source: str) -> None:
        if axis.isidentifier() and axis not in self.sizes:
            self.sizes[axis], self.sources[axis] = size, source

    def _length(self, name: str, mark: Axis) -> None:
        value, size = getattr(self.result, name), self._size(mark.name)
        if not value and mark.fill is not None:
            self._put(name, (mark.fill,) * size)
        elif len(value) != size:
            self._refuse(name, f"{len(value)} entries", f"Give {size}: {self._words(mark.name)}")

    def _table(self, name: str, mark: Rows) -> None:
        value = getattr(self.result, name)
        if not isinstance(value, pd.DataFrame):
            self._refuse(name, f"a {type(value).__name__}", "Give a DataFrame")
        lacking = [c for c in mark.columns if c not in value]
        if lacking:
            self._refuse(name, f"no column {lacking[0]!r}", f"Give the columns {', '.join(mark.columns)}")
        if mark.axis:
            self._bind(mark.axis, len(value), name)
            if len(value) != self.sizes[mark.axis]:
                self._refuse(name, f"{len(value)} rows", f"Give {self._words(mark.axis)}")

    def _as_array(self, name: str) -> None:
        value = getattr(self.result, name)
        if value is None or isinstance(value, np.ndarray | float | int):
            return
        self._put(name, np.asarray(value))

    def _array(self, name: str, mark: Shape, value: Any) -> None:
        if value is None:
            return
        array = np.asarray(value)
        if array.ndim == len(mark.axes):
            for axis, size in zip(mark.axes, array.shape, strict=True):
                self._bind(str(axis), size, name)
        wanted = tuple(self._size(axis) for axis in mark.axes)
        if array.ndim == 0 and wanted and array.dtype.kind == "f" and np.isnan(array):
            array = np.full(wanted, np.nan)  # what a source does not give
            self._put(name, array)
        if array.shape != wanted:
            axes = ", ".join(map(str, mark.axes))
            which = "; ".join(self._words(str(a)) for a in dict.fromkeys(mark.axes) if isinstance(a, str))
            self._refuse(name, f"shape {array.shape}", f"Give ({axes}) = {wanted}: {which}")
        if array.dtype.kind != "f":
            return
        if not mark.infinite:
            bad = np.argwhere(np.isinf(array))
            if len(bad):
                place = f" at {tuple(bad[0].tolist())}" if array.ndim else ""
                self._refuse(name, f"an infinite number{place}", "Give a finite number, or nan for none")
        if mark.ends is not None:
            lower, upper = mark.ends
            self._ordered(name, array[lower], array[upper])

    def _named(self, where: str, mark: Named, value: Any) -> None:
        if mark.shape is not None:
            self._array(where, mark.shape, value)
        elif mark.made_of is not None and not isinstance(value, mark.made_of | NotApplicable):
            wanted = mark.made_of.__name__
            self._refuse(
                where, f"a {type(value).__name__}", f"Give {wanted}, or NotApplicable with its reason"
            )

    def _size(self, axis: str | int) -> int:
        parts = str(axis).split("+")
        return sum(int(p) if p.isdigit() else self.sizes.get(p, 0) for p in parts)

    def _words(self, axis: str) -> str:
        said = [
            f"{self.sizes.get(p, 0)} {self.sources.get(p, p)} ({p})"
            for p in axis.split("+")
            if p.isidentifier()
        ]
        return " + ".join(said)

    def _intervals(self) -> None:
        arrays = [n for n, mark in self.fields.items() if isinstance(mark, Shape)]
        for lower, upper in _ends(arrays):
            low, high = getattr(self.result, lower), getattr(self.result, upper)
            if low is not None and high is not None:
                self._ordered(lower, low, high)
        for name, mark in self.fields.items():
            if isinstance(mark, Rows):
                table = getattr(self.result, name)
                for lower, upper in _ends(list(table.select_dtypes("number"))):
                    self._ordered(f"{name}[{lower!r}]", table[lower].to_numpy(), table[upper].to_numpy())

    def _ordered(self, name: str, lower: Any, upper: Any) -> None:
        low, high = np.asarray(lower, dtype=float), np.asarray(upper, dtype=float)
        known = np.isfinite(low) & np.isfinite(high)
        room = ROUNDING * np.maximum(np.abs(low), np.abs(high))
        with np.errstate(invalid="ignore"):
            bad = np.argwhere(known & (low - high > room))
        if len(bad):
            at = tuple(bad[0].tolist())
            place = f" at {at}" if at else ""
            self._refuse(
                name,
                f"the lower end {low[at]:.6g} lies above the upper end {high[at]:.6g}{place}",
                "Give the lower end of every interval first",
            )


def _place(where: str, name: str, names: tuple[str, ...]) -> int:
    place = places_by_name(names)
    if name not in place:
        few = ", ".join(map(repr, names[:8])) + (" ..." if len(names) > 8 else "")
        raise InputError(where, f"no {name!r}", near_misses(str(name), place) or f"There are {few}")
    return place[name]


def _ends(names: list[str]) -> list[tuple[str, str]]:
    """Pairs of names that are the two ends of one interval."""
    return [
        (name, name.removesuffix(low) + high)
        for name in names
        for low, high in PAIRS
        if name.endswith(low) and name.removesuffix(low) + high in names
    ]


def _write(folder: Path, name: str, value: Any, header: dict[str, Any]) -> None:
    """One field, into its own file, or into the header."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        np.save(folder / f"{name}.npy", value)
    elif isinstance(value, pd.DataFrame):
        write_table(folder / f"{name}.parquet", value)
    elif isinstance(value, dict) and any(
        isinstance(v, np.ndarray | Result | NotApplicable) for v in value.values()
    ):
        header[name] = [
            {"name": k, **_write_one(folder / f"{name}{i}", v)} for i, (k, v) in enumerate(value.items())
        ]
    else:
        header[name] = _plain(value)


def _write_one(place: Path, value: Any) -> dict[str, str]:
    if isinstance(value, NotApplicable):
        return {"not_applicable": value.reason, "what": value.name}
    if isinstance(value, Result):
        value.save(place)
    else:
        np.save(place.with_suffix(".npy"), value)
    return {}


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _read(folder: Path, name: str, header: dict[str, Any], mark: Any, hint: Any) -> Iterator[Any]:
    """The stored value of a field, where there is one."""
    if isinstance(mark, Shape) and (folder / f"{name}.npy").exists():
        yield np.load(folder / f"{name}.npy")
    elif isinstance(mark, Rows) and (folder / f"{name}.parquet").exists():
        yield read_table(folder / f"{name}.parquet")
    elif name in header and isinstance(mark, Named):
        entries = [e if isinstance(e, dict) else {"name": e} for e in header[name]]
        yield {e["name"]: _read_one(folder / f"{name}{i}", e, mark) for i, e in enumerate(entries)}
    elif name in header:
        yield _restored(header[name], mark, hint)


def _read_one(place: Path, entry: dict[str, str], mark: Named) -> Any:
    if "not_applicable" in entry:
        return NotApplicable(entry["not_applicable"], entry["what"])
    if mark.made_of is not None and issubclass(mark.made_of, Result):
        return mark.made_of.load(place)
    return np.load(place.with_suffix(".npy"))


def _restored(value: Any, mark: Any, hint: Any) -> Any:
    """What JSON turned into lists and nulls, as the field declares it."""
    if isinstance(mark, Parts):
        return _parts(value, mark.made_of)
    if isinstance(mark, Shape):
        if isinstance(value, list):
            array = np.array(value, dtype=object)
            words = any(isinstance(v, str) and "Infinity" not in v for v in array.ravel())
            return array if words else np.array([_number(v) for v in array.ravel()]).reshape(array.shape)
        return None if value is None and hint is not float else _number(value)
    if isinstance(mark, Axis) or get_origin(hint) is tuple:
        return _tuples(value)
    return value


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)


def _parts(value: Any, made_of: type) -> Any:
    if isinstance(value, list):
        return tuple(_parts(v, made_of) for v in value)
    return made_of(**{k: _tuples(np.nan if v is None else v) for k, v in value.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
