"""Interchange-intervention training: plant a high-level variable in a network."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from mrinterp.abstraction._abstraction_task import AbstractionTask
from mrinterp.abstraction._aligned_variable import AlignedVariable, rule_for
from mrinterp.abstraction._interchange_pairs import draw_pairs
from mrinterp.abstraction._labelled_pairs import LabelledPairs, labelled_pairs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.features._feature_view import edit_of

__all__ = ["InterchangeTraining", "train_with_interchange"]

_PAIRS_PER_INPUT = 16

Rows = NDArray[np.int_]


@dataclass(frozen=True, eq=False)
class InterchangeTraining:
    """A trained network, and how it got there.

    ``adapter`` of the network (evaluation mode, weights frozen); ``losses`` (steps, 1 + V): the task's, then
    each variable's under interchange; ``task_accuracy`` on the inputs trained on.
    """

    adapter: TorchAdapter
    variables: tuple[str, ...]
    losses: NDArray[np.float64]
    task_accuracy: float

    def __str__(self) -> str:
        planted = f"with {', '.join(self.variables)} planted" if self.variables else "on the task alone"
        return (
            f"{type(self.adapter.module).__name__} trained for {len(self.losses)} steps {planted}: "
            f"right on {self.task_accuracy:.1%} of the inputs trained on"
        )


def train_with_interchange(
    module: torch.nn.Module,
    task: AbstractionTask,
    alignment: Sequence[AlignedVariable],
    *,
    steps: int = 1000,
    batch: int = 128,
    rate: float = 3e-3,
    weight: float = 1.0,
    seed: int = 0,
) -> InterchangeTraining:
    """Train a copy of a network on a task, and on what interchanging variables must do to its answers.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode (dropout off), on the device of the inputs. It is not changed.
    task : AbstractionTask
        The inputs to train on, and the model whose output is the answer.
    alignment : sequence of AlignedVariable
        Where each variable is to live. Empty: plain training on the task.
    steps, batch, rate
        Of Adam: steps, inputs (and pairs) per step, step size at the start (it falls to zero linearly).
    weight : float
        Of the mean interchange loss beside the task's loss.
    seed : int
        Of pairs and batches. The start is the given module's weights.

    Returns
    -------
    InterchangeTraining
        ``adapter`` of the trained copy, its ``losses`` and ``task_accuracy``; prints as a sentence.

    Raises
    ------
    InputError
        For an unknown site or variable, or numbers that are not positive.

    Notes
    -----
    Each step runs base inputs, source inputs and base inputs with the variable's features taken from the
    source; gradients flow through all three. The loss is the cross-entropy of the answers.

    Source: Geiger et al. 2022, PMLR 162:7324, arXiv:2112.00826.
    """
    if steps < 1 or batch < 1 or rate <= 0 or weight < 0:
        found = f"steps {steps}, batch {batch}, rate {rate:g}, weight {weight:g}"
        raise InputError("training", found, "Give positive numbers")
    adapter = TorchAdapter(copy.deepcopy(module))
    for a in alignment:
        adapter.check(a.site)
    pairs = _pairs(task, alignment, seed)
    parameters = list(adapter.module.requires_grad_(True).parameters())
    optimizer = torch.optim.Adam(parameters, lr=rate)
    rng = np.random.default_rng([seed, 1])
    losses = np.empty((steps, 1 + len(alignment)))
    for step in tqdm(range(steps), desc="interchange training", unit="step", disable=None):
        parts = _losses(adapter, task, alignment, pairs, rng.integers(0, len(pairs), batch))
        total = parts[0] + weight * torch.stack(parts[1:]).mean() if alignment else parts[0]
        optimizer.zero_grad()
        total.backward()
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        optimizer.step()
        losses[step] = [float(part.detach()) for part in parts]
    adapter.module.requires_grad_(False)
    accuracy = _task_accuracy(adapter, task, batch)
    return InterchangeTraining(adapter, tuple(a.variable for a in alignment), losses, accuracy)


def _pairs(task: AbstractionTask, alignment: Sequence[AlignedVariable], seed: int) -> LabelledPairs:
    """Pairs to train on; every input once and no source where nothing is planted."""
    if not alignment:
        nothing = np.zeros((len(task.inputs), 0), dtype=int)
        return LabelledPairs(np.arange(len(task.inputs)), nothing, nothing)
    task.checked([a.variable for a in alignment])
    rules = {a.variable: rule_for(task.inputs, a.rule) for a in alignment}
    count = _PAIRS_PER_INPUT * len(task.inputs)
    return labelled_pairs(task, rules, *draw_pairs(task.model, task.settings, list(rules), count, seed=seed))


def _losses(
    adapter: TorchAdapter,
    task: AbstractionTask,
    alignment: Sequence[AlignedVariable],
    pairs: LabelledPairs,
    rows: Rows,
) -> list[torch.Tensor]:
    """Cross-entropy of the task on the base inputs, then of each variable's interchange."""
    base = task.inputs.take(pairs.base[rows])

    def loss(output: object, wanted: Rows) -> torch.Tensor:
        scores = task.classes(output, base.mask_or_ones)
        return torch.nn.functional.cross_entropy(scores, torch.from_numpy(wanted).to(scores.device))

    parts = [loss(adapter.run(base.tensors).output, task.answers[pairs.base[rows]])]
    for v, a in enumerate(alignment):
        rule = rule_for(task.inputs, a.rule)
        source = task.inputs.take(pairs.source[rows, v])
        held = adapter.run(source.tensors, read=[a.site]).activations[a.site]
        values, places = a.view.read(held, source.at(rule)), base.at(rule)
        run = adapter.run(base.tensors, write={a.site: edit_of(a.view, values, places)})
        parts.append(loss(run.output, pairs.wanted[rows, v]))
    return parts


def _task_accuracy(adapter: TorchAdapter, task: AbstractionTask, batch: int) -> float:
    """Share of the task's inputs that the network answers as the model does."""
    right = 0
    for start in range(0, len(task.inputs), batch):
        rows = np.arange(start, min(start + batch, len(task.inputs)))
        part = task.inputs.take(rows)
        with torch.inference_mode():
            scores = task.classes(adapter.run(part.tensors).output, part.mask_or_ones)
        right += int((task.classes.decode(scores.double().cpu().numpy()) == task.answers[rows]).sum())
    return right / len(task.inputs)
