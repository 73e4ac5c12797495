"""Edit features of a bench out of its network for good, where weights can do it; outcomes of an edited network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._adapter import Adapter, Edit
from mrinterp.adapters._duplicate import duplicate
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.edits._cut_units import cut_units
from mrinterp.edits._weight_edit import (
    WeightEdit,
    checked,
    is_linear,
    output_axis,
    replace_parameter,
)
from mrinterp.features._directions import Directions
from mrinterp.features._feature_view import ChannelMap, FeatureView
from mrinterp.features._units import Units
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._bench_gradient import blocks
from mrinterp.outcomes._outcome import outcome_values
from mrinterp.results._check import NotApplicable

__all__ = ["edited_outcomes", "fold_out"]

Array = NDArray[np.float64]


def fold_out(
    bench: Bench, features: NDArray[np.int_], values: Array, label: str
) -> WeightEdit | NotApplicable:
    """A copy of the bench's network in which features hold a constant value, on every input.

    Parameters
    ----------
    bench : Bench
    features : ndarray (k,) of int
    values : ndarray (k,)
        What each is held at.
    label : str
        Words for the edit.

    Returns
    -------
    WeightEdit
        Units are cut off in the linear layers that read them, directions taken out of the linear layer
        whose output the site is; compared on the bench's first block with the run-time edit.
    NotApplicable
        Where weights cannot do it, and why: another kind of feature (an SAE latent is not linear in the
        activation), a position that moves all tokens by one amount, or no linear layer beside the site.
    """
    if not isinstance(bench.adapter, TorchAdapter):
        return NotApplicable(f"a {type(bench.adapter).__name__} does not show its weights", "weight edit")
    if bench.inputs.mask is not None and not bench.each:
        return NotApplicable(
            f"{bench.position} moves tokens by what they hold together; weights act on each token alone (AllTokens)",
            "weight edit",
        )
    view = bench.view.select(features)
    example = bench.inputs.take(np.arange(min(bench.block, bench.prompts))).tensors
    try:
        if isinstance(view, Units):
            units = view.index.tolist()
            return cut_units(bench.adapter.module, bench.site, units, example, values=values)
        if isinstance(view, Directions):
            return _without_directions(bench.adapter, bench.site, view, values, example, label)
    except InputError as e:
        return NotApplicable(f"{e.where}: {e.found}", "weight edit")
    if isinstance(view, ChannelMap):
        return NotApplicable(
            "channels of a feature map: linear layers are edited, not convolutions", "weight edit"
        )
    return NotApplicable(f"{type(view).__name__} are not linear in the activation", "weight edit")


def _without_directions(
    adapter: TorchAdapter,
    site: str,
    view: FeatureView,
    values: Array,
    example: Mapping[str, torch.Tensor],
    label: str,
) -> WeightEdit | NotApplicable:
    """The site's own linear layer, its output moved along the write directions to the values."""
    layer = adapter.submodule(site)
    if not is_linear(layer):
        inside = [f"{site}.{name}" for name, module in layer.named_modules() if name and is_linear(module)]
        words = f"; linear layers inside it: {', '.join(inside)}" if inside else ""
        return NotApplicable(
            f"site {site!r} is a {type(layer).__name__}, not a linear layer that writes it{words}",
            "weight edit",
        )
    wanted = torch.from_numpy(np.asarray(values, dtype=float))

    def hold(h: torch.Tensor) -> torch.Tensor:
        """h with the features at their values, every token by itself."""
        flat = h.double().reshape(-1, h.shape[-1])
        return view.write(flat, wanted.to(h.device).expand(len(flat), -1)).reshape(h.shape)

    edited = duplicate(adapter.module)
    new = edited.get_submodule(site)
    axis = output_axis(layer)
    columns = layer.get_parameter("weight").detach().double().movedim(axis, -1)
    offset = hold(torch.zeros_like(columns[:1]))
    bias = getattr(layer, "bias", None)
    if bias is None and bool(offset.abs().max() > 0):
        return NotApplicable(f"linear layer {site!r} has no bias to keep the value in", "weight edit")
    # The edit is affine in the activation, so it goes into weight and bias column by column.
    replace_parameter(new, "weight", (hold(columns) - offset).movedim(-1, axis).contiguous())
    if bias is not None:
        replace_parameter(new, "bias", hold(bias.detach().double()[None])[0])
    edit: Edit = lambda h: hold(h).to(h.dtype)  # noqa: E731
    return checked(adapter.module, edited, {site: edit}, example, label)


def edited_outcomes(bench: Bench, network: torch.nn.Module | Adapter) -> NDArray[np.float64]:
    """Outcomes (P, O) of another network on the inputs of a bench, in the bench's blocks.

    Raises
    ------
    InputError
        For a bench whose outcome is sampled: before and after would differ by their draws.
    """
    if bench.sampled:
        raise InputError(
            "outcome", "sampled: before and after would differ by their draws", "Give the computed outcome"
        )
    adapter = TorchAdapter(network) if isinstance(network, torch.nn.Module) else network
    parts = []
    for rows in blocks(bench.prompts, bench.block):
        inputs = bench.inputs.take(rows)
        with torch.inference_mode():
            output = adapter.run(inputs.tensors).output
        parts.append(outcome_values(bench.outcome_of(rows), output, inputs.mask_or_ones))
    return np.concatenate(parts)
