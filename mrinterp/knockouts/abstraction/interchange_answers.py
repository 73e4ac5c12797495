"""What a network answers when variables are interchanged between pairs of inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.knockouts.abstraction.aligned_variable import (
    AlignedVariable,
    check_tokens,
    rule_for,
    source_values,
)
from mrinterp.knockouts.abstraction.class_scores import ClassScores
from mrinterp.knockouts.bench import Bench
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
    folder: Path | None = None,
) -> InterchangeAnswers:
    """Run every pair under every alignment: base inputs (M,), sources (M, V), one column per variable.

    Finished shards are kept in ``folder``, where one is given.
    """
    flat = [a for arm in alignments for a in arm]
    for a in flat:
        adapter.check(a.site)
    for column, a in enumerate(alignments[0]):
        check_tokens(inputs, rule_for(inputs, a.rule), base, source[:, column])
    read = iter(source_values(adapter, inputs, flat, block))
    values = [[next(read)[source[:, v]] for v in range(len(arm))] for arm in alignments]
    sites = list(dict.fromkeys(a.site for a in flat))

    def edit_at(site: str, arm: Rows, pair: Rows, seen: dict[str, Array]) -> Edit:
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
                    for name, size in (("own", a.view.read(part, at) - value), ("largest", value)):
                        worst = size.abs().flatten(1).amax(1).double().cpu().numpy()
                        seen[name][chosen] = np.maximum(seen[name][chosen], worst)
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
        folder=folder,
    )

    def work(index: Rows) -> dict[str, NDArray]:
        arm, pair = np.divmod(index, bench.prompts)
        seen = {"own": np.zeros(len(index)), "largest": np.zeros(len(index))}
        edits = {site: edit_at(site, arm, pair, seen) for site in sites}
        return {"outcome": bench.run_block(pair, edits, "interchange", index)[0], **seen}

    key = "" if folder is None else _key(bench, alignments, values, inputs, base)
    found = bench.sharded(len(alignments), work, "interchange", key)
    scores = found["outcome"].reshape(len(alignments), bench.prompts, -1)
    read_back, largest = (found[n].reshape(len(alignments), -1).max(axis=1) for n in ("own", "largest"))
    noise = bench.noise_floor()
    top = np.sort(scores, axis=-1)
    undecided = (top[..., -1] - top[..., -2] <= noise).mean(axis=1)
    codes, clean = classes.decode(scores), classes.decode(bench.clean)
    return InterchangeAnswers(codes, read_back, largest, undecided, clean, noise)


def _key(
    bench: Bench,
    alignments: Sequence[Sequence[AlignedVariable]],
    values: Sequence[Sequence[torch.Tensor]],
    inputs: ModelInputs,
    base: Rows,
) -> str:
    """Digest of all that a run depends on: the network by its clean scores, the alignments by what they take
    from the sources and by what the first block of base inputs is changed to."""
    made = hashlib.sha256(bench.clean.tobytes())
    given = inputs.take(base[: bench.block])
    sites = list(dict.fromkeys(a.site for arm in alignments for a in arm))
    with torch.inference_mode():
        held = bench.adapter.run(given.tensors, read=sites).activations
        for arm, taken in zip(alignments, values, strict=True):
            for a, value in zip(arm, taken, strict=True):
                at = given.at(rule_for(inputs, a.rule))
                written = a.view.write(held[a.site], value[: len(given)].to(held[a.site].device), at)
                made.update(f"{a.site}|{rule_for(inputs, a.rule)}|".encode())
                for tensor in (value, written):
                    made.update(tensor.double().cpu().numpy().tobytes())
    return made.hexdigest()


def _first_site(adapter: Adapter, aligned: Sequence[AlignedVariable], inputs: ModelInputs) -> str:
    """The site that a run reaches first: edited runs begin before it."""
    sites = list(dict.fromkeys(a.site for a in aligned))
    if len(sites) == 1:
        return sites[0]
    order = site_order(adapter, inputs.take(np.arange(1)).tensors)
    return min(sites, key=lambda site: order.get(site, 0))
