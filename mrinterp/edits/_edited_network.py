"""Outcomes of an edited network on a bench's inputs."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._adapter import Adapter
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.attribution._method import blocks
from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.outcomes._outcome import outcome_values

__all__ = ["edited_outcomes"]


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
