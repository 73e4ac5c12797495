"""A table as a file or a data frame holds it: cells with their line numbers, before anything is interpreted."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeGuard, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.core.printable import printable

__all__ = [
    "MISSING",
    "Sheet",
    "Table",
    "delimiter_of",
    "is_table",
    "not_utf8",
    "open_bytes",
    "read_sheet",
    "split_lines",
]

Table = str | Path | pd.DataFrame
"""What every reader takes: the path of a file, or a data frame."""

MISSING = frozenset(
    [
        "", "na", "nan", "n/a", "null", "none", ".", "-", "--", "?", "#n/a", "#na", "n.a.", "n.a", "<na>",
        "(null)", "nil", "missing", "unknown", "nr", "-nan", "+nan", "nan(ind)", "-nan(ind)", "nat", "1.#ind",
        "-1.#ind", "1.#qnan", "-1.#qnan", "#num!", "#div/0!", "#value!", "#ref!", "#name?", "#null!",
        "#n/a n/a", "\\n", "na_real_", "na_integer_", "na_character_", ".na", "\u2013", "\u2014"
    ]
)  # fmt: skip
"""Cells (in lower case) that mean "not known": as spreadsheets, R, Python and databases write it."""

_GZIPPED = (".gz", ".bgz")
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

    def text(self, column: str, keep: Collection[str] = ()) -> list[str]:
        """A column as stripped text; missing cells (other than those to ``keep``) become the empty string."""
        values = ["" if v is None else str(v).strip() for v in self.frame[column].tolist()]
        absent = MISSING.difference(keep)
        return ["" if v.lower() in absent else v for v in values]

    def names(self, column: str) -> list[str]:
        """A column of names: text without control characters; whole numbers as such.

        Raises
        ------
        InputError
            For a name that holds a control character: it would be obeyed by the terminal that shows it.
        """
        values = self.frame[column]
        if values.dtype.kind == "f" and bool(np.isin(values.dropna() % 1, 0).all()):
            return ["" if v != v else str(int(v)) for v in values.tolist()]
        cells = self.text(column)
        for row, cell in enumerate(cells):
            if cell and not cell.isprintable() and printable(cell) != cell:
                raise InputError(
                    self.place(row, column),
                    f"{_shown(cell)} holds a control character",
                    "Write the name with visible characters only",
                )
        return cells

    def rows(self, kept: NDArray[np.bool_]) -> Sheet:
        """The same table with fewer rows."""
        frame = self.frame.loc[kept].reset_index(drop=True)
        return Sheet(self.where, frame, None if self.lines is None else self.lines[kept])

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
    with _reading(where):
        raw = path.read_bytes()
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in (".parquet", ".pq"):
        return _read_parquet(where, raw)
    if suffixes and suffixes[-1] in _GZIPPED:
        raw = _gunzip(where, raw)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise not_utf8(where, raw[: e.start].count(b"\n") + 1, raw[e.start]) from None
    if text.startswith("##"):  # as a VCF begins; emptied, so that lines keep their numbers
        head = list(itertools.takewhile(lambda line: line.startswith("##"), text.split("\n")))
        text = "\n" * len(head) + text.split("\n", len(head))[-1] if len(head) < text.count("\n") + 1 else ""
    return _parse(where, text, delimiter_of(path, text.lstrip("\r\n").split("\n", 1)[0]))


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """A file that cannot be opened is one message."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(where, "no such file", "Check the path") from None
    except (OSError, ValueError) as e:
        reason = getattr(e, "strerror", None) or e
        raise InputError(where, f"cannot be read ({reason})", "Check the path and its permissions") from None


def open_bytes(path: Path) -> IO[bytes]:
    """A file of text, unzipped where its name ends so.

    Raises
    ------
    InputError
        For a file that is missing or cannot be opened.
    """
    with _reading(str(path)):
        raw: IO[bytes] = path.open("rb")
        return cast(IO[bytes], gzip.open(raw)) if path.suffix.lower() in _GZIPPED else raw


def not_utf8(where: str, line: int, byte: int) -> InputError:
    """The message of a line that is no text."""
    return InputError(
        f"{where}, line {line}",
        f"byte {byte:#04x} is not UTF-8 text",
        "Save the table as UTF-8 (in a spreadsheet: 'CSV UTF-8')",
    )


def delimiter_of(path: Path, header: str) -> str:
    """What separates the cells: by the name's ending, else what the header shows; blanks where nothing else."""
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in _GZIPPED]
    usual = _DELIMITERS.get(suffixes[-1] if suffixes else "", ",")
    if usual in header:
        return usual
    return next((d for d in ("\t", ",", ";", "|", " ") if d in header.strip()), usual)


def split_lines(lines: Iterable[str], delimiter: str) -> list[list[str]]:
    """Cells of lines; blanks separate in any number."""
    return list(_reader(lines, delimiter))


def _reader(lines: Iterable[str], delimiter: str) -> Any:
    if delimiter == " ":
        tidy = (" ".join(line.split(None)) if '"' not in line else line.strip() for line in lines)
        return csv.reader(tidy, delimiter=" ", strict=True, skipinitialspace=True)
    return csv.reader(lines, delimiter=delimiter, strict=True)


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
    obeyed = [name for name in header if printable(name) != name]
    if obeyed:
        raise InputError(
            where,
            f"column {_shown(obeyed[0])} holds a control character",
            "Write the names of columns with visible characters only",
        )
    if rows == 0:
        raise InputError(where, "a header and no rows", "Give a table with one row per instrument")


def _parse(where: str, text: str, delimiter: str) -> Sheet:
    if not text.strip():
        raise InputError(where, "the file is empty", "Give a table with a header and one row per instrument")
    reader = _reader(io.StringIO(text, newline=""), delimiter)
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
