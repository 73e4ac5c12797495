"""What pruning costs and saves: size, and outcomes on inputs held out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.attribution._method import token_mean
from mrinterp.core.checks import checked_draws, checked_level, checked_seed
from mrinterp.core.errors import InputError
from mrinterp.edits._edited_network import edited_outcomes
from mrinterp.edits._fold_out import fold_out
from mrinterp.edits._prune_units import PrunedNetwork, prune_units
from mrinterp.edits._weight_edit import WeightEdit
from mrinterp.features._units import Units
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._outcome_rope import outcome_rope, outcome_sd, resolutions
from mrinterp.results._check import NotApplicable
from mrinterp.results._edits.pruning import Pruning
from mrinterp.results._edits.vestigial_features import VestigialFeatures
from mrinterp.stats.clustered.paired_change import paired_change
from mrinterp.stats.tests.equivalence import verdict

__all__ = ["prune", "pruning"]


def prune(
    bench: Bench, features: VestigialFeatures | Sequence[str], value: str = "mean"
) -> PrunedNetwork | WeightEdit | NotApplicable:
    """A network without some features.

    Parameters
    ----------
    bench : Bench
        The one that the features were found on; means are taken over its inputs.
    features : VestigialFeatures or sequence of str
        Names of the view's features.
    value : {"mean", "zero"}
        What the features are taken to have said, for good.

    Returns
    -------
    PrunedNetwork
        Units between linear layers: rows and columns are gone, the network is smaller.
    WeightEdit
        Units and directions whose weights can only be emptied: the same size, and the features are constant.
    NotApplicable
        Where neither can be done, with the reason.

    Raises
    ------
    InputError
        For names that the view does not have, none at all, or another value.
    """
    names = _names(bench, features)
    if value not in ("mean", "zero"):
        raise InputError("value", repr(value), "Give 'mean' or 'zero'")
    numbers = np.array([bench.view.names.index(n) for n in names])
    held = token_mean(bench, bench.values)[:, numbers].mean(axis=0)
    held = np.zeros(len(numbers)) if value == "zero" else held
    view = bench.view.select(numbers)
    reason = ""
    if isinstance(view, Units) and isinstance(bench.adapter, TorchAdapter):
        example = bench.inputs.take(np.arange(min(bench.block, bench.prompts))).tensors
        try:
            return prune_units(bench.adapter.module, bench.site, view.index.tolist(), example, held)
        except InputError as e:
            reason = f"{e.where}: {e.found}; "
    made = fold_out(bench, numbers, held, f"{len(names)} features held at their {value}")
    return NotApplicable(reason + made.reason, "pruning") if isinstance(made, NotApplicable) else made


def pruning(
    held_out: Bench,
    edit: PrunedNetwork | WeightEdit,
    removed: int,
    rope: float = 0.02,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Pruning:
    """Measure a pruned or edited network against the one it was made from.

    Parameters
    ----------
    held_out : Bench
        The network before, on inputs that had no part in choosing what was pruned.
    edit : PrunedNetwork or WeightEdit
    removed : int
        How many features were pruned, for the record.
    rope : float
        Half the region of practical equivalence of the change, in sd of the outcome over inputs.
    draws, seed, level
        Of the family bootstrap and the intervals.

    Raises
    ------
    InputError
        For a sampled outcome, what is no edit (`prune` says why there is none), a network whose weights cannot
        be seen, or a level outside (0, 1).
    """
    checked_level(level)
    checked_draws(draws), checked_seed(seed)
    if not isinstance(edit, PrunedNetwork | WeightEdit):
        found = edit.reason if isinstance(edit, NotApplicable) else f"a {type(edit).__name__}"
        raise InputError("edit", found, "Give the PrunedNetwork or WeightEdit that prune returned")
    if removed < 1:
        raise InputError("removed", f"{removed}", "Give the number of features that were pruned")
    if not isinstance(held_out.adapter, TorchAdapter):
        raise InputError(
            "held-out bench", f"a {type(held_out.adapter).__name__}", "Sizes are counted on a TorchAdapter"
        )
    before, after = held_out.clean, edited_outcomes(held_out, edit.module)
    everyone = np.full((1, held_out.prompts), True)
    c = paired_change(before, after, everyone, held_out.family, resolutions(held_out), draws, seed, level)
    region = outcome_rope(held_out, rope)
    frame = pd.DataFrame({"outcome": np.array(held_out.outcome.names, dtype=object)})
    frame["inputs"], frame["families"] = int(c.inputs[0]), int(c.families[0])
    frame = frame.assign(**c.columns())
    frame["sd"], frame["rope"] = outcome_sd(held_out), region
    frame["verdict"] = verdict(c.lower[0], c.upper[0], region)
    sizes = [*_size(held_out.adapter.module), *_size(edit.module)]
    zeros = sum(int((p == 0).sum()) for p in edit.module.parameters())
    return Pruning(
        label=edit.label,
        removed=removed,
        outcomes=held_out.outcome.names,
        parameters_before=sizes[0],
        parameters_after=sizes[2],
        bytes_before=sizes[1],
        bytes_after=sizes[3],
        zeros_after=zeros,
        before=before,
        after=after,
        table=frame,
        level=level,
        meta={"draws": draws, "seed": seed, "difference": edit.difference},
    )


def _names(bench: Bench, features: VestigialFeatures | Sequence[str]) -> tuple[str, ...]:
    """Names of features that the view has, each once."""
    if isinstance(features, str):
        raise InputError("features to prune", f"the string {features!r}", "Give a list of names")
    names = features.names if isinstance(features, VestigialFeatures) else tuple(features)
    missing = [n for n in names if n not in bench.view.names]
    twice = [n for n in names if names.count(n) > 1]
    if missing or twice or not names:
        found = f"{missing[0]!r} is not in the view" if missing else "none"
        found = f"{twice[0]!r} is given twice" if twice else found
        raise InputError(
            "features to prune", found, "Give names of the bench's view, each once, at least one"
        )
    return names


def _size(module: torch.nn.Module) -> tuple[int, int]:
    """Parameters, and bytes of parameters and buffers, tied ones once."""
    parameters = list(module.parameters())
    memory = sum(t.numel() * t.element_size() for t in (*parameters, *module.buffers()))
    return sum(p.numel() for p in parameters), memory
