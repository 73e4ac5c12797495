"""Outcomes of the hidden state, or of your own: a projection, any callable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from mrinterp.core.errors import InputError
from mrinterp.outcomes._outcome import hidden_of
from mrinterp.positions import MEAN_OF_TOKENS, Position

__all__ = ["CallableOutcome", "Projection"]


@dataclass(frozen=True, eq=False)
class Projection:
    """Projection of the last hidden state on a direction, at a position (default: token mean).

    Parameters
    ----------
    direction : tensor (width,)
        Used as given: one unit is the dot product with it.
    position : Position
        Tokens that are averaged, or the one token that counts.
    name : str
        Name of the outcome.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.outcomes import Projection
    >>> Projection(torch.tensor([1.0, 0.0]))(torch.tensor([[[2.0, 5.0], [4.0, 5.0]]]), torch.ones(1, 2)).item()
    3.0
    """

    direction: torch.Tensor
    position: Position = MEAN_OF_TOKENS
    name: str = "projection"

    @property
    def names(self) -> tuple[str, ...]:
        """One name."""
        return (self.name,)

    def __call__(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Outcomes (runs, 1)."""
        hidden = hidden_of(output, f"outcome {self.name!r}")
        if hidden.shape[-1:] != self.direction.shape:
            raise InputError(
                f"outcome {self.name!r}",
                f"hidden width {hidden.shape[-1]}, direction {tuple(self.direction.shape)}",
                "Give a direction of the hidden width",
            )
        precise = hidden if hidden.dtype == torch.float64 else hidden.float()
        along = precise @ self.direction.to(precise)
        if along.ndim == 1:
            return along.unsqueeze(-1)
        positions = self.position.at(mask)
        if positions.pooling != "mean":
            raise InputError(
                f"outcome {self.name!r}",
                f"position {self.position}",
                "Choose one token or a mean, so that each run has one number",
            )
        weighted = along * positions.weights.to(along)
        return torch.where(positions.selected, weighted, torch.zeros_like(weighted)).sum(1, keepdim=True)


@dataclass(frozen=True)
class CallableOutcome:
    """Any function of the network's output that gives one number per run.

    Parameters
    ----------
    name : str
        Name of the outcome.
    function : callable
        ``(output, mask)`` to a tensor or array (runs,): what the network returned, and its mask (runs, tokens), one on
        a run's own tokens.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.outcomes import CallableOutcome
    >>> spread = CallableOutcome("spread", lambda output, mask: output.amax(1) - output.amin(1))
    >>> spread(torch.tensor([[1.0, 4.0, 2.0]]), torch.ones(1, 1)).tolist()
    [[3.0]]
    """

    name: str
    function: Callable[[Any, torch.Tensor], Any]

    @property
    def names(self) -> tuple[str, ...]:
        """One name."""
        return (self.name,)

    def __call__(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Outcomes (runs, 1).

        Raises
        ------
        InputError
            For a scalar for the whole batch, or anything but one number per run.
        """
        values = torch.as_tensor(self.function(output, mask))
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.shape != (len(mask),):
            found = "a scalar for the whole batch" if values.ndim == 0 else f"shape {tuple(values.shape)}"
            raise InputError(
                f"outcome {self.name!r}", f"{found}; {len(mask)} runs", "Return one number per run"
            )
        return values.unsqueeze(-1)
