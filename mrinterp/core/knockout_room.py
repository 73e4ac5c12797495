"""What the knockouts are handed to keep their results in: a view of the run folder that no estimate is behind."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pandas as pd

from mrinterp.core.errors import InputError

__all__ = ["K", "Knockout", "Room", "one_name"]

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""Names that are one folder's name and lead nowhere else."""


class Knockout(Protocol):
    """What `RunFolder.keep_knockout` needs to know of an effect of knockouts."""

    @property
    def inputs(self) -> pd.DataFrame: ...
    @property
    def meta(self) -> dict[str, Any]: ...
    def save(self, folder: Path) -> None: ...


K = TypeVar("K", bound=Knockout)


class Room:
    """What the knockouts are handed to keep their results in: no other part of the run folder is behind it.

    Parameters
    ----------
    keep : callable
        Keeps one named result, or reopens it.
    names : tuple of str
        Results that it is for: the knockouts of the plan, but for those that are left out.
    work : Path
        Where finished shards of unfinished results wait.
    """

    __slots__ = ("_keep", "_work", "names")

    def __init__(self, keep: Callable[..., Any], names: tuple[str, ...], work: Path) -> None:
        self._keep, self.names, self._work = keep, names, work

    def kept(self, name: str, load: Callable[[Path], K], make: Callable[[], K]) -> K:
        """A result of this room: reopened where it is finished, made and saved whole where it is not."""
        found: K = self._keep(one_name(name), load, make)
        return found

    def work(self, name: str) -> Path:
        """A place for finished shards."""
        return self._work / one_name(name)


def one_name(name: str) -> str:
    """The name, where it is a plain one: no path, nothing hidden."""
    if not PLAIN.fullmatch(name):
        fix = "Give a name of letters, digits, '_', '.' and '-' that starts with a letter or digit"
        raise InputError("name", f"{name!r}", fix)
    return name
