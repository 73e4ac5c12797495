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

__all__ = ["AlignedVariable", "check_tokens", "rule_for", "source_values"]


@dataclass(frozen=True, eq=False)
class AlignedVariable:
    """A high-level variable and the features that are said to hold it.

    Parameters
    ----------
    variable : str
    site : str
    view : FeatureView
        Its features together: a `Subspace`, `Units`, latents ...
    rule : Position, optional
        At which tokens; default the mean over tokens where there are tokens.
    """

    variable: str
    site: str
    view: FeatureView
    rule: Position | None = None

    def __str__(self) -> str:
        count = len(self.view.names)
        return f"{count} coordinate{'s' if count > 1 else ''} of site {self.site}"


def rule_for(inputs: ModelInputs, rule: Position | None) -> Position | None:
    """The rule, or the mean over tokens where there are tokens and none is given.

    Raises
    ------
    InputError
        For a rule that reads but cannot write.
    """
    rule = MEAN_OF_TOKENS if rule is None and inputs.mask is not None else rule
    if rule is not None and rule.pooling == "max":
        raise InputError(
            "position rule",
            "a maximum over tokens can be read but not written",
            "Interchange at a token, a class, a span, the mean or all tokens",
        )
    return rule


def check_tokens(
    inputs: ModelInputs, rule: Position | None, base: NDArray[np.int_], source: NDArray[np.int_]
) -> None:
    """Refuse to interchange token by token between inputs that do not have the same tokens to write."""
    if not isinstance(rule, AllTokens) or inputs.mask is None:
        return
    mask = inputs.mask.bool().cpu().numpy()
    bad = np.flatnonzero((mask[base] != mask[source]).any(axis=1))
    if len(bad):
        found = f"{int(mask[base[bad[0]]].sum())} tokens in the base, {int(mask[source[bad[0]]].sum())} in the source"
        raise InputError(
            f"pair {bad[0]}",
            found,
            "Pair inputs of the same length (draw_pairs with group=lengths), or use another rule than AllTokens",
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
                part.append(a.view.read(held[a.site], rows.at(rule_for(inputs, a.rule))))
    return [torch.cat(part) for part in parts]
