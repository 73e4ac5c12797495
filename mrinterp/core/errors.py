"""The one exception that bad input raises, and its kind for stored files that are damaged."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable

from mrinterp.core.printable import printable

__all__ = ["DamagedError", "DamagedWarning", "InputError", "near_misses", "warn_damaged"]


class InputError(ValueError):
    """Input that cannot be used: says where, what was found there, and what to do.

    Parameters
    ----------
    where : str
        The place: file and row, argument, key of the study file.
    found : str
        What stands there.
    fix : str
        What the user can do about it.
    """

    def __init__(self, where: str, found: str, fix: str) -> None:
        self.where, self.found, self.fix = where, found, fix
        super().__init__(printable(f"{where}: {found}. {fix}", lines=True))

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        """From one process to another."""
        return type(self), (self.where, self.found, self.fix)


class DamagedError(InputError):
    """A stored file that is not what was written: cut short, changed, empty or missing."""


class DamagedWarning(UserWarning):
    """A stored file that is damaged or missing, where the numbers are known to be right or are made anew."""


def warn_damaged(where: str, found: str, what: str) -> None:
    """Say of a stored file that it is damaged or missing, and what is done about it or can be done."""
    warnings.warn(printable(f"{where}: {found}. {what}", lines=True), DamagedWarning, stacklevel=3)


def near_misses(name: str, known: Iterable[str], n: int = 3) -> str:
    """A sentence that offers the closest known names (empty if none is close)."""
    known = [str(k) for k in known]
    close = difflib.get_close_matches(name, known, n=n, cutoff=0.5)
    if not close:
        close = [k for k in known if name.lower() in k.lower()][:n]
    return "Did you mean " + " or ".join(repr(c) for c in close) + "?" if close else ""
