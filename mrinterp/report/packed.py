"""Columns of numbers and words as one compressed text that a page holds and its script unpacks."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.printable import printable

__all__ = ["Packer", "json_numbers", "packed_json", "shown_text"]

LONGEST = 400
"""Characters of a word that a page shows; the run folder has the rest."""
_HALF_MOST = 60000.0
"""Numbers beyond it would be infinite as 16-bit ones."""


def shown_text(text: Any, longest: int = LONGEST) -> str:
    r"""A word as a page shows it: control characters written out, one line, not longer than a paragraph.

    Examples
    --------
    >>> print(shown_text("a" + chr(10) + "b" + chr(7)))
    a b\x07
    """
    line = printable(" ".join(str(text).split()))
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def json_numbers(values: Sequence[Any]) -> list[float | None]:
    """Numbers as JSON takes them, to six digits; None for what is none.

    Examples
    --------
    >>> json_numbers([1 / 3, float("nan")])
    [0.333333, None]
    """
    return [float(f"{float(v):.6g}") if np.isfinite(float(v)) else None for v in values]


def packed_json(value: Any) -> str:
    """Any JSON value, compressed, as base64."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _text(text.encode("utf-8", "replace"))


def _text(raw: bytes) -> str:
    return base64.b64encode(zlib.compress(raw, 6)).decode("ascii")


@dataclass
class Packer:
    """Columns of one table, added one by one; `text` is what stands in the page.

    Parameters
    ----------
    rows : int
        Rows that every column has.
    bits : int
        64, 32 or 16: how numbers travel.
    scale : float
        What 16-bit numbers are multiples of.
    """

    rows: int
    bits: int = 64
    scale: float = 1.0
    columns: list[dict[str, Any]] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    length: int = 0

    def numbers(self, key: str, values: ArrayLike) -> None:
        """Floating-point numbers, nan where there is none."""
        given = np.asarray(values, float)
        if self.bits == 16:
            half = np.clip(given / self.scale, -_HALF_MOST, _HALF_MOST).astype("<f2").view("<u2")
            planes = np.concatenate([(half >> 8).astype(np.uint8), (half & 255).astype(np.uint8)])
            self._add(key, "f16", planes, scale=self.scale)
        else:
            self._add(key, f"f{self.bits}", given.astype(f"<f{self.bits // 8}"))

    def half_widths(self, key: str, error: str, ends: Mapping[str, float]) -> None:
        """Ends of intervals as a number and so many of its error, which are columns already."""
        self.columns += [
            {"key": k, "type": "end", "of": key, "error": error, "by": by} for k, by in ends.items()
        ]

    def words(self, key: str, values: Sequence[str] | NDArray[Any]) -> None:
        """Words: by number where few are different, else a line each."""
        given, each = pd.factorize(np.asarray(values, dtype=object))
        texts = [shown_text(v) for v in each]
        levels = sorted(set(texts))
        if len(levels) <= max(32, self.rows // 3):
            place = {w: k for k, w in enumerate(levels)}
            size = 1 if len(levels) <= 256 else 2 if len(levels) <= 65536 else 4
            codes = np.array([place[t] for t in texts], dtype=f"<u{size}")[given]
            self._add(key, "code", codes, levels=levels, bytes=size)
        else:
            raw = np.frombuffer("\n".join(texts[k] for k in given).encode("utf-8", "replace"), np.uint8)
            self._add(key, "text", raw, length=len(raw))

    def names(self, key: str, values: Sequence[str]) -> None:
        """Names: as runs of numbers behind a prefix where they are that, else as words."""
        runs = _runs(values) if len(values) > 1000 else None
        if runs is None:
            raw = np.frombuffer("\n".join(map(shown_text, values)).encode("utf-8", "replace"), np.uint8)
            self._add(key, "text", raw, length=len(raw))
        else:
            self.columns.append({"key": key, "type": "runs", "runs": runs})

    def _add(self, key: str, kind: str, values: NDArray[Any], **more: Any) -> None:
        raw = values.tobytes()
        self.columns.append({"key": key, "type": kind, "at": self.length, **more})
        self.parts += [raw, bytes(-len(raw) % 8)]
        self.length += len(raw) + (-len(raw) % 8)

    def text(self, header: Mapping[str, Any]) -> str:
        """All columns behind their header."""
        told = json.dumps(
            {**header, "rows": self.rows, "columns": self.columns},
            ensure_ascii=False,
            separators=(",", ":"),
            allow_nan=False,
        ).encode("utf-8", "replace")
        size = np.array([len(told), 0], "<u4").tobytes()
        return _text(b"".join([size, told, bytes(-len(told) % 8), *self.parts]))


_NUMBERED = re.compile(r"^(.*?)(\d{1,9})$", re.DOTALL)


def _runs(names: Sequence[str]) -> list[list[Any]] | None:
    """Runs of ``prefix, first, width, count``; None where they would be many."""
    runs: list[list[Any]] = []
    for name in names:
        found = _NUMBERED.match(name)
        if found is None:
            return None
        prefix, digits = shown_text(found[1]), found[2]
        last = runs[-1] if runs else None
        number = int(digits)
        if (
            last is None
            or last[0] != prefix
            or number != last[1] + last[3]
            or digits != str(number).zfill(last[2])
        ):
            runs.append([prefix, number, len(digits) if digits.startswith("0") else 0, 0])
            last = runs[-1]
        last[3] += 1
        if len(runs) > 200:
            return None
    return runs
