"""Arrays, tables and truth values that a caller gives: checked here, as single values are in `mrinterp.core.checks`."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.checks import shown
from mrinterp.core.errors import InputError

__all__ = ["checked_array", "checked_rows", "checked_truths", "checked_values", "column_names"]


def checked_array(
    value: Any, name: str, *, missing: bool = False, most_dimensions: int | None = None
) -> NDArray[np.float64]:
    """Real numbers in an array, a list, a tensor or a pandas object, as float64.

    Parameters
    ----------
    value : array_like
    name : str
        The argument.
    missing : bool
        Whether entries may be missing: masked ones, None and pandas' NA then become nan.
    most_dimensions : int, optional
        Refuse more.

    Raises
    ------
    InputError
        For text, dates, complex numbers, entries of anything else, masked or missing entries where there must be
        none; names the first one.

    Examples
    --------
    >>> checked_array([1, 2], "doses")
    array([1., 2.])
    """
    if isinstance(value, np.ma.MaskedArray):
        masked = np.argwhere(np.ma.getmaskarray(value))
        if len(masked) and not missing:
            raise InputError(
                _entry(name, masked[0]), "masked", "Fill masked entries in, or leave their rows out"
            )
        value = _unmasked(value, name)
    pandas = hasattr(value, "iloc") and hasattr(value, "to_numpy")
    try:
        array = value.to_numpy() if pandas else np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as e:
        raise InputError(
            name, f"no array of numbers ({_first_line(e)})", "Give numbers, rows of one length"
        ) from None
    array = _plain_numbers(array, name, missing)
    if most_dimensions is not None and array.ndim > most_dimensions:
        raise InputError(name, f"{array.ndim} dimensions", f"Give at most {most_dimensions}")
    return array


def _unmasked(value: Any, name: str) -> Any:
    """A masked array with nan where it is masked."""
    hidden, array = np.ma.getmaskarray(value), np.ma.getdata(value)
    return np.where(hidden, np.nan, _plain_numbers(array, name, True)) if hidden.any() else array


def _plain_numbers(array: NDArray[Any], name: str, missing: bool) -> NDArray[np.float64]:
    """An array of any kind as float64, where its entries are real numbers."""
    if array.dtype.kind in "fiub":
        return np.asarray(array, dtype=float)
    if array.dtype.kind != "O":
        word = {"c": "complex numbers", "M": "dates", "m": "time spans", "U": "text", "S": "text"}
        fix = {
            "c": "Give real numbers, such as .real or abs()",
            "M": "Give numbers, such as days since a day",
        }
        found = word.get(array.dtype.kind, f"entries of type {array.dtype}")
        if array.dtype.kind in "US" and array.size:
            found += f" ({str(array.ravel()[0])!r})"
        raise InputError(name, found, fix.get(array.dtype.kind, "Give numbers"))
    out = np.empty(array.shape)
    for at in np.ndindex(array.shape):
        one = array[at]
        if isinstance(one, Real):  # a truth value is a number in an array of numbers: 0 or 1
            out[at] = float(one)
        elif missing and _is_missing(one):
            out[at] = np.nan
        else:
            found = "missing" if _is_missing(one) else shown(one)
            raise InputError(_entry(name, np.array(at)), found, "Give a number for every entry")
    return out


def _is_missing(one: Any) -> bool:
    """None, or a scalar that stands for no value in pandas."""
    return one is None or type(one).__name__ in ("NAType", "NaTType") or one is np.ma.masked


def _entry(name: str, at: NDArray[np.int_]) -> str:
    """The place of an entry in words."""
    words = ("row", "column")
    place = [f"{words[i] if i < 2 else f'axis {i}'} {int(k)}" for i, k in enumerate(at)]
    return ", ".join([name, *place])


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:100]


def checked_truths(value: Any, name: str) -> NDArray[np.bool_]:
    """Truth values (N,): True and False, or the numbers 1 and 0.

    Raises
    ------
    InputError
        For anything else (text such as "False" would count as true, a missing value too); names the first one.

    Examples
    --------
    >>> checked_truths([True, 0], "clean")
    array([ True, False])
    """
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        at = np.argwhere(np.ma.getmaskarray(value))[0]
        raise InputError(_entry(name, at), "masked", "Give True or False")
    given = np.asarray(value)
    if given.ndim != 1:
        raise InputError(name, f"{given.ndim} dimensions", "Give one truth value per run")
    if given.dtype.kind == "b":
        return given.astype(bool)
    for i, one in enumerate(given.tolist()):
        if not (isinstance(one, bool | int | float | np.bool_) and one in (0, 1)):
            found = "missing" if _is_missing(one) or one != one else shown(one)
            raise InputError(_entry(name, np.array([i])), found, "Give True or False (or 1 or 0)")
    return np.asarray(given.astype(float) == 1.0)


def checked_rows(given: dict[str, Any]) -> None:
    """Refuse pandas objects whose rows are labelled differently: they would be put together by position.

    Parameters
    ----------
    given : dict
        Arguments by name; only those with an index are looked at.

    Raises
    ------
    InputError
        For two whose indexes differ, with the first row where they do.

    Examples
    --------
    >>> import pandas as pd
    >>> checked_rows({"doses": pd.Series([1, 2]), "clean": pd.Series([True, False])})
    """
    indexed = {n: v for n, v in given.items() if hasattr(v, "iloc") and hasattr(v, "index")}
    for (first, one), (other, two) in zip(indexed.items(), list(indexed.items())[1:], strict=False):
        if len(one.index) != len(two.index) or one.index.equals(two.index):
            continue
        row = next(i for i, (a, b) in enumerate(zip(one.index, two.index, strict=True)) if a != b)
        raise InputError(
            f"{other}, row {row}",
            f"labelled {two.index[row]!r}, where {first} has {one.index[row]!r}",
            f"Give both the same index ({other}.loc[{first}.index]), or .to_numpy() where rows belong together by"
            " position",
        )


def column_names(value: Any) -> list[str] | None:
    """Names of a DataFrame's columns, or of a Series that has one; None for anything else.

    Examples
    --------
    >>> import pandas as pd
    >>> column_names(pd.DataFrame({"a": [1]}))
    ['a']
    """
    if hasattr(value, "iloc") and hasattr(value, "columns"):
        return [str(c) for c in value.columns]
    if hasattr(value, "iloc") and getattr(value, "name", None) is not None:
        return [str(value.name)]
    return None


def checked_values(values: ArrayLike, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Finite numbers broadcast to the shape, as a new array.

    Raises
    ------
    InputError
        For what is no array of numbers, does not broadcast, or is not finite everywhere.

    Examples
    --------
    >>> checked_values(1, "values", (2,))
    array([1., 1.])
    """
    given = checked_array(values, name)
    try:
        new = np.array(np.broadcast_to(given, shape))
    except ValueError:
        raise InputError(name, f"shape {given.shape}", f"Give numbers that broadcast to {shape}") from None
    if not np.isfinite(new).all():
        raise InputError(name, f"{int((~np.isfinite(given)).sum())} not finite", "Give finite numbers")
    return new
