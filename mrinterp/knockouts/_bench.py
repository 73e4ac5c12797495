"""The bench that every knockout is run on: inputs with their clean values and outcomes, and edited runs."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from mrinterp.adapters._adapter import Adapter, Edit
from mrinterp.adapters._held_activations import same_bits
from mrinterp.adapters._input_checks import check_inputs
from mrinterp.adapters._kept_activations import IN_MEMORY, KeptActivations
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._paired_sites import PairedSites
from mrinterp.adapters._site_order import refuse_lost, site_order
from mrinterp.adapters._site_output import first_tensor
from mrinterp.core.checks import checked_count
from mrinterp.core.errors import InputError
from mrinterp.features._feature_view import FeatureView
from mrinterp.features._sae_settings import check_sae_use
from mrinterp.features._transcoder import TranscoderView
from mrinterp.features._transcoder_weights import PairedLatents, at_pair
from mrinterp.knockouts._bench_arguments import one_per_prompt, outcome_set, stream, with_span
from mrinterp.knockouts._bench_from_model import FromModel
from mrinterp.knockouts._edited_runs import EditedRuns, Sweep
from mrinterp.models._resumption import Resumption, far_values
from mrinterp.models._site_heads import check_heads
from mrinterp.models._trimmed_runs import TrimmedRuns
from mrinterp.outcomes._outcome import Outcome, Sampling
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.positions import MEAN_OF_TOKENS, EachToken, Position, SpanMask, TokenClass
from mrinterp.scan._reader import sharded_groups

__all__ = ["Bench"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]
EditRows = Callable[[Rows, Rows], Mapping[str, Edit]]
"""Edits of a block, by site: given the arm and the prompt (both (n,)) of each of its runs."""


class Bench(FromModel):
    """P inputs of a network, a view of F features at one site, and what the outcomes are without edits.

    Parameters
    ----------
    adapter : Adapter
        The network: see `mrinterp.adapters`.
    site : str
        Where the features are read and written (of a `TranscoderView`, written); ``adapter.sites()`` names them all.
    view : FeatureView or TranscoderView
        What the features are, as directions, units or latents of the site: see `mrinterp.features`.
    inputs : ModelInputs
        The P prompts.
    outcome : Outcome or OutcomeSet
        What is measured on every run: see `mrinterp.outcomes`. One with a method ``take`` (a label, a
        continuation, the clean run's logits) is handed the rows of each block.
    position : Position, optional
        The tokens that features are read and written at: see `mrinterp.positions`. Default: the mean over
        tokens where there are tokens. `AllTokens` gives every token a value of its own: values are then
        (P, T, F).
    family : array (P,), optional
        The cluster of all errors; default every prompt its own.
    prompt : array (P,), optional
        Names of the prompts in tables; default their numbers.
    block : int
        Runs per forward pass. Part of the result in the last bits, so part of the plan.
    sampling : Sampling, optional
        Makes every outcome a sampled one; draws are keyed by sweep and run.
    folder : Path, optional
        Where finished shards of long sweeps are kept, so that an interrupted run continues where it stopped.
    first : str, optional
        The earliest site that will be edited, where it comes before ``site``.

    Attributes
    ----------
    values : ndarray (P, F) or (P, T, F)
        Clean values of the features.
    clean, computed : ndarray (P, O)
        Outcomes without edits: as drawn where an outcome is sampled, and as computed.
    digest : str
        Hash of everything that edited runs depend on.

    Raises
    ------
    InputError
        For families or names of prompts that do not match the inputs, a block below one, a position that
        can be read but not written (the maximum over tokens), heads that the site does not hold, or inputs that the
        network cannot be right on (longer than its positions, padded on the left where positions are counted from
        the padding, random numbers drawn in every pass).

    Notes
    -----
    Edited runs begin at the layer before the first edited site wherever that equals a full run bit
    for bit (tried on every clean block).

    Examples
    --------
    >>> import mrinterp
    >>> world = mrinterp.worlds.gated_world(families=10)
    >>> mrinterp.knockouts.Bench(world.adapter, world.site, world.view, world.inputs, world.outcome)
    Bench(site='units', features=5, outcomes=1, prompts=40, families=40)
    """

    def __init__(
        self,
        adapter: Adapter,
        site: str,
        view: FeatureView | TranscoderView,
        inputs: ModelInputs,
        outcome: Outcome | OutcomeSet,
        *,
        position: Position | None = None,
        family: ArrayLike | None = None,
        prompt: ArrayLike | None = None,
        block: int = 64,
        sampling: Sampling | None = None,
        folder: Path | None = None,
        first: str | None = None,
    ) -> None:
        if isinstance(position, SpanMask):  # of the whole batch: kept with the inputs, to be taken apart
            inputs, position = with_span(inputs, position), TokenClass(1)
        self.adapter, self.site, self.view = at_pair(adapter, site, view, inputs)
        self.inputs = inputs
        adapter, site = self.adapter, self.site
        self.block, self.folder = checked_count(block, "block", unit="runs per forward pass"), folder
        self.outcome = outcome_set(outcome, sampling)
        self.position = MEAN_OF_TOKENS if position is None and inputs.mask is not None else position
        self.each = getattr(self.position, "pooling", "") == "each"
        self.prompts, self.features = len(inputs), len(self.view.names)
        self.family = one_per_prompt(family, "family", self.prompts)
        named = one_per_prompt(prompt, "prompt", self.prompts)
        self.table = pd.DataFrame({"prompt": named, "family": self.family})
        if self.position is not None and self.position.pooling == "max":
            raise InputError(
                "position",
                "a maximum over tokens can be read but not written",
                "Knock out at a token, a class, a span, the mean or all tokens",
            )
        self.first = first
        check_heads(self.view, adapter, site)
        check_inputs(adapter, site, inputs, self.outcome.new_tokens)
        check_sae_use(self.view, adapter, site, inputs, self.position)
        self._resumption = Resumption.before(adapter, first or site)
        self._runs = TrimmedRuns(adapter, site, inputs, self.outcome, self.block)
        self._clean_pass()

    def __repr__(self) -> str:
        families = len(np.unique(self.family))
        return (
            f"Bench(site={self.site!r}, features={self.features}, outcomes={len(self.outcome.names)},"
            f" prompts={self.prompts}, families={families})"
        )

    @cached_property
    def by_token(self) -> Bench:
        """The same bench, each token of its position by itself: values (P, T, F), zero where it selects nothing.

        This one where that is so already; else one more pass over the clean inputs.
        """
        if self.each or self.position is None:
            return self
        made = copy.copy(self)
        for name in ("by_token", "digest"):  # what is remembered of a bench, and is another for this one
            made.__dict__.pop(name, None)
        made.position, made.each = EachToken(self.position), True
        made.values = made.read(self.inputs)
        return made

    @cached_property
    def _pair(self) -> PairedSites | None:
        """The two sites of a transcoder; None where features are read where they are written."""
        adapter = self.adapter
        return adapter if isinstance(adapter, PairedSites) and self.site == adapter.site else None

    @property
    def writes(self) -> str:
        """The site that edits change: ``site``, but for a transcoder, whose latents are read elsewhere."""
        return self.site if self._pair is None else self._pair.writes

    def written_part(self, h: torch.Tensor) -> torch.Tensor:
        """What the site that edits change holds, of an activation of ``site``."""
        return h if self._pair is None else self._pair.written_part(h)

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
        """SHA-256 of everything that edited runs depend on: network, inputs, features as read and written,
        outcomes. Finished shards of one bench must not be taken for those of another."""
        h = hashlib.sha256(self.adapter.hash.encode())
        plain = (self.site, self.first, str(self.position), self.block, self.view.names, self.outcome.names)
        h.update(repr((*plain, self.outcome.sampling)).encode())
        masks = {"the mask": self.inputs.mask, "the classes": self.inputs.classes}
        for name, tensor in sorted({**self.inputs.tensors, **masks}.items()):
            if tensor is not None:
                h.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
                h.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        for values in (self.values, self.computed, self.clean, self._one_unit_more(), self._runs.like.length):
            h.update(np.ascontiguousarray(values).tobytes())
        return h.hexdigest()

    def _one_unit_more(self) -> Array:
        """The first input's activation with every feature moved by one unit: how the view writes."""
        inputs = self.inputs.take(np.arange(1))
        with torch.inference_mode():
            h = self.adapter.run(inputs.tensors, read=[self.site]).activations[self.site]
            wanted = torch.from_numpy(self.values[:1].reshape(1, -1) + 1.0).to(h.device)
            return np.asarray(self.view.write(h, wanted, inputs.at(self.position)).double().cpu().numpy())

    def viewing(self, view: FeatureView | TranscoderView) -> Bench:
        """The same bench with other features of the site, its clean pass run again: random controls.

        Shards lie in a folder of their own.
        """
        name = f"features-{hashlib.sha256(repr(view.names).encode()).hexdigest()[:16]}"
        return self._with(view, np.arange(self.prompts), self.inputs, self.outcome, name)

    def subset(self, rows: Rows) -> Bench:
        """The same bench with some of the prompts, its clean pass run again.

        Shards lie in a folder of its own; sampled outcomes are drawn anew, with noise of its own.
        """
        rows = np.asarray(rows)
        name = hashlib.sha256(rows.astype(np.int64).tobytes()).hexdigest()[:16]
        outcome = self.outcome_of(rows).redrawn(int(name[:8], 16))
        return self._with(self.view, rows, self.inputs.take(rows), outcome, f"prompts-{name}")

    def _with(
        self,
        view: FeatureView | TranscoderView,
        rows: Rows,
        inputs: ModelInputs,
        outcome: OutcomeSet,
        folder: str,
    ) -> Bench:
        paired = isinstance(getattr(view, "view", view), PairedLatents) or isinstance(view, TranscoderView)
        adapter, site = self.adapter, self.site
        if self._pair is not None and not paired:  # features of the site that is written alone
            adapter, site = self._pair.inner, self._pair.writes
        return Bench(
            adapter,
            site,
            view,
            inputs,
            outcome,
            position=self.position,
            family=self.family[rows],
            prompt=self.table["prompt"].to_numpy()[rows],
            block=self.block,
            folder=None if self.folder is None else self.folder / folder,
            first=self.first,
        )

    def _clean_pass(self) -> None:
        """Values (P, F) or (P, T, F), outcomes (P, O), and activations to start edited runs from."""
        resumption = None if self.outcome.generated else self._resumption
        starts, values, outcomes, drawn = KeptActivations(self.prompts), [], [], []
        also: list[
            str
        ] = []  # the layer before the site, once the first block has shown that runs can begin there
        for rows, inputs, full in self._runs.clean(self.inputs, [self.site], also):
            run = self._runs.lengthened(full, inputs, self.inputs)
            h, outcome = run.activations[self.site], self.outcome_of(rows)
            self.dtype = h.dtype
            values.append(self.read_view(self.view, h, self.inputs.take(rows).at(self.position)))
            outcomes.append(outcome.values(self.adapter, inputs, run.output, {}, None))
            drawn.append(outcome.values(self.adapter, inputs, run.output, {}, (stream("clean"), rows)))
            start = None if resumption is None else resumption.activation(inputs, outcome, full)
            start = None if start is None else self._runs.start(start, inputs)
            if start is None or resumption is None:
                resumption = None
            else:
                starts.put(rows, start)
                also[:] = [resumption.layer] if self._pair is None else []
        self.values, self.computed, self.clean = map(self._runs.like.restored, (values, outcomes, drawn))
        self._start = starts if resumption is not None else None

    @cached_property
    def site_is_read(self) -> bool:
        """Whether a large edit of the whole site changes anything on the first block: an outcome or the network's output.

        A module may return several things of which the network uses another one than the site.
        """
        rows = np.arange(min(self.block, self.prompts))
        inputs, computed = self.inputs.take(rows), self.outcome_of(rows).computed
        with torch.inference_mode(), self.begun(rows):
            clean, edited = (
                self.adapter.run(inputs.tensors, write=write).output
                for write in ({}, {self.site: far_values})
            )
            mask = inputs.mask_or_ones
            if not same_bits(computed(clean, mask), computed(edited, mask)):
                return True
            try:
                return not same_bits(first_tensor(clean, "output"), first_tensor(edited, "output"))
            except InputError:
                return False

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
        for rows, short, full in self._runs.clean(given, sites):
            run = self._runs.lengthened(full, short, given)
            for site in sites:
                kept[site].put(rows, run.activations[site])
        return kept

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

    def sweep(self, features: NDArray[np.int_], values: Array, what: str) -> EditedRuns:
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
        return EditedRuns(read["outcome"].reshape(A, self.prompts, -1), *worst)

    def begun(self, prompt: Rows, inputs: ModelInputs | None = None) -> AbstractContextManager[None]:
        """Runs of these prompts begin at the layer before the first edited site, where that equals a full run."""
        if self._start is None or self._resumption is None:
            return nullcontext()
        tokens = None if inputs is None or inputs.mask is None else inputs.mask.shape[1]
        whole = (
            self.inputs.mask is None or tokens == self.inputs.mask.shape[1]
        )  # a map's second axis is channels
        return self._resumption.begin(self._start.take(prompt, None if whole else tokens))

    def read(self, inputs: ModelInputs) -> Array:
        """Values of the features on other inputs, shaped as ``values``: donors, counterfactuals."""
        held = self._at_site(inputs)
        parts = [self.read_view(self.view, h, inputs.take(rows).at(self.position)) for rows, h in held]
        return self._runs.groups(inputs).restored(parts)

    def _at_site(self, inputs: ModelInputs) -> Iterator[tuple[Rows, torch.Tensor]]:
        """Clean activations of the site, block by block: those that edited runs begin with, where these are of the site."""
        if inputs is self.inputs and self._start is not None and self._begins_at_site:
            for rows in self._runs.groups(inputs).blocks(self.block):
                yield rows, self._start.take(rows)
            return
        for rows, short, full in self._runs.clean(inputs, [self.site]):
            yield rows, self._runs.lengthened(full, short, inputs).activations[self.site]

    @property
    def _begins_at_site(self) -> bool:
        return self._resumption is not None and self._resumption.layer == self.site

    def noise_floor(self) -> float:
        """The largest of `noise_floors`."""
        return float(self.noise_floors().max())

    def noise_floors(self) -> Array:
        """Largest difference (O,) of each outcome between identical runs of the first block: smaller effects
        are not measurable. Batches are composed differently the second time, as they are in sweeps, and have other
        lengths than in the clean pass."""
        rows = np.arange(min(self.block, self.prompts))
        first = self.run_block(rows, {}, "noise floor", rows)[0]
        turned = np.ascontiguousarray(rows[::-1])
        back = self.run_block(turned, {}, "noise floor, again", turned)[0][::-1]
        clean = np.where(np.isin(self.outcome.names, self.outcome.sampled_names), back, self.computed[rows])
        return np.asarray(np.maximum(np.abs(first - back), np.abs(first - clean)).max(axis=0))

    def run_block(
        self, prompt: Rows, edits: Mapping[str, Edit], what: str, index: Rows, read: bool = False
    ) -> tuple[Array, Any]:
        """Outcomes (n, O) of one block of runs, numbered ``index``, and with ``read`` what the site then holds."""
        inputs = self._runs.take(prompt, list(edits))
        with torch.inference_mode(), self.begun(prompt, inputs):
            run = self._runs.run(inputs, [self.site] if read else [], edits)
        draw = (stream(what), index)
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
        return sharded_groups(self._runs.like.repeated(arms), self.block, work, folder, f"knockout: {what}")
