"""Sites that a person may have meant: by words ("residual 6", "mlp 3"), or by a path that is nearly one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from mrinterp.adapters._adapter import Adapter
from mrinterp.core.errors import InputError
from mrinterp.models._site_roles import SiteRole, site_roles
from mrinterp.models._site_shapes import trial_inputs

__all__ = ["check_site", "nearest_sites", "preferred"]

_WORDS = (
    (r"neuron|act(ivation)?s?\b|act_fn|hidden unit|intermediate", ("mlp_neurons",)),
    (r"mlp|ffn?\b|feed.?forward", ("mlp_neurons", "mlp_output")),
    (r"head", ("heads",)),
    (r"quer|keys?\b|value|qkv", ("queries",)),
    (r"att(enti)?o?n", ("attention_output", "heads")),
    (r"norm|\bln", ("norm",)),
    (r"embed|\bwte\b|\bwpe\b", ("embedding",)),
    (r"logit|lm_head|unembed|output layer|classifier", ("output",)),
    (r"resid|stream|layer|block|\bh\b", ("residual",)),
)
"""Words by which people call sites, the more special ones first, and the kinds of site that they mean."""


def preferred(roles: Sequence[SiteRole]) -> list[SiteRole]:
    """Of sites that are the same thing the one that is read most simply: a module's own output, the shortest path first."""
    return sorted(roles, key=lambda r: (r.site.endswith(":input"), r.site.count("."), len(r.site)))


def nearest_sites(asked: str, roles: Sequence[SiteRole], most: int = 3) -> list[SiteRole]:
    """The sites that come nearest to what was asked for, the nearest first.

    Parameters
    ----------
    asked : str
        A path that is not one, or words such as ``residual 6``.
    """
    number = re.search(r"(?:^|[^\w]|[a-z_])(\d+)(?!\w)", asked.lower())
    block = int(number[1]) if number else None
    text = asked.lower().replace("_", " _")
    tail = re.sub(r"^.*?\d+\.?", "", text) if "." in asked else text
    for names, kinds in _WORDS:
        if not re.search(names, tail or text):
            continue
        # A number means a block for what lies in blocks.
        for wanted in (
            {block},
            {r.block for r in roles}
            if block is None
            else {-1}
            if kinds[0] in ("embedding", "output", "norm")
            else set(),
        ):
            of_kind = {k: preferred([r for r in roles if r.kind == k and r.block in wanted]) for k in kinds}
            found = [r for k in kinds for r in of_kind[k]]
            if found:
                near = {
                    s: i
                    for i, s in enumerate(
                        difflib.get_close_matches(asked, [r.site for r in found], len(found), 0.0)
                    )
                }
                exact = "." in asked
                return sorted(
                    found,
                    key=lambda r: (kinds.index(r.kind), near[r.site] if exact else "logits" not in r.what),
                )[:most]
    by_site = {r.site: r for r in roles}
    return [by_site[s] for s in difflib.get_close_matches(asked, list(by_site), most, 0.4)]


def check_site(adapter: Adapter, site: str) -> None:
    """Refuse a site that does not exist, with the nearest ones and what they are.

    Raises
    ------
    InputError
        Says of a number beyond the blocks how many there are.
    """
    try:
        adapter.check(site)
    except InputError as e:
        device = next((p.device for p in getattr(adapter.module, "parameters", tuple)()), "cpu")
        try:
            roles = site_roles(adapter, trial_inputs(adapter.module, 1, 4, device))
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError):
            roles = ()  # a network that takes other inputs: near misses of the names alone
        fix = sites_in_words(site, roles)
        raise InputError(e.where, e.found, fix or e.fix) from None


def sites_in_words(asked: str, roles: Sequence[SiteRole]) -> str:
    """A sentence that offers the nearest sites with what they are; empty where none is near."""
    blocks = max((r.block for r in roles), default=-1)
    number = re.search(r"(?:^|[^\w]|[a-z_])(\d+)(?!\w)", asked.lower())
    if number and 0 <= blocks < int(number[1]):
        return f"Blocks run from 0 to {blocks}"
    found = nearest_sites(asked, roles)
    return "Did you mean " + " or ".join(f"{r.site!r} ({r.what})" for r in found) + "?" if found else ""
