"""Distributed alignment search: learn the subspaces of a site that hold high-level variables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.abstraction._abstraction_task import AbstractionTask
from mrinterp.abstraction._aligned_variable import AlignedVariable, position_for
from mrinterp.abstraction._controls import fitting_view, shuffled_network, site_widths
from mrinterp.abstraction._interchange_accuracy import interchange_accuracy
from mrinterp.abstraction._interchange_answers import InterchangeAnswers, interchange_answers
from mrinterp.abstraction._interchange_pairs import LabelledPairs, held_out_families, labelled_pairs
from mrinterp.abstraction._rotation_fit import RotationFit, RotationSettings, fit_rotation
from mrinterp.adapters._adapter import Adapter
from mrinterp.core.checks import checked_count, checked_draws, checked_level, checked_seed
from mrinterp.core.errors import InputError, near_misses
from mrinterp.features._directions import Subspace
from mrinterp.positions import Position
from mrinterp.results._abstraction.alignment_search import AlignmentSearch
from mrinterp.results._abstraction.interchange_accuracy import InterchangeAccuracy

__all__ = ["search_alignment", "subspace_of"]

SEARCHED, HELD_OUT, ACROSS = range(3)
"""Sides of the split: pairs to search with, pairs of held-out families, pairs with an input on either side."""


def search_alignment(
    adapter: Adapter,
    task: AbstractionTask,
    dimensions: Mapping[str, int],
    site: str,
    base: ArrayLike,
    source: ArrayLike,
    *,
    position: Position | None = None,
    held_out: float = 0.3,
    boundary: bool = False,
    penalty: float = 0.5,
    steps: int = 300,
    batch: int = 64,
    rate: float = 0.05,
    starts: int = 1,
    random_network: Adapter | bool = True,
    random_subspaces: int = 5,
    block: int = 64,
    folder: str | Path | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> AlignmentSearch:
    """Search a site for subspaces whose interchange does what interchanging the variables would.

    Parameters
    ----------
    adapter : Adapter
        One through whose forward pass gradients flow. The network's weights are not changed.
    task : AbstractionTask
        The model, the inputs as both take them, and how the network's answer is read.
    dimensions : mapping of variable to int
        Size of each variable's subspace; they are orthogonal to each other. With ``boundary`` the largest
        size: how many of them are needed is learned.
    site : str
        Where in the network.
    base, source : array (M,) of int
        Pairs (`draw_pairs`); source may be (M, V), a column per variable. Those whose base and source lie on different
        sides of the split are left out and counted: draw pairs with
        ``group=held_out_families(family, held_out, seed=seed)`` and there are none.
    position : Position, optional
        At which tokens; default the mean over tokens where there are tokens.
    held_out : float
        Share of the task's families that is not searched with.
    boundary : bool
        Learn the size of the subspaces.
    penalty : float
        With ``boundary``: times the share of the rows in use, added to the cross-entropy. A row stays if it
        lowers the cross-entropy by more.
    steps, batch : int
        Steps of Adam, and pairs per step.
    rate : float
        Step size at the start; it falls to zero linearly.
    starts : int
        Random starts, of which the one with the smallest training loss is kept.
    random_network : Adapter or bool
        The same search on a network with random weights (True: shuffled ones, see `shuffled_network`), as
        the row ``random network`` of the held-out result: what a subspace of this size can be made to do
        where nothing was learned.
    random_subspaces, block
        As in `interchange_accuracy`.
    folder : path, optional
        Where finished starts and shards of runs are kept: an interrupted search loses the start that it was in,
        and the same call made again gives the same bytes.
    level, draws, seed
        As in `interchange_accuracy`; ``seed`` also drives the split and the search.

    Returns
    -------
    AlignmentSearch
        Its subspaces are features for benches and studies: `subspace_of`, and
        `AlignmentSearch.save_subspace` for ``features.kind = "subspace"``.

    Raises
    ------
    InputError
        As `interchange_accuracy` does; for subspaces wider than the site, no pairs on one side of the
        split, or a network through which no gradient flows.

    Notes
    -----
    What is found works when it is interchanged. It need not be the place that the network itself uses, nor
    the only one: in a network with a planted direction other directions gave the model's answer as well, among
    them random mixtures of the activations (``random data subspace``), and the direction found lay some thirty
    degrees from the plant (``benchmarks/alignment_search.py``). Read the accuracy beside those rows, the
    random network and the interval of ``over``, and knock the subspace out before a claim is built on it.

    Source: Geiger et al. 2024, arXiv:2303.02536; learned boundary: Wu et al. 2023, arXiv:2305.08809; what
    misleads: Makelov, Lange & Nanda 2024, arXiv:2311.17030.

    Examples
    --------
    >>> from mrinterp.abstraction import draw_pairs, held_out_families, search_alignment
    >>> from mrinterp.adapters import TorchAdapter
    >>> from mrinterp.worlds import built_network, equality_task
    >>> task, (network, _) = equality_task(60), built_network()
    >>> group = held_out_families(task.family)
    >>> pairs = draw_pairs(task.model, task.settings, "left", 60, group=group)
    >>> search = search_alignment(
    ...     TorchAdapter(network), task, {"left": 1}, "2", *pairs, steps=5, random_network=False, draws=20
    ... )
    >>> search.rotation["left"].shape
    (1, 40)
    """
    checked_level(level), checked_draws(draws), checked_seed(seed)
    checked_count(block, "block", unit="runs per forward pass")
    checked_count(random_subspaces, "random_subspaces", least=0)
    descent = RotationSettings(steps, batch, rate, starts, boundary, penalty, seed)
    if not isinstance(dimensions, Mapping):
        raise InputError(
            "dimensions", f"a {type(dimensions).__name__}", "Give each variable its size, such as {'left': 1}"
        )
    adapter.check(site)
    place = position_for(task.inputs, position)
    pairs = labelled_pairs(task, dict.fromkeys(dimensions, place), base, source)
    sides = _sides(task, pairs, held_out, seed)
    searched, unseen = pairs.take(sides == SEARCHED), pairs.take(sides == HELD_OUT)
    other = shuffled_network(adapter, seed) if random_network is True else random_network or None

    def search(network: Adapter, what: str) -> RotationFit:
        return fit_rotation(network, task, site, place, dimensions, searched, descent, what, folder)

    found = search(adapter, "alignment search")
    lost = None if other is None else search(other, "alignment search, random network")
    feature_map = site_widths(adapter, [site], task.inputs)[site][1]

    def answers(
        network: Adapter, fit: RotationFit, name: str, part: LabelledPairs
    ) -> tuple[AlignedVariable, InterchangeAnswers]:
        aligned = AlignedVariable(name, site, fitting_view(fit.rows[name], feature_map), place)
        pairs = part.base, part.source
        return aligned, interchange_answers(network, task, [[aligned]], *pairs, block, folder)

    shown: dict[str, Any] = {"random_subspaces": random_subspaces, "block": block, "folder": folder}
    shown |= {"level": level, "draws": draws, "seed": seed}
    held, trained = dict[str, InterchangeAccuracy](), dict[str, float]()
    for v, name in enumerate(dimensions):
        seen, judged = searched.of(v), unseen.of(v)
        aligned, right = answers(adapter, found, name, seen)
        trained[name] = float((right.codes[0] == seen.wanted[:, 0]).mean())
        held[name] = interchange_accuracy(adapter, task, aligned, judged.base, judged.source, **shown)
        if other is not None and lost is not None:
            held[name] = _beside(held[name], answers(other, lost, name, judged)[1], judged)
    meta = {
        "network": adapter.hash,
        "model": str(task.model),
        "dimensions": dict(dimensions),
        "position": str(place),
        "settings": vars(descent),
        "held_out_families": np.unique(task.families[unseen.base]).tolist(),
    }
    counts = dict(
        zip(("trained", "held_out", "unused"), np.bincount(sides, minlength=3).tolist(), strict=True)
    )
    return AlignmentSearch(
        site=site,
        rotation=found.rows,
        held_out=held,
        trained=trained,
        losses=found.losses,
        pairs=counts,
        meta=meta,
    )


def subspace_of(search: AlignmentSearch, variable: str) -> Subspace:
    """A found subspace as features of its site, for a bench or an `AlignedVariable`.

    Parameters
    ----------
    search : AlignmentSearch
        What `search_alignment` found.
    variable : str
        One of the variables that it searched for.

    Returns
    -------
    Subspace
        Its coordinates are named by the variable: ``left0``, ``left1`` ...

    Raises
    ------
    InputError
        For a variable that was not searched for.

    Examples
    --------
    >>> from mrinterp.abstraction import draw_pairs, held_out_families, search_alignment, subspace_of
    >>> from mrinterp.adapters import TorchAdapter
    >>> from mrinterp.worlds import built_network, equality_task
    >>> task, (network, _) = equality_task(60), built_network()
    >>> pairs = draw_pairs(task.model, task.settings, "left", 60, group=held_out_families(task.family))
    >>> search = search_alignment(
    ...     TorchAdapter(network), task, {"left": 2}, "2", *pairs, steps=5, random_network=False, draws=20
    ... )
    >>> subspace_of(search, "left").names
    ('left0', 'left1')
    """
    if variable not in search.rotation:
        fix = near_misses(variable, search.rotation) or f"Known: {', '.join(search.rotation)}"
        raise InputError(f"variable {variable!r}", "was not searched for", fix)
    rows = search.rotation[variable]
    return Subspace(rows, names=[f"{variable}{i}" for i in range(len(rows))])


def _beside(
    held: InterchangeAccuracy, answers: InterchangeAnswers, pairs: LabelledPairs
) -> InterchangeAccuracy:
    """The held-out result with the same search on a random network as one control more."""
    hits = answers.codes[0] == pairs.wanted[:, 0]
    numbers = float(answers.read_back[0]), float(answers.undecided[0])
    return held.with_arm("random network", "same search", hits, *numbers)


def _sides(task: AbstractionTask, pairs: LabelledPairs, share: float, seed: int) -> NDArray[np.int_]:
    """Side of the split that each pair lies on."""
    held = held_out_families(task.families, share, seed=seed)
    either = np.column_stack([held[pairs.base], held[pairs.source]])
    sides = np.where(either.all(axis=1), HELD_OUT, np.where(either.any(axis=1), ACROSS, SEARCHED))
    for side, words in ((SEARCHED, "to search with"), (HELD_OUT, "of held-out families")):
        if (sides == side).sum() < 2:
            raise InputError(
                "pairs",
                f"{(sides == side).sum()} {words}, {(sides == ACROSS).sum()} across the split",
                "Draw pairs with group=held_out_families(family, held_out, seed=seed)",
            )
    return sides
