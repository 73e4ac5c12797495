"""Interchange-intervention accuracy of an alignment, with the controls that it must stand out from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mrinterp.abstraction._abstraction_task import AbstractionTask
from mrinterp.abstraction._aligned_variable import AlignedVariable, position_for
from mrinterp.abstraction._controls import control_alignments
from mrinterp.abstraction._interchange_answers import InterchangeAnswers, interchange_answers
from mrinterp.abstraction._interchange_pairs import checked_pairs
from mrinterp.adapters._adapter import Adapter
from mrinterp.core.checks import checked_count, checked_draws, checked_level, checked_seed
from mrinterp.core.errors import InputError
from mrinterp.results._abstraction.interchange_accuracy import ALIGNED, InterchangeAccuracy

__all__ = ["interchange_accuracy"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]

TOLERANCE = 1e-3
"""A value read back further from what was written than this (relative to the largest) is reported in the status; four
roundings of the activation where that is more, because reading and writing round twice each."""


def interchange_accuracy(
    adapter: Adapter,
    task: AbstractionTask,
    alignment: AlignedVariable | Sequence[AlignedVariable],
    base: ArrayLike,
    source: ArrayLike,
    *,
    random_subspaces: int = 5,
    wrong: Sequence[str] | None = None,
    shuffles: int = 5,
    block: int = 64,
    folder: str | Path | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> InterchangeAccuracy:
    """Interchange a variable between inputs in the network and in the model; how often do they agree?

    Parameters
    ----------
    adapter : Adapter
        The network.
    task : AbstractionTask
        The model, the inputs as both take them, and how the network's answer is read.
    alignment : AlignedVariable, or several
        Several are interchanged together, each from a source of its own where ``source`` has columns.
    base, source : array (M,) of int
        Which of the N inputs are run, and whose values are written into them (`draw_pairs`); source may be (M, V).
    random_subspaces : int
        Control: as many random subspaces of the same dimension at the same site, and as many drawn where
        the site's activations vary (random mixtures of them): the first kind is a weak control where
        activations fill few of its dimensions. For a subspace that was searched for, the strong control is
        the same search on a random network (`search_alignment`).
    wrong : sequence of str, optional
        Control: the same edit compared with the labels that interchanging another variable would give.
        Default all other variables and inputs but the output (none for several variables together; named
        ones then take the first variable's sources).
    shuffles : int
        Control: how many times the counterfactual labels are shuffled over the pairs.
    block : int
        Runs per forward pass.
    folder : path, optional
        Where finished shards of the runs are kept, so that an interrupted run continues where it stopped.
    level : float
        Of the intervals.
    draws : int
        Of the bootstrap over families.
    seed : int
        Of all random numbers.

    Returns
    -------
    InterchangeAccuracy
        Rows besides the alignment and the controls above: ``whole site`` (everything at the site
        interchanged), ``no edit`` (the clean answer compared with the counterfactual label), ``majority
        label`` (always the most frequent counterfactual label: chance).

    Raises
    ------
    InputError
        For pair lists of different length, a single source for all pairs, an unknown site or variable,
        subspaces wider than the site, or a high-level output that no class stands for.

    Notes
    -----
    Accuracy is over all pairs, as in the literature, and over the informative ones, where the
    counterfactual label differs from the base's: where these are few, an edit that does nothing is accurate.
    Errors are clustered by the family of the base input. Not valid on pairs that an alignment was searched with.

    Source: Geiger et al. 2021, arXiv:2106.02997; 2024, arXiv:2303.02536.

    Examples
    --------
    >>> from mrinterp.abstraction import AlignedVariable, draw_pairs, interchange_accuracy
    >>> from mrinterp.adapters import TorchAdapter
    >>> from mrinterp.features import Subspace
    >>> from mrinterp.worlds import built_network, equality_task
    >>> task, (network, directions) = equality_task(60), built_network()
    >>> left = AlignedVariable("left", "2", Subspace(directions["left"]))
    >>> base, source = draw_pairs(task.model, task.settings, "left", 40)
    >>> interchange_accuracy(TorchAdapter(network), task, left, base, source, draws=20).accuracy
    1.0
    """
    checked_level(level), checked_draws(draws), checked_seed(seed)
    checked_count(block, "block", unit="runs per forward pass")
    checked_count(random_subspaces, "random_subspaces", least=0)
    checked_count(shuffles, "shuffles", least=0)
    aligned = [alignment] if not isinstance(alignment, Sequence) else list(alignment)
    for a in aligned:
        if not isinstance(a, AlignedVariable):
            raise InputError(
                "alignment",
                f"a {type(a).__name__}",
                "Give an AlignedVariable(variable, site, view), or several",
            )
    names = task.checked([a.variable for a in aligned])
    b, s = checked_pairs(base, source, len(task.inputs), len(aligned))
    expected, base_code = task.wanted(names, b, s), task.answers[b]
    informative = expected != base_code
    rng = np.random.default_rng(seed)
    controls, reason = control_alignments(adapter, aligned, task.inputs, random_subspaces, rng, block)
    found = interchange_answers(adapter, task, [aligned, *(c[2] for c in controls)], b, s, block, folder)
    table = _Table(expected)
    table.add(ALIGNED, "", found, 0, _status(aligned, found, informative))
    for k, (name, detail, _) in enumerate(controls, start=1):
        table.add(name, detail, found, k)
    if reason and random_subspaces:
        table.empty("random subspace", "", reason)
    _wrong_variables(table, task, names, wrong, (b, s), found.codes[0])
    for k in range(shuffles):
        shuffled = rng.permutation(expected)
        table.put("shuffled labels", f"draw {k}", found.codes[0] == shuffled)
    table.put("no edit", "", found.clean == expected)
    table.put("majority label", "", np.bincount(expected).argmax() == expected)
    columns = ["source"] if len(names) == 1 else [f"source:{name}" for name in names]
    pairs = pd.DataFrame({"base": b, **dict(zip(columns, s.T, strict=True)), "family": task.families[b]})
    pairs["base_label"] = [task.classes.labels[c] for c in base_code]
    pairs["label"] = [task.classes.labels[c] for c in expected]
    pairs["informative"] = informative
    meta = {
        "network": adapter.hash,
        "model": str(task.model),
        "task_accuracy": float((found.clean == base_code).mean()),
        "noise_floor": found.noise,
        "sites": [a.site for a in aligned],
        "dimensions": [len(a.view.names) for a in aligned],
        "positions": [str(position_for(task.inputs, a.position)) for a in aligned],
    }
    place = "; ".join(str(a) for a in aligned)
    arms, hits = table.arrays()
    return InterchangeAccuracy(
        variable=" + ".join(names),
        place=place,
        arms=arms,
        hits=hits,
        pairs=pairs,
        level=level,
        draws=draws,
        seed=seed,
        meta=meta,
    )


def _status(
    aligned: Sequence[AlignedVariable], found: InterchangeAnswers, informative: NDArray[np.bool_]
) -> str:
    if found.read_back[0] > max(TOLERANCE, 4 * found.rounding) * (1 + found.largest[0]):
        overlap = "the variables' features overlap, or " if len(aligned) > 1 else ""
        off = f"values read back differ from those written by up to {found.read_back[0]:.3g}"
        return f"{off}: {overlap}the view cannot write what it reads"
    return "ok" if informative.any() else "no pair is informative: draw others"


def _wrong_variables(
    table: _Table,
    task: AbstractionTask,
    names: Sequence[str],
    wrong: Sequence[str] | None,
    pairs: tuple[Rows, Rows],
    codes: Rows,
) -> None:
    """Arms of the same edit, compared with the labels that interchanging another variable would give."""
    wrong = [wrong] if isinstance(wrong, str) else wrong
    if wrong is None:
        wrong = (
            [n for n in task.model.names if n not in (*names, task.model.output)] if len(names) == 1 else []
        )
    for name in wrong:
        wanted = task.wanted([name], pairs[0], pairs[1][:, :1])
        if (wanted == table.expected).all():
            reason = f"does not apply: interchanging {name} gives the same labels on all pairs"
            table.empty("wrong variable", name, reason)
        else:
            table.put("wrong variable", name, codes == wanted)


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
