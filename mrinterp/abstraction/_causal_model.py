"""A small high-level causal model: variables, their parents, and functions in plain Python."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mrinterp.abstraction._variable import Variable
from mrinterp.core.errors import InputError, near_misses

__all__ = ["CausalModel"]


class CausalModel:
    """A deterministic, acyclic causal model, run on many inputs at once.

    Parameters
    ----------
    inputs : mapping of str to collection or None
        Names of the inputs, each with the values that it may take (None: any).
    variables : sequence of Variable
        In any order.
    output : str, optional
        The variable that the network's answer is held against; default the last one given.

    Raises
    ------
    InputError
        For a cycle (it is named), a parent that does not exist, a function that does not take one argument per
        parent, a name given twice, or an output that is not a variable.

    Notes
    -----
    Source: Geiger et al. 2021, arXiv:2106.02997.

    Examples
    --------
    >>> equal = Variable("equal", ("a", "b"), lambda a, b: a == b, (False, True))
    >>> model = CausalModel({"a": range(3), "b": range(3)}, [equal])
    >>> model.run({"a": [0, 1], "b": [0, 2]})["equal"].tolist()
    [True, False]
    """

    def __init__(
        self,
        inputs: Mapping[str, Collection[Any] | None],
        variables: Sequence[Variable],
        output: str | None = None,
    ) -> None:
        if not isinstance(inputs, Mapping):
            raise InputError(
                "inputs",
                f"a {type(inputs).__name__}",
                "Give a mapping of names to the values each may take (None: any), such as {'a': range(3)}",
            )
        names = [*inputs, *(v.name for v in variables)]
        twice = [n for n in names if names.count(n) > 1]
        if twice or not inputs or not variables:
            found = f"variable {twice[0]!r} is given twice" if twice else "no inputs or no variables"
            raise InputError("high-level model", found, "Give inputs and variables, each name once")
        for v in variables:
            v.check()
            for parent in v.parents:
                if parent not in names:
                    fix = near_misses(parent, names) or f"Known: {', '.join(names)}"
                    raise InputError(f"variable {v.name!r}", f"unknown parent {parent!r}", fix)
        self.inputs = {name: None if v is None else tuple(v) for name, v in inputs.items()}
        self.variables = {v.name: v for v in variables}
        self.output = variables[-1].name if output is None else output
        if self.output not in self.variables:
            fix = near_misses(self.output, self.variables) or f"Known: {', '.join(self.variables)}"
            raise InputError("output", f"{self.output!r} is not a variable of the model", fix)
        try:
            order = TopologicalSorter({v.name: v.parents for v in variables}).static_order()
            self.order = tuple(name for name in order if name in self.variables)
        except CycleError as e:
            cycle = " -> ".join(e.args[1])
            raise InputError("high-level model", f"cycle {cycle}", "Take one of these parents away") from None
        self._fixed: dict[str, Any] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Inputs, then variables in the order in which they are computed."""
        return (*self.inputs, *self.order)

    def intervene(self, values: Mapping[str, Any]) -> CausalModel:
        """The model with variables held at values: one value, or an array (N,) with one per input.

        Raises
        ------
        InputError
            For an unknown variable, or a value that was not declared (when run).
        """
        for name in values:
            self.check(name)
        changed = object.__new__(CausalModel)
        vars(changed).update(vars(self))
        changed._fixed = {**self._fixed, **values}
        return changed

    def run(self, inputs: Mapping[str, ArrayLike]) -> dict[str, NDArray]:
        """Values of all inputs and variables, arrays (N, ...).

        Parameters
        ----------
        inputs : mapping of str to array (N, ...)

        Raises
        ------
        InputError
            For an input that is missing, unknown or of another length, and for a function that raises or
            gives a value that was not declared; names the variable and the first such input.
        """
        given = self._checked(inputs)
        count = len(next(iter(given.values())))
        values: dict[str, NDArray] = {}
        for name in self.names:
            if name in self._fixed:
                value = _spread(name, self._fixed[name], count)
            elif name in given:
                value = given[name]
            else:
                value = self.variables[name].of([values[p] for p in self.variables[name].parents])
            self._check_declared(name, value)
            values[name] = value
        return values

    def interchange(
        self, base: Mapping[str, ArrayLike], sources: Mapping[str, Mapping[str, ArrayLike]]
    ) -> dict[str, NDArray]:
        """Run on ``base``, each named variable held at the value that it takes on its source inputs.

        Parameters
        ----------
        base : mapping of str to array (N, ...)
        sources : mapping of variable to inputs
            As many source inputs as base inputs.
        """
        taken = {name: self.run(inputs)[self.check(name)] for name, inputs in sources.items()}
        return self.intervene(taken).run(base)

    def check(self, name: str) -> str:
        """The name, where the model has such an input or variable.

        Raises
        ------
        InputError
            With near misses, where it has none.
        """
        if name not in self.names:
            fix = near_misses(name, self.names) or f"Known: {', '.join(self.names)}"
            raise InputError(f"variable {name!r}", "not in the high-level model", fix)
        return name

    def _checked(self, inputs: Mapping[str, ArrayLike]) -> dict[str, NDArray]:
        for name in (*inputs, *self.inputs):
            if name not in inputs or name not in self.inputs:
                every = f"Give {', '.join(self.inputs)}"
                if name not in inputs:
                    raise InputError(f"input {name!r}", "missing", every)
                fix = near_misses(name, self.inputs) or every
                raise InputError(f"input {name!r}", "not an input of the high-level model", fix)
        given = {name: np.atleast_1d(np.asarray(value)) for name, value in inputs.items()}
        lengths = {name: len(value) for name, value in given.items()}
        if len(set(lengths.values())) > 1 or not min(lengths.values()):
            found = ", ".join(f"{n} of {name}" for name, n in lengths.items())
            raise InputError("inputs", found, "Give every input one value per row, at least one row")
        return given

    def _check_declared(self, name: str, value: NDArray) -> None:
        declared = self.inputs[name] if name in self.inputs else self.variables[name].values
        if declared is None:
            bad = np.flatnonzero(pd.isna(value.reshape(len(value), -1)).any(axis=1))
            fix = "Give every input a value"
        else:
            if value.ndim > 1:
                raise InputError(
                    f"variable {name!r}",
                    f"values of shape {value.shape[1:]}",
                    "Declare no values for vectors",
                )
            bad = np.flatnonzero(~pd.Series(value).isin(list(declared)))
            fix = f"Declared are {', '.join(repr(v) for v in list(declared)[:8])}: mend the function or declare it"
        if len(bad):
            raise InputError(f"variable {name!r}, input {bad[0]}", f"takes the value {value[bad[0]]!r}", fix)

    def __str__(self) -> str:
        parts = [f"{n}({', '.join(self.variables[n].parents)})" for n in self.order]
        return f"{'; '.join(parts)}; output {self.output}"


def _spread(name: str, value: Any, count: int) -> NDArray:
    array = np.asarray(value)
    if array.ndim == 0:
        return np.repeat(array, count)
    if len(array) != count:
        raise InputError(
            f"intervention on {name!r}",
            f"{len(array)} values for {count} inputs",
            "Give one value, or one each",
        )
    return array
