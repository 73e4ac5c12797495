"""How things of ours print: one line, a few lines, a bounded table in a notebook; and how far work has come."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from html import escape
from typing import Any, TypeVar

import pandas as pd

from mrinterp.core.printable import printable

__all__ = [
    "A_WHILE",
    "ROWS_SHOWN",
    "Bar",
    "Shown",
    "bytes_in_words",
    "counted",
    "listed",
    "progress",
    "stage_progress",
    "time_in_words",
]

T = TypeVar("T")

ROWS_SHOWN = 20
"""Rows of the table that a notebook shows; beyond it, how many there are."""

A_WHILE = 2.0
"""Seconds of work that may go by without a bar, where most work of the kind is shorter."""

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


def time_in_words(seconds: float) -> str:
    """A time to two digits, in the unit that a person would take."""
    if seconds < 60:
        return f"{max(seconds, 0.1):.2g} s"
    return f"{seconds / 60:.2g} minutes" if seconds < 6000 else f"{seconds / 3600:,.1f} hours"


def bytes_in_words(count: float) -> str:
    """A size of memory in the unit that a person would take."""
    power = 3 if count >= 2**29 else 2 if count >= 2**19 else 1
    return f"{count / 2 ** (10 * power):,.1f} {('KiB', 'MiB', 'GiB')[power - 1]}"


def listed(names: Sequence[str], most: int = 4) -> str:
    """The first names, separated by commas, and how many more there are."""
    words = ", ".join(str(name) for name in names[:most])
    return words + (f" and {len(names) - most:,} more" if len(names) > most else "")


class Bar:
    """How far one piece of work has come: a bar of its own, or a share of the bar of the stage that it belongs to.

    Parameters
    ----------
    total : int
        Units of work.
    what, unit : str
        What is done, and what is counted.
    delay : float
        Seconds that the work must take before a bar of its own is shown.
    """

    def __init__(self, total: int, what: str, unit: str = "it", delay: float = 0.0) -> None:
        self._stage = _STAGE.get()
        if self._stage is None:
            self._bar = _new_bar(total, what, unit, delay)
        else:
            self._bar = self._stage.taking(total, what, unit)

    def update(self, count: int = 1) -> None:
        """So much more is done."""
        self._bar.update(count)

    def close(self) -> None:
        """It is done; the bar of a stage stays for what comes next in it."""
        if self._stage is None:
            self._bar.close()


class _StageBar:
    """One bar for all work of a stage, made when the first of it begins."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.bar: Any = None

    def taking(self, total: int, what: str, unit: str) -> Any:
        """The stage's bar, longer by so much work, which it now names."""
        said = what if what == self.stage else f"{self.stage}: {what}"
        if self.bar is None:
            self.bar = _new_bar(0, said, unit)
        self.bar.total += total
        self.bar.set_description(said)
        return self.bar


_STAGE: ContextVar[_StageBar | None] = ContextVar("stage", default=None)


@contextmanager
def stage_progress(stage: str) -> Iterator[None]:
    """Inside the block, all work shares one bar, which names the stage."""
    own = _StageBar(stage)
    token = _STAGE.set(own)
    try:
        yield
    finally:
        _STAGE.reset(token)
        if own.bar is not None:
            own.bar.close()


@contextmanager
def progress(total: int, what: str, unit: str = "it", delay: float = 0.0) -> Iterator[Bar]:
    """A bar for one piece of work, to be updated inside the block; shown at a terminal and in notebooks only."""
    bar = Bar(total, what, unit, delay)
    try:
        yield bar
    finally:
        bar.close()


def counted(things: Sequence[T], what: str, unit: str = "it", delay: float = 0.0) -> Iterator[T]:
    """The things one by one, with a bar that counts them."""
    with progress(len(things), what, unit, delay) as bar:
        for thing in things:
            yield thing
            bar.update()


def _new_bar(total: int, what: str, unit: str, delay: float = 0.0) -> Any:
    from tqdm.auto import tqdm

    # A notebook's output is no terminal, which is what tqdm asks for by itself.
    quiet: dict[str, Any] = {} if _in_notebook() else {"disable": None}
    return tqdm(total=total, desc=what, unit=unit, smoothing=0.1, delay=delay, **quiet)


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")
