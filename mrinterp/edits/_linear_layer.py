"""Linear layers, whichever way round they keep their weights."""

from __future__ import annotations

import torch

__all__ = ["input_axis", "is_linear", "output_axis"]


def is_linear(module: torch.nn.Module) -> bool:
    """Whether a module is a `torch.nn.Linear` or a ``Conv1D`` (GPT-2's linear layer, weights turned round)."""
    return isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"


def input_axis(layer: torch.nn.Module) -> int:
    """Axis of a linear layer's weight that runs over what it reads."""
    return 1 if isinstance(layer, torch.nn.Linear) else 0


def output_axis(layer: torch.nn.Module) -> int:
    """Axis of a linear layer's weight that runs over what it writes."""
    return 1 - input_axis(layer)
