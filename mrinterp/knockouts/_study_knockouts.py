"""The knockouts that a study's plan asks for, run blind on the bench of its knockout split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.basis import Basis
from mrinterp.core.design import Design
from mrinterp.core.knockout_room import Room
from mrinterp.core.plan import HELD_OUT, Plan
from mrinterp.features._directions import Directions
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._designs.whole_features import knock_out_jointly
from mrinterp.knockouts._kinds.contrast import Contrast
from mrinterp.knockouts._kinds.kind import Kind
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.knockouts._paths_to_outcome import INPUTS, path_inputs, paths_to_outcome
from mrinterp.knockouts._study_bench import clean_runs, permuted_dictionary, random_dictionary, study_bench
from mrinterp.models._cut import CutNetwork
from mrinterp.models._redrawn import redrawn_network
from mrinterp.results._contrast_levels import ContrastLevels
from mrinterp.results._designs.paths_to_outcome import PathsToOutcome
from mrinterp.results._knockout_effects import KnockoutEffects

__all__ = ["WHOLES", "study_knockouts", "study_paths", "study_wholes"]

Rows = NDArray[np.int_]


BY_TOKEN = ("resample", "mean", "zero", "clamp", "scale")
"""Kinds that write every token by itself, whatever the study reads: a change of a mean is far smaller than theirs."""


CONTROLS = ("random", "permuted", "redrawn")
"""Knockouts that are controls, by their names in the run folder: matched shifts of other directions, or in a network drawn anew."""


WHOLES = {"whole_resample": "resample", "whole_mean": "mean"}
"""What heads and subspaces as wholes are called in the run folder, and the kind of knockout that each is."""


def study_paths(plan: Plan, network: CutNetwork, design: Design, basis: Basis) -> PathsToOutcome:
    """From which features a path leads to the outcomes, on clean inputs of a few discovery families."""
    family = clean_runs(design, "discovery")["family"].to_numpy()
    rows = path_inputs(family, INPUTS, plan.seed)
    bench = study_bench(network, design, basis.dictionary, split="discovery", rows=rows)
    return paths_to_outcome(bench, inputs=len(rows), seed=plan.seed)


def study_wholes(
    plan: Plan,
    network: CutNetwork,
    design: Design,
    basis: Basis,
    wholes: Mapping[str, NDArray[np.float64]],
    rows: tuple[str, Rows],
    name: str,
) -> KnockoutEffects:
    """Heads or a subspace, all coordinates at once, on the prompts of the other kinds.

    Parameters
    ----------
    wholes : mapping of str to ndarray (k, width)
        Orthonormal rows that span each.
    rows : (split, ndarray of int)
    name : str
        One of `WHOLES`.
    """
    split, chosen = rows
    sets = {n: [f"{n}:{i}" for i in range(len(r))] for n, r in wholes.items()}
    view = Directions(np.concatenate(list(wholes.values())), names=[n for s in sets.values() for n in s])
    bench = study_bench(network, design, basis.dictionary, split=split, rows=chosen).viewing(view)
    donors = {"donors": plan.knockouts.donors} if WHOLES[name] == "resample" else {}
    return knock_out_jointly(bench, WHOLES[name], sets, seed=plan.seed, **donors)


def study_knockouts(
    plan: Plan,
    network: Callable[[], CutNetwork],
    design: Design,
    basis: Basis,
    levels: ContrastLevels,
    rows: Mapping[str, tuple[str, Rows]],
    room: Room,
) -> dict[str, KnockoutEffects]:
    """Natural contrasts, the matched shift, the plan's other kinds, and random directions shifted; finished kinds are
    reopened.

    Parameters
    ----------
    network : callable
        Opens the network on all inputs of the design; asked for only where something is left to run.
    levels : ContrastLevels
        Of the contrasts, from discovery.
    rows : mapping of str to (split, ndarray of int)
        Prompts that are knocked out: ``contrast, kinds, judge, again`` (`knocked_out`).
    room : Room
        Keeps these results. No estimate can be reached through it.

    Returns
    -------
    dict of str to KnockoutEffects
        ``contrast``; ``judge`` and ``again``, contrasts on replication families; ``shift``, one entry per kind of the
        plan by its name, and of `CONTROLS` those that it asks for and that are not left out.

    Raises
    ------
    InputError
        For a clamp, scaling or step far outside support that the plan does not ask for
        (``allow_off_support``): before any edited run of that kind.
    """
    options, seed = plan.knockouts, plan.seed
    # One unit of a feature is its natural standard deviation on the discovery split.
    matched = {"size": options.size, "unit": "feature", "allow_off_support": True}
    contrast: tuple[str | Kind, dict[str, Any]] = (Contrast(levels=levels), {})
    chosen: dict[str, tuple[str | Kind, dict[str, Any]]] = dict.fromkeys(("contrast", *HELD_OUT), contrast)
    chosen |= {"shift": ("shift", matched)}
    chosen |= {k.named: (k.kind, k.options(options.donors, seed)) for k in options.kinds}
    chosen |= dict.fromkeys(CONTROLS, ("shift", matched))

    @cache
    def bench(what: str, of: str) -> Bench:
        drawn, run_on = basis.dictionary, network()
        if what == "random":
            drawn = random_dictionary(basis, options.controls(drawn.write.shape[1]), seed)
        elif what == "permuted":
            drawn = permuted_dictionary(basis, options.permuted_controls, seed)
        elif what == "redrawn":
            run_on = redrawn_network(run_on, seed)
        split, chosen_rows = rows[of]
        return study_bench(run_on, design, drawn, room.work(what), split, chosen_rows)

    def run(name: str) -> KnockoutEffects:
        kind, given = chosen[name]
        made = bench(name if name in CONTROLS else "features", name if name in rows else "kinds")
        return knock_out(made.by_token if kind in BY_TOKEN else made, kind, **(given | {"seed": seed}))

    return {name: room.kept(name, KnockoutEffects.load, partial(run, name)) for name in room.names}
