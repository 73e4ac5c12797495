"""Runs without the padding behind every text, where it changes nothing but rounding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._adapter import Adapter, Edit, Run
from mrinterp.adapters._like_lengths import LikeLengths
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._site_output import first_tensor
from mrinterp.core.errors import InputError
from mrinterp.outcomes._outcome_set import OutcomeSet

__all__ = ["TrimmedRuns", "padding_is_idle"]

Rows = NDArray[np.int_]

TRIED = 4
"""Inputs on which passes with and without padding are compared: the shortest, which lose most of it."""

ALIKE = {torch.float64: 1e-10, torch.float32: 1e-5}
"""Relative difference that is rounding. Half precision is run as it was padded: its rounding is too coarse to tell."""


class TrimmedRuns:
    """The inputs of a bench, run with as many tokens as their group of like length needs.

    Parameters
    ----------
    adapter : Adapter
    site : str
        Where features are read and written.
    inputs : ModelInputs
    outcome : OutcomeSet
        Of these inputs.
    block : int
        Runs per forward pass.

    Notes
    -----
    Callers see padded activations: what is read is padded again with zeros, and edits are handed, and hand back,
    activations as long as the inputs. A site whose second axis is not the tokens (attention patterns) is edited in
    runs that keep their padding.
    """

    def __init__(
        self, adapter: Adapter, site: str, inputs: ModelInputs, outcome: OutcomeSet, block: int
    ) -> None:
        self.adapter, self.inputs, self.block = adapter, inputs, block
        self.trims = padding_is_idle(adapter, site, inputs, outcome)
        self.like = self.groups(inputs)
        self._by_token = {site: True}

    def groups(self, inputs: ModelInputs) -> LikeLengths:
        """Groups of inputs of like length; one group of all where padding is kept."""
        own = inputs.lengths if self.trims else None
        if own is None:
            own = np.full(len(inputs), _tokens(inputs))
        # A quarter of a block: a sweep fills its blocks with several arms of one group.
        return LikeLengths.of(own, max(self.block // 4, 1))

    def clean(
        self, inputs: ModelInputs, sites: Sequence[str], beside: Sequence[str] = ()
    ) -> Iterator[tuple[Rows, ModelInputs, Run]]:
        """Rows, inputs and run of every block of these inputs (the bench's own, or others), without edits.

        Activations are as long as the block's inputs: see `lengthened`. What stands in ``beside`` when a block begins is
        read as well, and has no say in whether inputs keep their padding.
        """
        like = self.groups(inputs)
        for rows in like.blocks(self.block):
            block = self._short(inputs.take(rows), int(like.length[rows[0]]), sites)
            with torch.inference_mode():
                run = self.adapter.run(block.tensors, read=list(dict.fromkeys([*sites, *beside])))
            yield rows, block, run

    def take(self, rows: Rows, sites: Sequence[str] = ()) -> ModelInputs:
        """Some of the inputs, without padding that none of their groups needs; with it where a site is not by token."""
        return self._short(self.inputs.take(rows), int(self.like.length[rows].max()), sites)

    def run(self, inputs: ModelInputs, read: Sequence[str], write: Mapping[str, Edit]) -> Run:
        """Run what `take` returned; activations that are read are as long as the inputs were."""
        tokens, whole = _tokens(inputs), _tokens(self.inputs)
        wide = {s: edit if tokens == whole else _at_length(edit, tokens, whole) for s, edit in write.items()}
        return self.lengthened(self.adapter.run(inputs.tensors, read=read, write=wide), inputs, self.inputs)

    def start(self, h: torch.Tensor, inputs: ModelInputs) -> torch.Tensor | None:
        """An activation of `take`'s inputs, as long as all inputs are: its last token again and again, to be cut off
        when runs start from it. None where its second axis is not the tokens."""
        missing = _tokens(self.inputs) - _tokens(inputs)
        if not missing:
            return h
        if h.ndim < 3 or h.shape[:2] != (len(inputs), _tokens(inputs)):
            return None
        return torch.cat([h, h[:, -1:].expand(-1, missing, *h.shape[2:])], dim=1)

    def _short(self, inputs: ModelInputs, tokens: int, sites: Sequence[str]) -> ModelInputs:
        """Inputs without padding, unless a site is not by token."""
        return inputs.first_tokens(tokens) if self.trims and all(map(self._is_by_token, sites)) else inputs

    def lengthened(self, run: Run, inputs: ModelInputs, whole: ModelInputs) -> Run:
        """A run of ``inputs`` with activations as long as ``whole``, which these were shortened from: zeros behind them."""
        tokens, all_tokens = _tokens(inputs), _tokens(whole)
        if tokens == all_tokens:
            return run
        return Run(run.output, {s: _padded(h, tokens, all_tokens) for s, h in run.activations.items()})

    def _is_by_token(self, site: str) -> bool:
        if site not in self._by_token:
            one, tokens = self.inputs.take([0]), _tokens(self.inputs)
            with torch.inference_mode():
                shape = self.adapter.run(one.tensors, read=[site]).activations[site].shape
            self._by_token[site] = shape[1:2] == (tokens,) if len(shape) == 3 else tokens not in shape[1:]
        return self._by_token[site]


def padding_is_idle(adapter: Adapter, site: str, inputs: ModelInputs, outcome: OutcomeSet) -> bool:
    """Whether padding behind the texts changes nothing but rounding: then it need not be run.

    Tried on the shortest inputs, as they are and with the site edited: the site at an input's own tokens, the
    network's output there and every outcome must come out alike.
    """
    lengths = inputs.lengths
    if lengths is None or outcome.generated or inputs.mask is None or lengths.min() == inputs.mask.shape[1]:
        return False
    rows = np.argsort(lengths, kind="stable")[:TRIED]
    whole = inputs.take(rows)
    cut, chosen = whole.first_tokens(int(lengths[rows].max())), outcome.take(rows)
    try:
        with torch.inference_mode():
            for write in ({}, {site: _turned}):
                one, two = (_seen(adapter, site, part, chosen, write) for part in (whole, cut))
                # The network's own precision: outcomes are cast to float64.
                rounding = ALIKE[one[0].dtype]
                if not all(_alike(a, b, rounding) for a, b in zip(one, two, strict=True)):
                    return False
    # Whatever a shorter input trips over: the network, or an outcome of the plan, wants the length that it was given.
    except (TypeError, AttributeError, LookupError, RuntimeError, ValueError, AssertionError, InputError):
        return False
    return True


def _seen(
    adapter: Adapter, site: str, inputs: ModelInputs, outcome: OutcomeSet, write: Mapping[str, Edit]
) -> list[torch.Tensor]:
    run = adapter.run(inputs.tensors, read=[site], write=write)
    assert inputs.mask is not None
    own = inputs.mask.bool()
    held = run.activations[site]
    if held.ndim != 3 or held.shape[:2] != own.shape:
        raise InputError(f"site {site!r}", "no token axis", "")
    found = [held[own.to(held.device)], outcome(run.output, inputs.mask_or_ones)]
    try:
        output = first_tensor(run.output, "output")
    except InputError:  # nothing to compare but the outcomes
        return found
    by_token = output.ndim > 2 and output.shape[:2] == own.shape
    return [*found, output[own.to(output.device)] if by_token else output]


def _turned(h: torch.Tensor) -> torch.Tensor:
    """An edit as large as the activation itself, at every token."""
    return 1.5 * h.flip(-1)


def _alike(a: torch.Tensor, b: torch.Tensor, rounding: float) -> bool:
    return a.shape == b.shape and float((a - b).abs().max()) <= rounding * float(a.abs().max())


def _tokens(inputs: ModelInputs) -> int:
    return 0 if inputs.mask is None else int(inputs.mask.shape[1])


def _padded(h: torch.Tensor, tokens: int, whole: int) -> torch.Tensor:
    if h.ndim != 3 or h.shape[1] != tokens:
        return h
    return torch.nn.functional.pad(h, (0, 0, 0, whole - tokens))


def _at_length(edit: Edit, tokens: int, whole: int) -> Edit:
    """An edit of activations with ``whole`` tokens, for those that have only the first ``tokens`` of them."""

    def edited(h: torch.Tensor) -> torch.Tensor:
        made = edit(_padded(h, tokens, whole))
        return made[:, :tokens].contiguous() if h.ndim == 3 else made

    return edited
