"""The bench that every knockout is run on: inputs with their clean values and outcomes, and edited runs."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from mrinterp.adapters._adapter import Adapter, Edit
from mrinterp.adapters._kept_activations import IN_MEMORY, KeptActivations
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._site_order import refuse_lost, site_order
from mrinterp.core.errors import InputError
from mrinterp.features._feature_view import FeatureView
from mrinterp.knockouts._bench_digest import bench_digest
from mrinterp.knockouts._sweep import CHECKED, Sweep, Swept
from mrinterp.models._resumption import Resumption
from mrinterp.outcomes._outcome import Outcome, Sampling
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.positions import MEAN_OF_TOKENS, AllTokens, Position, SpanMask, TokenClass
from mrinterp.scan._reader import sharded

__all__ = ["CHECKED", "Bench", "Swept"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]
EditRows = Callable[[Rows, Rows], Mapping[str, Edit]]
"""Edits of a block, by site: given the arm and the prompt (both (n,)) of each of its runs."""


class Bench:
    """P inputs of a network, a view of F features at one site, and what the outcomes are without edits.

    Parameters
    ----------
    adapter : Adapter
    site : str
        Where the features are read and written.
    view : FeatureView
    inputs : ModelInputs
        The P prompts.
    outcome : Outcome or OutcomeSet
        One with a method ``take`` (a label, a continuation, the clean run's logits) is handed the
        rows of each block.
    rule : Position, optional
        Default: the mean over tokens where there are tokens. `AllTokens` gives every token a value of
        its own: values are then (P, T, F).
    family : array (P,), optional
        The cluster of all errors; default every prompt its own.
    prompt : array (P,), optional
        Names of the prompts in tables; default their numbers.
    block : int
        Runs per forward pass. Part of the result in the last bits, so part of the plan.
    sampling : Sampling, optional
        Makes every outcome a sampled one; draws are keyed by sweep and run.
    folder : Path, optional
        Where finished shards of long sweeps are kept, so that a kill costs little.
    first : str, optional
        The earliest site that will be edited, where it comes before ``site``.

    Raises
    ------
    InputError
        For families that do not match, a block of none, or a rule that reads but cannot write.

    Notes
    -----
    Edited runs begin at the layer before the first edited site wherever that equals a full run bit
    for bit (tried on every clean block).
    """

    def __init__(
        self,
        adapter: Adapter,
        site: str,
        view: FeatureView,
        inputs: ModelInputs,
        outcome: Outcome | OutcomeSet,
        *,
        rule: Position | None = None,
        family: ArrayLike | None = None,
        prompt: ArrayLike | None = None,
        block: int = 64,
        sampling: Sampling | None = None,
        folder: Path | None = None,
        first: str | None = None,
    ) -> None:
        if isinstance(rule, SpanMask):  # a mask of the whole batch, kept with the inputs to be taken apart
            inputs, rule = _with_span(inputs, rule), TokenClass(1)
        if not isinstance(block, int | np.integer) or block < 1:
            raise InputError(
                "block", f"{block!r}", "Give a whole number of runs per forward pass, at least one"
            )
        self.adapter, self.site, self.view, self.inputs = adapter, site, view, inputs
        self.block, self.folder = block, folder
        self.outcome = _outcome_set(outcome, sampling)
        self.rule = MEAN_OF_TOKENS if rule is None and inputs.mask is not None else rule
        self.each = isinstance(self.rule, AllTokens)
        self.prompts, self.features = len(inputs), len(view.names)
        names = {"family": family, "prompt": prompt}
        columns = {k: np.arange(self.prompts) if v is None else np.asarray(v) for k, v in names.items()}
        for name, column in columns.items():
            if column.shape != (self.prompts,):
                found = f"shape {column.shape} for {self.prompts} prompts"
                raise InputError(name, found, "Give every prompt one")
            missing = np.flatnonzero(pd.isna(column))
            if len(missing):
                raise InputError(
                    f"{name} of prompt {missing[0]}", f"{column[missing[0]]}", "Give every prompt one"
                )
        self.family = columns["family"]
        self.table = pd.DataFrame({"prompt": columns["prompt"], "family": self.family})
        if self.rule is not None and self.rule.pooling == "max":
            raise InputError(
                "position rule",
                "a maximum over tokens can be read but not written",
                "Knock out at a token, a class, a span, the mean or all tokens",
            )
        self.first = first
        self._resumption = Resumption.before(adapter, first or site)
        self._clean_pass()

    @property
    def resumes(self) -> bool:
        """Whether edited runs begin at the layer before the site."""
        return self._start is not None

    @cached_property
    def order(self) -> dict[str, int]:
        """Place of every site in the order in which a run fills it (empty where it cannot be known)."""
        return site_order(self.adapter, self.inputs.take(np.arange(1)).tensors)

    @cached_property
    def digest(self) -> str:
        """Hash of everything that edited runs depend on: see `bench_digest`."""
        return bench_digest(self)

    def viewing(self, view: FeatureView) -> Bench:
        """The same bench with other features of the site, its clean pass run again: random controls.

        Shards lie in a folder of their own.
        """
        name = f"features-{hashlib.sha256(repr(view.names).encode()).hexdigest()[:16]}"
        return Bench(
            self.adapter,
            self.site,
            view,
            self.inputs,
            self.outcome,
            rule=self.rule,
            family=self.family,
            prompt=self.table["prompt"],
            block=self.block,
            folder=None if self.folder is None else self.folder / name,
            first=self.first,
        )

    def subset(self, rows: Rows) -> Bench:
        """The same bench with some of the prompts, its clean pass run again.

        Shards lie in a folder of its own; sampled outcomes are drawn anew, with noise of its own.
        """
        rows = np.asarray(rows)
        name = hashlib.sha256(rows.astype(np.int64).tobytes()).hexdigest()[:16]
        return Bench(
            self.adapter,
            self.site,
            self.view,
            self.inputs.take(rows),
            self.outcome_of(rows).redrawn(int(name[:8], 16)),
            rule=self.rule,
            family=self.family[rows],
            prompt=self.table["prompt"].to_numpy()[rows],
            block=self.block,
            folder=None if self.folder is None else self.folder / f"prompts-{name}",
            first=self.first,
        )

    def _clean_pass(self) -> None:
        """Values (P, F) or (P, T, F), outcomes (P, O), and activations to start edited runs from."""
        values, outcomes, drawn = [], [], []
        resumption = None if self.outcome.generated else self._resumption
        starts = KeptActivations(self.prompts)
        for a in range(0, self.prompts, self.block):
            rows = np.arange(a, min(a + self.block, self.prompts))
            inputs, outcome = self.inputs.take(rows), self.outcome_of(rows)
            with torch.inference_mode():
                run = self.adapter.run(inputs.tensors, read=[self.site])
                read = self.view.read(run.activations[self.site], inputs.at(self.rule))
            self.dtype = run.activations[self.site].dtype
            values.append(read.double().cpu().numpy())
            outcomes.append(outcome.values(self.adapter, inputs, run.output, {}, None))
            drawn.append(outcome.values(self.adapter, inputs, run.output, {}, (_stream("clean"), rows)))
            start = None if resumption is None else resumption.activation(inputs, outcome)
            if start is None:
                resumption = None
            else:
                starts.put(a, start)
        flat = np.concatenate(values)
        self.values = flat.reshape(self.prompts, -1, self.features) if self.each else flat
        self.computed = np.concatenate(outcomes)
        self.clean = np.concatenate(drawn)
        self._start = starts if resumption is not None else None

    @property
    def sampled(self) -> bool:
        """Whether some outcome is drawn, so that two runs of one prompt differ."""
        return self.outcome.sampled

    def outcome_of(self, rows: Rows) -> OutcomeSet:
        """The outcomes of some of the prompts."""
        return self.outcome.take(rows)

    def activations(self, sites: list[str], inputs: ModelInputs | None = None) -> dict[str, KeptActivations]:
        """Clean activations of other sites, (P, ...) each, to be written back; of other ``inputs`` where given."""
        given = self.inputs if inputs is None else inputs
        kept = {site: KeptActivations(len(given), IN_MEMORY // max(len(sites), 1)) for site in sites}
        for a in range(0, len(given), self.block):
            block = given.take(np.arange(a, min(a + self.block, len(given))))
            with torch.inference_mode():
                run = self.adapter.run(block.tensors, read=sites)
            for site in sites:
                kept[site].put(a, run.activations[site])
        return kept

    # -- edited runs ------------------------------------------------------------------------------

    def run(self, arms: int, edits: EditRows, what: str, key: str = "") -> Array:
        """Outcomes (A, P, O) of A arms, each run on every prompt.

        Parameters
        ----------
        arms : int
        edits : callable
            ``edits(arm, prompt)`` gives the edits, by site, of a block of runs. The result may depend on
            nothing but a run's own arm and prompt.
        what : str
            Words of the progress bar; with ``key`` the name under which finished shards are kept and
            the stream of a sampled outcome's draws.
        key : str
            Digest of everything that ``edits`` depends on.

        Raises
        ------
        InputError
            For an edit at a site before the one that edited runs begin at.
        """

        def work(index: Rows) -> dict[str, NDArray]:
            arm, prompt = np.divmod(index, self.prompts)
            made = edits(arm, prompt)
            if self._start is not None and self._resumption is not None:
                refuse_lost(made, self.order, self._resumption.layer)
            return {"outcome": self.run_block(prompt, made, what, index)[0]}

        return self.sharded(arms, work, what, key)["outcome"].reshape(arms, self.prompts, -1)

    def sweep(self, features: NDArray[np.int_], values: Array, what: str) -> Swept:
        """Write values into features, arm by arm, everything else at the site held.

        Parameters
        ----------
        features : ndarray (A, k) of int
            The features that each arm writes; -1 where it writes fewer than k.
        values : ndarray (A, k, P), or (A, k, P, T) where every token has its own
            What is written; nan leaves the feature as it is on that prompt (or token).
        what : str
            Words of the progress bar.

        Raises
        ------
        InputError
            For shapes that do not match, or a feature that the view does not have.
        """
        work = Sweep(self, features, values, what)
        A = len(work.features)
        read = self.sharded(A, work, what, work.key)
        worst = [read[k].reshape(A, self.prompts).max(axis=1, initial=0.0) for k in ("own", "other")]
        return Swept(read["outcome"].reshape(A, self.prompts, -1), *worst)

    def begun(self, prompt: Rows) -> AbstractContextManager[None]:
        """Inside the block, runs of these prompts begin at the layer before the first edited site,
        where that equals a full run."""
        if self._start is None or self._resumption is None:
            return nullcontext()
        return self._resumption.begin(self._start.take(prompt))

    def read(self, inputs: ModelInputs) -> Array:
        """Values of the features on other inputs, shaped as ``values``: donors, counterfactuals."""
        parts = []
        for a in range(0, len(inputs), self.block):
            block = inputs.take(np.arange(a, min(a + self.block, len(inputs))))
            with torch.inference_mode():
                h = self.adapter.run(block.tensors, read=[self.site]).activations[self.site]
            parts.append(self.read_view(self.view, h, block.at(self.rule)))
        return np.concatenate(parts)

    def noise_floor(self) -> float:
        """The largest of `noise_floors`."""
        return float(self.noise_floors().max())

    def noise_floors(self) -> Array:
        """Largest difference (O,) of each outcome between identical runs of the first block: smaller effects
        are not measurable. Batches are composed differently the second time, as they are in sweeps."""
        rows = np.arange(min(self.block, self.prompts))
        first = self.run_block(rows, {}, "noise floor", rows)[0]
        turned = np.ascontiguousarray(rows[::-1])
        back = self.run_block(turned, {}, "noise floor, again", turned)[0][::-1]
        return np.asarray(np.abs(first - back).max(axis=0))

    def run_block(
        self, prompt: Rows, edits: Mapping[str, Edit], what: str, index: Rows, read: bool = False
    ) -> tuple[Array, Any]:
        """Outcomes (n, O) of one block of runs, numbered ``index``, and with ``read`` what the site then holds."""
        inputs = self.inputs.take(prompt)
        with torch.inference_mode(), self.begun(prompt):
            run = self.adapter.run(inputs.tensors, read=[self.site] if read else [], write=dict(edits))
        draw = (_stream(what), index)
        values = self.outcome_of(prompt).values(self.adapter, inputs, run.output, edits, draw)
        return values, run.activations.get(self.site)

    def read_view(self, view: FeatureView, h: torch.Tensor, positions: Any) -> Array:
        """Values of features in activations of the site, shaped as rows of ``values``."""
        with torch.inference_mode():
            read = view.read(h, positions).double().cpu().numpy()
        return read.reshape(len(read), -1, len(view.names)) if self.each else read

    def sharded(
        self, arms: int, work: Callable[[Rows], dict[str, NDArray]], what: str, key: str
    ) -> dict[str, NDArray]:
        """Any work over the runs of A arms, run ``arm * prompts + prompt`` by number, block by block; its
        finished shards are kept under ``what`` and ``key`` where the bench has a folder, and found again by
        a bench of the same `digest` alone."""
        folder = None
        if self.folder is not None:
            name = hashlib.sha256(f"{self.digest} {key}".encode()).hexdigest()
            folder = self.folder / f"{what.replace(' ', '_')}-{name[:16]}"
        return sharded(
            arms * self.prompts, self.block, lambda a, b: work(np.arange(a, b)), folder, f"knockout: {what}"
        )


def _stream(what: str) -> int:
    """Stream of a sampled outcome's draws, one per sweep."""
    return zlib.crc32(what.encode())


def _with_span(inputs: ModelInputs, rule: SpanMask) -> ModelInputs:
    if inputs.mask is None:
        raise InputError("position rule", f"{rule} on inputs without a token axis", "Leave the rule out")
    chosen = rule.select(inputs.mask.bool(), None)
    classes = torch.where(inputs.mask.bool(), chosen.long(), -1)
    return replace(inputs, classes=classes, class_names=("outside", "span"))


def _outcome_set(outcome: Outcome | OutcomeSet, sampling: Sampling | None) -> OutcomeSet:
    parts = outcome.parts if isinstance(outcome, OutcomeSet) else (outcome,)
    if sampling is None:
        return outcome if isinstance(outcome, OutcomeSet) else OutcomeSet(parts)
    return OutcomeSet(parts, [replace(sampling, number=i) for i in range(len(parts))])
