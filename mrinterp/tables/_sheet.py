"""A table as a file or a data frame holds it: cells with their line numbers, before anything is interpreted."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError

__all__ = ["MISSING", "Sheet", "Table", "is_table", "read_sheet"]

Table = str | Path | pd.DataFrame
"""What every reader takes: the path of a file, or a data frame."""

MISSING = frozenset({"", "na", "nan", "n/a", "null", "none", "."})
"""Cells (in lower case) that mean "not known"."""

_DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t", ".ssf": "\t"}


@dataclass(frozen=True, eq=False)
class Sheet:
    """Named columns of one file or data frame.

    Parameters
    ----------
    where : str
        The file, as messages name it.
    frame : DataFrame
        One row per instrument; text as read, or whatever a Parquet file or a data frame holds.
    lines : ndarray (rows,) of int, optional
        Line of each row in the file, the header being line 1; None for Parquet files and data frames.
    """

    where: str
    frame: pd.DataFrame
    lines: NDArray[np.int_] | None = None

    def line(self, row: int) -> str:
        """How a message names one row: its line in a text file, else its position counted from 0."""
        return f"row {row}" if self.lines is None else f"line {self.lines[row]}"

    def place(self, row: int, column: str) -> str:
        """How a message names one cell."""
        return f"{self.where}, {self.line(row)}, column {column!r}"

    def text(self, column: str) -> list[str]:
        """A column as stripped text; missing cells become the empty string."""
        values = ["" if v is None else str(v).strip() for v in self.frame[column].tolist()]
        return ["" if v.lower() in MISSING else v for v in values]

    def numbers(self, column: str, infinite: bool = False) -> NDArray[np.float64]:
        """A column as numbers, nan where missing; with ``infinite`` infinite ones are let through.

        Raises
        ------
        InputError
            For a cell that is not a number, or (unless ``infinite``) is infinite.
        """
        values = self.frame[column]
        if values.dtype.kind in "iuf":
            out = values.to_numpy(dtype=float, na_value=np.nan)
        else:
            cells = self.text(column)
            out = pd.to_numeric(pd.Series(cells, dtype=object), errors="coerce").to_numpy(dtype=float)
            for row in np.flatnonzero(np.isnan(out)):
                if cells[row]:
                    raise InputError(
                        self.place(int(row), column),
                        f"{_shown(cells[row])} is not a number",
                        "Write a decimal number (a point, no thousands separator), or leave the cell empty",
                    )
        unbounded = np.flatnonzero(np.isinf(out))
        if len(unbounded) and not infinite:
            raise InputError(
                self.place(int(unbounded[0]), column),
                f"infinite value {_shown(str(values.iloc[int(unbounded[0])]))}",
                "Leave the cell empty if the value is not known, or remove the row",
            )
        return out

    def positive(self, column: str, infinite: bool = False) -> NDArray[np.float64]:
        """A column of standard errors: above zero, nan where missing; ``infinite`` as in `numbers`.

        Raises
        ------
        InputError
            For a cell that is zero or negative.
        """
        out = self.numbers(column, infinite)
        bad = np.flatnonzero(out <= 0)
        if len(bad):
            raise InputError(
                self.place(int(bad[0]), column),
                f"standard error {out[bad[0]]:g}",
                "Standard errors must be above 0; correct the cell or remove the row",
            )
        return out


def is_table(given: object) -> TypeGuard[Table]:
    """Whether what was given is a file or a data frame (else a plain array or number)."""
    return isinstance(given, str | Path | pd.DataFrame)


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else cell[:37] + "...")


def read_sheet(table: Table) -> Sheet:
    """Read a CSV, TSV (also gzipped) or Parquet file; a data frame is taken as it is.

    Raises
    ------
    InputError
        For a file that is missing, empty, ragged, not UTF-8, or not what its name says.
    """
    if isinstance(table, pd.DataFrame):
        return _frame_sheet(table, "data frame")
    path = Path(table)
    where = str(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise InputError(where, "no such file", "Check the path") from None
    except OSError as e:
        raise InputError(
            where, f"cannot be read ({e.strerror or e})", "Check the path and its permissions"
        ) from None
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in (".parquet", ".pq"):
        return _read_parquet(where, raw)
    if suffixes and suffixes[-1] == ".gz":
        raw, suffixes = _gunzip(where, raw), suffixes[:-1]
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = raw[: e.start].count(b"\n") + 1
        raise InputError(
            f"{where}, line {line}",
            f"byte {raw[e.start]:#04x} is not UTF-8 text",
            "Save the table as UTF-8 (in a spreadsheet: 'CSV UTF-8')",
        ) from None
    delimiter = _DELIMITERS.get(suffixes[-1] if suffixes else "", ",")
    first = text.split("\n", 1)[0]
    if delimiter not in first:
        delimiter = next((d for d in ("\t", ",", ";") if d in first), delimiter)
    return _parse(where, text, delimiter)


def _gunzip(where: str, raw: bytes) -> bytes:
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as e:
        raise InputError(
            where, f"not a gzip file ({e})", "Compress the table again, or give it uncompressed"
        ) from None


def _read_parquet(where: str, raw: bytes) -> Sheet:
    import pyarrow as pa

    try:
        frame = pd.read_parquet(io.BytesIO(raw))
    except (pa.ArrowException, OSError, ValueError, KeyError) as e:
        reason = str(e).split("\n")[0][:120]
        raise InputError(
            where, f"not a Parquet file ({reason})", "Write the table again, or give it as CSV"
        ) from None
    return _frame_sheet(frame, where)


def _frame_sheet(frame: pd.DataFrame, where: str) -> Sheet:
    _check_header(where, [str(c).strip() for c in frame.columns], len(frame))
    frame = frame.reset_index(drop=True)
    frame.columns = pd.Index([str(c).strip() for c in frame.columns])
    return Sheet(where, frame)


def _check_header(where: str, header: list[str], rows: int) -> None:
    repeated = [name for name in dict.fromkeys(header) if header.count(name) > 1 and name]
    if repeated:
        raise InputError(
            where, f"column {_shown(repeated[0])} appears twice", "Give every column its own name"
        )
    if rows == 0:
        raise InputError(where, "a header and no rows", "Give a table with one row per instrument")


def _parse(where: str, text: str, delimiter: str) -> Sheet:
    if not text.strip():
        raise InputError(where, "the file is empty", "Give a table with a header and one row per instrument")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    header: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            if any(c.strip() for c in cells):
                if header is None:
                    header = [c.strip() for c in cells]
                else:
                    if len(cells) != len(header):
                        raise InputError(
                            f"{where}, line {line}",
                            f"{len(cells)} cells under {len(header)} columns",
                            "Every row needs one cell per column (leave unknown cells empty, quote cells that"
                            f" hold {delimiter!r})",
                        )
                    rows.append(cells)
                    lines.append(line)
            line = reader.line_num + 1
    except csv.Error as e:
        raise InputError(
            f"{where}, line {line}", f"not a table ({e})", "Check quotes and line ends"
        ) from None
    assert header is not None
    _check_header(where, header, len(rows))
    columns: dict[str, Any] = {name: [r[i] for r in rows] for i, name in enumerate(header)}
    return Sheet(where, pd.DataFrame(columns, dtype=object), np.array(lines, dtype=int))
