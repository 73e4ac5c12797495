"""Numbers, words and names that a caller gives: checked here and nowhere else, with one message for each mistake.

Every function takes the value first and the argument's name second, and returns the value as a plain Python or
numpy type. A truth value is not a number. Bad values raise `InputError` naming the argument, what was found and
the fix.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError, near_misses

__all__ = [
    "MOST_DRAWS",
    "checked_choice",
    "checked_count",
    "checked_draws",
    "checked_fraction",
    "checked_level",
    "checked_number",
    "checked_numbers_of",
    "checked_seed",
    "checked_type",
    "places_by_name",
    "shown",
]

MOST_DRAWS = 1_000_000
"""A percentile is settled long before; more would fill the memory or run for days."""

MOST_SEED = 2**63 - 1
"""Largest seed that both numpy and torch take."""

LISTED = 8
"""Known names that a message lists, where none is near."""


def checked_number(
    value: Any, name: str, least: float = -math.inf, most: float = math.inf, unit: str = ""
) -> float:
    """One finite number from ``least`` to ``most``, both included; ``unit`` is named in the message.

    Raises
    ------
    InputError
        For anything else.

    Examples
    --------
    >>> checked_number(0.02, "rope_sd", least=0)
    0.02
    """
    number = _number(value)
    if number is None or not math.isfinite(number) or not least <= number <= most:
        found = shown(value) if number is None else f"{number:g}"
        raise InputError(name, found, f"Give a finite number{_between(least, most)}{_in(unit)}")
    return number


def checked_count(value: Any, name: str, least: int = 1, most: int | None = None, unit: str = "") -> int:
    """A whole number from ``least`` to ``most``, both included; ``unit`` says what is counted.

    Raises
    ------
    InputError
        For anything else.

    Examples
    --------
    >>> checked_count(64, "block")
    64
    """
    whole = _whole(value)
    if whole is None or whole < least or (most is not None and whole > most):
        found = shown(value) if whole is None else f"{whole}"
        raise InputError(name, found, f"Give a whole number{_between(least, most)}{_in(unit)}")
    return whole


def checked_draws(value: Any, name: str = "draws") -> int:
    """Draws of a bootstrap or of a permutation: 2 to `MOST_DRAWS`.

    Raises
    ------
    InputError
        For anything else.

    Examples
    --------
    >>> checked_draws(1000)
    1000
    """
    whole = _whole(value)
    if whole is None or not 2 <= whole <= MOST_DRAWS:
        found = shown(value) if whole is None else f"{whole}"
        raise InputError(name, found, f"Give 2 to {MOST_DRAWS:,} draws; 1000 serve most purposes")
    return whole


def checked_seed(value: Any, name: str = "seed") -> int:
    """A seed of random draws: a whole number from 0 to 2**63 - 1.

    Raises
    ------
    InputError
        For anything else, None included: every result must be one that can be drawn again.

    Examples
    --------
    >>> checked_seed(0)
    0
    """
    whole = _whole(value)
    if whole is None or not 0 <= whole <= MOST_SEED:
        found = shown(value) if whole is None else f"{whole}"
        raise InputError(name, found, "Give a whole number of at least 0 (and below 2**63), such as 0")
    return whole


def checked_level(value: Any, name: str = "level") -> float:
    """A confidence level between 0 and 1, both excluded.

    Raises
    ------
    InputError
        For anything else; a percentage is told which fraction it is.

    Examples
    --------
    >>> checked_level(0.95)
    0.95
    """
    level = _number(value)
    if level is not None and 0 < level < 1:
        return level
    if level is not None and 1 < level < 100:
        raise InputError(name, f"{level:g}", f"Give {level / 100:g} for {level:g}%")
    raise InputError(name, shown(value), "Give a confidence level between 0 and 1, such as 0.95")


def checked_fraction(
    value: Any, name: str, *, zero: bool = True, one: bool = True, most: float = 1.0
) -> float:
    """A share, probability or error rate between 0 and ``most``.

    ``zero`` and ``one`` say whether the lower and the upper end are allowed.

    Raises
    ------
    InputError
        For anything else.

    Examples
    --------
    >>> checked_fraction(0.05, "error_rate", zero=False, one=False)
    0.05
    """
    number = _number(value)
    if number is not None and (0 < number < most or (zero and number == 0) or (one and number == most)):
        return number
    excluded = ["0"] * (not zero) + [f"{most:g}"] * (not one)
    ends = f", {' and '.join(excluded)} excluded" if excluded else ""
    raise InputError(name, shown(value), f"Give a number between 0 and {most:g}{ends}")


def checked_choice(value: Any, name: str, known: Iterable[str]) -> str:
    """One of a few known words.

    Raises
    ------
    InputError
        For anything else, with the nearest known word.

    Examples
    --------
    >>> checked_choice("holm", "correction", ("holm", "bonferroni"))
    'holm'
    """
    words = list(known)
    if not isinstance(value, str) or value not in words:
        near = near_misses(value, words) if isinstance(value, str) else ""
        raise InputError(name, shown(value), f"{near} Give one of {', '.join(words)}".strip())
    return value


def checked_names(
    given: Any, name: str, known: Sequence[str], *, least: int = 1, numbers: bool = False
) -> tuple[str, ...]:
    """Distinct names out of the known ones, in the given order; one name alone serves as a list of one.

    Parameters
    ----------
    given : str or iterable of str
        With ``numbers`` also whole numbers from 0.
    name : str
        The argument: ``features``, ``outcomes``, ``instruments``.
    known : sequence of str
        All names there are.
    least : int
        How many are needed.
    numbers : bool
        Whether a name may be given by its place among the known ones.

    Raises
    ------
    InputError
        For an unknown name (with the nearest known ones), the same one twice, too few, or something else.

    Examples
    --------
    >>> checked_names("b", "features", ["a", "b"])
    ('b',)
    """
    return tuple(known[i] for i in checked_numbers_of(given, name, known, least=least, numbers=numbers))


def checked_numbers_of(
    given: Any, name: str, known: Sequence[str], *, least: int = 1, numbers: bool = True
) -> NDArray[np.int_]:
    """Places (K,) of distinct names among the known ones: as `checked_names`, numbers from 0 instead of names.

    Raises
    ------
    InputError
        As `checked_names`; for a number that is too large.

    Examples
    --------
    >>> checked_numbers_of(["b", 0], "features", ["a", "b"])
    array([1, 0])
    """
    place = places_by_name([str(one) for one in known])
    found = [_place(one, name, known, place, numbers) for one in _listed(given, name, numbers)]
    if len(found) < least:
        many = "none given" if not found else f"{len(found)} given"
        raise InputError(name, many, f"Give at least {least} of {_some(known)}")
    unique, times = np.unique(np.array(found, dtype=np.int_), return_counts=True)
    if len(unique) < len(found):
        twice = known[int(unique[times.argmax()])]
        raise InputError(f"{name}: {twice!r}", f"given {times.max()} times", "Give each one once")
    return np.array(found, dtype=np.int_)


def places_by_name(known: Sequence[str]) -> dict[str, int]:
    """Place of every name, and of the short name that tables print, where only one has it.

    A feature ``encoder.layer.3:c05`` is printed as ``c05``: what follows the last colon is its short name.

    Examples
    --------
    >>> places_by_name(["h.3:c0", "h.3:c1"])
    {'c0': 0, 'c1': 1, 'h.3:c0': 0, 'h.3:c1': 1}
    >>> places_by_name(["h.3:c0", "h.4:c0"])
    {'h.3:c0': 0, 'h.4:c0': 1}
    """
    short = [name.rpartition(":")[2] for name in known]
    times = Counter(short)
    own = {
        s: i for i, (s, name) in enumerate(zip(short, known, strict=True)) if times[s] == 1 and ":" in name
    }
    return own | {name: i for i, name in enumerate(known)}


def checked_type(value: Any, name: str, wanted: type | tuple[type, ...], fix: str) -> None:
    """Refuse a value of another type, with how to get the right one.

    Raises
    ------
    InputError
        For anything else.

    Examples
    --------
    >>> checked_type(1.5, "share", float, "Give a share")
    """
    if isinstance(value, wanted):
        return
    kinds = wanted if isinstance(wanted, tuple) else (wanted,)
    raise InputError(
        name, f"{type(value).__name__} object", f"Give a {' or '.join(k.__name__ for k in kinds)}: {fix}"
    )


def shown(value: Any) -> str:
    """A value in few words for a message: text as it is, anything else with its type.

    Examples
    --------
    >>> shown(True)
    'True (bool)'
    """
    text = repr(value)
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return text if isinstance(value, str) else f"{text} ({type(value).__name__})"


def _number(value: Any) -> float | None:
    """The value as a float where it is one number; None where it is something else."""
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else None


def _whole(value: Any) -> int | None:
    """The value as an int where it is a whole number; None where it is something else."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None


def _listed(given: Any, name: str, numbers: bool) -> list[Any]:
    """What was given as a list; one name or number is a list of one."""
    if isinstance(given, str | Integral):
        return [given]
    if not np.iterable(given):
        raise InputError(name, shown(given), f"Give {_wanted(numbers)}")
    return list(given)


def _place(one: Any, name: str, known: Sequence[str], place: dict[str, int], numbers: bool) -> int:
    if isinstance(one, str):
        if one not in place:
            raise InputError(
                f"{name}: {one!r}", "not known", near_misses(one, place) or f"Known: {_some(known)}"
            )
        return place[one]
    whole = _whole(one)
    if not numbers or whole is None:
        raise InputError(name, shown(one), f"Give {_wanted(numbers)}")
    if not 0 <= whole < len(known):
        fix = f"They run from 0 to {len(known) - 1}"
        raise InputError(f"{name}: number {whole}", f"there are {len(known)}", fix)
    return whole


def _wanted(numbers: bool) -> str:
    return "a list of names (text), or of numbers from 0" if numbers else "a list of names (text)"


def _some(known: Sequence[str]) -> str:
    """The first names, and how many there are in all."""
    names = ", ".join(repr(str(k)) for k in known[:LISTED])
    return names if len(known) <= LISTED else f"{names} ... ({len(known)} in all)"


def _between(least: float, most: float | None) -> str:
    """Bounds in words, with a space before; nothing where there are none."""
    above, below = math.isfinite(least), most is not None and math.isfinite(most)
    if above and below:
        return f" from {least:,} to {most:,}"
    return f" of at least {least:,}" if above else f" of at most {most:,}" if below else ""


def _in(unit: str) -> str:
    """What is counted or measured, in brackets."""
    return f" ({unit})" if unit else ""
