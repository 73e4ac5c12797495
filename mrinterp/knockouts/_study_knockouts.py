"""The knockouts that a study's plan asks for, run blind on the bench of its knockout split."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from mrinterp.core.basis import Basis
from mrinterp.core.design import Design
from mrinterp.core.knockout_room import Room
from mrinterp.core.plan import Plan
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.knockouts._study_bench import random_dictionary, study_bench
from mrinterp.models._cut import CutNetwork
from mrinterp.results._knockout_effects import KnockoutEffects

__all__ = ["study_knockouts"]


def study_knockouts(
    plan: Plan, network: Callable[[], CutNetwork], design: Design, basis: Basis, room: Room
) -> dict[str, KnockoutEffects]:
    """The matched shift, the plan's other kinds, and random directions shifted; finished kinds are reopened.

    Parameters
    ----------
    network : callable
        Opens the network on all inputs of the design; asked for only where something is left to run.
    room : Room
        Keeps these results. No estimate can be reached through it.

    Returns
    -------
    dict of str to KnockoutEffects
        ``shift``, one entry per kind of the plan by its name, and ``random`` where it asks for random controls.

    Raises
    ------
    InputError
        For a clamp, scaling or step far outside support that the plan does not ask for
        (``allow_off_support``): before any edited run of that kind.
    """
    options, seed = plan.knockouts, plan.seed
    # One unit of a feature is its natural standard deviation on the discovery split.
    matched = {"size": options.size, "unit": "feature", "allow_off_support": True}
    chosen: dict[str, tuple[str, dict[str, Any]]] = {"shift": ("shift", matched)}
    chosen |= {k.named: (k.kind, k.options(options.donors, seed)) for k in options.kinds}
    chosen |= {"random": ("shift", matched)} if options.random_controls else {}

    @cache
    def bench(random: bool) -> Bench:
        if not random:
            return study_bench(network(), design, basis.dictionary, room.work("features"))
        drawn = random_dictionary(basis, options.random_controls, seed)
        return study_bench(network(), design, drawn, room.work("random"))

    def run(name: str) -> KnockoutEffects:
        kind, given = chosen[name]
        return knock_out(bench(name == "random"), kind, **(given | {"seed": seed}))

    return {name: room.kept(name, KnockoutEffects.load, partial(run, name)) for name in options.names}
