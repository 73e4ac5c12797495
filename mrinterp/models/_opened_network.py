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

import torch

from mrinterp.adapters._adapter import Adapter
from mrinterp.adapters._hugging_face import HuggingFaceNetwork, load_tokenizer
from mrinterp.adapters._position_limit import position_table_length, trained_length
from mrinterp.adapters._weights_folder import weights_folder
from mrinterp.core.errors import InputError
from mrinterp.core.named_code import check_agreed, named_code
from mrinterp.core.plan import Plan
from mrinterp.models._given import network_facts as facts_in_memory
from mrinterp.models._plan_adapter import load_plan_network
from mrinterp.models._site_roles import SiteRole, heads_at_most, stacks_of
from mrinterp.models._site_shapes import trial_inputs

__all__ = [
    "OpenedNetwork",
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
    model: str | None, package: str | None, kind: str | None = None, tokenizer: str | None = None
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
        return {"kind": kind or "module", "module": model} | ({"tokenizer": tokenizer} if tokenizer else {})
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
    names = " ".join(config.get("architectures") or ())
    if config.get("is_encoder_decoder"):
        found = f"{names or 'a network'} has an encoder and a decoder"
        raise InputError(
            str(path), found, "Write a factory that returns one of the two, and give it as module:function"
        )
    if re.search(r"CausalLM|LMHead(Model)?\b", names) and "Masked" not in names:
        return "causal"
    return "classifier" if "ForSequenceClassification" in names else "encoder"


def open_network(
    model: Any, tokenizer: Any, package: str | None, kind: str | None, device: str, allow_code: bool
) -> OpenedNetwork:
    loaded = load_tokenizer(Path(tokenizer)) if isinstance(tokenizer, str | Path) else tokenizer
    if model is None or isinstance(model, str | Path):
        text = str(tokenizer) if isinstance(tokenizer, str | Path) else None
        section = named_model(None if model is None else str(model), package, kind, text)
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
        facts["blocks"] = f"{several}, residual stream {residual_width(roles)} wide"
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


def residual_width(roles: Sequence[SiteRole]) -> int:
    """Width of the residual stream; 0 where no site is one."""
    return next((r.width for r in roles if r.kind == "residual"), 0)


def timed_batch(opened: OpenedNetwork, runs: int, length: int) -> float | None:
    """Seconds of one batch of so many inputs of this length, the second of two; None for inputs that are not known."""
    batch = trial_inputs(opened.adapter.module, runs, length, opened.device)
    if batch is None:
        return None
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
