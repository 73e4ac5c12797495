"""Outcomes read off the logits: logit, logit difference, probability, classifier margin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch

from mrinterp.core.checks import shown
from mrinterp.core.errors import InputError
from mrinterp.outcomes._outcome import named_entry
from mrinterp.positions import LAST_TOKEN, Position

__all__ = [
    "ClassifierMargin",
    "Logit",
    "LogitDifference",
    "Probability",
    "check_labels",
    "logits_at",
    "logits_of",
]


def logits_of(output: Any) -> torch.Tensor:
    """Logits of a network's output, in float32 or better.

    The output itself where it is a tensor, its ``logits`` (an attribute, or an entry of a dict), or the first tensor of a tuple.

    Raises
    ------
    InputError
        Where there are none.
    """
    logits = output if isinstance(output, torch.Tensor) else named_entry(output, "logits")
    if logits is None and isinstance(output, tuple | list) and output and isinstance(output[0], torch.Tensor):
        logits = output[0]
    if logits is None or logits.ndim not in (2, 3):
        found = type(output).__name__ if logits is None else f"logits of shape {tuple(logits.shape)}"
        raise InputError(
            "outcome",
            f"{found}: no logits per run",
            "Load the network with its head (causal or classifier)",
        )
    return logits if logits.dtype == torch.float64 else logits.float()


def logits_at(output: Any, mask: torch.Tensor, position: Position) -> torch.Tensor:
    """Logits (runs, classes) at the one token that a position selects; a classifier's logits as they are."""
    logits = logits_of(output)
    if logits.ndim == 2:
        return logits
    selected = position.at(mask).selected
    if bool((selected.sum(1) != 1).any()):
        raise InputError(
            "outcome position",
            f"{position} selects several tokens",
            "Choose one token per run: 'last' or a number",
        )
    return logits[selected]


def check_labels(labels: torch.Tensor, logits: torch.Tensor, name: str) -> None:
    """Refuse labels that are not one class of the logits (runs, classes) per run.

    Raises
    ------
    InputError
        For another number of labels than runs, or a label that is not a class; names the run.
    """
    if labels.shape != logits.shape[:1]:
        raise InputError(
            f"outcome {name!r}",
            f"{tuple(labels.shape)} labels for {len(logits)} runs",
            "One label per run; take() the batch's rows",
        )
    outside = (labels < 0) | (labels >= logits.shape[1])
    if bool(outside.any()):
        run = int(outside.nonzero()[0, 0])
        raise InputError(
            f"label of run {run}", f"{int(labels[run])} of {logits.shape[1]} classes", "Labels count from 0"
        )


@dataclass(frozen=True)
class Logit:
    """Logit of one token or class.

    Parameters
    ----------
    target : int
        Number of the token or class.
    position : Position
        Token whose logits count; default the last one. Logits (runs, classes) of a classifier have no tokens.
    name : str
        Name of the outcome.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.outcomes import Logit
    >>> logits, mask = torch.tensor([[[2.0, 0.0, 1.0]]]), torch.ones(1, 1)  # one run, one token, three classes
    >>> Logit(2)(logits, mask).tolist()
    [[1.0]]
    """

    target: int
    position: Position = LAST_TOKEN
    name: str = "logit"

    def __post_init__(self) -> None:
        _check_target(self.target, self.name)

    @property
    def names(self) -> tuple[str, ...]:
        """One name."""
        return (self.name,)

    def __call__(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Outcomes (runs, 1)."""
        return _column(logits_at(output, mask, self.position), self.target, self.name)


@dataclass(frozen=True)
class LogitDifference:
    """Logit of one token or class minus logit of another.

    Parameters
    ----------
    positive, negative : int
        Numbers of the two tokens or classes.
    position : Position
        Token whose logits count; default the last one. Logits (runs, classes) of a classifier have no tokens.
    name : str
        Name of the outcome.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.outcomes import LogitDifference
    >>> logits, mask = torch.tensor([[[2.0, 0.0, 1.0]]]), torch.ones(1, 1)  # one run, one token, three classes
    >>> LogitDifference(0, 2)(logits, mask).tolist()
    [[1.0]]
    """

    positive: int
    negative: int
    position: Position = LAST_TOKEN
    name: str = "logit_difference"

    def __post_init__(self) -> None:
        for target in (self.positive, self.negative):
            _check_target(target, self.name)

    @property
    def names(self) -> tuple[str, ...]:
        """One name."""
        return (self.name,)

    def __call__(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Outcomes (runs, 1)."""
        logits = logits_at(output, mask, self.position)
        return _column(logits, self.positive, self.name) - _column(logits, self.negative, self.name)


@dataclass(frozen=True)
class Probability:
    """Probability of one token or class, or its logarithm.

    Parameters
    ----------
    target : int
        Number of the token or class.
    position : Position
        Token whose logits count; default the last one. Logits (runs, classes) of a classifier have no tokens.
    log : bool
        Whether to take the natural logarithm, without underflow.
    name : str
        Name of the outcome.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.outcomes import Probability
    >>> logits, mask = torch.tensor([[[2.0, 0.0, 1.0]]]), torch.ones(1, 1)  # one run, one token, three classes
    >>> Probability(0)(logits, mask).round(decimals=3).item()
    0.665...
    """

    target: int
    position: Position = LAST_TOKEN
    log: bool = False
    name: str = "probability"

    def __post_init__(self) -> None:
        _check_target(self.target, self.name)

    @property
    def names(self) -> tuple[str, ...]:
        """One name."""
        return (self.name,)

    def __call__(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Outcomes (runs, 1)."""
        normalize: Callable[..., torch.Tensor] = torch.log_softmax if self.log else torch.softmax
        return _column(normalize(logits_at(output, mask, self.position), -1), self.target, self.name)


@dataclass(frozen=True)
class ClassifierMargin:
    """Logit of one class minus the largest of all others: positive where the class wins.

    Parameters
    ----------
    target : int
        Number of the token or class.
    position : Position
        Token whose logits count; default the last one. Logits (runs, classes) of a classifier have no tokens.
    name : str
        Name of the outcome.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.outcomes import ClassifierMargin
    >>> logits, mask = torch.tensor([[[2.0, 0.0, 1.0]]]), torch.ones(1, 1)  # one run, one token, three classes
    >>> ClassifierMargin(1)(logits, mask).tolist()
    [[-2.0]]
    """

    target: int
    position: Position = LAST_TOKEN
    name: str = "margin"

    def __post_init__(self) -> None:
        _check_target(self.target, self.name)

    @property
    def names(self) -> tuple[str, ...]:
        """One name."""
        return (self.name,)

    def __call__(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Outcomes (runs, 1)."""
        logits = logits_at(output, mask, self.position)
        if logits.shape[1] < 2:
            raise InputError(
                f"outcome {self.name!r}", "one class", "A margin needs at least two classes; use Logit"
            )
        own = _column(logits, self.target, self.name)
        others = torch.arange(logits.shape[1], device=logits.device) != self.target
        return own - logits[:, others].amax(1, keepdim=True)


def _check_target(target: Any, name: str) -> None:
    """A token or class is named by a whole number; 1.0 or True would name one too, by chance."""
    if isinstance(target, bool) or not isinstance(target, Integral):
        raise InputError(f"outcome {name!r}", shown(target), "Give the whole number of a token or class")


def _column(values: torch.Tensor, target: int, name: str) -> torch.Tensor:
    if not 0 <= target < values.shape[1]:
        raise InputError(
            f"outcome {name!r}",
            f"token or class {target} of {values.shape[1]}",
            f"They run from 0 to {values.shape[1] - 1}",
        )
    return values[:, target : target + 1]
