"""Where in a network a high-level variable is said to live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._adapter import Adapter
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.errors import InputError
from mrinterp.features._feature_view import FeatureView
from mrinterp.positions import MEAN_OF_TOKENS, AllTokens, Position

__all__ = ["AlignedVariable", "check_tokens", "position_for", "source_values"]


@dataclass(frozen=True, eq=False)
class AlignedVariable:
    """A high-level variable and the features that are said to hold it.

    Parameters
    ----------
    variable : str
        Its name in the high-level model.
    site : str
        Where in the network it is said to live.
    view : FeatureView
        The features that hold it, taken together: a `Subspace`, `Units`, latents ...
    position : Position, optional
        At which tokens; default the mean over tokens where there are tokens.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.abstraction import AlignedVariable
    >>> from mrinterp.features import Subspace
    >>> print(AlignedVariable("left", "2", Subspace(np.eye(40)[:1])))
    1 coordinate of site 2
    """

    variable: str
    site: str
    view: FeatureView
    position: Position | None = None

    def __str__(self) -> str:
        count = len(self.view.names)
        return f"{count} coordinate{'s' if count > 1 else ''} of site {self.site}"


def position_for(inputs: ModelInputs, position: Position | None) -> Position | None:
    """The position, or the mean over tokens where there are tokens and none is given.

    Raises
    ------
    InputError
        For a position that can be read but not written.
    """
    position = MEAN_OF_TOKENS if position is None and inputs.mask is not None else position
    if position is not None and position.pooling == "max":
        raise InputError(
            "position",
            "a maximum over tokens can be read but not written",
            "Interchange at a token, a class, a span, the mean or all tokens",
        )
    return position


def check_tokens(
    inputs: ModelInputs, position: Position | None, base: NDArray[np.int_], source: NDArray[np.int_]
) -> None:
    """Refuse to interchange token by token between inputs that do not have the same tokens to write."""
    if not isinstance(position, AllTokens) or inputs.mask is None:
        return
    mask = inputs.mask.bool().cpu().numpy()
    bad = np.flatnonzero((mask[base] != mask[source]).any(axis=1))
    if len(bad):
        found = f"{int(mask[base[bad[0]]].sum())} tokens in the base, {int(mask[source[bad[0]]].sum())} in the source"
        raise InputError(
            f"pair {bad[0]}",
            found,
            "Pair inputs of the same length (draw_pairs with group=lengths), or use another position than AllTokens",
        )


def source_values(
    adapter: Adapter, inputs: ModelInputs, aligned: Sequence[AlignedVariable], block: int
) -> list[torch.Tensor]:
    """Clean values of each alignment's features on all N inputs, tensors (N, ...)."""
    sites = list(dict.fromkeys(a.site for a in aligned))
    parts: list[list[torch.Tensor]] = [[] for _ in aligned]
    for start in range(0, len(inputs), block):
        rows = inputs.take(np.arange(start, min(start + block, len(inputs))))
        with torch.no_grad():
            held = adapter.run(rows.tensors, read=sites).activations
            for part, a in zip(parts, aligned, strict=True):
                part.append(a.view.read(held[a.site], rows.at(position_for(inputs, a.position))))
    return [torch.cat(part) for part in parts]
