"""Interchange-intervention training: plant a high-level variable in a network."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from mrinterp.core.errors import InputError
from mrinterp.knockouts.abstraction.aligned_variable import AlignedVariable, check_tokens, rule_for
from mrinterp.knockouts.abstraction.causal_model import CausalModel
from mrinterp.knockouts.abstraction.class_scores import ClassScores
from mrinterp.knockouts.abstraction.counterfactual_labels import counterfactual_labels
from mrinterp.knockouts.abstraction.interchange_pairs import draw_pairs
from mrinterp.models.features import edit_of
from mrinterp.models.inputs import ModelInputs
from mrinterp.models.torch_module import TorchAdapter

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
    model: CausalModel,
    alignment: Sequence[AlignedVariable],
    inputs: ModelInputs,
    settings: Mapping[str, ArrayLike],
    classes: ClassScores,
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
    model : CausalModel
        Its output is the task's answer.
    alignment : sequence of AlignedVariable
        Where each variable is to live. Empty: plain training on the task.
    inputs, settings
        N inputs to train on, and the same as the high-level model takes them.
    classes : ClassScores
    steps, batch, rate
        Of Adam: steps, inputs (and pairs) per step, step size at the start (it falls to zero linearly).
    weight : float
        Of the mean interchange loss beside the task's loss.
    seed : int
        Of pairs and batches. The start is the given module's weights.

    Raises
    ------
    InputError
        For an unknown site or variable, settings of another length, a high-level output that no class
        stands for, or numbers that are not positive.

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
        model.check(a.variable)
    pairs = _pairs(model, alignment, inputs, settings, classes, seed)
    parameters = list(adapter.module.requires_grad_(True).parameters())
    optimizer = torch.optim.Adam(parameters, lr=rate)
    rng = np.random.default_rng([seed, 1])
    losses = np.empty((steps, 1 + len(alignment)))
    for step in tqdm(range(steps), desc="interchange training", unit="step", disable=None):
        parts = _losses(adapter, alignment, inputs, classes, pairs, rng.integers(0, len(pairs.base), batch))
        total = parts[0] + weight * torch.stack(parts[1:]).mean() if alignment else parts[0]
        optimizer.zero_grad()
        total.backward()
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        optimizer.step()
        losses[step] = [float(part.detach()) for part in parts]
    adapter.module.requires_grad_(False)
    right = []
    for start in range(0, len(inputs), batch):
        part = inputs.take(np.arange(start, min(start + batch, len(inputs))))
        with torch.inference_mode():
            scores = classes(adapter.run(part.tensors).output, part.given_mask)
        right.append(classes.decode(scores.double().cpu().numpy()))
    accuracy = float((np.concatenate(right) == pairs.task).mean())
    return InterchangeTraining(adapter, tuple(a.variable for a in alignment), losses, accuracy)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Base (M,), sources (M, V), wanted classes (M, V), and every input's own class (N,)."""

    base: Rows
    source: Rows
    wanted: Rows
    task: Rows


def _pairs(
    model: CausalModel,
    alignment: Sequence[AlignedVariable],
    inputs: ModelInputs,
    settings: Mapping[str, ArrayLike],
    classes: ClassScores,
    seed: int,
) -> _Pairs:
    task = classes.codes(model.run(settings)[model.output])
    if len(task) != len(inputs):
        raise InputError(
            "settings", f"{len(task)} rows for {len(inputs)} inputs", "Give every input its settings"
        )
    names = [a.variable for a in alignment]
    count = _PAIRS_PER_INPUT * len(inputs)
    if not names:
        return _Pairs(np.arange(len(inputs)), np.zeros((len(inputs), 0), int), np.zeros((0, 0), int), task)
    base, source = draw_pairs(model, settings, names, count, seed=seed)
    wanted = []
    for v, a in enumerate(alignment):
        check_tokens(inputs, rule_for(inputs, a.rule), base, source[:, v])
        labels = counterfactual_labels(model, settings, [a.variable], base, source[:, v : v + 1])
        wanted.append(classes.codes(labels))
    return _Pairs(base, source, np.stack(wanted, axis=1), task)


def _losses(
    adapter: TorchAdapter,
    alignment: Sequence[AlignedVariable],
    inputs: ModelInputs,
    classes: ClassScores,
    pairs: _Pairs,
    rows: Rows,
) -> list[torch.Tensor]:
    """Cross-entropy of the task on the base inputs, then of each variable's interchange."""
    base = inputs.take(pairs.base[rows])

    def loss(output: object, wanted: Rows) -> torch.Tensor:
        scores = classes(output, base.given_mask)
        return torch.nn.functional.cross_entropy(scores, torch.from_numpy(wanted).to(scores.device))

    parts = [loss(adapter.run(base.tensors).output, pairs.task[pairs.base[rows]])]
    for v, a in enumerate(alignment):
        rule = rule_for(inputs, a.rule)
        source = inputs.take(pairs.source[rows, v])
        held = adapter.run(source.tensors, read=[a.site]).activations[a.site]
        values, places = a.view.read(held, source.at(rule)), base.at(rule)
        run = adapter.run(base.tensors, write={a.site: edit_of(a.view, values, places)})
        parts.append(loss(run.output, pairs.wanted[rows, v]))
    return parts
