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
    """Groups of sites with bit for bit the same activation on these inputs.

    Every site stands in one group; groups and sites keep their order. A study counts a group as one
    exposure, under the name of its first site. Give inputs with several different runs: sites that
    differ only on other inputs cannot be told apart by these.
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
