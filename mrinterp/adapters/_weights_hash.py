"""The hash by which a network is known."""

from __future__ import annotations

import hashlib

import torch

__all__ = ["weights_hash"]


def weights_hash(module: torch.nn.Module) -> str:
    """SHA-256 over names, shapes, dtypes and values of all weights."""
    h = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if not isinstance(value, torch.Tensor):
            continue
        h.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        if value.numel():
            h.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return h.hexdigest()
