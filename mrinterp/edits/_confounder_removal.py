"""Edit a spurious feature out of a network; measure the gain where its cue misleads, the loss elsewhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from mrinterp.attribution._method import token_mean
from mrinterp.core.checks import checked_choice, checked_draws, checked_level, checked_seed
from mrinterp.core.errors import InputError
from mrinterp.edits._fold_out import edited_outcomes, fold_out
from mrinterp.edits._prune_units import PrunedNetwork
from mrinterp.edits._weight_edit import WeightEdit
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._feature_numbers import Features, feature_numbers
from mrinterp.knockouts._kinds.replacement import outside_support, replacement_values
from mrinterp.knockouts._outcome_rope import resolutions
from mrinterp.results._check import NotApplicable
from mrinterp.results._edits.confounder_removal import CUE_GROUPS, ConfounderRemoval
from mrinterp.stats.clustered.paired_change import paired_change

__all__ = ["remove_confounder"]

Array = NDArray[np.float64]


def remove_confounder(
    bench: Bench,
    features: Features,
    group: ArrayLike,
    *,
    value: float | ArrayLike | None = None,
    how: str = "either",
    edited: WeightEdit | PrunedNetwork | torch.nn.Module | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
    allow_off_support: bool = False,
) -> ConfounderRemoval:
    """Hold the features of a spurious cue at one value and compare outcomes, input by input.

    Parameters
    ----------
    bench : Bench
        Inputs on which the edit is judged (not those on which the features were found), with outcomes such
        as `CorrectAnswer` and `ExampleLoss`. Versions of one input with and without the cue are a family.
    features : names or numbers
        The view's features that carry the cue.
    group : array (P,) of str
        What the cue says about each input: ``agrees``, ``conflicts`` or ``absent``.
    value : float or array (k,), optional
        What the features are held at. Default: their mean over inputs where the cue is absent; zero
        where there are none.
    how : {"either", "weights", "run time"}
        ``weights`` edits the network for good (`fold_out`); ``either`` does so where it can be done, and
        otherwise writes the features on every run (``meta["why"]`` says why).
    edited : WeightEdit, PrunedNetwork or Module, optional
        A network edited before (for example by `project_out`), to be judged instead.
    level : float
        Of the intervals.
    draws, seed : int
        Of the family bootstrap.
    allow_off_support : bool
        Hold features at a value far outside what inputs show all the same; it is then flagged.

    Returns
    -------
    ConfounderRemoval
        Outcomes before and after on every input, and their change by group with intervals.

    Raises
    ------
    InputError
        For unknown features, groups that do not match the inputs, a value that is not finite or far outside support, no input
        whose cue conflicts, a sampled outcome, or ``weights`` where weights cannot do it.

    Notes
    -----
    The gain is not the edit's doing alone if inputs were chosen by the network's own errors: choose
    groups by the cue and the label only.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.edits import remove_confounder
    >>> from mrinterp.worlds import gated_world
    >>> bench = gated_world().bench()
    >>> cue = np.where(np.arange(bench.prompts) % 2, "conflicts", "absent")
    >>> removal = remove_confounder(bench, ["silent"], cue, draws=50)
    >>> removal.how, removal.table["change"].abs().max().item()
    ('run time', 0.0)
    """
    checked_level(level), checked_draws(draws), checked_seed(seed)
    numbers = feature_numbers(bench, features)
    names = [bench.view.names[f] for f in numbers]
    words = _groups(group, bench.prompts)
    if bench.sampled:
        raise InputError(
            "outcome", "sampled: before and after would differ by their draws", "Give the computed outcome"
        )
    checked_choice(how, "how", ("either", "weights", "run time"))
    held = _held_at(bench, numbers, words, value)
    asked = allow_off_support or value is None or edited is not None
    written = replacement_values(bench, numbers, held, asked)
    label = f"{', '.join(names)} held at {', '.join(f'{v:.3g}' for v in held)}"
    meta: dict[str, object] = {"value": held.tolist(), "draws": draws, "seed": seed}
    if edited is None:
        meta["outside_support"] = outside_support(bench, numbers, written)
    made: WeightEdit | PrunedNetwork | torch.nn.Module | NotApplicable
    made = edited if edited is not None else NotApplicable("asked for at run time")
    if edited is None and how != "run time":
        made = fold_out(bench, numbers, held, label)
    if isinstance(made, NotApplicable):
        if how == "weights":
            raise InputError("weight edit", made.reason, "Use how='either': written on every run")
        meta["why"] = made.reason
        after = _written(bench, numbers, held)
        done = "run time"
    else:
        if isinstance(made, WeightEdit):
            meta |= {"changed": list(made.changed)}
        if isinstance(made, WeightEdit | PrunedNetwork):
            meta |= {"difference": made.difference}
            label = label if edited is None else made.label
        after = edited_outcomes(bench, made if isinstance(made, torch.nn.Module) else made.module)
        done = "weights"
    floor = resolutions(bench)
    return ConfounderRemoval(
        features=tuple(names),
        outcomes=bench.outcome.names,
        how=done,
        label=label,
        before=bench.clean,
        after=after,
        inputs=pd.DataFrame({"input": np.arange(bench.prompts), "family": bench.family, "group": words}),
        table=_table(bench, after, words, floor, draws, seed, level),
        noise_floor=float(floor.max()),
        level=level,
        meta=meta,
    )


def _groups(group: ArrayLike, count: int) -> NDArray[np.str_]:
    words = np.asarray(group).astype(str)
    if words.shape != (count,):
        raise InputError("group", f"shape {words.shape} for {count} inputs", "Give one word per input")
    bad = [w for w in np.unique(words) if w not in CUE_GROUPS]
    if bad:
        row = int(np.flatnonzero(words == bad[0])[0])
        raise InputError(f"group of input {row}", repr(str(bad[0])), f"Use {', '.join(CUE_GROUPS)}")
    if not (words == "conflicts").any():
        raise InputError(
            "group",
            "no input whose cue conflicts",
            "Without one, nothing shows what the edit gains: make counterexamples of the cue",
        )
    return words


def _held_at(
    bench: Bench, numbers: NDArray[np.int_], words: NDArray[np.str_], value: float | ArrayLike | None
) -> Array:
    if value is None:
        absent = words == "absent"
        values = token_mean(bench, bench.values)[:, numbers]
        return np.asarray(values[absent].mean(axis=0)) if absent.any() else np.zeros(len(numbers))
    held = np.asarray(value, dtype=float)
    if held.shape not in ((), (len(numbers),)) or not np.isfinite(held).all():
        raise InputError(
            "value", f"shape {held.shape}, or not finite", f"Give one number or {len(numbers)} numbers"
        )
    return np.array(np.broadcast_to(held, (len(numbers),)))


def _written(bench: Bench, numbers: NDArray[np.int_], held: Array) -> Array:
    """Outcomes with the features written on every run."""
    full = (1, len(numbers), *bench.values.shape[:-1])
    values = np.broadcast_to(held.reshape(1, -1, *[1] * (len(full) - 2)), full)
    return np.asarray(
        bench.sweep(numbers[None], np.ascontiguousarray(values), "confounder removed").outcome[0]
    )


def _table(
    bench: Bench, after: Array, words: NDArray[np.str_], floor: Array, draws: int, seed: int, level: float
) -> pd.DataFrame:
    groups = {
        "conflicts": words == "conflicts",
        "agrees": words == "agrees",
        "absent": words == "absent",
        "elsewhere": words != "conflicts",
        "all": np.full(len(words), True),
    }
    c = paired_change(
        bench.clean, after, np.array(list(groups.values())), bench.family, floor, draws, seed, level
    )
    O = len(bench.outcome.names)
    frame = pd.DataFrame(
        {
            "group": np.repeat(np.array(list(groups), dtype=object), O),
            "outcome": np.tile(np.array(bench.outcome.names, dtype=object), len(groups)),
            "inputs": np.repeat(c.inputs, O),
            "families": np.repeat(c.families, O),
        }
    )
    frame = frame.assign(**c.columns())
    frame["status"] = np.select(
        [frame["inputs"] == 0, frame["families"] < 2, frame["changed"] == 0],
        [
            "no inputs",
            "one family: no interval",
            "no input changed: the interval says nothing about inputs not seen",
        ],
        "ok",
    )
    return frame
