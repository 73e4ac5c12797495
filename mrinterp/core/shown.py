"""How things of ours print: one line, a few lines, and a bounded table in a notebook."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from html import escape

import pandas as pd

from mrinterp.core.printable import printable

__all__ = ["ROWS_SHOWN", "Shown", "listed"]

ROWS_SHOWN = 20
"""Rows of the table that a notebook shows; beyond it, how many there are."""

COLUMNS_SHOWN = 24
WIDEST_WORDS = 60
"""Characters of one table cell: status words may be whole sentences."""


class Shown(ABC):
    """Base of what prints in one line (`summary`), and as a table of at most `ROWS_SHOWN` rows in a notebook."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """What it is and how large, in one line."""

    @abstractmethod
    def _first_rows(self, rows: int) -> tuple[pd.DataFrame, int]:
        """The first rows of the table, and how many there are in all."""

    def __repr__(self) -> str:
        return printable(f"<{type(self).__name__}: {self.summary}>")

    def __str__(self) -> str:
        return printable(self.summary, lines=True)

    def _repr_html_(self) -> str:
        frame, count = self._first_rows(ROWS_SHOWN)
        with pd.option_context("display.max_colwidth", WIDEST_WORDS):
            table = frame.to_html(
                escape=True, index=False, border=0, max_cols=COLUMNS_SHOWN, float_format=lambda x: f"{x:.4g}"
            )
        more = f"<p>... {count - len(frame):,} more rows: see to_frame().</p>" if count > len(frame) else ""
        name = f"<p><b>{escape(type(self).__name__)}</b>: {escape(self.summary)}</p>"
        return f"<div>{name}{table}{more}</div>"


def listed(names: Sequence[str], most: int = 4) -> str:
    """The first names, separated by commas, and how many more there are."""
    words = ", ".join(str(name) for name in names[:most])
    return words + (f" and {len(names) - most:,} more" if len(names) > most else "")
