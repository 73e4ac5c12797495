"""Positions: at which tokens of a site a feature is read and written.

`LAST_TOKEN` and `MEAN_OF_TOKENS` serve most studies. `TokenIndex` takes one token by its number, `TokenClass` the tokens
of one class (a slot of the templates), `TokenOfClass` one of them, `TokenSlice` several in a row, `SpanMask` a span that you mark, `AllTokens` each token by itself, `EachToken`
each of the tokens that another position takes the mean of, `MaxOfTokens` the largest value (it can be read but not
written). An own position is a subclass of `Position` with a method `select`.
"""

from __future__ import annotations

import re
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
    "EachToken",
    "LastToken",
    "MaxOfTokens",
    "MeanOfTokens",
    "Position",
    "SelectedTokens",
    "SpanMask",
    "TokenClass",
    "TokenIndex",
    "TokenOfClass",
    "TokenSlice",
    "named_position",
]


@dataclass(frozen=True, eq=False)
class SelectedTokens:
    """The tokens of one batch that a position selects.

    Parameters
    ----------
    selected : tensor (runs, tokens) of bool
        Tokens that are read and written.
    pooling : str
        ``"mean"`` and ``"max"`` give one value per run and feature, ``"each"`` one per token.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.positions import MEAN_OF_TOKENS
    >>> MEAN_OF_TOKENS.at(torch.tensor([[1, 1, 0], [1, 1, 1]])).selected.sum(1).tolist()
    [2, 3]
    """

    selected: torch.Tensor
    pooling: str = "mean"

    @property
    def weights(self) -> torch.Tensor:
        """Weight of every token in the mean over the selected ones (runs, tokens); float64."""
        chosen = self.selected.double()
        return chosen / chosen.sum(1, keepdim=True)


def checked_mask(mask: torch.Tensor) -> torch.Tensor:
    """A mask of tokens, one on a run's own and zero on padding; anything else is refused.

    Raises
    ------
    InputError
        Names the first run and token, and what stands there.
    """
    if mask.dtype == torch.bool:
        return mask
    odd = (mask != 0) & (mask != 1)
    if bool(odd.any()):
        place = odd.nonzero()[0].tolist()
        value = float(mask[tuple(place)])
        added = " (it looks like a mask that is added to attention scores)" if value < -1 else ""
        where = ", ".join(f"{axis} {i}" for axis, i in zip(("run", "token"), place, strict=False))
        raise InputError(
            f"mask, {where}",
            f"{value:g}{added}",
            "Give 1 on a run's own tokens and 0 on padding, as (runs, tokens)",
        )
    return mask


class Position(ABC):
    """Where features are read and written: the base of all positions.

    Tokens are counted among a run's own, so that neither the length nor the side of the padding changes what is read.
    A subclass defines `select`; its class attribute ``pooling`` says what becomes of several selected tokens:
    ``"mean"`` (the default), ``"max"`` or ``"each"``.

    Examples
    --------
    The second token from the end, as a position of one's own:

    >>> import torch
    >>> from mrinterp.positions import Position
    >>> class BeforeLast(Position):
    ...     def select(self, mask, classes):
    ...         return mask.long().flip(1).cumsum(1).flip(1) == 2
    >>> BeforeLast().at(torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])).selected.long().argmax(1).tolist()
    [1, 2]
    """

    pooling: ClassVar[str] = "mean"

    @abstractmethod
    def select(self, mask: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
        """Selected tokens (runs, tokens) of bool; padding may be among them."""

    def at(self, mask: torch.Tensor, classes: torch.Tensor | None = None) -> SelectedTokens:
        """The tokens that the position selects in one batch.

        Parameters
        ----------
        mask : tensor (runs, tokens)
            One on a run's own tokens, zero on padding.
        classes : tensor (runs, tokens) of int, optional
            Token class of every token (-1 on padding).

        Raises
        ------
        InputError
            For a mask that is not 0/1, or where a run has no token that the position selects; names the run.
        """
        if mask.ndim != 2:
            raise InputError("mask", f"{mask.ndim} dimensions", "Give (runs, tokens)")
        own = checked_mask(mask).bool()
        selected = self.select(own, classes) & own
        empty = ~selected.any(1)
        if empty.any():
            run = int(empty.nonzero()[0, 0])
            raise InputError(
                f"position {self}, run {run}",
                f"selects none of its {int(own[run].sum())} tokens",
                f"Choose a position that every run has (the shortest has {int(own.sum(1).min())} tokens)"
                ", or leave the run out",
            )
        return SelectedTokens(selected, self.pooling)


@dataclass(frozen=True)
class TokenIndex(Position):
    """One token, by its number among the run's own tokens.

    Parameters
    ----------
    index : int
        From 0; negative numbers count from the end, padding left out.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.positions import TokenIndex
    >>> TokenIndex(-2).at(torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])).selected.long().argmax(1).tolist()
    [1, 2]
    """

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
    """The last token that is not padding; ready made as `LAST_TOKEN`.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.positions import LastToken
    >>> LastToken().at(torch.tensor([[1, 1, 0], [1, 1, 1]])).selected.long().argmax(1).tolist()
    [1, 2]
    """

    def select(self, mask: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
        """The one token."""
        return TokenIndex(-1).select(mask, classes)


@dataclass(frozen=True)
class TokenClass(Position):
    """Mean over the tokens of one class, such as a slot of the templates.

    Parameters
    ----------
    number : int
        Of the class in the list of classes (``ModelInputs.class_names``).

    Examples
    --------
    >>> import torch
    >>> from mrinterp.positions import TokenClass
    >>> classes = torch.tensor([[0, 1, 1, 2]])
    >>> TokenClass(1).at(torch.ones(1, 4), classes).weights.tolist()
    [[0.0, 0.5, 0.5, 0.0]]
    """

    number: int

    def select(self, mask: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
        """Tokens of the class."""
        if classes is None:
            raise InputError("position TokenClass", "no token classes given", "Pass classes (runs, tokens)")
        return classes.to(mask.device) == self.number


@dataclass(frozen=True)
class TokenOfClass(Position):
    """One token of a class, such as the last of a name that the tokenizer splits.

    Parameters
    ----------
    number : int
        Of the class in the list of classes (``ModelInputs.class_names``).
    index : int
        Which of its tokens, from 0; negative numbers count from the last.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.positions import TokenOfClass
    >>> classes = torch.tensor([[0, 1, 1, 2]])
    >>> TokenOfClass(1, -1).at(torch.ones(1, 4), classes).selected.tolist()
    [[False, False, True, False]]
    """

    number: int
    index: int

    def select(self, mask: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
        """The one token."""
        members = TokenClass(self.number).select(mask, classes) & mask.bool()
        return TokenIndex(self.index).select(members, None)


@dataclass(frozen=True)
class TokenSlice(Position):
    """Mean over tokens in a row, by their numbers among the run's own tokens, as Python slices count.

    Parameters
    ----------
    start, stop : int, optional
        From ``start`` up to, not including, ``stop``; negative numbers count from the end.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.positions import TokenSlice
    >>> TokenSlice(1, -1).at(torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])).selected.long().tolist()
    [[0, 1, 1, 0], [0, 1, 0, 0]]
    """

    start: int | None = None
    stop: int | None = None

    def __str__(self) -> str:
        ends = ("" if end is None else str(end) for end in (self.start, self.stop))
        return f"tokens {':'.join(ends)}"

    def select(self, mask: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
        """Tokens of the slice."""
        own = mask.long()
        count, place = own.sum(1, keepdim=True), own.cumsum(1) - 1
        first = torch.zeros_like(count) if self.start is None else self._counted(self.start, count)
        last = count if self.stop is None else self._counted(self.stop, count)
        return (place >= first) & (place < last) & mask.bool()

    @staticmethod
    def _counted(end: int, count: torch.Tensor) -> torch.Tensor:
        """The end of a slice from the start of every run."""
        return count + end if end < 0 else torch.full_like(count, end)


@dataclass(frozen=True, eq=False)
class SpanMask(Position):
    """Mean over tokens that you mark, run by run.

    Parameters
    ----------
    span : tensor (runs, tokens)
        One on the marked tokens of the batch that is read, else zero.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.positions import SpanMask
    >>> span = torch.tensor([[0, 1, 1], [1, 0, 0]])
    >>> SpanMask(span).at(torch.ones(2, 3)).weights.tolist()
    [[0.0, 0.5, 0.5], [1.0, 0.0, 0.0]]
    """

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
    """Mean over all of the run's own tokens; ready made as `MEAN_OF_TOKENS`.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.positions import MeanOfTokens
    >>> MeanOfTokens().at(torch.tensor([[1, 1, 0], [1, 0, 0]])).weights.tolist()
    [[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]
    """

    def select(self, mask: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
        """All tokens."""
        return mask


@dataclass(frozen=True)
class MaxOfTokens(Position):
    """Largest value over the run's own tokens: it can be read but not written.

    Many edits of a run have the same maximum, so none of them is *the* edit: knockouts refuse this position.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.features import Units
    >>> from mrinterp.positions import MaxOfTokens
    >>> activation = torch.tensor([[[1.0], [3.0], [9.0]]])  # one run, three tokens, the last of them padding
    >>> Units([0], 1).read(activation, MaxOfTokens().at(torch.tensor([[1, 1, 0]]))).item()
    3.0
    """

    pooling: ClassVar[str] = "max"

    def select(self, mask: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
        """All tokens."""
        return mask


@dataclass(frozen=True)
class AllTokens(Position):
    """Every token by itself: values (runs, tokens * features), token by token, zero on padding.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.features import Units
    >>> from mrinterp.positions import AllTokens
    >>> activation = torch.tensor([[[1.0], [3.0], [9.0]]])  # one run, three tokens, the last of them padding
    >>> Units([0], 1).read(activation, AllTokens().at(torch.tensor([[1, 1, 0]]))).tolist()
    [[1.0, 3.0, 0.0]]
    """

    pooling: ClassVar[str] = "each"

    def select(self, mask: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
        """All tokens."""
        return mask


@dataclass(frozen=True)
class EachToken(Position):
    """Each of the tokens of another position by itself: values (runs, tokens * features), zero at all other tokens.

    Parameters
    ----------
    of : Position
        Whose tokens; how it pools them does not matter.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.features import Units
    >>> from mrinterp.positions import EachToken, TokenClass
    >>> activation, classes = torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[0, 1, 1]])
    >>> Units([0], 1).read(activation, EachToken(TokenClass(1)).at(torch.ones(1, 3), classes)).tolist()
    [[0.0, 3.0, 9.0]]
    """

    pooling: ClassVar[str] = "each"
    of: Position

    def select(self, mask: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
        """The other position's tokens."""
        return self.of.select(mask, classes)


LAST_TOKEN, MEAN_OF_TOKENS = LastToken(), MeanOfTokens()


_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?")
_ENDS = {"first": 0, "last": -1}


def named_position(name: int | str, class_names: Sequence[str] = ()) -> Position:
    """The position that a study file names.

    Parameters
    ----------
    name : int or str
        ``"mean"``, ``"last"``, a number (as for `TokenIndex`), the name of a token class, one token of a class
        (``"person:last"``, ``"person:first"``, ``"person:1"``), or tokens in a row (``"2:5"``, ``"-3:"``).
    class_names : sequence of str
        Names of the token classes, in order.

    Returns
    -------
    Position

    Raises
    ------
    InputError
        For an unknown name; lists those that come near.

    Examples
    --------
    >>> from mrinterp.positions import named_position
    >>> named_position("last"), named_position(-2), named_position("subject", ["first", "subject"])
    (LastToken(), TokenIndex(index=-2), TokenClass(number=1))
    >>> named_position("subject:last", ["first", "subject"]), named_position("2:5")
    (TokenOfClass(number=1, index=-1), TokenSlice(start=2, stop=5))
    """
    if isinstance(name, int):
        return TokenIndex(name)
    if name in ("mean", "last"):
        return MEAN_OF_TOKENS if name == "mean" else LAST_TOKEN
    if name in class_names:
        return TokenClass(list(class_names).index(name))
    if _SLICE.fullmatch(name) and name != ":":
        start, stop = (int(end) if end else None for end in name.split(":"))
        return TokenSlice(start, stop)
    of, _, which = name.rpartition(":")
    if of in class_names and (which in _ENDS or re.fullmatch(r"-?\d+", which)):
        return TokenOfClass(list(class_names).index(of), _ENDS[which] if which in _ENDS else int(which))
    known = ["mean", "last", *class_names]
    fix = (
        near_misses(name, known)
        or f"Use a number, a slice such as '2:5', or one of: {', '.join(dict.fromkeys(known))}"
    )
    raise InputError("position", f"no token class {name!r}", fix)
