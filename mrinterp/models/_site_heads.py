"""How many attention heads a site holds, counted from the site itself: grouped key/value heads are fewer."""

from __future__ import annotations

from typing import Any

import torch

from mrinterp.adapters._adapter import Adapter
from mrinterp.adapters._site_address import INPUT, module_path
from mrinterp.core.errors import InputError
from mrinterp.features._units import AttentionHeads

__all__ = ["check_heads", "heads_at"]

_QUERY = ("num_attention_heads", "num_heads", "n_heads", "n_head")
_KEY_VALUE = ("num_kv_heads", "num_key_value_heads", "n_kv_heads", "n_key_value_heads")
_WIDTH = (
    "head_dim",
    "attention_head_size",
    "head_size",
    "d_head",
    "v_head_dim",
    "qk_head_dim",
    "key_value_proj_dim",
    "d_kv",
)
_MIXED = ("o_proj", "c_proj", "out_proj", "dense", "out_lin", "wo", "o", "W_O")
"""Projections after which the heads are added up."""


def heads_at(adapter: Adapter, site: str, width: int) -> tuple[tuple[int, int], ...] | None:
    """Numbers and widths of the heads that a site of this width can hold; None where the network does not say.

    Raises
    ------
    InputError
        For a site after the output projection, where heads are added up.
    """
    module = adapter.module
    owners = _owners(module, module_path(site))
    query, dims = _first(owners, _QUERY), {w for o in owners for w in _whole(o, _WIDTH)}
    if query is None:
        return None
    total = _first(owners, ("hidden_size", "n_embd", "d_model", "embed_dim"))
    if not dims and total and total % query == 0:
        dims = {total // query}
    groups = _first(owners, ("num_key_value_groups",))
    key_value = query // groups if groups else _first(owners, _KEY_VALUE) or query
    _refuse_mixed(module, site)
    return tuple((n, d) for n in dict.fromkeys((query, key_value)) for d in sorted(dims) if n * d == width)


def check_heads(view: Any, adapter: Adapter, site: str) -> None:
    """Refuse heads that a site does not hold; views of anything else pass.

    Raises
    ------
    InputError
        Says how many heads of which width there are.
    """
    if not isinstance(view, AttentionHeads):
        return
    held = heads_at(adapter, site, view.width)
    if held is None or (view.head_count, view.head_width) in held:
        return
    given = f"{view.head_count} heads of width {view.head_width}"
    if held:
        count, width = held[0]
        raise InputError(
            f"heads at {site!r}",
            f"{given} asked for; the site holds {count} heads of width {width}",
            f"Give head_count={count}; heads run from 0 to {count - 1}",
        )
    raise InputError(
        f"heads at {site!r}",
        f"{given} asked for; a width of {view.width} is no whole set of this network's heads",
        "Choose the site where the heads' outputs lie side by side: the input of the attention's output projection",
    )


def _owners(module: Any, path: str) -> list[Any]:
    """Who may know the heads: the modules around a site, the nearest first, then the configuration."""
    parts = dict(module.named_modules()) if isinstance(module, torch.nn.Module) else {}
    names = path.split(".")
    around = [parts.get(".".join(names[:stop])) for stop in range(len(names), 0, -1)]
    config: Any = getattr(module, "config", getattr(module, "cfg", None))
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    return [owner for owner in (*around, config) if owner is not None]


def _whole(owner: Any, names: tuple[str, ...]) -> list[int]:
    found = [getattr(owner, name, None) for name in names]
    return [n for n in found if isinstance(n, int) and not isinstance(n, bool) and n > 0]


def _first(owners: list[Any], names: tuple[str, ...]) -> int | None:
    return next((n for owner in owners for n in _whole(owner, names)), None)


def _refuse_mixed(module: Any, site: str) -> None:
    if site.endswith(INPUT) or not isinstance(module, torch.nn.Module):
        return
    path = module_path(site)
    inside = [name for name, _ in module.named_modules() if name == path or name.startswith(path + ".")]
    mixing = [name for name in inside if name.rpartition(".")[2] in _MIXED]
    if mixing:
        raise InputError(
            f"heads at {site!r}",
            "the output projection has added the heads up there",
            f"Read them before it, at {mixing[0] + INPUT!r}",
        )
