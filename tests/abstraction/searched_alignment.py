"""The task, the network and the pairs that alignment searches are tested on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mrinterp.abstraction._alignment_search import search_alignment
from mrinterp.abstraction._interchange_pairs import draw_pairs, held_out_families
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.results._abstraction.alignment_search import AlignmentSearch
from mrinterp.worlds._hierarchical_equality import built_network, equality_task

TASK = equality_task(500)
NETWORK, DIRECTIONS = built_network()
HELD = held_out_families(TASK.family, 0.3, seed=0)
BASE, SOURCE = draw_pairs(TASK.model, TASK.settings, ["left", "right"], 600, group=HELD)
BOTH = {"left": 1, "right": 1}


def search(adapter: Any = None, **options: Any) -> AlignmentSearch:
    """A search with the planted variables of the built network; options replace what it is given."""
    asked = {k: options.pop(k) for k in ("inputs", "family") if k in options}
    task = replace(TASK, **asked)
    given = {
        "dimensions": BOTH,
        "site": "2",
        "base": BASE,
        "source": SOURCE,
        "steps": 300,
        "random_subspaces": 2,
        "draws": 100,
        **options,
    }
    return search_alignment(adapter or TorchAdapter(NETWORK), task, **given)
