"""Cut units off for good: their outgoing weights set to zero, their mean kept in the bias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mrinterp.adapters._adapter import Edit
from mrinterp.adapters._duplicate import duplicate
from mrinterp.adapters._torch_module import INPUT, TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.edits._weight_edit import (
    WeightEdit,
    checked,
    input_axis,
    is_linear,
    replace_parameter,
)

__all__ = ["cut_units", "linear_readers"]

Array = NDArray[np.float64]


def cut_units(
    module: torch.nn.Module,
    site: str,
    units: Sequence[int],
    example: Mapping[str, torch.Tensor],
    *,
    values: ArrayLike = 0.0,
    readers: Sequence[str] | None = None,
) -> WeightEdit:
    """A copy of a network in which some units of a site count as a constant, whatever the input.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode; it is not changed.
    site : str
        Where the units are: a module's output, or ``path:input`` (`TorchAdapter`).
    units : sequence of int
        Their numbers at the site, from 0.
    example : mapping of str to tensor
        Keyword inputs on which readers are found and the copy is compared with the run-time ablation.
    values : float or array (k,)
        What each unit is held at: 0 for zero ablation, its mean for mean ablation. It goes into the
        readers' biases.
    readers : sequence of str, optional
        Linear layers that take the site's activation as input. Default: found by running the example.

    Returns
    -------
    WeightEdit
        Equal to writing ``values`` into the units at every token.

    Raises
    ------
    InputError
        For units that the site does not have, a site that no linear layer reads or that something else reads
        too (a residual stream read by a LayerNorm), or a reader without a bias to keep a mean in.

    Examples
    --------
    >>> from mrinterp.edits import cut_units
    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1)).eval()
    >>> example = {"input": torch.randn(4, 2)}
    >>> cut_units(network, "1", [0, 2], example, values=0.5).changed
    ('2.weight', '2.bias')
    """
    adapter = TorchAdapter(module)
    activation, found = linear_readers(adapter, site, example)
    width = activation.shape[-1]
    chosen = [int(u) for u in units]
    bad = [u for u in chosen if not 0 <= u < width]
    if bad or not chosen or len(set(chosen)) < len(chosen):
        what = f"number {bad[0]}" if bad else f"{len(chosen)} given, {len(set(chosen))} distinct"
        raise InputError("units", what, f"Give distinct units from 0 to {width - 1}")
    held = np.asarray(values, dtype=float)
    if held.shape not in ((), (len(chosen),)) or not np.isfinite(held).all():
        raise InputError("values", f"shape {held.shape}, or not finite", f"Give one number or {len(chosen)}")
    held = np.array(np.broadcast_to(held, (len(chosen),)))
    paths = found if readers is None else tuple(readers)
    if not paths:
        raise InputError(
            f"site {site!r}",
            "no linear layer reads it: what comes next is not linear (a normalization, an activation function)",
            "Cut the units where a linear layer reads them, or ablate at run time (knock_out)",
        )
    edited = duplicate(module)
    for path in paths:
        adapter.submodule(path)
        _cut(edited.get_submodule(path), path, chosen, held, width)
    words = "zero" if not held.any() else "the values given"
    label = f"{len(chosen)} unit{'s' * (len(chosen) > 1)} of {site} cut off at {words}"
    return checked(module, edited, {site: _written(chosen, held)}, example, label)


def linear_readers(
    adapter: TorchAdapter, site: str, example: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, tuple[str, ...]]:
    """The site's activation, and the linear layers whose input it is, bit for bit."""
    if site.endswith(INPUT):
        own = site.removesuffix(INPUT)
        with torch.inference_mode():
            activation = adapter.run(example, read=[site]).activations[site]
        return activation, (own,) if is_linear(adapter.submodule(own)) else ()
    linear = [s for s in adapter.sites() if is_linear(adapter.submodule(s))]
    taken: dict[str, torch.Tensor] = {}
    handles = []

    def look(path: str) -> object:
        def hook(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            if inputs:
                taken[path] = inputs[0].detach().clone()

        return hook

    try:
        for path in linear:
            handles.append(adapter.submodule(path).register_forward_pre_hook(look(path)))  # type: ignore[arg-type]
        with torch.inference_mode():
            activation = adapter.run(example, read=[site]).activations[site].clone()
    finally:
        for handle in handles:
            handle.remove()
    same = [p for p, h in taken.items() if h.shape == activation.shape and torch.equal(h, activation)]
    return activation, tuple(same)


def _cut(reader: torch.nn.Module, path: str, units: list[int], values: Array, width: int) -> None:
    """Zero the units' columns; what they would have added at their values goes into the bias."""
    if not is_linear(reader):
        raise InputError(f"reader {path!r}", f"a {type(reader).__name__}", "Name linear layers")
    axis = input_axis(reader)
    weight = reader.get_parameter("weight").detach()
    if weight.shape[axis] != width:
        raise InputError(
            f"reader {path!r}", f"reads {weight.shape[axis]} units, the site has {width}", "Name its readers"
        )
    new = weight.clone().movedim(axis, -1)
    added = new[:, units].double() @ torch.from_numpy(values).to(new.device)
    new[:, units] = 0.0
    replace_parameter(reader, "weight", new.movedim(-1, axis).contiguous())
    if not values.any():
        return
    if getattr(reader, "bias", None) is None:
        raise InputError(
            f"reader {path!r}",
            "has no bias to keep a mean in",
            "Cut the units at zero, or ablate at run time",
        )
    bias = reader.get_parameter("bias").detach()
    replace_parameter(reader, "bias", bias.double() + added)


def _written(units: list[int], values: Array) -> Edit:
    def edit(h: torch.Tensor) -> torch.Tensor:
        new = h.clone()
        new[..., units] = torch.from_numpy(values).to(h)
        return new

    return edit
