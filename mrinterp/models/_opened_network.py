"""A network that is given by a path, a name or an object, opened to be described: what it is, and how fast it runs."""

from __future__ import annotations

import importlib.util
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._adapter import Adapter
from mrinterp.adapters._hugging_face import HuggingFaceNetwork, load_tokenizer, refuse_other_inputs
from mrinterp.adapters._position_limit import position_table_length, trained_length
from mrinterp.adapters._weights_folder import weights_folder
from mrinterp.core.errors import InputError
from mrinterp.core.named_code import check_agreed, named_code
from mrinterp.core.plan import Plan
from mrinterp.core.plan_inputs import InputsSection
from mrinterp.models._array_inputs import argument_name, network_tensor
from mrinterp.models._given import network_facts as facts_in_memory
from mrinterp.models._plan_adapter import load_plan_network
from mrinterp.models._site_roles import SiteRole, heads_at_most, stacks_of

__all__ = [
    "OpenedNetwork",
    "array_batch",
    "given_batch",
    "looks_up_tokens",
    "named_model",
    "named_plan",
    "network_facts",
    "open_network",
    "timed_batch",
    "weights_bytes",
]


@dataclass(frozen=True, eq=False)
class OpenedNetwork:
    """A network behind its adapter, its tokenizer, and what ``[model]`` of a study file says of it."""

    adapter: Adapter
    tokenizer: Any
    device: Any
    name: str
    section: dict[str, Any] = field(default_factory=dict)


def named_model(
    model: str | None,
    package: str | None,
    kind: str | None = None,
    tokenizer: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """``[model]`` of a study file for a folder, a package, a hub id or a factory, without its site.

    Raises
    ------
    InputError
        For a network that is not there, or a kind that is not guessed from its configuration.
    """
    if package is not None:
        model = model or _only_folder(package)
        section: dict[str, Any] = {"package": package} | ({"folder": model} if model else {})
        path = weights_folder(package, model, Path())
    elif model is None:
        raise InputError(
            "model", "missing", "Give a folder, --package, a hub id owner/name or a factory module:function"
        )
    elif Path(model).is_dir():
        section, path = {"folder": model}, weights_folder(None, model, Path())
    elif re.fullmatch(r"[\w.]+:\w+", model):
        more = {"arguments": dict(arguments) if arguments else None, "tokenizer": tokenizer}
        return {"kind": kind or "module", "module": model} | {k: v for k, v in more.items() if v}
    elif re.fullmatch(r"[\w.-]+/[\w.-]+", model) and not Path(model).exists():
        section, path = {"hub": model}, weights_folder(None, None, Path(), model)
    else:
        fix = "Give a folder made by save_pretrained, a hub id owner/name in the local cache, or a factory module:function"
        raise InputError(f"model {model!r}", "no such folder, and nothing is downloaded", fix)
    return {"kind": kind or _guessed_kind(path), **section}


def _only_folder(package: str) -> str | None:
    """The one folder of an installed package that holds a network; None where there are none, or several."""
    if "." in package or (spec := importlib.util.find_spec(package)) is None:
        return None  # what lies in a package's own folder, or is not there, is said where it is opened
    bases = [Path(place) for place in spec.submodule_search_locations or ()]
    found = sorted(
        p.parent.relative_to(base)
        for base in bases
        for p in base.glob("**/config.json")
        if any(p.parent.glob("*.safetensors"))
    )
    return found[0].as_posix() if len(found) == 1 and found[0] != Path() else None


def named_plan(section: Mapping[str, Any]) -> Plan:
    """A plan that names a network and nothing else that matters: to ask about the code that it would import."""
    rest: dict[str, Any] = {
        "title": "a network",
        "outcome": {"name": "none", "kind": "kl_to_clean"},
        "prompts": {},
    }
    return Plan.model_validate(rest | {"model": {**section, "site": section.get("site", "none")}})


def _guessed_kind(path: Path) -> str:
    """The head that the stored network has, from its configuration."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise InputError(
            str(path / "config.json"), f"cannot be read ({e})", "Save the network again"
        ) from None
    refuse_other_inputs(path)
    names = " ".join(config.get("architectures") or ())
    if config.get("is_encoder_decoder"):
        found = f"{names or 'a network'} has an encoder and a decoder"
        raise InputError(
            str(path), found, "Write a factory that returns one of the two, and give it as module:function"
        )
    if re.search(r"CausalLM|LMHead(Model)?\b", names) and "Masked" not in names:
        return "causal"
    classifies = re.search(r"For(Sequence|Image)Classification\b", names)
    return "classifier" if classifies else "encoder"


def open_network(
    model: Any,
    tokenizer: Any,
    package: str | None,
    kind: str | None,
    device: str,
    allow_code: bool,
    arguments: Mapping[str, Any] | None = None,
) -> OpenedNetwork:
    loaded = load_tokenizer(Path(tokenizer)) if isinstance(tokenizer, str | Path) else tokenizer
    if model is None or isinstance(model, str | Path):
        text = str(tokenizer) if isinstance(tokenizer, str | Path) else None
        section = named_model(None if model is None else str(model), package, kind, text, arguments)
        section |= {"device": device} if device != "cpu" else {}
        plan = named_plan(section)
        if not allow_code:
            check_agreed(named_code(plan, Path()), Path(), str(model))
        found = load_plan_network(plan.model, Path())
        name = str(model or package)
        return OpenedNetwork(found.adapter, loaded or found.tokenizer, found.device, name, section)
    if isinstance(model, HuggingFaceNetwork):
        return OpenedNetwork(
            model.adapter, loaded or model.tokenizer, model.device, type(model.adapter.module).__name__
        )
    if not isinstance(model, torch.nn.Module) and all(hasattr(model, n) for n in ("run", "sites", "check")):
        adapter: Adapter = model
    else:
        adapter = facts_in_memory(model).adapter
    module = adapter.module
    own = loaded or getattr(module, "tokenizer", None)
    weights = list(module.parameters()) if isinstance(module, torch.nn.Module) else []
    where = weights[0].device if weights else torch.device("cpu")
    return OpenedNetwork(adapter, own, where, type(module).__name__)


def network_facts(opened: OpenedNetwork, roles: Sequence[SiteRole]) -> dict[str, str]:
    """Architecture, in words."""
    module = opened.adapter.module
    if not isinstance(module, torch.nn.Module):
        return {"architecture": type(opened.adapter).__name__}
    blocks = max((r.block for r in roles), default=-1) + 1
    stacks = [s for s in stacks_of(module) if any(r.site.startswith(f"{s.path}.") for r in roles)]
    facts = {"architecture": type(module).__name__}
    if blocks:
        several = " and ".join(f"{s.count} at {s.path}" for s in stacks) if len(stacks) > 1 else f"{blocks}"
        width = residual_width(roles)
        maps = any(r.kind == "residual" and r.what.startswith("feature map") for r in roles)
        facts["blocks"] = several + (f", residual stream {width} wide" if width and not maps else "")
    heads = next((r for r in roles if r.kind == "heads" and r.heads), None)
    keys = next(
        (r for r in roles if r.kind == "queries" and 0 < r.heads < heads_at_most(opened.adapter, r.site)),
        None,
    )
    if heads is not None:
        each = f"{heads.heads} of width {heads.width // heads.heads} in each block"
        facts["attention heads"] = (
            each if keys is None else f"{each}; keys and values have {keys.heads} (grouped queries)"
        )
    count = sum(p.numel() for p in module.parameters())
    dtype = next((str(p.dtype).removeprefix("torch.") for p in module.parameters()), "no weights")
    facts["parameters"] = f"{count:,} ({dtype} on {opened.device})"
    most = position_table_length(module) or trained_length(module)
    if most:
        facts["longest input"] = f"{most:,} tokens"
    return facts


def looks_up_tokens(opened: OpenedNetwork) -> bool:
    """Whether the network looks up numbers of tokens in a table of embeddings."""
    module = opened.adapter.module
    parts = module.modules() if isinstance(module, torch.nn.Module) else ()
    return hasattr(module, "hook_dict") or any(isinstance(m, torch.nn.Embedding) for m in parts)


def given_batch(inputs: Any, count: int) -> dict[str, torch.Tensor] | None:
    """So many rows of tensors by the names of the network's arguments; None for anything else."""
    if not isinstance(inputs, Mapping) or not all(isinstance(v, torch.Tensor) for v in inputs.values()):
        return None
    return {k: v[torch.arange(count) % len(v)] for k, v in inputs.items()}


def array_batch(
    opened: OpenedNetwork, section: InputsSection, values: NDArray[Any], count: int
) -> dict[str, torch.Tensor]:
    """So many inputs of a study's arrays, repeated where there are fewer, as the network takes them."""
    module = opened.adapter.module
    name = argument_name(module, section, hasattr(module, "hook_dict"))
    rows = np.resize(np.arange(len(values)), count)
    return {name: network_tensor(opened.adapter, values[rows], torch.device(opened.device))}


def residual_width(roles: Sequence[SiteRole]) -> int:
    """Width of the residual stream; 0 where no site is one."""
    return next((r.width for r in roles if r.kind == "residual"), 0)


def timed_batch(opened: OpenedNetwork, batch: dict[str, torch.Tensor]) -> float:
    """Seconds of a pass of a batch, the second of two."""
    seconds = 0.0
    with torch.inference_mode():
        for _ in range(2):  # the first to warm up
            start = time.perf_counter()
            opened.adapter.run(batch)
            if torch.device(opened.device).type == "cuda":
                torch.cuda.synchronize(opened.device)
            seconds = time.perf_counter() - start
    return seconds


def weights_bytes(opened: OpenedNetwork) -> int:
    """Bytes of the network's weights; 0 where they are not known."""
    module = opened.adapter.module
    return (
        sum(p.numel() * p.element_size() for p in module.parameters())
        if isinstance(module, torch.nn.Module)
        else 0
    )
