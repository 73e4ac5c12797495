"""Shapes of what every module of a network takes and returns, seen in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch

from mrinterp.adapters._site_output import first_tensor
from mrinterp.core.errors import InputError

__all__ = ["site_shapes", "trial_inputs"]

Shapes = dict[str, tuple[int, ...]]


def site_shapes(
    module: torch.nn.Module,
    inputs: Mapping[str, torch.Tensor] | None,
    parts: Mapping[str, torch.nn.Module] | None = None,
) -> tuple[Shapes, Shapes]:
    """Shapes of the first output and of the first input of every module by its path; of those that the pass ran.

    Parameters
    ----------
    inputs : mapping, optional
        Keyword arguments of the network (``input_ids`` of a TransformerLens network as its first one). Without them nothing
        is run, and shapes are what the weights of linear maps and embeddings tell: (0, width).
    parts : mapping, optional
        Modules to look at by name; default all.
    """
    parts = dict(module.named_modules()) if parts is None else parts
    out: Shapes = {}
    into: Shapes = {}
    if inputs is None:
        for path, part in parts.items():
            rows = getattr(part, "out_features", getattr(part, "embedding_dim", None))
            columns = getattr(part, "in_features", None)
            out |= {path: (0, int(rows))} if rows else {}
            into |= {path: (0, int(columns))} if columns else {}
        return out, into

    def watch(path: str) -> Any:
        def hook(_: Any, given: tuple[Any, ...], named: dict[str, Any], made: Any) -> None:
            for shapes, value in ((out, made), (into, given or tuple(named.values())[:1])):
                try:
                    shapes.setdefault(path, tuple(first_tensor(value, path).shape))
                except InputError:
                    continue  # a module that returns no tensor is no site

        return hook

    rest = dict(inputs)
    first = [rest.pop("input_ids")] if hasattr(module, "hook_dict") and "input_ids" in rest else []
    with ExitStack() as hooks, torch.inference_mode():
        for path, part in parts.items():
            hooks.callback(part.register_forward_hook(watch(path), with_kwargs=True).remove)
        module(*first, **rest)
    return out, into


def trial_inputs(
    module: Any, runs: int, length: int, device: torch.device | str
) -> dict[str, torch.Tensor] | None:
    """A batch that a network of a known library takes: token ids, or an image; None for any other network."""
    name = getattr(module, "main_input_name", "input_ids" if hasattr(module, "hook_dict") else None)
    config: Any = getattr(module, "config", None)
    if name == "input_ids":
        ids = torch.ones(runs, length, dtype=torch.long, device=device)
        if hasattr(module, "hook_dict"):
            return {"input_ids": ids}
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    size, channels = getattr(config, "image_size", None), getattr(config, "num_channels", None)
    if name == "pixel_values" and isinstance(size, int) and isinstance(channels, int):
        dtype = next(module.parameters()).dtype
        return {"pixel_values": torch.zeros(runs, channels, size, size, device=device, dtype=dtype)}
    return None
