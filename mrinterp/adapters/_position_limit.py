"""How many tokens a network has positions for."""

from __future__ import annotations

import re
from typing import Any

import torch

__all__ = ["position_table_length", "trained_length"]

_TABLE = re.compile(r"^(wpe|(?!.*rel).*position.*|.*pos_emb.*|.*embed_pos.*)$", re.IGNORECASE)
"""Names of tables of learned (or fixed) absolute positions; relative ones take any length."""
_COORDINATE = re.compile(r"^[xyhw]_|row|col|bucket|axial")
"""Tables of places on a page, not of tokens in a text."""
_NOT_TEXT = re.compile(r"vision|visual|image|patch|audio|speech")
"""Parts of a network that read something else than text."""


def position_table_length(module: Any) -> int | None:
    """Tokens that a network's table of absolute positions has rows for; None for a network without one."""
    config = getattr(module, "cfg", None)
    if getattr(config, "positional_embedding_type", None) == "standard":  # TransformerLens
        return _whole(getattr(config, "n_ctx", None))
    if not isinstance(module, torch.nn.Module):
        return None
    found = []
    for path, part in module.named_modules():
        name = path.rpartition(".")[2]
        text = not _COORDINATE.search(name) and not _NOT_TEXT.search(path)
        if isinstance(part, torch.nn.Embedding) and _TABLE.match(name) and text:
            # Rows before the first position: an offset (OPT, BART), or up to the padding's own row (RoBERTa).
            before = int(getattr(part, "offset", 0) or 0)
            if not before and part.padding_idx is not None:
                before = part.padding_idx + 1
            found.append(part.num_embeddings - before)
    return min(found, default=None)


def trained_length(module: Any) -> int | None:
    """Tokens up to which a network with rotary positions was trained, as its configuration says; None without them."""
    config: Any = getattr(module, "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    rotary = any(
        getattr(config, name, None) for name in ("rope_theta", "rope_parameters", "rotary_dim", "rotary_pct")
    )
    return _whole(getattr(config, "max_position_embeddings", None)) if rotary else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
