"""One tensor under several names: sites that hold the same activation are merged."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import torch

from mrinterp.adapters._adapter import Adapter

__all__ = ["merged_sites"]


def merged_sites(
    adapter: Adapter, inputs: Mapping[str, torch.Tensor], sites: Sequence[str]
) -> list[tuple[str, ...]]:
    """Groups of sites that hold the same activation, bit for bit, on these inputs.

    Several names of one tensor (a layer, and the last module inside it) are one exposure, not several.

    Parameters
    ----------
    adapter : Adapter
    inputs : mapping of str to tensor
        Keyword arguments of the network: several different runs, because sites that differ only on other inputs
        cannot be told apart by these.
    sites : sequence of str
        Sites to group.

    Returns
    -------
    list of tuple of str
        Every site is in one group; groups and sites keep their order.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.adapters import TorchAdapter, merged_sites
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Identity(), torch.nn.Tanh()).eval()
    >>> merged_sites(TorchAdapter(net), {"input": torch.randn(5, 2)}, ["0", "1", "2"])
    [('0', '1'), ('2',)]
    """
    with torch.no_grad():
        activations = adapter.run(inputs, read=list(sites)).activations
    groups: dict[str, list[str]] = {}
    for site in dict.fromkeys(sites):
        h = activations[site].detach().cpu().contiguous()
        key = hashlib.sha256(f"{tuple(h.shape)}{h.dtype}".encode())
        key.update(h.reshape(-1).view(torch.uint8).numpy().tobytes() if h.numel() else b"")
        groups.setdefault(key.hexdigest(), []).append(site)
    return [tuple(g) for g in groups.values()]
