"""A variable of a high-level causal model: a plain function of its parents."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError

__all__ = ["Variable"]

_TRIED = 16
"""Inputs on which a function called with whole arrays must agree with itself called one input at a time."""


@dataclass(frozen=True)
class Variable:
    """A variable: ``function`` of its parents' values, in their order.

    Parameters
    ----------
    name : str
    parents : sequence of str
    function : callable
        Deterministic. Called with whole arrays where that gives what single calls give, else once per input.
    values : collection, optional
        The values that it may take; any other is refused where it turns up.
    """

    name: str
    parents: Sequence[str]
    function: Callable[..., Any]
    values: Collection[Any] | None = None

    def check(self) -> None:
        """Refuse what no model can run, before it is run.

        Raises
        ------
        InputError
            For parents that are no list of names, or a function that does not take one argument per parent.
        """
        where = f"variable {self.name!r}"
        if isinstance(self.parents, str):
            raise InputError(where, "parents is one string", "Give a tuple of names")
        if not self.parents:
            raise InputError(where, "no parents", "Make it an input, or give it parents")
        if not callable(self.function):
            raise InputError(where, f"its function is a {type(self.function).__name__}", "Give a callable")
        try:
            signature = inspect.signature(self.function)
        except ValueError:  # some builtins have none: a call will tell
            return
        try:
            signature.bind(*self.parents)
        except TypeError as e:
            count = len(self.parents)
            raise InputError(
                where,
                f"its function does not take {count} argument{'s' if count > 1 else ''}"
                f" (parents {', '.join(self.parents)}): {e}",
                "Give it one argument per parent, in their order",
            ) from None

    def of(self, parents: Sequence[NDArray]) -> NDArray:
        """Values (N, ...) for parents' values (N, ...) each.

        Raises
        ------
        InputError
            Where the function raises (names the first such input), or gives values of different shapes.
        """
        count = len(parents[0])
        guarded = [p.view() for p in parents]
        for p in guarded:
            p.flags.writeable = False
        tried = np.unique(np.linspace(0, count - 1, _TRIED).astype(int))
        alone = self._one_by_one(parents, tried)
        try:
            whole = np.asarray(self.function(*guarded))
        except (
            Exception
        ):  # whatever it raises, it takes no arrays: single calls say what is wrong, if anything
            whole = np.empty(0)
        if whole.shape == (count, *alone.shape[1:]) and np.array_equal(whole[tried], alone):
            return whole
        return self._one_by_one(parents, np.arange(count))

    def _one_by_one(self, parents: Sequence[NDArray], rows: NDArray[np.int_]) -> NDArray:
        results = []
        for i in rows:
            try:
                results.append(self.function(*(p[i] for p in parents)))
            except Exception as e:
                raise InputError(
                    f"variable {self.name!r}, input {i}", f"its function raised {e!r}", "Mend the function"
                ) from e
        try:
            values = np.asarray(results)
            # numpy would turn numbers that stand beside words into words
            mixed = values.dtype.kind == "U" and not all(isinstance(r, str) for r in results)
            return np.array(results, dtype=object) if mixed else values
        except ValueError:
            raise InputError(
                f"variable {self.name!r}",
                "values of different shapes",
                "Return the same shape for every input",
            ) from None
