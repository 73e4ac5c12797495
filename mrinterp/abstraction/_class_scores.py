"""The network's answer as scores of classes: what interchange interventions are judged by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.errors import InputError
from mrinterp.outcomes._logit_outcomes import logits_at
from mrinterp.positions import LAST_TOKEN, Position

__all__ = ["ClassScores"]

_PLAIN = (str, bool, Real, np.bool_)
"""Types of labels that survive numpy and a file unchanged."""


@dataclass(frozen=True, eq=False)
class ClassScores:
    """One score per class; the answer is the class whose score is largest (the first of equals).

    Parameters
    ----------
    labels : tuple
        The high-level output that each class stands for, in the order of the scores.
    targets : tuple of int, optional
        Columns of the logits that are the classes (token ids); default the first ones, in order.
    position : Position
        The one token whose logits are read, where there is a token axis.
    score : callable, optional
        ``score(output, mask)`` gives scores (runs, classes) instead. One column is enough for two
        classes: the second is the answer where it is positive.

    Raises
    ------
    InputError
        For fewer than two labels, the same one twice, words mixed with numbers, or another number of targets.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.abstraction import ClassScores
    >>> classes = ClassScores(("cat", "dog"))
    >>> classes.codes(["dog", "cat"]).tolist(), classes.decode(np.array([[0.2, 0.9]])).tolist()
    ([1, 0], [1])
    """

    labels: tuple[Any, ...]
    targets: tuple[int, ...] | None = None
    position: Position = LAST_TOKEN
    score: Callable[[Any, torch.Tensor], torch.Tensor] | None = None

    def __post_init__(self) -> None:
        plain = all(isinstance(label, _PLAIN) for label in self.labels)
        mixed = len({isinstance(label, str) for label in self.labels}) > 1
        if not plain or mixed or len(set(self.labels)) != len(self.labels) or len(self.labels) < 2:
            raise InputError(
                "labels",
                f"{self.labels!r}",
                "Give at least two classes, each label once: words alone, or numbers or truth values",
            )
        if self.targets is not None and len(self.targets) != len(self.labels):
            found = f"{len(self.targets)} for {len(self.labels)} labels"
            raise InputError("targets", found, "Give one column per label")

    @property
    def names(self) -> tuple[str, ...]:
        """One name per class."""
        return tuple(f"score of {label}" for label in self.labels)

    def __call__(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Scores (runs, classes), differentiable where the network is.

        Raises
        ------
        InputError
            For another number of columns than classes, or a target that the logits do not have.
        """
        if self.score is not None:
            scores = self.score(output, mask)
        else:
            scores = logits_at(output, mask, self.position)
            columns = range(len(self.labels)) if self.targets is None else self.targets
            if max(columns) >= scores.shape[1] and scores.shape[1] > 1:
                raise InputError(
                    "classes",
                    f"column {max(columns)} of {scores.shape[1]} logits",
                    "Give targets that are columns of the logits",
                )
            if scores.shape[1] > 1:
                scores = scores[:, list(columns)]
        if scores.ndim == 1:
            scores = scores.unsqueeze(-1)
        if scores.shape[1] == 1 and len(self.labels) == 2:
            scores = torch.cat([torch.zeros_like(scores), scores], 1)
        if scores.shape[1:] != (len(self.labels),):
            raise InputError(
                "classes",
                f"{scores.shape[1]} scores for {len(self.labels)} labels",
                "Give one label per score, or targets",
            )
        return scores

    def codes(self, labels: ArrayLike) -> NDArray[np.int_]:
        """Number of the class of each label.

        Raises
        ------
        InputError
            For a label that no class stands for.
        """
        number = {label: i for i, label in enumerate(self.labels)}
        given = np.asarray(labels)
        if given.ndim != 1:
            raise InputError(
                "high-level output", f"values of shape {given.shape[1:]}", "Give one label per input"
            )
        values = given.tolist()
        bad = [v for v in values if v not in number]
        if bad:
            raise InputError(
                "high-level output",
                f"{bad[0]!r} is not one of the classes",
                f"Its values must be among {', '.join(repr(v) for v in self.labels)}",
            )
        return np.array([number[v] for v in values], dtype=int)

    def decode(self, scores: NDArray) -> NDArray[np.int_]:
        """Number of the answered class, for scores (..., classes)."""
        return np.asarray(scores.argmax(axis=-1))
