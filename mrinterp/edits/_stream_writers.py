"""Which modules write into a network's residual stream."""

from __future__ import annotations

import re

import torch

from mrinterp.core.errors import InputError

__all__ = ["WRITERS", "stream_writers"]

_LLAMA = (r"embed_tokens", r"layers\.\d+\.self_attn\.o_proj", r"layers\.\d+\.mlp\.down_proj")
_BERT = (
    r"embeddings\.LayerNorm",
    r"encoder\.layer\.\d+\.attention\.output\.LayerNorm",
    r"encoder\.layer\.\d+\.output\.LayerNorm",
)
WRITERS: dict[str, tuple[str, ...]] = {
    "gpt2": (r"wte", r"wpe", r"h\.\d+\.attn\.c_proj", r"h\.\d+\.mlp\.c_proj"),
    "gpt_neox": (r"embed_in", r"layers\.\d+\.attention\.dense", r"layers\.\d+\.mlp\.dense_4h_to_h"),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
    "bert": _BERT,
    "roberta": _BERT,
}
"""Ends of the dotted paths of all writers, by Hugging Face model type.

In pre-norm networks these are embeddings and output projections. In post-norm ones (BERT) every sum
is normalized at once, so that what stands in the stream was written by a LayerNorm.
"""


def stream_writers(module: torch.nn.Module) -> tuple[str, ...]:
    """Dotted paths of the writers of a network of a known type.

    Raises
    ------
    InputError
        For a network of another type, or one with layers that the table does not have (cross-attention).
    """
    config = getattr(module, "config", None)
    kind = getattr(config, "model_type", None)
    if kind not in WRITERS:
        raise InputError(
            "writers",
            f"not known for {type(module).__name__}" + (f" of type {kind!r}" if kind else ""),
            f"Name every module that writes into the stream (known types: {', '.join(WRITERS)})",
        )
    if getattr(config, "add_cross_attention", False):
        raise InputError("writers", "the network has cross-attention", "Name every module that writes")
    ends = re.compile(rf"(.*\.)?({'|'.join(WRITERS[kind])})")
    return tuple(name for name, _ in module.named_modules() if ends.fullmatch(name))
