"""What a network answers when variables are interchanged between pairs of inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.abstraction._abstraction_task import AbstractionTask
from mrinterp.abstraction._aligned_variable import (
    AlignedVariable,
    check_tokens,
    position_for,
    source_values,
)
from mrinterp.adapters._adapter import Adapter, Edit
from mrinterp.adapters._site_order import site_order
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._outcome_rope import resolutions

__all__ = ["InterchangeAnswers", "interchange_answers"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]


@dataclass(frozen=True, eq=False)
class InterchangeAnswers:
    """Answers under A alignments.

    ``codes`` (A, M) of the answered classes; ``read_back`` (A,) and ``largest`` (A,) value written;
    ``undecided`` (A,) share of pairs within the repeat-run ``noise`` of a score; ``clean`` (M,) answers;
    ``rounding`` of the activations that are written, relative.
    """

    codes: Rows
    read_back: Array
    largest: Array
    undecided: Array
    clean: Rows
    noise: float
    rounding: float


def interchange_answers(
    adapter: Adapter,
    task: AbstractionTask,
    alignments: Sequence[Sequence[AlignedVariable]],
    base: Rows,
    source: Rows,
    block: int = 64,
    folder: str | Path | None = None,
) -> InterchangeAnswers:
    """Run every pair under every alignment: base inputs (M,), sources (M, V), one column per variable.

    Finished shards are kept in ``folder``, where one is given.
    """
    for a in (a for arm in alignments for a in arm):
        adapter.check(a.site)
    for column, a in enumerate(alignments[0]):
        check_tokens(task.inputs, position_for(task.inputs, a.position), base, source[:, column])
    writer = _Writer(adapter, task, alignments, base, source, block)
    bench = writer.bench(block, folder)

    def work(index: Rows) -> dict[str, NDArray]:
        arm, pair = np.divmod(index, bench.prompts)
        seen = {"own": np.zeros(len(index)), "largest": np.zeros(len(index))}
        edits = writer.edits(arm, pair, seen)
        return {"outcome": bench.run_block(pair, edits, "interchange", index)[0], **seen}

    key = "" if folder is None else writer.key(bench)
    found = bench.sharded(len(alignments), work, "interchange", key)
    scores = found["outcome"].reshape(len(alignments), bench.prompts, -1)
    read_back, largest = (found[n].reshape(len(alignments), -1).max(axis=1) for n in ("own", "largest"))
    noise = float(resolutions(bench).max())
    top = np.sort(scores, axis=-1)
    undecided = (top[..., -1] - top[..., -2] <= noise).mean(axis=1)
    codes, clean = task.classes.decode(scores), task.classes.decode(bench.clean)
    return InterchangeAnswers(codes, read_back, largest, undecided, clean, noise, writer.rounding())


class _Writer:
    """Writes into base inputs what each alignment takes from their sources, and reads it again."""

    def __init__(
        self,
        adapter: Adapter,
        task: AbstractionTask,
        alignments: Sequence[Sequence[AlignedVariable]],
        base: Rows,
        source: Rows,
        block: int,
    ) -> None:
        self.adapter, self.task, self.alignments, self.base = adapter, task, alignments, base
        self.flat = [a for arm in alignments for a in arm]
        self.sites = list(dict.fromkeys(a.site for a in self.flat))
        taken = iter(source_values(adapter, task.inputs, self.flat, block))
        self.values = [[next(taken)[source[:, v]] for v in range(len(arm))] for arm in alignments]

    def bench(self, block: int, folder: str | Path | None) -> Bench:
        """The base inputs at the site that a run reaches first: edited runs begin before it."""
        order: dict[str, int] = {}
        if len(self.sites) > 1:
            order = site_order(self.adapter, self.task.inputs.take(np.arange(1)).tensors)
        first = min(self.flat, key=lambda a: order.get(a.site, 0))
        return Bench(
            self.adapter,
            first.site,
            first.view,
            self.task.inputs.take(self.base),
            self.task.classes,
            position=first.position,
            family=self.task.families[self.base],
            block=block,
            folder=None if folder is None else Path(folder),
        )

    def rounding(self) -> float:
        """Relative rounding of the coarsest activation that is written."""
        with torch.inference_mode():
            run = self.adapter.run(self.task.inputs.take(np.arange(1)).tensors, read=self.sites)
        return max(float(torch.finfo(h.dtype).eps) for h in run.activations.values())

    def edits(self, arm: Rows, pair: Rows, seen: dict[str, Array]) -> dict[str, Edit]:
        """Edits of a block of runs; largest read-back errors and values written go into ``seen``."""
        return {site: partial(self._edited, site, arm, pair, seen) for site in self.sites}

    def _edited(
        self, site: str, arm: Rows, pair: Rows, seen: dict[str, Array], h: torch.Tensor
    ) -> torch.Tensor:
        h = h.clone()
        for k in np.unique(arm):
            chosen = np.flatnonzero(arm == k)
            rows = torch.from_numpy(chosen).to(h.device)
            h[rows], own, largest = self._written(
                site, self.alignments[k], self.values[k], pair[chosen], h[rows]
            )
            seen["own"][chosen] = np.maximum(seen["own"][chosen], own)
            seen["largest"][chosen] = np.maximum(seen["largest"][chosen], largest)
        return h

    def _written(
        self,
        site: str,
        arm: Sequence[AlignedVariable],
        values: Sequence[torch.Tensor],
        pair: Rows,
        h: torch.Tensor,
    ) -> tuple[torch.Tensor, Array, Array]:
        """Runs of one alignment: the activation, and per run the read-back error and the largest value."""
        given = self.task.inputs.take(self.base[pair])
        here = [
            (a.view, given.at(position_for(given, a.position)), value[pair].to(h.device))
            for a, value in zip(arm, values, strict=True)
            if a.site == site
        ]
        own, largest = np.zeros(len(pair)), np.zeros(len(pair))
        for view, places, value in here:
            h = view.write(h, value, places)
        for view, places, value in here:
            own = np.maximum(own, _largest(view.read(h, places) - value))
            largest = np.maximum(largest, _largest(value))
        return h, own, largest

    def key(self, bench: Bench) -> str:
        """Digest of all that a run depends on: the network by its clean scores, the alignments by what they
        take from the sources and by what the first block of base inputs is changed to."""
        made = hashlib.sha256(bench.clean.tobytes())
        given = bench.inputs.take(np.arange(min(bench.block, bench.prompts)))
        with torch.inference_mode():
            held = self.adapter.run(given.tensors, read=self.sites).activations
            for arm, taken in zip(self.alignments, self.values, strict=True):
                for a, value in zip(arm, taken, strict=True):
                    at = given.at(position_for(given, a.position))
                    written = a.view.write(held[a.site], value[: len(given)].to(held[a.site].device), at)
                    made.update(f"{a.site}|{position_for(given, a.position)}|".encode())
                    for tensor in (value, written):
                        made.update(tensor.double().cpu().numpy().tobytes())
        return made.hexdigest()


def _largest(values: torch.Tensor) -> Array:
    """Largest size (n,) in every run."""
    return np.asarray(values.abs().flatten(1).amax(1).double().cpu().numpy())
