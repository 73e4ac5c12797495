"""Coordinates of a site as features: neurons, channels, attention heads, whole layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mrinterp.core.errors import InputError
from mrinterp.features._feature_view import TokenFeatureView, feature_names

__all__ = ["AttentionHeads", "Units", "WholeLayer"]


class Units(TokenFeatureView):
    """Single coordinates of a site: neurons, channels, dimensions of the residual stream.

    Parameters
    ----------
    units : sequence of int
        Numbers of the coordinates, from 0.
    width : int
        Width of the site.
    names : sequence of str, optional
        One per unit; default its number.

    Raises
    ------
    InputError
        For a unit out of range or named twice.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.features import Units
    >>> view, h = Units([2], 3), torch.tensor([[1.0, 2.0, 3.0]])
    >>> view.read(h).tolist(), view.write(h, torch.tensor([[0.0]])).tolist()
    ([[3.0]], [[1.0, 2.0, 0.0]])
    """

    def __init__(self, units: Sequence[int], width: int, names: Sequence[str] | None = None) -> None:
        chosen = [u.item() if hasattr(u, "item") else u for u in units]
        for u in chosen:
            if isinstance(u, bool) or not isinstance(u, int):
                raise InputError("units", f"{u!r}", "Units are whole numbers from 0")
            if not 0 <= u < width:
                raise InputError(
                    f"unit {u}", f"the site has {width} units", f"Units run from 0 to {width - 1}"
                )
        if not chosen or len(set(chosen)) < len(chosen):
            raise InputError(
                "units",
                f"{len(chosen)} given, {len(set(chosen))} distinct",
                "Give distinct units, at least one",
            )
        self.width = width
        self.index = torch.tensor(chosen)
        self.names = feature_names(names, len(chosen), [str(u) for u in chosen])

    def values(self, h: torch.Tensor) -> torch.Tensor:
        """The coordinates (..., F)."""
        _check_width(h, self.width)
        return h.index_select(-1, self.index.to(h.device))

    def moved(self, h: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """The vectors with the coordinates changed."""
        return h.index_add(-1, self.index.to(h.device), change.to(h.dtype))

    def keep(self, features: torch.Tensor) -> None:
        """Reduce the view to some of its units."""
        self.index = self.index[features]


class AttentionHeads(Units):
    """Attention heads of a concatenated head output (runs, tokens, heads * head width).

    The site is where the heads' outputs are concatenated: the input of the attention's output
    projection. Every coordinate of a head is one feature. Heads are counted from the site: where queries share keys
    and values (grouped-query attention), the keys and values have fewer heads than the queries. Where the network
    says how many heads it has, a bench refuses other ones.

    Parameters
    ----------
    heads : sequence of int
        Numbers of the heads, from 0.
    head_count : int
        Heads at the site.
    width : int
        Width of the site, a multiple of ``head_count``.

    Examples
    --------
    >>> from mrinterp.features import AttentionHeads
    >>> AttentionHeads([1], head_count=4, width=12).names
    ('head1:0', 'head1:1', 'head1:2')
    """

    def __init__(self, heads: Sequence[int], head_count: int, width: int) -> None:
        if head_count < 1 or width % head_count:
            raise InputError(
                "head_count", f"{head_count} heads in a width of {width}", "Give the layer's number of heads"
            )
        for head in heads:
            if not 0 <= head < head_count:
                raise InputError(
                    f"head {head}",
                    f"the layer has {head_count} heads",
                    f"Heads run from 0 to {head_count - 1}",
                )
        size = width // head_count
        units = [h * size + i for h in heads for i in range(size)]
        super().__init__(units, width, [f"head{h}:{i}" for h in heads for i in range(size)])
        self.head_count, self.head_width = head_count, size


class WholeLayer(Units):
    """Every coordinate of a site.

    Parameters
    ----------
    width : int
        Width of the site.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.features import WholeLayer
    >>> WholeLayer(3).read(torch.tensor([[1.0, 2.0, 3.0]])).tolist()
    [[1.0, 2.0, 3.0]]
    """

    def __init__(self, width: int) -> None:
        super().__init__(range(width), width)


def _check_width(h: torch.Tensor, width: int) -> None:
    if h.shape[-1] != width:
        raise InputError(
            "site",
            f"width {h.shape[-1]}; the features are of width {width}",
            "Choose the site that the features were made for",
        )
