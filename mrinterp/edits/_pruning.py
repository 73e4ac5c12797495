"""What pruning costs and saves: size, and outcomes on inputs held out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.attribution._method import token_mean
from mrinterp.core.checks import (
    checked_choice,
    checked_count,
    checked_draws,
    checked_level,
    checked_seed,
)
from mrinterp.core.errors import InputError
from mrinterp.edits._fold_out import edited_outcomes, fold_out
from mrinterp.edits._prune_units import PrunedNetwork, prune_units
from mrinterp.edits._weight_edit import WeightEdit
from mrinterp.features._units import Units
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._feature_numbers import Features, feature_numbers
from mrinterp.knockouts._outcome_rope import outcome_rope, outcome_sd, resolutions
from mrinterp.results._check import NotApplicable
from mrinterp.results._edits.pruning import Pruning
from mrinterp.results._edits.vestigial_features import VestigialFeatures
from mrinterp.results._knockout_effects import ROPE_SD
from mrinterp.stats.clustered.paired_change import paired_change
from mrinterp.stats.tests.equivalence import verdict

__all__ = ["measure_pruning", "prune"]


def prune(
    bench: Bench, features: VestigialFeatures | Features, *, value: str = "mean"
) -> PrunedNetwork | WeightEdit | NotApplicable:
    """A network without some features.

    Parameters
    ----------
    bench : Bench
        The one that the features were found on; means are taken over its inputs.
    features : VestigialFeatures, or names or numbers
        What `vestigial_features` found, or features of the bench's view.
    value : {"mean", "zero"}
        What the features are held at, for good.

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
        For features that the view does not have, none at all, or another value.

    Notes
    -----
    Not valid as a promise for other inputs: measure what it costs with `measure_pruning`.

    Examples
    --------
    >>> from mrinterp.edits import prune
    >>> from mrinterp.knockouts import Bench
    >>> from mrinterp.adapters import TorchAdapter
    >>> from mrinterp.features import Units
    >>> from mrinterp.worlds import built_network, equality_task
    >>> task, (network, _) = equality_task(60), built_network()
    >>> bench = Bench(TorchAdapter(network), "1", Units(range(36), 36), task.inputs, task.classes)
    >>> print(prune(bench, [0, 1]).label)
    2 of 36 units of 1 pruned
    """
    given = features.names if isinstance(features, VestigialFeatures) else features
    numbers = feature_numbers(bench, given)
    checked_choice(value, "value", ("mean", "zero"))
    held = token_mean(bench, bench.values)[:, numbers].mean(axis=0)
    held = np.zeros(len(numbers)) if value == "zero" else held
    view = bench.view.select(numbers)
    reason = ""
    if isinstance(view, Units) and isinstance(bench.adapter, TorchAdapter):
        example = bench.inputs.take(np.arange(min(bench.block, bench.prompts))).tensors
        try:
            return prune_units(bench.adapter.module, bench.site, view.index.tolist(), example, values=held)
        except InputError as e:
            reason = f"{e.where}: {e.found}; "
    made = fold_out(bench, numbers, held, f"{len(numbers)} features held at their {value}")
    return NotApplicable(reason + made.reason, "pruning") if isinstance(made, NotApplicable) else made


def measure_pruning(
    held_out: Bench,
    edit: PrunedNetwork | WeightEdit,
    removed: int,
    *,
    rope_sd: float = ROPE_SD,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Pruning:
    """Measure a pruned or edited network against the one it was made from.

    Parameters
    ----------
    held_out : Bench
        The network before, on inputs that had no part in choosing what was pruned.
    edit : PrunedNetwork or WeightEdit
        What `prune` returned.
    removed : int
        How many features were pruned, for the record.
    rope_sd : float
        Half the region of practical equivalence of the change, in sd of the outcome over inputs.
    level : float
        Of the intervals.
    draws, seed : int
        Of the family bootstrap.

    Returns
    -------
    Pruning
        Sizes before and after, and the change of every outcome with its interval and verdict.

    Raises
    ------
    InputError
        For a sampled outcome, anything but an edit (`prune` says why it made none), a network whose weights
        cannot be seen, or a level outside (0, 1).

    Notes
    -----
    Not valid on the inputs that the features were chosen on.

    Examples
    --------
    >>> from mrinterp.edits import measure_pruning, prune
    >>> from mrinterp.knockouts import Bench
    >>> from mrinterp.adapters import TorchAdapter
    >>> from mrinterp.features import Units
    >>> from mrinterp.worlds import built_network, equality_task
    >>> task, (network, _) = equality_task(60), built_network()
    >>> bench = Bench(TorchAdapter(network), "1", Units(range(36), 36), task.inputs, task.classes)
    >>> cost = measure_pruning(bench, prune(bench, [0]), 1, draws=20)
    >>> cost.parameters_before - cost.parameters_after
    65
    """
    checked_level(level), checked_draws(draws), checked_seed(seed)
    checked_count(removed, "removed", unit="features")
    if not isinstance(edit, PrunedNetwork | WeightEdit):
        found = edit.reason if isinstance(edit, NotApplicable) else f"a {type(edit).__name__}"
        raise InputError("edit", found, "Give the PrunedNetwork or WeightEdit that prune returned")
    if not isinstance(held_out.adapter, TorchAdapter):
        raise InputError(
            "held_out",
            f"its adapter is a {type(held_out.adapter).__name__}",
            "Give a bench on a TorchAdapter",
        )
    before, after = held_out.clean, edited_outcomes(held_out, edit.module)
    everyone = np.full((1, held_out.prompts), True)
    c = paired_change(before, after, everyone, held_out.family, resolutions(held_out), draws, seed, level)
    region = outcome_rope(held_out, rope_sd)
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


def _size(module: torch.nn.Module) -> tuple[int, int]:
    """Parameters, and bytes of parameters and buffers, tied ones once."""
    parameters = list(module.parameters())
    memory = sum(t.numel() * t.element_size() for t in (*parameters, *module.buffers()))
    return sum(p.numel() for p in parameters), memory
