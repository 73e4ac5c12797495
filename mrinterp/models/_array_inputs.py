"""A design's arrays as a network's inputs, and the noise that is added to them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._adapter import Adapter, Edit
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.design import Design
from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.plan_inputs import InputsSection

__all__ = ["ArrayNoise", "argument_name", "array_inputs", "array_noise", "network_tensor"]

USUAL = {"tokens": "input_ids", "images": "pixel_values"}
"""Arguments that inputs of a kind are given under, where a network has one of that name."""


@dataclass(frozen=True, eq=False)
class ArrayNoise:
    """Where a design's noise (N, C, width) goes on inputs without words.

    Parameters
    ----------
    argument : str, optional
        The network's argument that it is added to; None for the activation of a module.
    number : tensor (P,) of int
        Class of every value of an input, or of every place of the activation.
    slot : tensor (P,) of int, optional
        For inputs: the value's number within its class.
    """

    argument: str | None
    number: torch.Tensor
    slot: torch.Tensor | None = None

    def added(
        self, inputs: ModelInputs, noise: NDArray[np.float32], embedding: str | None
    ) -> tuple[ModelInputs, dict[str, Edit]]:
        """The inputs with the noise, or as they are with the edit that adds it."""
        if self.argument is None:
            assert embedding is not None
            return inputs, {embedding: self._edit(noise)}
        clean = inputs.tensors[self.argument]
        drawn = torch.from_numpy(np.ascontiguousarray(noise)).to(clean.device)
        flat = drawn[:, self.number, self.slot].reshape(clean.shape)
        return replace(inputs, tensors={**inputs.tensors, self.argument: clean + flat.to(clean.dtype)}), {}

    def _edit(self, noise: NDArray[np.float32]) -> Edit:
        drawn = torch.from_numpy(np.ascontiguousarray(noise))

        def edit(h: torch.Tensor) -> torch.Tensor:
            step = drawn.to(h.device)[:, self.number.to(h.device)].to(h.dtype)
            if h.ndim == 2:
                return h + step[:, 0]
            return h + (step.transpose(1, 2).reshape(h.shape) if h.ndim == 4 else step)

        return edit


def argument_name(module: Any, section: InputsSection, named_first: bool = False) -> str:
    """The network's argument that gets the inputs.

    Parameters
    ----------
    module : torch.nn.Module
    named_first : bool
        Whether the adapter takes ``input_ids`` for the first argument whatever it is called.

    Raises
    ------
    InputError
        For an argument that the network does not have.
    """
    if named_first and section.kind == "tokens":
        return "input_ids"
    parameters = inspect.signature(module.forward).parameters
    names = [n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if section.argument is not None:
        if names and section.argument not in names:
            fix = near_misses(section.argument, names) or f"It takes {', '.join(names)}"
            raise InputError("inputs.argument", f"the network takes no {section.argument!r}", fix)
        return section.argument
    usual = USUAL.get(section.kind)
    if usual in names or not names:
        return str(usual)
    return names[0]


def array_inputs(
    adapter: Adapter, section: InputsSection, design: Design, site: str, device: torch.device, argument: str
) -> ModelInputs:
    """All distinct inputs of a design of arrays, on the network's device.

    Parameters
    ----------
    site : str
        Where features are read: what it holds of one input says what are its tokens.
    argument : str
        Of the network: `argument_name`.

    Notes
    -----
    Token classes: of tokens ``first``, ``last`` and ``rest``; of a sequence that is made of an image or a row, its places,
    each a class of its own; of a feature map one, since a map is one feature everywhere. A site with one vector per input
    has no tokens. Arrays are put on the device once, floating-point ones in the dtype of the network's weights.
    """
    rows = design.inputs["array_row"].to_numpy()
    values = network_tensor(adapter, np.asarray(design.arrays["values"])[rows], device)
    if section.kind == "tokens":
        own, classes = (
            torch.from_numpy(np.asarray(design.arrays[n])[rows].astype(np.int64)).to(device)
            for n in ("own", "classes")
        )
        tensors = {argument: values} | ({"attention_mask": own} if _takes_mask(adapter) else {})
        return ModelInputs(tensors, own, classes, tuple(design.settings["position_classes"]))
    with torch.inference_mode():
        shape = adapter.run({argument: values[:1]}, read=[site]).activations[site].shape
    if len(shape) not in (2, 3, 4):
        found = f"activation of shape {tuple(shape)} on one input"
        raise InputError(f"site {site!r}", found, "Choose a site with one vector per input, place or patch")
    if len(shape) == 2:
        return ModelInputs({argument: values})
    places = shape[1] if len(shape) == 3 else int(np.prod(shape[2:]))
    mask = torch.ones(len(values), places, dtype=torch.long, device=device)
    if len(shape) == 4:
        return ModelInputs({argument: values}, mask, torch.zeros_like(mask), ("map",))
    classes = torch.arange(places, device=device).expand(len(values), -1)
    return ModelInputs({argument: values}, mask, classes, tuple(f"place{i}" for i in range(places)))


def network_tensor(adapter: Adapter, values: NDArray[Any], device: torch.device) -> torch.Tensor:
    """An array as a tensor on the device; floating-point numbers in the dtype of the network's weights."""
    tensor = torch.from_numpy(np.ascontiguousarray(values)).to(device)
    if not tensor.is_floating_point():
        return tensor
    weights = [p.dtype for p in adapter.module.parameters() if p.is_floating_point()]
    return tensor.to(weights[0] if weights else torch.float32)


def array_noise(design: Design, argument: str, embedding: str, device: torch.device) -> ArrayNoise | None:
    """Where a design's noise goes; None where it goes on the word embeddings, or there is none."""
    arrays: Mapping[str, NDArray[Any]] = design.arrays
    if "noise_class" not in arrays:
        return None
    number, slot = (
        None if n not in arrays else torch.from_numpy(np.asarray(arrays[n]).astype(np.int64)).to(device)
        for n in ("noise_class", "noise_slot")
    )
    assert number is not None
    return ArrayNoise(argument if embedding == "input" else None, number, slot)


def _takes_mask(adapter: Adapter) -> bool:
    parameters = inspect.signature(adapter.module.forward).parameters
    return "attention_mask" in parameters
