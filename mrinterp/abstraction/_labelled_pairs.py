"""Pairs of inputs with the answers that interchanging each variable must give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.abstraction._abstraction_task import AbstractionTask
from mrinterp.abstraction._aligned_variable import check_tokens
from mrinterp.abstraction._interchange_pairs import checked_pairs
from mrinterp.positions import Position

__all__ = ["LabelledPairs", "labelled_pairs"]

Rows = NDArray[np.int_]


@dataclass(frozen=True, eq=False)
class LabelledPairs:
    """Base inputs (M,), sources (M, V) and the classes (M, V) that interchanging each variable must give."""

    base: Rows
    source: Rows
    wanted: Rows

    def __len__(self) -> int:
        return len(self.base)

    def take(self, rows: NDArray) -> LabelledPairs:
        """Some of the pairs."""
        return LabelledPairs(self.base[rows], self.source[rows], self.wanted[rows])

    def of(self, variable: int) -> LabelledPairs:
        """The pairs of one variable: one column."""
        column = slice(variable, variable + 1)
        return LabelledPairs(self.base, self.source[:, column], self.wanted[:, column])


def labelled_pairs(
    task: AbstractionTask, rules: Mapping[str, Position | None], base: ArrayLike, source: ArrayLike
) -> LabelledPairs:
    """The pairs of V variables, each interchanged by itself at the tokens of its rule, checked.

    Raises
    ------
    InputError
        For a variable that the model does not have, pairs that do not fit the inputs, or tokens that a pair
        does not share.
    """
    task.checked(list(rules))
    b, s = checked_pairs(base, source, len(task.inputs), len(rules))
    wanted = []
    for v, (name, rule) in enumerate(rules.items()):
        check_tokens(task.inputs, rule, b, s[:, v])
        wanted.append(task.wanted([name], b, s[:, v : v + 1]))
    return LabelledPairs(b, s, np.stack(wanted, axis=1))
