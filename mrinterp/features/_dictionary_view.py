"""A study's dictionary as the view through which its features are read."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.core.basis import Dictionary
from mrinterp.core.errors import InputError
from mrinterp.features._directions import Directions
from mrinterp.features._feature_view import TokenFeatureView

__all__ = ["dictionary_view"]


class Standardized(TokenFeatureView):
    """A view in other units: value = (value of the inner view - zero) / scale.

    Parameters
    ----------
    view : TokenFeatureView
    zero, scale : array (F,)

    Raises
    ------
    InputError
        For a scale that is not positive; names the feature.
    """

    def __init__(
        self,
        view: TokenFeatureView,
        zero: NDArray[np.float64],
        scale: NDArray[np.float64],
        names: tuple[str, ...],
    ) -> None:
        bad = np.flatnonzero(~(scale > 0))
        if len(bad):
            raise InputError(
                f"feature {names[bad[0]]!r}",
                f"scale {scale[bad[0]]:g}",
                "Leave out features that never vary on the discovery split",
            )
        self.view, self.names = view, names
        self._zero, self._scale = torch.from_numpy(zero.copy()), torch.from_numpy(scale.copy())

    def values(self, h: torch.Tensor) -> torch.Tensor:
        """Values (..., F) in units."""
        return (self.view.values(h) - self._zero.to(h)) / self._scale.to(h)

    def moved(self, h: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """The vectors with the features changed by (..., F) units."""
        return self.view.moved(h, change * self._scale.to(change))

    def keep(self, features: torch.Tensor) -> None:
        """Reduce the view to some of its features."""
        self.view = self.view.select(features.tolist())
        self._zero, self._scale = self._zero[features], self._scale[features]


def dictionary_view(dictionary: Dictionary, latents: TokenFeatureView | None = None) -> TokenFeatureView:
    """The view of a dictionary's features: directions, or latents in units of their spread.

    Parameters
    ----------
    latents : TokenFeatureView, optional
        The dictionary's latents in their own units, where its features are latents.

    Raises
    ------
    InputError
        For a dictionary of latents without them.
    """
    if dictionary.read is not None:
        return Directions.from_dictionary(dictionary)
    if latents is None:
        raise InputError(
            "dictionary",
            "its features are latents, and no autoencoder was given",
            "Pass the view of its latents",
        )
    assert dictionary.zero is not None
    assert dictionary.scale is not None
    return Standardized(latents, dictionary.zero, dictionary.scale, dictionary.names)
