"""Distributed alignment search: learn the subspaces of a site that hold high-level variables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.alignment_search import AlignmentSearch
from mrinterp.core.errors import InputError
from mrinterp.core.interchange_accuracy import InterchangeAccuracy
from mrinterp.knockouts.abstraction.aligned_variable import AlignedVariable, check_tokens, rule_for
from mrinterp.knockouts.abstraction.causal_model import CausalModel
from mrinterp.knockouts.abstraction.class_scores import ClassScores
from mrinterp.knockouts.abstraction.control_alignments import fitting_view, site_widths
from mrinterp.knockouts.abstraction.counterfactual_labels import counterfactual_labels
from mrinterp.knockouts.abstraction.interchange_accuracy import interchange_accuracy
from mrinterp.knockouts.abstraction.interchange_answers import interchange_answers
from mrinterp.knockouts.abstraction.interchange_pairs import checked_pairs, held_out_families
from mrinterp.knockouts.abstraction.random_network import random_network
from mrinterp.knockouts.abstraction.rotation_fit import (
    RotationFit,
    RotationSettings,
    SearchPairs,
    fit_rotation,
)
from mrinterp.knockouts.outcome_rope import check_draws, check_level
from mrinterp.models.adapter import Adapter
from mrinterp.models.directions import Subspace
from mrinterp.models.inputs import ModelInputs
from mrinterp.models.positions import PositionRule

__all__ = ["search_alignment", "subspace_of"]

Rows = NDArray[np.int_]


def search_alignment(
    adapter: Adapter,
    model: CausalModel,
    dimensions: Mapping[str, int],
    site: str,
    inputs: ModelInputs,
    settings: Mapping[str, ArrayLike],
    base: ArrayLike,
    source: ArrayLike,
    classes: ClassScores,
    *,
    family: ArrayLike | None = None,
    rule: PositionRule | None = None,
    held_out: float = 0.3,
    boundary: bool = False,
    penalty: float = 0.5,
    steps: int = 300,
    batch: int = 64,
    rate: float = 0.05,
    starts: int = 1,
    random_model: Adapter | bool = True,
    random: int = 5,
    level: float = 0.95,
    draws: int = 2000,
    block: int = 64,
    seed: int = 0,
    folder: Path | None = None,
) -> AlignmentSearch:
    """Search a site for subspaces whose interchange does what interchanging the variables would.

    Parameters
    ----------
    adapter : Adapter
        One through whose forward pass gradients flow. The network's weights are not changed.
    model : CausalModel
    dimensions : mapping of variable to int
        Size of each variable's subspace; they are orthogonal to each other. With ``boundary`` the largest
        size: how many of them are needed is learned.
    site : str
    inputs, settings
        N inputs of the network, and the same as the high-level model takes them.
    base, source : array (M,) of int
        Pairs, for example of `draw_pairs`; source may be (M, V), a column per variable.
    classes : ClassScores
    family : array (N,), optional
        Of the inputs; default every input its own. A share ``held_out`` of the families is not searched
        with. Pairs whose base and source lie on different sides of that split are left out and counted:
        draw pairs with ``group=held_out_families(family, held_out, seed)`` and there are none.
    rule : PositionRule, optional
        At which tokens; default the mean over tokens where there are tokens.
    boundary, penalty
        Learn the size of the subspaces: ``penalty`` times the share of the rows in use is added to the
        cross-entropy, so a row stays that buys more than it costs.
    steps, batch, rate, starts
        Of Adam: steps, pairs per step, step size at the start (it falls to zero linearly), and random
        starts, of which the one with the smallest training loss is kept.
    random_model : Adapter or bool
        The same search on a network with random weights (True: shuffled ones, see `random_network`), as
        the row ``random network`` of the held-out result: what a subspace of this size can be made to do
        where nothing was learned.
    random, level, draws, block, seed
        As in `interchange_accuracy`; ``seed`` also drives the split and the search.
    folder : Path, optional
        Where finished starts and shards of runs are kept, so that a kill costs little.

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
    Source: Geiger et al. 2024, arXiv:2303.02536; learned boundary: Wu et al. 2023, arXiv:2305.08809.
    """
    check_level(level)
    check_draws(draws)
    names = list(dimensions)
    if not names:
        raise InputError("dimensions", "no variable", "Name at least one variable and a size")
    for name in names:
        model.check(name)
    adapter.check(site)
    b, s = checked_pairs(base, source, len(inputs), len(names))
    place = rule_for(inputs, rule)
    for column in range(len(names)):
        check_tokens(inputs, place, b, s[:, column])
    families = np.arange(len(inputs)) if family is None else np.asarray(family)
    if families.shape != (len(inputs),):
        raise InputError("family", f"shape {families.shape} for {len(inputs)} inputs", "Give every input one")
    sides = _sides(families, b, s, held_out, seed)
    labels = [counterfactual_labels(model, settings, [n], b, s[:, v : v + 1]) for v, n in enumerate(names)]
    pairs = SearchPairs(b, s, np.stack([classes.codes(x) for x in labels], axis=1))
    given = RotationSettings(steps, batch, rate, starts, boundary, penalty, seed)
    seen = np.flatnonzero(sides == 0)
    searched = SearchPairs(b[seen], s[seen], pairs.wanted[seen])

    other = random_network(adapter, seed) if random_model is True else random_model or None

    def search(network: Adapter, what: str) -> RotationFit:
        return fit_rotation(network, site, inputs, place, dimensions, searched, classes, given, what, folder)

    found = search(adapter, "alignment search")
    baseline = None if other is None else search(other, "alignment search, random network")
    map_ = site_widths(adapter, [site], inputs)[site][1]
    rows = np.flatnonzero(sides == 1)
    held, trained = dict[str, InterchangeAccuracy](), dict[str, float]()
    for v, name in enumerate(names):
        aligned = AlignedVariable(name, site, fitting_view(found.rows[name], map_), place)
        result = interchange_accuracy(
            adapter,
            model,
            aligned,
            inputs,
            settings,
            b[rows],
            s[rows, v],
            classes,
            family=families,
            random=random,
            level=level,
            draws=draws,
            block=block,
            seed=seed,
            folder=folder,
        )
        if other is not None and baseline is not None:
            lost = AlignedVariable(name, site, fitting_view(baseline.rows[name], map_), place)
            a = interchange_answers(
                other, [[lost]], inputs, b[rows], s[rows, v : v + 1], classes, families, block, folder
            )
            hits = a.codes[0] == pairs.wanted[rows, v]
            result = result.with_arm(
                "random network", "same search", hits, float(a.read_back[0]), float(a.undecided[0])
            )
        held[name] = result
        answers = interchange_answers(
            adapter, [[aligned]], inputs, b[seen], s[seen, v : v + 1], classes, families, block, folder
        )
        trained[name] = float((answers.codes[0] == pairs.wanted[seen, v]).mean())
    counts = {k: int((sides == i).sum()) for k, i in (("trained", 0), ("held_out", 1), ("unused", 2))}
    meta = {
        "network": adapter.hash,
        "model": str(model),
        "dimensions": dict(dimensions),
        "rule": str(place),
        "settings": vars(given),
        "held_out_families": np.unique(families[b[rows]]).tolist(),
    }
    return AlignmentSearch(site, found.rows, held, trained, found.losses, counts, meta)


def subspace_of(search: AlignmentSearch, variable: str) -> Subspace:
    """A found subspace as features of its site, for a bench or an `AlignedVariable`.

    Raises
    ------
    InputError
        For a variable that was not searched for.
    """
    if variable not in search.rotation:
        raise InputError(
            f"variable {variable!r}", "was not searched for", f"Known: {', '.join(search.rotation)}"
        )
    rows = search.rotation[variable]
    return Subspace(rows, names=[f"{variable}{i}" for i in range(len(rows))])


def _sides(family: NDArray, base: Rows, source: Rows, share: float, seed: int) -> NDArray[np.int_]:
    """0 for pairs to search with, 1 for held-out ones, 2 for those that lie across the split."""
    held = held_out_families(family, share, seed)
    either = np.column_stack([held[base], held[source]])
    sides = np.where(either.all(axis=1), 1, np.where(either.any(axis=1), 2, 0))
    for side, words in ((0, "to search with"), (1, "of held-out families")):
        if (sides == side).sum() < 2:
            raise InputError(
                "pairs",
                f"{(sides == side).sum()} {words}, {(sides == 2).sum()} across the split",
                "Draw pairs with group=held_out_families(family, held_out, seed)",
            )
    return sides
