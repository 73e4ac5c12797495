"""What a network answers when variables are interchanged between pairs of inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.knockouts.aligned_variable import AlignedVariable, check_tokens, rule_for, source_values
from mrinterp.knockouts.bench import Bench
from mrinterp.knockouts.class_scores import ClassScores
from mrinterp.models.adapter import Adapter, Edit
from mrinterp.models.inputs import ModelInputs
from mrinterp.models.site_order import site_order

__all__ = ["InterchangeAnswers", "interchange_answers"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]


@dataclass(frozen=True, eq=False)
class InterchangeAnswers:
    """Answers under A alignments.

    ``codes`` (A, M) of the answered classes; ``read_back`` (A,) and ``largest`` (A,) value written;
    ``undecided`` (A,) share of pairs within the repeat-run ``noise`` of a score; ``clean`` (M,) answers.
    """

    codes: Rows
    read_back: Array
    largest: Array
    undecided: Array
    clean: Rows
    noise: float


def interchange_answers(
    adapter: Adapter,
    alignments: Sequence[Sequence[AlignedVariable]],
    inputs: ModelInputs,
    base: Rows,
    source: Rows,
    classes: ClassScores,
    family: NDArray,
    block: int = 64,
) -> InterchangeAnswers:
    """Run every pair under every alignment: base inputs (M,), sources (M, V), one column per variable."""
    flat = [a for arm in alignments for a in arm]
    for a in flat:
        adapter.check(a.site)
    for column, a in enumerate(alignments[0]):
        check_tokens(inputs, rule_for(inputs, a.rule), base, source[:, column])
    read = iter(source_values(adapter, inputs, flat, block))
    values = [[next(read)[source[:, v]] for v in range(len(arm))] for arm in alignments]
    read_back, largest = np.zeros(len(alignments)), np.zeros(len(alignments))

    def edits(arm: Rows, pair: Rows) -> Mapping[str, Edit]:
        made: dict[str, Edit] = {}
        for site in dict.fromkeys(a.site for a in flat):
            made[site] = _edit_at(site, arm, pair)
        return made

    def _edit_at(site: str, arm: Rows, pair: Rows) -> Edit:
        def edit(h: torch.Tensor) -> torch.Tensor:
            h = h.clone()
            for k in np.unique(arm):
                chosen = np.flatnonzero(arm == k)
                rows = torch.from_numpy(chosen).to(h.device)
                here = [(v, a) for v, a in enumerate(alignments[k]) if a.site == site]
                part, given = h[rows], inputs.take(base[pair[chosen]])
                places = [given.at(rule_for(inputs, a.rule)) for _, a in here]
                wanted = [values[k][v][pair[chosen]].to(h.device) for v, _ in here]
                for (_, a), at, value in zip(here, places, wanted, strict=True):
                    part = a.view.write(part, value, at)
                for (_, a), at, value in zip(here, places, wanted, strict=True):
                    off = float((a.view.read(part, at) - value).abs().max())
                    read_back[k] = max(read_back[k], off)
                    largest[k] = max(largest[k], float(value.abs().max()))
                h[rows] = part
            return h

        return edit

    first = _first_site(adapter, flat, inputs)
    bench = Bench(
        adapter,
        first,
        next(a.view for a in flat if a.site == first),
        inputs.take(base),
        classes,
        rule=next(a.rule for a in flat if a.site == first),
        family=family[base],
        block=block,
    )
    scores = bench.run(len(alignments), edits, "interchange")
    noise = bench.noise_floor()
    top = np.sort(scores, axis=-1)
    undecided = (top[..., -1] - top[..., -2] <= noise).mean(axis=1)
    codes, clean = classes.decode(scores), classes.decode(bench.clean)
    return InterchangeAnswers(codes, read_back, largest, undecided, clean, noise)


def _first_site(adapter: Adapter, aligned: Sequence[AlignedVariable], inputs: ModelInputs) -> str:
    """The site that a run reaches first: edited runs begin before it."""
    sites = list(dict.fromkeys(a.site for a in aligned))
    if len(sites) == 1:
        return sites[0]
    order = site_order(adapter, inputs.take(np.arange(1)).tensors)
    return min(sites, key=lambda site: order.get(site, 0))
