"""A small high-level causal model: variables, their parents, functions in plain Python, and what interchanges must give."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.errors import InputError, near_misses

__all__ = ["CausalModel", "Variable", "counterfactual_labels"]

_TRIED = 16
"""Inputs on which a function called with whole arrays must agree with itself called one input at a time: few enough
to cost nothing, enough to catch a function that reduces over inputs."""


@dataclass(frozen=True)
class Variable:
    """A variable of a high-level model: a function of its parents' values.

    Parameters
    ----------
    name : str
        What it is called in the model.
    parents : sequence of str
        Names of the inputs and variables that it is computed from, in the order of the function's arguments.
    function : callable
        Deterministic. Called with whole arrays where that gives what single calls give, else once per input.
    values : collection, optional
        The values that it may take; any other is refused when it occurs.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.abstraction import Variable
    >>> equal = Variable("equal", ("a", "b"), lambda a, b: a == b, (False, True))
    >>> equal.of([np.array([0, 1]), np.array([0, 2])]).tolist()
    [True, False]
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
            For parents that are not a list of names, or a function that does not take one argument per parent.
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
                    f"variable {self.name!r}, input {i}", f"its function raised {e!r}", "Fix the function"
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


class CausalModel:
    """A deterministic, acyclic causal model, run on many inputs at once.

    Parameters
    ----------
    inputs : mapping of str to collection or None
        Names of the inputs, each with the values that it may take (None: any).
    variables : sequence of Variable
        In any order.
    output : str, optional
        The variable that the network's answer is compared with; default the last one given.

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
    >>> from mrinterp.abstraction import CausalModel, Variable
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
            fix = f"Declared are {', '.join(repr(v) for v in list(declared)[:8])}: fix the function, or declare the value"
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


def counterfactual_labels(
    model: CausalModel,
    settings: Mapping[str, ArrayLike],
    variables: Sequence[str],
    base: NDArray[np.int_],
    source: NDArray[np.int_],
) -> NDArray:
    """Outputs (M,) on base inputs, all the variables together held at their sources' values.

    Parameters
    ----------
    model : CausalModel
        The high-level model.
    settings : mapping of str to array (N, ...)
        The high-level inputs of the N inputs.
    variables : sequence of str
        The V variables to be interchanged.
    base : ndarray (M,) of int
        Which of the N inputs the model is run on.
    source : ndarray (M, V) of int
        From which of the N inputs each variable's value is taken: a column per variable.

    Returns
    -------
    ndarray (M,)
        Values of the model's output.

    Raises
    ------
    InputError
        For a variable that the model does not have.

    Notes
    -----
    Source: Geiger et al. 2021, arXiv:2106.02997.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.abstraction import CausalModel, Variable, counterfactual_labels
    >>> left = Variable("left", ("a", "b"), lambda a, b: a == b)
    >>> model = CausalModel({"a": None, "b": None}, [left])
    >>> settings = {"a": [1, 1], "b": [1, 2]}  # left: True, False
    >>> counterfactual_labels(model, settings, ["left"], np.array([0]), np.array([[1]])).tolist()
    [False]
    """
    whole = model.run(settings)
    held = {model.check(name): whole[name][source[:, v]] for v, name in enumerate(variables)}
    return model.intervene(held).run({k: np.asarray(x)[base] for k, x in settings.items()})[model.output]
