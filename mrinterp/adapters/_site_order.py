"""In which order a network reaches its sites, and which of them are outputs of sublayers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from mrinterp.adapters._adapter import Adapter
from mrinterp.adapters._paired_sites import PairedSites
from mrinterp.adapters._site_address import INPUT, module_path
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError

__all__ = ["later_sublayers", "refuse_lost", "site_order"]

SUBLAYERS = re.compile(
    r"(^|\.)("
    r"attention\.output\.dense|output\.dense"  # BERT and its relatives: before the residual is added
    r"|attn|mlp|self_attn|feed_forward|attention"  # GPT-2, Llama, GPT-NeoX: whole sublayers
    r")$"
)
"""Paths of modules whose output is added to the residual stream."""


def site_order(adapter: Adapter, inputs: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """Place of every site of a `TorchAdapter` in the order in which a run fills it; empty for others.

    A module's output is filled when the module returns (so a layer comes after everything inside it),
    its input, ``path:input``, when it is called. Of a module that runs several times every call has a place,
    ``path@1``, ``path@2``, ..., and the path alone has none. Sites that a run does not reach are absent.
    """
    if isinstance(adapter, PairedSites):  # a pair is filled where it is written
        order = site_order(adapter.inner, inputs)
        return order | ({adapter.site: order[adapter.writes]} if adapter.writes in order else {})
    if not isinstance(adapter, TorchAdapter):
        return {}
    passed: list[tuple[str, str]] = []
    handles = []

    def note(path: str, at: str) -> Any:
        return lambda *_: passed.append((path, at))

    try:
        for path in adapter.sites():
            module = adapter.submodule(path)
            handles.append(module.register_forward_pre_hook(note(path, INPUT)))
            handles.append(module.register_forward_hook(note(path, "")))
        with torch.inference_mode():
            adapter.run(inputs)
    finally:
        for handle in handles:
            handle.remove()
    times, seen, order = Counter(passed), Counter[tuple[str, str]](), {}
    for place, (path, at) in enumerate(passed):
        seen[path, at] += 1
        call = f"@{seen[path, at]}" if times[path, at] > 1 else ""
        order[f"{path}{call}{at}"] = place
    return order


def refuse_lost(edited: Iterable[str], order: Mapping[str, int], begin: str) -> None:
    """Refuse edits before the layer that runs begin at: they would be lost silently.

    Raises
    ------
    InputError
        Names the site and the layer.
    """
    for site in edited:
        if order.get(site, len(order)) < order[begin]:
            raise InputError(
                f"edit at {site}",
                f"comes before {begin}, where edited runs begin",
                f"Make the bench with first={site!r}",
            )


def later_sublayers(order: Mapping[str, int], site: str) -> tuple[str, ...]:
    """Outputs of the attention and MLP sublayers that come after ``site``, in order.

    Parameters
    ----------
    order : mapping of site to place, from `site_order`
    site : str

    Raises
    ------
    InputError
        Where ``site`` is not reached.

    Notes
    -----
    A site inside a sublayer (the hidden units of an MLP, the heads of an attention layer) reaches the
    residual stream through that sublayer's own output, which is therefore not among them.
    """
    if site not in order:
        raise InputError(f"site {site!r}", "not reached by a run of the network", "Give a site that it runs")
    found = {s for s in order if not s.endswith(INPUT) and SUBLAYERS.search(module_path(s))}
    paths = {module_path(s) for s in found}
    # Of modules within each other (attention > attention.output.dense) the innermost match is kept, and
    # of one that hands on to a projection beside it (ViT's attention.attention) the projection: it is
    # what is added to the residual.
    inner = [
        s
        for s in found
        if not any(path.startswith(module_path(s) + ".") for path in paths)
        and module_path(s).rpartition(".")[0] + ".output.dense" not in paths
    ]
    later = sorted((s for s in inner if order[s] > order[site]), key=order.__getitem__)
    return tuple(s for s in later if not _inside(site, s, later[0], inner))


def _inside(site: str, sublayer: str, following: str, sublayers: list[str]) -> bool:
    """Whether ``site`` lies inside the sublayer that follows it."""
    path = module_path(site)
    paths = [module_path(s) for s in sublayers]
    holds_one = any(s.startswith(path + ".") for s in paths)
    normalizes_stream = "LayerNorm" in path.rpartition(".")[2]
    if sublayer != following or path in paths or holds_one or normalizes_stream:
        return site.endswith(INPUT) and site.removesuffix(INPUT) == sublayer
    layer = re.match(r"(.*\.\d+)(\.|$)", module_path(sublayer))
    return path.startswith((layer.group(1) if layer else module_path(sublayer)) + ".")
