"""Position rules: at which tokens of a site a feature is read and written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from mrinterp.core.errors import InputError, near_misses

__all__ = [
    "LAST_TOKEN",
    "MEAN_OF_TOKENS",
    "AllTokens",
    "LastToken",
    "MaxOfTokens",
    "MeanOfTokens",
    "Position",
    "SelectedTokens",
    "SpanMask",
    "TokenClass",
    "TokenIndex",
    "named_position",
]


@dataclass(frozen=True, eq=False)
class SelectedTokens:
    """A rule applied to one batch.

    Parameters
    ----------
    selected : tensor (runs, tokens) of bool
        Tokens that are read and written.
    pooling : str
        ``"mean"`` and ``"max"`` give one value per run and feature, ``"each"`` one per token.
    """

    selected: torch.Tensor
    pooling: str = "mean"

    @property
    def weights(self) -> torch.Tensor:
        """Weight of every token in the mean over the selected ones (runs, tokens); float64."""
        chosen = self.selected.double()
        return chosen / chosen.sum(1, keepdim=True)


class Position(ABC):
    """Turns a batch's attention mask (and position classes) into `SelectedTokens`.

    SelectedTokens are counted among a run's own tokens, so that neither the length nor the side of the
    padding changes what is read.
    """

    pooling: ClassVar[str] = "mean"

    @abstractmethod
    def select(self, mask: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
        """Selected tokens (runs, tokens) of bool; padding may be among them."""

    def at(self, mask: torch.Tensor, classes: torch.Tensor | None = None) -> SelectedTokens:
        """Apply the rule to a batch.

        Parameters
        ----------
        mask : tensor (runs, tokens)
            One on a run's own tokens, zero on padding.
        classes : tensor (runs, tokens) of int, optional
            Position class of every token (-1 on padding).

        Raises
        ------
        InputError
            Where a run has no token that the rule selects; names the run.
        """
        if mask.ndim != 2:
            raise InputError("mask", f"{mask.ndim} dimensions", "Give (runs, tokens)")
        own = mask.bool()
        selected = self.select(own, classes) & own
        empty = ~selected.any(1)
        if empty.any():
            run = int(empty.nonzero()[0, 0])
            raise InputError(
                f"position rule {self}, run {run}",
                f"selects none of its {int(own[run].sum())} tokens",
                f"Choose a position that every run has (the shortest has {int(own.sum(1).min())} tokens)"
                ", or leave the run out",
            )
        return SelectedTokens(selected, self.pooling)


@dataclass(frozen=True)
class TokenIndex(Position):
    """The token at ``index`` among the run's own tokens; negative ones count from the end."""

    index: int

    def __str__(self) -> str:
        return f"token {self.index}"

    def select(self, mask: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
        """The one token."""
        count = mask.sum(1, keepdim=True)
        wanted = self.index if self.index >= 0 else count + self.index
        return (mask.long().cumsum(1) - 1 == wanted) & mask


@dataclass(frozen=True)
class LastToken(Position):
    """The last token that is not padding."""

    def select(self, mask: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
        """The one token."""
        return TokenIndex(-1).select(mask, classes)


@dataclass(frozen=True)
class TokenClass(Position):
    """Mean over the tokens of one position class (its number in the plan's list of classes)."""

    number: int

    def select(self, mask: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
        """Tokens of the class."""
        if classes is None:
            raise InputError(
                "position rule TokenClass", "no position classes given", "Pass classes (runs, tokens)"
            )
        return classes.to(mask.device) == self.number


@dataclass(frozen=True, eq=False)
class SpanMask(Position):
    """Mean over a matched span, given as a mask (runs, tokens) of the batch."""

    span: torch.Tensor

    def __repr__(self) -> str:
        return f"SpanMask{tuple(self.span.shape)}"

    def select(self, mask: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
        """Tokens of the span."""
        if self.span.shape != mask.shape:
            raise InputError(
                "SpanMask",
                f"shape {tuple(self.span.shape)}, batch {tuple(mask.shape)}",
                "Give one row per run",
            )
        return self.span.bool().to(mask.device)


@dataclass(frozen=True)
class MeanOfTokens(Position):
    """Mean over all of the run's own tokens."""

    def select(self, mask: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
        """All tokens."""
        return mask


@dataclass(frozen=True)
class MaxOfTokens(Position):
    """Largest value over the run's own tokens: read only, since no single edit defines a maximum."""

    pooling: ClassVar[str] = "max"

    def select(self, mask: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
        """All tokens."""
        return mask


@dataclass(frozen=True)
class AllTokens(Position):
    """Every token by itself: values (runs, tokens * features), token by token, zero on padding."""

    pooling: ClassVar[str] = "each"

    def select(self, mask: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
        """All tokens."""
        return mask


LAST_TOKEN, MEAN_OF_TOKENS = LastToken(), MeanOfTokens()


def named_position(position: int | str, class_names: Sequence[str] = ()) -> Position:
    """The rule that a study file names: ``mean``, ``last``, a position, or a token class.

    Raises
    ------
    InputError
        For a name that is none of them, with near misses.
    """
    if isinstance(position, int):
        return TokenIndex(position)
    if position in ("mean", "last"):
        return MEAN_OF_TOKENS if position == "mean" else LAST_TOKEN
    if position in class_names:
        return TokenClass(list(class_names).index(position))
    known = ["mean", "last", *class_names]
    fix = near_misses(position, known) or f"Use a number, or one of: {', '.join(dict.fromkeys(known))}"
    raise InputError("position", f"no token class {position!r}", fix)
