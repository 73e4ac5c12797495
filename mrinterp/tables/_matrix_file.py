"""A square matrix with names, read in batches of rows: a large file needs little more memory than its numbers."""

from __future__ import annotations

import csv
import gzip
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.tables._schema import INSTRUMENT_NAMES, normal
from mrinterp.tables._sheet import MISSING, Table, delimiter_of, not_utf8, open_bytes, read_sheet, split_lines

__all__ = ["NamedMatrix", "read_matrix"]

BATCH_BYTES = 1 << 20
"""Text held at a time; small against any matrix for which memory matters."""


@dataclass(frozen=True, eq=False)
class NamedMatrix:
    """Numbers with the names of their columns, and of their rows where the first column has them.

    Parameters
    ----------
    where : str
        The file, as messages name it.
    columns : tuple (C,) of str
        Names of the columns.
    rows : tuple (R,) of str or None
        Names of the rows.
    values : ndarray (R, C)
        Numbers, nan where a cell is empty.
    lines : ndarray (R,) of int or None
        Line of each row in the file; None for Parquet files and data frames.
    """

    where: str
    columns: tuple[str, ...]
    rows: tuple[str, ...] | None
    values: NDArray[np.float64]
    lines: NDArray[np.int_] | None = None

    def place(self, row: int, column: int) -> str:
        """How a message names one cell."""
        line = f"row {row}" if self.lines is None else f"line {self.lines[row]}"
        return f"{self.where}, {line}, column {self.columns[column]!r}"


def read_matrix(table: Table) -> NamedMatrix:
    """Read a matrix with a header row of names; a first column of names makes one column more than rows.

    Raises
    ------
    InputError
        For a file that cannot be read, is ragged, holds a cell that is not a number, or more rows than
        columns.
    """
    path = None if isinstance(table, pd.DataFrame) else Path(table)
    if path is None or path.suffix.lower() in (".parquet", ".pq"):
        sheet = read_sheet(table)
        names = [str(c) for c in sheet.frame.columns]
        named = len(names) == len(sheet.frame) + 1 and _names_rows(names[0], sheet.text(names[0]))
        labels = tuple(sheet.text(names[0])) if named else None
        names = names if labels is None else names[1:]
        try:
            values = sheet.frame[names].to_numpy(dtype=float)
        except (ValueError, TypeError):
            values = np.column_stack([sheet.numbers(name) for name in names])
        return NamedMatrix(sheet.where, tuple(names), labels, values)
    where = str(path)
    with open_bytes(path) as file:
        try:
            return _read_text(where, path, file)
        except (gzip.BadGzipFile, EOFError, zlib.error) as e:
            raise InputError(
                where, f"not a gzip file ({e})", "Compress the table again, or give it uncompressed"
            ) from None


def _read_text(where: str, path: Path, file: IO[bytes]) -> NamedMatrix:
    batches = _batches(where, file)
    first = next(batches, None)
    if first is None:
        raise InputError(where, "the file is empty", "Give a header row of names and one row for each")
    (line, head), *rest = first
    delimiter = delimiter_of(path, head)
    try:
        header = [c.strip() for c in split_lines([head], delimiter)[0]]
    except csv.Error as e:
        raise InputError(f"{where}, line {line}", f"cannot be read ({e})", "Check its quotes") from None
    columns = len(header)
    values = np.full((columns, columns), np.nan)
    labels: list[str] = []
    lines: list[int] = []

    def take(batch: list[tuple[int, str]]) -> None:
        if not batch:
            return
        at = len(labels)
        if at + len(batch) > columns:
            raise InputError(
                f"{where}, line {batch[columns - at][0]}",
                f"more rows than the {columns} columns",
                "Give a square matrix with a header row of names",
            )
        names, numbers = _numbers(where, batch, header, delimiter)
        labels.extend(names)
        lines.extend(n for n, _ in batch)
        values[at : at + len(batch), 1:] = numbers

    take(rest)
    for batch in batches:
        take(batch)
    count = len(labels)
    if count == 0:
        raise InputError(where, "a header and no rows", "Give one row for each name of the header")
    if columns == count + 1 and columns > 1 and _names_rows(header[0], labels):
        named = tuple(label.strip() for label in labels)
        return NamedMatrix(where, tuple(header[1:]), named, values[:count, 1:], np.array(lines))
    values[:count, 0] = [_number(where, n, header[0], cell) for n, cell in zip(lines, labels, strict=True)]
    return NamedMatrix(where, tuple(header), None, values[:count], np.array(lines))


def _names_rows(header: str, labels: list[str]) -> bool:
    """Whether a first column holds names: by its own name, or because its cells are no numbers."""
    if normal(header) in (*INSTRUMENT_NAMES, "", "trait"):
        return True
    numbers = pd.to_numeric(pd.Series(labels, dtype=object), errors="coerce")
    return bool(numbers.isna().all())


def _batches(where: str, file: IO[bytes]) -> Iterator[list[tuple[int, str]]]:
    """Lines that are not blank with their numbers, some at a time."""
    line, start = 0, True
    while raw := file.readlines(BATCH_BYTES):
        batch = []
        for each in raw:
            line += 1
            try:
                text = each.decode("utf-8-sig" if start else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as e:
                raise not_utf8(where, line, each[e.start]) from None
            start = False
            if text.strip(" \t,;"):
                batch.append((line, text))
        if batch:
            yield batch


def _numbers(
    where: str, batch: list[tuple[int, str]], header: list[str], delimiter: str
) -> tuple[list[str], NDArray[np.float64]]:
    """First cells as text, the others as numbers."""
    C = len(header)
    blanks = delimiter == " "
    firsts, rests = [], []
    for _, text in batch:
        first, *rest = text.split(None, 1) if blanks else text.split(delimiter, 1)
        firsts.append(first)
        rests += rest
    if any('"' in t for _, t in batch):
        return _numbers_by_cell(where, batch, header, delimiter)
    counts = {(t.count(delimiter) + 1) if not blanks else len(t.split()) for _, t in batch}
    if counts == {C} and C > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what is no number ends the reading with a warning only
            try:
                joined = (" " if blanks else delimiter).join(rests)
                numbers = np.fromstring(joined, dtype=float, sep=" " if blanks else delimiter)
            except (ValueError, DeprecationWarning):
                numbers = np.empty(0)
        if numbers.size == len(batch) * (C - 1):
            return firsts, numbers.reshape(len(batch), C - 1)
    return _numbers_by_cell(where, batch, header, delimiter)


def _numbers_by_cell(
    where: str, batch: list[tuple[int, str]], header: list[str], delimiter: str
) -> tuple[list[str], NDArray[np.float64]]:
    """The same cell by cell: for empty cells, and to name the one that is wrong."""
    labels, rows = [], np.empty((len(batch), len(header) - 1))
    for i, (line, text) in enumerate(batch):
        try:
            cells = split_lines([text], delimiter)[0]
        except csv.Error as e:
            raise InputError(
                f"{where}, line {line}", f"not a table ({e})", "Check quotes and line ends"
            ) from None
        if len(cells) != len(header):
            raise InputError(
                f"{where}, line {line}",
                f"{len(cells)} cells under {len(header)} columns",
                "Every row needs one cell per column",
            )
        labels.append(cells[0])
        for j, cell in enumerate(cells[1:]):
            rows[i, j] = _number(where, line, header[j + 1], cell)
    return labels, rows


def _number(where: str, line: int, column: str, cell: str) -> float:
    cell = cell.strip()
    if cell.lower() in MISSING:
        return np.nan
    value = pd.to_numeric(cell, errors="coerce")
    if np.isnan(value):
        shown = cell if len(cell) <= 40 else cell[:37] + "..."
        raise InputError(
            f"{where}, line {line}, column {column!r}",
            f"{shown!r} is not a number",
            "Write a decimal number (a point, no thousands separator)",
        )
    return float(value)
