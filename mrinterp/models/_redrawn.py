"""The same network with weights drawn anew: a control that shares everything with it but what it has learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from mrinterp.adapters._duplicate import duplicate
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.models._cut import CutNetwork

__all__ = ["redrawn_network", "why_not_redrawn"]

WHERE = "knockouts.redrawn_network"
WITHOUT = "Leave it out of the plan"


def redrawn_network(network: CutNetwork, seed: int) -> CutNetwork:
    """The same network, inputs and outcomes, its weights drawn anew.

    Parameters
    ----------
    network : CutNetwork
        Behind a `TorchAdapter`.
    seed : int

    Raises
    ------
    InputError
        For a network that is no torch module of its own, and as `redrawn_module`.
    """
    if type(network.adapter) is not TorchAdapter:
        found = f"a network behind {type(network.adapter).__name__}"
        raise InputError(WHERE, f"{found}, whose weights cannot be drawn anew", WITHOUT)
    return replace(network, adapter=TorchAdapter(redrawn_module(network.adapter.module, seed)))


def why_not_redrawn(network: CutNetwork, seed: int) -> str:
    """Why the weights of a network cannot be drawn anew, in words; empty where they can.

    Parameters
    ----------
    network : CutNetwork
    seed : int
    """
    try:
        redrawn_network(network, seed)
    except InputError as error:
        return f"{error.found}: knockouts.redrawn_network asks for what cannot be had of this network"
    return ""


def redrawn_module(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    """A copy whose weights are drawn as its own layers draw them before training.

    Parameters
    ----------
    module : torch.nn.Module
        Left as it is.
    seed : int

    Returns
    -------
    torch.nn.Module
        In evaluation mode.

    Raises
    ------
    InputError
        Where a matrix of weights belongs to no layer that can draw it (``reset_parameters``, or ``_init_weights`` of a Hugging
        Face network): the control would keep a part of what was learned.

    Notes
    -----
    Layers draw in the order of `named_modules`; the same seed gives the same weights, and the global generator is left as it was.
    """
    made = duplicate(module)
    before = {name: p.detach().clone() for name, p in made.named_parameters()}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        # 41: a stream of its own under the study's seed, shared with no other step.
        torch.manual_seed(seed * 1_000 + 41)
        drawn_by = [
            (name, m) for name, m in made.named_modules() if callable(getattr(m, "_init_weights", None))
        ]
        for name, layer in made.named_modules():
            owner = [m for n, m in drawn_by if name == n or name.startswith(f"{n}." if n else "")]
            _draw(layer, owner[-1] if owner else None)
    # Vectors may be constants before training (norms, biases); a matrix that stayed has kept what was learned.
    kept = [n for n, p in made.named_parameters() if p.ndim > 1 and torch.equal(p, before[n])]
    if kept:
        found = f"{len(kept)} arrays of weights that no layer can draw anew, such as {kept[0]}"
        raise InputError(WHERE, found, f"Give their module a reset_parameters method. {WITHOUT} otherwise")
    return made.eval()


def _draw(layer: torch.nn.Module, owner: torch.nn.Module | None) -> None:
    """Draw the weights of one layer: as the network that it belongs to does, after what the layer itself does."""
    own: Any = getattr(layer, "reset_parameters", None) or getattr(layer, "_reset_parameters", None)
    if callable(own):
        own()
    if owner is None:
        return
    draw: Callable[[torch.nn.Module], Any] = owner._init_weights  # type: ignore[assignment]
    if hasattr(layer, "_is_hf_initialized"):
        del layer._is_hf_initialized
    draw(layer)
