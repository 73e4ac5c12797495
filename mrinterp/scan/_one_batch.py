"""What one batch shows before a study is run: numbers that are none, outcomes that stand still, sites that nothing reaches."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.core.design import Design
from mrinterp.core.errors import InputError
from mrinterp.core.plan import Plan
from mrinterp.models._cut import CutNetwork, CutReading
from mrinterp.outcomes._generated_text import GeneratedOutcome
from mrinterp.scan._discovery import unmoved
from mrinterp.scan._reader import block_noise

__all__ = ["check_one_batch"]

Rows = NDArray[np.int_]

BATCH, GENERATED = 32, 8
"""Clean discovery prompts of the batch; where texts are generated, which takes one pass a token, fewer."""

TRIED = 0.04
"""Scale of the noise that is tried where the study chooses it: a natural size on word embeddings, as `choose_noise` begins."""

EDIT = 3.0
"""Size of the trial edit in root mean squares of the site's activation: large, so that labels flip too."""


def check_one_batch(plan: Plan, design: Design, network: CutNetwork) -> None:
    """Run a few clean discovery prompts, with noise, and with the site edited; refuse what can then only fail.

    Raises
    ------
    InputError
        For an outcome that is not one finite number a run, weights or activations beyond the range of their type, noise
        that does not reach the site, an outcome that is the same number whatever is done, or a site that the outcome does
        not depend on.
    """
    rows = design.rows("discovery", ("clean",))
    most = GENERATED if network.outcome.generated else min(BATCH, plan.model.block)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, most).astype(int))]
    inputs = design.runs["input"].to_numpy()[rows]
    _refuse_overflow(plan, network, inputs)
    clean = network.run(inputs)
    noisy = _with_noise(plan, design, network, rows)
    if noisy is not None:
        _refuse_noise_elsewhere(plan, clean, noisy)
    others = [clean.outcome] if noisy is None else [clean.outcome, noisy.outcome]
    for sign in (1.0, -1.0):
        others.append(network.run(inputs, shift=sign * _edit(plan, clean), cut=False).outcome)
    _refuse_still_outcomes(plan, network, others)


def _refuse_overflow(plan: Plan, network: CutNetwork, inputs: Rows) -> None:
    """Refuse a type of weights in which numbers of this network become infinite."""
    if plan.model.dtype not in ("float16", "bfloat16"):
        return
    fix = "Set model.dtype to bfloat16, which reaches as far as float32, or to float32"
    module = network.adapter.module
    if isinstance(module, torch.nn.Module):
        beyond = [name for name, value in module.named_parameters() if not bool(torch.isfinite(value).all())]
        if beyond:
            found = f"{plan.model.dtype} cannot hold the weights {beyond[0]!r}: they overflow"
            raise InputError("model.dtype", found, fix)
    taken = network.inputs.take(inputs)
    with torch.inference_mode():
        held = network.adapter.run(taken.tensors, read=[network.site]).activations[network.site]
    if not bool(torch.isfinite(held).all()):
        found = f"activations at {network.site!r} overflow in {plan.model.dtype}"
        raise InputError("model.dtype", found, fix)


def _with_noise(plan: Plan, design: Design, network: CutNetwork, rows: Rows) -> CutReading | None:
    """The same prompts with noise of about a natural size; None where the design has none."""
    noisy = design.rows("discovery", ("noise",))
    clean = design.runs["clean"].to_numpy()[noisy]
    first = {int(c): int(r) for c, r in zip(clean[::-1], noisy[::-1], strict=True)}
    if not all(int(r) in first for r in rows):
        return None
    drawn = block_noise(design, np.array([first[int(r)] for r in rows]))
    if drawn is None:
        return None
    scale = np.float32(TRIED if plan.instruments.noise.scale == "auto" else 1.0)
    return network.run(design.runs["input"].to_numpy()[rows], noise=drawn * scale)


def _refuse_noise_elsewhere(plan: Plan, clean: CutReading, noisy: CutReading) -> None:
    n = len(clean.mean)
    before = np.tile(np.arange(n), 2)
    both = (np.concatenate([getattr(clean, part), getattr(noisy, part)]) for part in ("mean", "deviation"))
    if np.all([unmoved(values, before) for values in both]):
        raise InputError(
            "instruments.noise",
            f"never changes the site {plan.model.site!r} (a batch of {n} prompts): noise is added at"
            f" {plan.model.embedding!r}",
            "Choose a site that comes after it, and in model.embedding the word embedding that the network reads",
        )


def _edit(plan: Plan, clean: CutReading) -> NDArray[np.float64]:
    """A random direction of the site for every run, large beside its activation."""
    # 41: a stream of its own under the study's seed, shared with no other step.
    drawn = np.random.default_rng([plan.seed, 41]).standard_normal(clean.mean.shape)
    return EDIT * max(float(np.sqrt(np.mean(clean.mean**2))), 1e-6) * drawn


def _refuse_still_outcomes(plan: Plan, network: CutNetwork, values: list[NDArray[np.float64]]) -> None:
    """Outcomes of clean runs, of those with noise, and of two edits of the site (the last two)."""
    made = {n for p in network.outcome.parts if isinstance(p, GeneratedOutcome) for n in p.names}
    for o, name in enumerate(network.outcome.names):
        columns = np.array([v[:, o] for v in values])
        if name in made:
            continue
        if (columns == columns[0, 0]).all():
            raise InputError(
                f"outcome {name!r}",
                f"does not vary: {columns[0, 0]:.4g} in {columns.size} runs of one batch, whatever prompt, noise or edit"
                " of the site",
                "Check what it computes from the network's output, and that prompts differ in it",
            )
        if (columns[-2:] == columns[0]).all() and not _labels(columns):
            raise InputError(
                f"model.site {plan.model.site!r}",
                f"changing it leaves outcome {name!r} as it was, bit for bit, in a batch of {columns.shape[1]} prompts",
                "Choose a site (and a position) on the way to where the outcome is read",
            )


def _labels(values: NDArray[np.float64]) -> bool:
    """Whether an outcome has whole values only: one that no edit flips may depend on the site all the same."""
    return bool((values == np.round(values)).all())
