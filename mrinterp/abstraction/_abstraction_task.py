"""What a network and a high-level model are both asked: the same inputs, as each of them takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.abstraction._causal_model import CausalModel, counterfactual_labels
from mrinterp.abstraction._class_scores import ClassScores
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.errors import InputError

__all__ = ["AbstractionTask"]

Rows = NDArray[np.int_]


@dataclass(frozen=True, eq=False)
class AbstractionTask:
    """N inputs of a network, the same as a high-level model takes them, and how the network's answer is read.

    Parameters
    ----------
    model : CausalModel
        The high-level model.
    inputs : ModelInputs
        As the network takes them.
    settings : mapping of str to array (N, ...)
        As the high-level model takes them.
    classes : ClassScores
        The answers, one label for every value of the model's output.
    family : array (N,), optional
        Of the inputs: errors are clustered by it, and whole families are held out of a search. Default: every
        input is a family of its own.

    Raises
    ------
    InputError
        For settings or families of another length than the inputs, and for a value of the model's output that
        no class stands for.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.abstraction import AbstractionTask, CausalModel, ClassScores, Variable
    >>> from mrinterp.adapters import ModelInputs
    >>> model = CausalModel({"a": None}, [Variable("positive", ["a"], lambda a: a > 0, (False, True))])
    >>> inputs = ModelInputs({"input": torch.tensor([[-1.0], [2.0]])})
    >>> AbstractionTask(model, inputs, {"a": [-1, 2]}, ClassScores((False, True))).answers.tolist()
    [0, 1]
    """

    model: CausalModel
    inputs: ModelInputs
    settings: Mapping[str, ArrayLike]
    classes: ClassScores
    family: ArrayLike | None = None

    def __post_init__(self) -> None:
        count = len(self.inputs)
        found = len(self.values[self.model.output])
        if found != count:
            raise InputError(
                "settings", f"{found} rows for {count} inputs", "Give as many settings as inputs"
            )
        if self.families.shape != (count,):
            raise InputError(
                "family", f"shape {self.families.shape} for {count} inputs", "Give one family per input"
            )
        self.classes.codes(self.values[self.model.output])

    @cached_property
    def values(self) -> dict[str, NDArray]:
        """Values (N, ...) of all inputs and variables of the high-level model."""
        return self.model.run(self.settings)

    @property
    def families(self) -> NDArray:
        """Family (N,) of every input."""
        return np.arange(len(self.inputs)) if self.family is None else np.asarray(self.family)

    @cached_property
    def answers(self) -> Rows:
        """Class (N,) that the high-level model gives every input."""
        return self.classes.codes(self.values[self.model.output])

    def checked(self, variables: Sequence[str]) -> list[str]:
        """Names of variables that can be interchanged together.

        Raises
        ------
        InputError
            For none, one that the model does not have, or one that is named twice.
        """
        names = [self.model.check(name) for name in variables]
        twice = [n for n in names if names.count(n) > 1]
        if twice or not names:
            found = f"{twice[0]!r} is given twice" if twice else "no variable"
            raise InputError("variables", found, "Give each variable once, at least one")
        return names

    def wanted(self, variables: Sequence[str], base: Rows, source: Rows) -> Rows:
        """Class (M,) that interchanging the variables together must give: `counterfactual_labels`, coded."""
        return self.classes.codes(counterfactual_labels(self.model, self.settings, variables, base, source))
