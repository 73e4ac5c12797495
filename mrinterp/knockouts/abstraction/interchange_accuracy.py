"""Interchange-intervention accuracy of an alignment, with the controls that it must stand out from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.errors import InputError
from mrinterp.core.interchange_accuracy import ALIGNED, InterchangeAccuracy
from mrinterp.knockouts.abstraction.aligned_variable import AlignedVariable, rule_for
from mrinterp.knockouts.abstraction.causal_model import CausalModel
from mrinterp.knockouts.abstraction.class_scores import ClassScores
from mrinterp.knockouts.abstraction.control_alignments import control_alignments
from mrinterp.knockouts.abstraction.counterfactual_labels import counterfactual_labels
from mrinterp.knockouts.abstraction.interchange_answers import InterchangeAnswers, interchange_answers
from mrinterp.knockouts.abstraction.interchange_pairs import checked_pairs
from mrinterp.knockouts.outcome_rope import check_draws, check_level
from mrinterp.models.adapter import Adapter
from mrinterp.models.inputs import ModelInputs

__all__ = ["interchange_accuracy"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]

TOLERANCE = 1e-3
"""A value read back further from what was written than this (relative to the largest) is said so."""


def interchange_accuracy(
    adapter: Adapter,
    model: CausalModel,
    alignment: AlignedVariable | Sequence[AlignedVariable],
    inputs: ModelInputs,
    settings: Mapping[str, ArrayLike],
    base: ArrayLike,
    source: ArrayLike,
    classes: ClassScores,
    *,
    family: ArrayLike | None = None,
    random: int = 5,
    wrong: Sequence[str] | None = None,
    shuffles: int = 5,
    level: float = 0.95,
    draws: int = 2000,
    block: int = 64,
    seed: int = 0,
    folder: Path | None = None,
) -> InterchangeAccuracy:
    """Interchange a variable between inputs in the network and in the model; how often do they agree?

    Parameters
    ----------
    adapter : Adapter
    model : CausalModel
    alignment : AlignedVariable, or several
        Several are interchanged together, each from a source of its own where ``source`` has columns.
    inputs : ModelInputs
        N inputs of the network.
    settings : mapping of str to array (N, ...)
        The same inputs, as the high-level model takes them.
    base, source : array (M,) of int
        Which of the N inputs are run, and whose values are written into them; source may be (M, V).
    classes : ClassScores
        How the network's answer is read.
    family : array (N,), optional
        Of the inputs; errors are clustered by the base input's family. Default every input its own.
    random : int
        Control: as many random subspaces of the same dimension at the same site, and as many drawn where
        the site's activations vary (random mixtures of them): the first kind is a weak control where
        activations fill few of its dimensions. For a subspace that was searched for, the strong control is
        the same search on a random network (`search_alignment`).
    wrong : sequence of str, optional
        Control: the same edit held against the labels that interchanging another variable would give.
        Default all other variables and inputs but the output (none for several variables together; named
        ones then take the first variable's sources).
    shuffles : int
        Control: the counterfactual labels shuffled over the pairs, so many times.
    level, draws, seed
        Of the intervals, the bootstrap over families, and all random numbers.
    block : int
        Runs per forward pass.
    folder : Path, optional
        Where finished shards of the runs are kept, so that a kill costs little.

    Returns
    -------
    InterchangeAccuracy
        Rows besides the alignment and the controls above: ``whole site`` (everything at the site
        interchanged), ``no edit`` (the clean answer held against the counterfactual label), ``majority
        label`` (always the most frequent counterfactual label: chance).

    Raises
    ------
    InputError
        For pair lists of different length, a single source for all pairs, an unknown site or variable,
        settings of another length, subspaces wider than the site, or a high-level output that no class
        stands for.

    Notes
    -----
    Accuracy is over all pairs, as in the literature, and over the informative ones, where the
    counterfactual label differs from the base's: where these are few, an edit that does nothing is accurate.

    Source: Geiger et al. 2021, arXiv:2106.02997; 2024, arXiv:2303.02536.
    """
    check_level(level)
    check_draws(draws)
    aligned = [alignment] if isinstance(alignment, AlignedVariable) else list(alignment)
    whole = _high_level(model, settings, aligned, len(inputs))
    b, s = checked_pairs(base, source, len(inputs), len(aligned))
    label = counterfactual_labels(model, settings, [a.variable for a in aligned], b, s)
    expected, base_code = classes.codes(label), classes.codes(whole[model.output][b])
    informative = expected != base_code
    families = np.arange(len(inputs)) if family is None else np.asarray(family)
    if families.shape != (len(inputs),):
        raise InputError("family", f"shape {families.shape} for {len(inputs)} inputs", "Give every input one")
    rng = np.random.default_rng(seed)
    controls, reason = control_alignments(adapter, aligned, inputs, random, rng, block)
    found = interchange_answers(
        adapter, [aligned, *(c[2] for c in controls)], inputs, b, s, classes, families, block, folder
    )
    table = _Table(expected)
    table.add(ALIGNED, "", found, 0, _status(aligned, found, informative))
    for k, (name, detail, _) in enumerate(controls, start=1):
        table.add(name, detail, found, k)
    if reason and random:
        table.empty("random subspace", "", reason)
    _wrong_variables(table, model, settings, aligned, wrong, (b, s), found.codes[0], classes)
    for k in range(shuffles):
        shuffled = rng.permutation(expected)
        table.put("shuffled labels", f"draw {k}", found.codes[0] == shuffled)
    table.put("no edit", "", found.clean == expected)
    table.put("majority label", "", np.bincount(expected).argmax() == expected)
    variable = " + ".join(a.variable for a in aligned)
    columns = ["source"] if len(aligned) == 1 else [f"source:{a.variable}" for a in aligned]
    pairs = pd.DataFrame({"base": b, **dict(zip(columns, s.T, strict=True)), "family": families[b]})
    pairs["base_label"], pairs["label"] = _plain(classes, base_code), _plain(classes, expected)
    pairs["informative"] = informative
    meta = {
        "network": adapter.hash,
        "model": str(model),
        "task_accuracy": float((found.clean == base_code).mean()),
        "noise_floor": found.noise,
        "sites": [a.site for a in aligned],
        "dimensions": [len(a.view.names) for a in aligned],
        "rules": [str(rule_for(inputs, a.rule)) for a in aligned],
    }
    place = "; ".join(str(a) for a in aligned)
    return InterchangeAccuracy(variable, place, *table.arrays(), pairs, level, draws, seed, meta)


def _high_level(
    model: CausalModel, settings: Mapping[str, ArrayLike], aligned: Sequence[AlignedVariable], count: int
) -> dict[str, NDArray]:
    names = [a.variable for a in aligned]
    if not names or len(set(names)) < len(names):
        raise InputError("alignment", f"variables {names}", "Give each variable once, at least one")
    whole = model.run(settings)
    if len(whole[model.output]) != count:
        raise InputError(
            "settings", f"{len(whole[model.output])} rows for {count} inputs", "Give every input its settings"
        )
    for name in names:
        model.check(name)
    return whole


def _status(
    aligned: Sequence[AlignedVariable], found: InterchangeAnswers, informative: NDArray[np.bool_]
) -> str:
    if found.read_back[0] > TOLERANCE * (1 + found.largest[0]):
        overlap = "the variables' features overlap, or " if len(aligned) > 1 else ""
        off = f"values read back differ from those written by up to {found.read_back[0]:.3g}"
        return f"{off}: {overlap}the view cannot write what it reads"
    return "ok" if informative.any() else "no pair is informative: draw others"


def _wrong_variables(
    table: _Table,
    model: CausalModel,
    settings: Mapping[str, ArrayLike],
    aligned: Sequence[AlignedVariable],
    wrong: Sequence[str] | None,
    pairs: tuple[Rows, Rows],
    codes: NDArray[np.int_],
    classes: ClassScores,
) -> None:
    names = [a.variable for a in aligned]
    if wrong is None:
        wrong = [n for n in model.names if n not in (*names, model.output)] if len(names) == 1 else []
    for name in wrong:
        wanted = classes.codes(counterfactual_labels(model, settings, [name], pairs[0], pairs[1][:, :1]))
        if (wanted == table.expected).all():
            reason = f"does not apply: interchanging {name} gives the same labels on all pairs"
            table.empty("wrong variable", name, reason)
        else:
            table.put("wrong variable", name, codes == wanted)


def _plain(classes: ClassScores, codes: NDArray[np.int_]) -> list[Any]:
    return [classes.labels[c] for c in codes]


class _Table:
    """Arms as they are found: the rows of the result."""

    def __init__(self, expected: NDArray[np.int_]) -> None:
        self.expected = expected
        self.rows: list[tuple[Any, ...]] = []
        self.hits: list[Array] = []

    def put(self, alignment: str, detail: str, hits: NDArray, *rest: Any) -> None:
        """An arm by its hits; ``rest``: read-back, undecided share, status."""
        self.rows.append((alignment, detail, *(rest or (np.nan, np.nan, "ok"))))
        self.hits.append(np.asarray(hits, dtype=float))

    def add(
        self, alignment: str, detail: str, found: InterchangeAnswers, arm: int, status: str = "ok"
    ) -> None:
        """An arm that was run."""
        numbers = float(found.read_back[arm]), float(found.undecided[arm])
        self.put(alignment, detail, found.codes[arm] == self.expected, *numbers, status)

    def empty(self, alignment: str, detail: str, reason: str) -> None:
        """An arm that does not apply."""
        self.put(alignment, detail, np.full(len(self.expected), np.nan), np.nan, np.nan, reason)

    def arrays(self) -> tuple[pd.DataFrame, Array]:
        """Table of arms, and hits."""
        columns = ["alignment", "detail", "read_back", "undecided", "status"]
        return pd.DataFrame(self.rows, columns=columns), np.stack(self.hits)
