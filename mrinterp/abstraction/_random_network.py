"""The same network with random weights: what a search for an alignment finds where nothing was learned."""

from __future__ import annotations

import copy

import torch

from mrinterp.adapters._adapter import Adapter
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError

__all__ = ["random_network"]


def random_network(adapter: Adapter, seed: int = 0) -> TorchAdapter:
    """A copy of the network in which every weight tensor's values are shuffled among its entries.

    Raises
    ------
    InputError
        For an adapter other than `TorchAdapter`: give the random network yourself.

    Notes
    -----
    Shuffling keeps the size and the spread of every tensor, so that activations keep about their scale, and
    needs no knowledge of how the architecture is initialized. Tensors of equal entries (fresh biases and
    norms) stay as they are. Tied weights stay tied; buffers are kept.
    """
    if not isinstance(adapter, TorchAdapter):
        raise InputError(
            "random network",
            f"{type(adapter).__name__} cannot be copied with random weights",
            "Give the adapter of a re-initialized network",
        )
    generator = torch.Generator().manual_seed(seed)
    module = copy.deepcopy(adapter.module)
    with torch.no_grad():
        for parameter in module.parameters():
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return TorchAdapter(module.eval())
