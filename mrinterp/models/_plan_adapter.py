"""The network that a study file names, behind its adapter."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mrinterp.adapters._adapter import Adapter
from mrinterp.adapters._hugging_face import DTYPES, load_network, load_tokenizer, torch_device
from mrinterp.adapters._nnsight import NNsightAdapter
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.adapters._transformer_lens import TransformerLensAdapter
from mrinterp.adapters._weights_folder import weights_folder
from mrinterp.core.errors import InputError
from mrinterp.core.plan_model import ModelSection
from mrinterp.models._given import GivenObjects, network_facts, refuse_unusable
from mrinterp.models._plan_files import named_function

__all__ = ["AdaptedNetwork", "load_plan_network"]

ADAPTERS: dict[str, Any] = {
    "module": TorchAdapter,
    "transformer_lens": TransformerLensAdapter,
    "nnsight": NNsightAdapter,
}


@dataclass(frozen=True, eq=False)
class AdaptedNetwork:
    """A network in evaluation mode behind its adapter, its tokenizer (None without one), and where it runs."""

    adapter: Adapter
    tokenizer: Any
    device: torch.device

    @property
    def module(self) -> torch.nn.Module:
        """The network itself."""
        module: torch.nn.Module = self.adapter.module
        return module


def load_plan_network(
    section: ModelSection, folder: Path, given: GivenObjects | None = None
) -> AdaptedNetwork:
    """Load the network that a plan names: from a folder, an installed package, a hub id, a factory, or from memory.

    Raises
    ------
    InputError
        For a network that does not exist, a factory that returns something else than ``model.kind`` says,
        or a network in training mode; for one that was given from memory and is not at hand, or is another.
    """
    if section.given is not None:
        return _from_memory(section, folder, given or GivenObjects())
    if section.kind not in ADAPTERS:
        path = weights_folder(section.package, section.folder, folder, section.hub, section.revision)
        stored = load_network(path, head=section.kind, device=section.device, dtype=section.dtype)
        return AdaptedNetwork(stored.adapter, stored.tokenizer, stored.device)
    device = torch_device(section.device)
    factory = named_function(str(section.module), "model.module", folder)
    try:
        bound = inspect.signature(factory).bind(**section.arguments)
    except TypeError as e:
        raise InputError(
            "model.arguments", f"{section.module}: {e}", "Give the factory's arguments"
        ) from None
    made = factory(*bound.args, **bound.kwargs)
    adapter = ADAPTERS[section.kind](_moved(made, section, device))
    tokenizer = None if section.tokenizer is None else load_tokenizer(folder / section.tokenizer)
    return AdaptedNetwork(adapter, tokenizer, device)


def _from_memory(section: ModelSection, folder: Path, given: GivenObjects) -> AdaptedNetwork:
    """The network that was given, as it is: it is neither moved nor changed."""
    if given.model is None:
        raise InputError(
            "model",
            f"the {section.given} was given from memory and lies in no file",
            "Give it again: Study.open(folder, model=..., tokenizer=...). What is finished can be read without it",
        )
    facts = network_facts(given.model)
    if facts.name != section.given:
        raise InputError("model", f"a {facts.name}; the study is of a {section.given}", "Give that network")
    tokenizer = given.tokenizer
    if tokenizer is None and section.tokenizer is not None:
        tokenizer = load_tokenizer(folder / section.tokenizer)
    return AdaptedNetwork(facts.adapter, tokenizer, torch_device(facts.device))


def _moved(made: Any, section: ModelSection, device: torch.device) -> Any:
    """The factory's network on its device and in its dtype, without gradients of weights."""
    module = made if isinstance(made, torch.nn.Module) else getattr(made, "_module", None)
    if not isinstance(module, torch.nn.Module):
        raise InputError(
            "model.module",
            f"{section.module} returned {type(made).__name__}",
            "Return a torch module, or an object of the library that model.kind names",
        )
    refuse_unusable(module, "model.module")
    if any(m.training for m in module.modules()):
        raise InputError(
            "model.module",
            f"{section.module} returned a network in training mode (dropout is on)",
            "Call .eval() on it before returning it",
        )
    module.to(device=device, dtype=DTYPES[section.dtype]).requires_grad_(False)
    return made
