"""Devices that networks can run on here."""

from __future__ import annotations

import torch

__all__ = ["devices_here", "torch_threads"]


def devices_here() -> tuple[str, ...]:
    """Names of the devices, such as ``cpu`` and ``cuda:0 (NVIDIA H100)``."""
    found = ["cpu"]
    if torch.cuda.is_available():
        found += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return tuple(found)


def torch_threads() -> int:
    """Threads that a pass of a network uses."""
    return int(torch.get_num_threads())
