"""Objects that are given from memory instead of a file's name: which network it is, and what of it can be written into files."""

from __future__ import annotations

import copy
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np
import torch

from mrinterp.adapters._hugging_face import DTYPES, load_tokenizer
from mrinterp.adapters._nnsight import NNsightAdapter
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.adapters._transformer_lens import TransformerLensAdapter
from mrinterp.core.errors import InputError
from mrinterp.models._site_shapes import site_shapes, trial_inputs

__all__ = [
    "GivenObjects",
    "NetworkFacts",
    "class_name",
    "importable_name",
    "network_facts",
    "object_hash",
    "refuse_unusable",
    "write_tokenizer",
]

KINDS: dict[str, Any] = {
    "transformer_lens": TransformerLensAdapter,
    "nnsight": NNsightAdapter,
}
"""Adapters of networks of other libraries; every other network is a torch module."""


@dataclass(frozen=True, eq=False)
class GivenObjects:
    """What a study was given from memory: the network, its tokenizer, and outcomes that no file can hold, by their names."""

    model: Any = None
    tokenizer: Any = None
    outcomes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkFacts:
    """What a study file says of a network: kind, class, word embedding (None without one), device and dtype."""

    kind: str
    name: str
    embedding: str | None
    device: str
    dtype: str
    adapter: Any


def class_name(thing: Any) -> str:
    """A function's own name, an object's class, with the module that it comes from."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"


def network_facts(model: Any) -> NetworkFacts:
    """What can be told of a network that was given from memory; it is not changed.

    Raises
    ------
    InputError
        For what is no network, one in training mode, compiled, quantized, without values, or on several devices.
    """
    kind = _kind(model)
    module = model if isinstance(model, torch.nn.Module) else getattr(model, "_module", None)
    if not isinstance(module, torch.nn.Module):
        raise InputError(
            "model",
            f"{type(model).__name__} object",
            "Give a Hugging Face, TransformerLens or nnsight network, or any torch.nn.Module",
        )
    place = refuse_unusable(module, "model")
    if any(m.training for m in module.modules()):
        raise InputError("model", "in training mode (dropout is on)", "Call model.eval() first")
    dtypes = {t.dtype for t in module.parameters() if t.is_floating_point()} or {torch.float32}
    known = {value: name for name, value in DTYPES.items()}
    odd = [str(d) for d in dtypes if d not in known]
    if odd:
        raise InputError("model", f"weights of type {odd[0]}", f"Turn it into one of {', '.join(DTYPES)}")
    first = next((t.dtype for t in module.parameters() if t.is_floating_point()), torch.float32)
    adapter = KINDS.get(kind, TorchAdapter)(model)
    embedding = _embedding(kind, module, adapter)
    return NetworkFacts(kind, class_name(type(module)), embedding, place, known[first], adapter)


def _kind(model: Any) -> str:
    """The kind of a network, as a study file names it: by what it offers, so that no library is imported for it."""
    if hasattr(model, "hook_dict") and hasattr(model, "run_with_hooks"):
        return "transformer_lens"
    if hasattr(model, "trace") and isinstance(getattr(model, "_module", None), torch.nn.Module):
        return "nnsight"
    name = type(model).__name__
    if not hasattr(model, "config") or not hasattr(model, "get_input_embeddings"):
        return "module"
    if name.endswith("ForSequenceClassification"):
        return "classifier"
    if name.endswith(("ForCausalLM", "LMHeadModel")):
        return "causal"
    return "module" if "For" in name else "encoder"


def refuse_unusable(module: torch.nn.Module, where: str) -> str:
    """Refuse weights that are quantized, without values, or on several devices.

    Parameters
    ----------
    where : str
        What messages call the network.

    Returns
    -------
    str
        The device where all weights lie.
    """
    tensors = [*module.parameters(), *module.buffers()]
    packed = _packed(module)
    whole = [t for t in module.parameters() if not t.is_floating_point() and not t.is_complex()]
    by_library = getattr(module, "is_quantized", False) or getattr(module, "hf_quantizer", None) is not None
    if packed or whole or by_library or any(t.is_quantized for t in tensors):
        raise InputError(
            where,
            f"quantized weights{packed and f' ({packed})'}: scales and packed values lie outside the plain tensors that are"
            " hashed, so that a changed network would not be noticed",
            "Turn them back (model.dequantize() in transformers), or load the network in bfloat16",
        )
    places = sorted({str(t.device) for t in module.parameters()}) or ["cpu"]
    if "meta" in places:
        raise InputError(
            where,
            "weights without values (device 'meta')",
            "Load them first (nnsight: dispatch=True; transformers: without low_cpu_mem_usage on meta)",
        )
    if len(places) > 1:
        raise InputError(
            where,
            f"weights on several devices ({', '.join(places)})",
            "Put the whole network on one (without device_map); a smaller dtype halves its memory",
        )
    return places[0]


def _packed(module: torch.nn.Module) -> str:
    """The first entry of the network's state that is no plain tensor, such as packed weights; empty where there is none."""
    return next((n for n, v in module.state_dict().items() if isinstance(v, tuple | list)), "")


def _embedding(kind: str, module: torch.nn.Module, adapter: Any) -> str | None:
    """Site of the word embedding, where noise is added; None where none is found."""
    if kind == "transformer_lens":
        known = ("embed.hook_out", "hook_embed")
        return next((name for name in known if name in adapter.model.hook_dict), None)
    try:
        table: Any = module.get_input_embeddings()  # type: ignore[operator]
    except (AttributeError, NotImplementedError, TypeError):
        table = None
    named = [(name, m) for name, m in module.named_modules() if name]
    if table is None:
        return next((name for name, m in named if isinstance(m, torch.nn.Embedding)), None)
    # Of several modules with the same weights (T5's shared and its encoder's own) the one that a pass runs.
    same = [
        name
        for name, m in named
        if getattr(m, "weight", None) is getattr(table, "weight", table) or m is table
    ]
    same = [name for name in same if isinstance(dict(named)[name], torch.nn.Embedding)] or same
    if len(same) > 1:
        inputs = trial_inputs(module, 1, 4, table.weight.device)
        ran = {} if inputs is None else site_shapes(module, inputs, {n: dict(named)[n] for n in same})[0]
        same = [name for name in same if name in ran] or same
    return same[0] if same else None


def write_tokenizer(tokenizer: Any, folder: Path, texts: Sequence[str]) -> bool:
    """Write a tokenizer into files, where what is read back turns these texts into the same tokens.

    Returns
    -------
    bool
        Whether that is so; where not, nothing is left in ``folder``, and the tokenizer stays in memory.
    """
    if not hasattr(tokenizer, "save_pretrained"):
        return False
    # How it was last called to pad or cut stays in a fast tokenizer, and would be written with it.
    plain = copy.deepcopy(tokenizer)
    inner = getattr(plain, "backend_tokenizer", None)
    for forget in ("no_padding", "no_truncation"):
        getattr(inner, forget, lambda: None)()
    plain.save_pretrained(folder)
    try:
        again = load_tokenizer(folder)
        same = again(list(texts))["input_ids"] == tokenizer(list(texts))["input_ids"]
    except (InputError, OSError, ValueError, TypeError, AttributeError):
        same = False
    if not same:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    return bool(same)


def importable_name(thing: Any) -> str | None:
    """``package.module:function`` of a function that can be imported again; None for a lambda, a notebook's own, an object."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", "")
    if module in (None, "__main__") or not name or "<" in name or "." in name:
        return None
    return f"{module}:{name}" if getattr(sys.modules.get(module), name, None) is thing else None


def object_hash(thing: Any) -> str:
    """SHA-256 by which a function or an outcome is recognized: of its code and constants, of its class and its values.

    What a function closes over or reads elsewhere is not part of it, and another version of Python gives another hash.
    """
    h = hashlib.sha256()
    _hash_into(h, thing, 0)
    return h.hexdigest()


def _hash_into(h: Any, thing: Any, depth: int) -> None:
    code = getattr(thing, "__code__", thing)
    if isinstance(code, CodeType):
        h.update(code.co_code + repr(code.co_names).encode())
        for constant in code.co_consts:
            _hash_into(h, constant, depth + 1)
    elif isinstance(thing, torch.Tensor):
        h.update(f"{tuple(thing.shape)}{thing.dtype}".encode())
        h.update(thing.detach().cpu().double().numpy().tobytes())
    elif isinstance(thing, np.ndarray):
        h.update(f"{thing.shape}{thing.dtype}".encode() + np.ascontiguousarray(thing).tobytes())
    elif thing is None or isinstance(thing, str | bytes | int | float | bool | tuple | list | frozenset):
        h.update(repr(sorted(thing) if isinstance(thing, frozenset) else thing).encode())
    else:
        h.update(class_name(thing).encode())
        for name, value in sorted(getattr(thing, "__dict__", {}).items()):
            if depth < 3:
                h.update(name.encode())
                _hash_into(h, value, depth + 1)
