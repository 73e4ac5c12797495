"""Features as views of a site: how their values are read from an activation and written into it."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._adapter import Edit
from mrinterp.core.errors import InputError
from mrinterp.positions import SelectedTokens
from mrinterp.results._check import NotApplicable

__all__ = [
    "ChannelMap",
    "FeatureView",
    "TokenFeatureView",
    "edit_of",
    "read_back",
]


class FeatureView(Protocol):
    """Features of a site, read and written together: what a view of your own has to offer.

    Where every token has a value of its own, subclass `TokenFeatureView` instead: positions, pooling and checks are
    then taken care of.

    Examples
    --------
    Every view of this namespace keeps to it; what was written is what is then read:

    >>> import torch
    >>> from mrinterp.features import FeatureView, Units
    >>> view: FeatureView = Units([0, 2], 3)
    >>> h = torch.zeros(1, 3)
    >>> view.names, view.read(view.write(h, torch.tensor([[1.0, 2.0]]))).tolist()
    (('0', '2'), [[1.0, 2.0]])
    """

    @property
    def names(self) -> tuple[str, ...]:
        """One name per feature."""
        ...

    def read(self, activation: torch.Tensor, positions: SelectedTokens | None = None) -> torch.Tensor:
        """Values (runs, features)."""
        ...

    def write(
        self, activation: torch.Tensor, values: torch.Tensor, positions: SelectedTokens | None = None
    ) -> torch.Tensor:
        """The activation, changed so that reading gives ``values`` (runs, features)."""
        ...

    def select(self, features: Sequence[int] | NDArray[np.int_]) -> FeatureView:
        """The same view of some of its features, read and written exactly as among all of them."""
        ...


class TokenFeatureView(ABC):
    """Features of which every token (or, without a token axis, every run) has a value: the base of most views.

    Reading pools the tokens' values by the position; writing moves every selected token by the
    same amount, the difference between the wanted and the present value, and leaves every other
    token as it was, bit for bit. Values are computed in float32 or better whatever the model's dtype.

    A subclass sets ``names`` and defines `values` (read), `moved` (change by so much) and `keep` (some of the features).

    Examples
    --------
    The mean of a vector's coordinates, as a view of one's own:

    >>> import torch
    >>> from mrinterp.features import TokenFeatureView
    >>> class Mean(TokenFeatureView):
    ...     names = ("mean",)
    ...     def values(self, h):
    ...         return h.mean(-1, keepdim=True)
    ...     def moved(self, h, change):
    ...         return h + change
    ...     def keep(self, features):
    ...         pass
    >>> Mean().write(torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0]])).tolist()
    [[-1.0, 1.0]]
    """

    names: tuple[str, ...]

    @abstractmethod
    def values(self, h: torch.Tensor) -> torch.Tensor:
        """Values (..., F) of vectors (..., width)."""

    @abstractmethod
    def moved(self, h: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """Vectors (..., width) with the features changed by (..., F)."""

    @abstractmethod
    def keep(self, features: torch.Tensor) -> None:
        """Reduce this view to some of its features; `select` calls it on a copy."""

    def select(self, features: Sequence[int] | NDArray[np.int_]) -> Self:
        """The same view of some of its features, read and written exactly as among all of them.

        Raises
        ------
        InputError
            For a number that is not among the features, or an empty selection.
        """
        wanted = [int(f) for f in features]
        bad = [f for f in wanted if not 0 <= f < len(self.names)]
        if bad or not wanted:
            found = f"number {bad[0]} of {len(self.names)} features" if bad else "none"
            raise InputError("features to select", found, f"They run from 0 to {len(self.names) - 1}")
        view = copy.copy(self)
        view.names = tuple(self.names[f] for f in wanted)
        view.keep(torch.tensor(wanted))
        return view

    def read(self, activation: torch.Tensor, positions: SelectedTokens | None = None) -> torch.Tensor:
        """Values (runs, F); (runs, tokens * F) where each token is read by itself.

        Parameters
        ----------
        activation : tensor (runs, tokens, width) or (runs, width)
        positions : SelectedTokens
            Needed where there is a token axis, and only there.

        Raises
        ------
        InputError
            For an activation, positions or a width that do not fit together.
        """
        h = _precise(activation)
        _check_positions(h, positions)
        values = self.values(h)
        if positions is None:
            return values
        chosen = positions.selected.unsqueeze(-1)
        if positions.pooling == "mean":
            weights = positions.weights.to(values.dtype).unsqueeze(-1)
            return torch.where(chosen, values * weights, torch.zeros_like(values)).sum(1)
        if positions.pooling == "max":
            return values.masked_fill(~chosen, -torch.inf).amax(1)
        return torch.where(chosen, values, torch.zeros_like(values)).flatten(1)

    def write(
        self, activation: torch.Tensor, values: torch.Tensor, positions: SelectedTokens | None = None
    ) -> torch.Tensor:
        """The activation with the features set to ``values``, shaped as `read` returns them.

        Raises
        ------
        InputError
            Where writing is not defined (a maximum over tokens), or for values of another shape.
        """
        h = _precise(activation)
        _check_positions(h, positions)
        defined = writable(positions)
        if defined is not None:
            raise InputError(
                "write", defined.reason, "Write at a token, a class, a span, the mean or all tokens"
            )
        present = self.read(activation, positions)
        if values.shape != present.shape:
            raise InputError(
                "values to write",
                f"shape {tuple(values.shape)}; the view reads {tuple(present.shape)}",
                "Give one row per run, one column per feature",
            )
        change = values.to(present.dtype).to(present.device) - present
        if positions is None:
            return self.moved(h, change).to(activation.dtype)
        if positions.pooling == "each":
            change = change.unflatten(1, (h.shape[1], -1))
        else:
            change = change.unsqueeze(1).expand(-1, h.shape[1], -1)
        edited = self.moved(h, change).to(activation.dtype)
        return torch.where(positions.selected.unsqueeze(-1), edited, activation)


class ChannelMap:
    """A view of channels, applied to a feature map (runs, channels, height, width).

    The places of the map are its tokens, row by row.

    Parameters
    ----------
    view : TokenFeatureView
        Of vectors as wide as the map has channels.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.features import ChannelMap, Units
    >>> from mrinterp.positions import MEAN_OF_TOKENS
    >>> maps = torch.arange(8.0).reshape(1, 2, 2, 2)  # one image, two channels, 2 x 2 places
    >>> ChannelMap(Units([1], 2)).read(maps, MEAN_OF_TOKENS.at(torch.ones(1, 4))).item()
    5.5
    """

    def __init__(self, view: TokenFeatureView) -> None:
        self.view, self.names = view, view.names

    def read(self, activation: torch.Tensor, positions: SelectedTokens | None = None) -> torch.Tensor:
        """Values (runs, F)."""
        return self.view.read(_map_tokens(activation), positions)

    def select(self, features: Sequence[int] | NDArray[np.int_]) -> ChannelMap:
        """The same view of some of its channels."""
        return ChannelMap(self.view.select(features))

    def write(
        self, activation: torch.Tensor, values: torch.Tensor, positions: SelectedTokens | None = None
    ) -> torch.Tensor:
        """The feature map with the channels set to ``values``."""
        edited = self.view.write(_map_tokens(activation), values, positions)
        return edited.transpose(1, 2).reshape(activation.shape)


def writable(positions: SelectedTokens | None) -> NotApplicable | None:
    """None where writing is defined, else why it is not."""
    if positions is not None and positions.pooling == "max":
        return NotApplicable(
            "a maximum over tokens can be read but not written: many edits have the same maximum", "write"
        )
    return None


def edit_of(view: FeatureView, values: torch.Tensor, positions: SelectedTokens | None = None) -> Edit:
    """The edit that sets a view's features to ``values`` (runs, features)."""
    return lambda activation: view.write(activation, values, positions)


def read_back(
    view: FeatureView, activation: torch.Tensor, values: torch.Tensor, positions: SelectedTokens | None = None
) -> torch.Tensor:
    """Largest difference, per feature, between what was written and what is then read.

    Zero up to rounding for units, directions and subspaces. For latents it says how far the encoder inverts the
    decoder, and is to be shown with every edit.

    Parameters
    ----------
    view : FeatureView
    activation : tensor (runs, ..., width)
        Activation of the site.
    values : tensor (runs, F)
        What is written.
    positions : SelectedTokens, optional
        Needed where there is a token axis.

    Returns
    -------
    tensor (F,)
        In units of the features.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.features import Units, read_back
    >>> read_back(Units([0, 2], 3), torch.zeros(4, 3), torch.ones(4, 2)).tolist()
    [0.0, 0.0]
    """
    return (view.read(view.write(activation, values, positions), positions) - values).abs().amax(0)


def feature_names(given: Sequence[str] | None, count: int, default: Sequence[str]) -> tuple[str, ...]:
    """The given names, checked, or the default ones."""
    names = tuple(default) if given is None else tuple(given)
    if len(names) != count or len(set(names)) != count:
        raise InputError(
            "feature names",
            f"{len(set(names))} distinct names for {count} features",
            "Give one name per feature",
        )
    return names


def _precise(activation: torch.Tensor) -> torch.Tensor:
    return activation if activation.dtype == torch.float64 else activation.float()


def _map_tokens(activation: torch.Tensor) -> torch.Tensor:
    if activation.ndim != 4:
        raise InputError(
            "feature map", f"shape {tuple(activation.shape)}", "Give (runs, channels, height, width)"
        )
    return activation.flatten(2).transpose(1, 2)


def _check_positions(h: torch.Tensor, positions: SelectedTokens | None) -> None:
    if h.ndim == 2 and positions is None:
        return
    if h.ndim != 3 or positions is None:
        found = f"shape {tuple(h.shape)} {'with' if positions is not None else 'without'} positions"
        raise InputError(
            "activation",
            found,
            "Give (runs, tokens, width) with positions or (runs, width) without; ChannelMap for feature maps. Positions"
            " come from the inputs' mask: ModelInputs(tensors, mask), ones (N, tokens), for a map (N, height x width)",
        )
    if positions.selected.shape != h.shape[:2]:
        raise InputError(
            "positions",
            f"{tuple(positions.selected.shape)} for an activation of {tuple(h.shape[:2])} runs and tokens",
            "Apply the position to this batch's mask",
        )
