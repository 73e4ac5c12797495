"""An activation and the tokens where features are read: its mean, its class deviations, its shifts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.errors import InputError
from mrinterp.features._feature_view import TokenFeatureView
from mrinterp.positions import Position, SelectedTokens

__all__ = ["TokenActivation", "token_activation"]


@dataclass(frozen=True, eq=False)
class TokenActivation:
    """Activation of a site on N inputs, tokens second; sums are taken in float64.

    Parameters
    ----------
    h : tensor (N, tokens, width) or (N, width)
    positions : SelectedTokens, optional
        Where features are read; None without a token axis.
    own : tensor (N, tokens) of bool, optional
        An input's own tokens.
    classes : tensor (N, tokens) of int, optional
        Position class of every token.
    class_count : int
    map_shape : tuple of int, optional
        Shape (N, channels, height, width) of the feature map that ``h`` was made of.
    """

    h: torch.Tensor
    positions: SelectedTokens | None
    own: torch.Tensor | None = None
    classes: torch.Tensor | None = None
    class_count: int = 0
    map_shape: tuple[int, ...] | None = None

    @property
    def width(self) -> int:
        """Width of the site."""
        return int(self.h.shape[-1])

    def read(self, view: TokenFeatureView) -> torch.Tensor:
        """Values (N, F) of a view, in float64."""
        return view.read(self.h.double(), self.positions)

    def mean(self) -> torch.Tensor:
        """Mean over the tokens where features are read (N, width)."""
        h = self.h.double()
        if self.positions is None:
            return h
        weight = self.positions.selected.double()
        return torch.einsum("btd,bt->bd", h, weight) / weight.sum(1)[:, None]

    def deviations(self) -> torch.Tensor:
        """Class deviations (N, C * width); no columns without a token axis.

        Of class c: (1/T) times the sum over its tokens of h_t, less `mean` for tokens where features
        are read. A shift of those tokens leaves all of them as they are.
        """
        if self.positions is None or self.own is None:
            return self.h.new_zeros((len(self.h), 0)).double()
        h, own, read = self.h.double(), self.own.double(), self.positions.selected.double()
        classes = torch.zeros_like(own, dtype=torch.long) if self.classes is None else self.classes
        weight = (own * (classes >= 0))[:, :, None]
        member = torch.nn.functional.one_hot(classes.clamp(min=0), max(self.class_count, 1)).double() * weight
        sums = torch.einsum("btc,btd->bcd", member, h)
        inside = torch.einsum("btc,bt->bc", member, read)
        spread = sums - inside[:, :, None] * self.mean()[:, None, :]
        return (spread / own.sum(1)[:, None, None]).flatten(1)

    def total(self) -> torch.Tensor:
        """Sum over the tokens where features are read (N, width): what a gradient by a shift is."""
        if self.positions is None:
            return self.h.double()
        chosen = self.positions.selected.unsqueeze(-1).to(self.h.dtype)
        return (self.h * chosen).double().sum(1)

    def every_token(self) -> torch.Tensor:
        """The activation of every input's own tokens (tokens, width)."""
        return self.h if self.own is None else self.h[self.own]

    def shifted(self, step: torch.Tensor) -> TokenActivation:
        """Moved by ``step`` (width,) or (N, width) wherever features are read."""
        step = step.to(self.h.dtype)
        if self.positions is None:
            return replace(self, h=self.h + step)
        step = step if step.ndim == 1 else step[:, None, :]
        chosen = self.positions.selected.unsqueeze(-1)
        return replace(self, h=torch.where(chosen, self.h + step, self.h))

    def restored(self) -> torch.Tensor:
        """The activation in the shape that the network has it in."""
        return self.h if self.map_shape is None else self.h.transpose(1, 2).reshape(self.map_shape)


def token_activation(
    h: torch.Tensor, inputs: ModelInputs, position: Position | None, site: str, new_tokens: int = 0
) -> TokenActivation:
    """An activation as tokens: a sequence, one vector per input, or a feature map whose places are tokens.

    Parameters
    ----------
    new_tokens : int
        By how many tokens texts that are being generated may be longer than their inputs: what is
        new is neither read nor moved.

    Raises
    ------
    InputError
        For an activation without one vector per token, or one of another length than the inputs.
    """
    shape = tuple(h.shape)
    if h.ndim == 4:
        h = h.flatten(2).transpose(1, 2)
    length = 0 if inputs.mask is None else inputs.mask.shape[1]
    if h.ndim == 2 and len(h) == len(inputs) and inputs.mask is None:
        return TokenActivation(h, None)
    fits = h.ndim == 3 and len(h) == len(inputs) and inputs.mask is not None
    if not fits or h.shape[1] - length not in (0, new_tokens):
        raise InputError(
            f"site {site!r}",
            f"activation of shape {shape} on {len(inputs)} inputs of {length} tokens",
            "Choose a site with one vector per token",
        )
    positions = inputs.at(position)
    assert positions is not None
    assert inputs.mask is not None
    more = (0, h.shape[1] - length)
    selected = torch.nn.functional.pad(positions.selected, more, value=False)
    own = torch.nn.functional.pad(inputs.mask.bool(), more, value=False)
    classes = None if inputs.classes is None else torch.nn.functional.pad(inputs.classes, more, value=-1)
    return TokenActivation(
        h,
        SelectedTokens(selected, positions.pooling),
        own,
        classes,
        len(inputs.class_names),
        shape if len(shape) == 4 else None,
    )
