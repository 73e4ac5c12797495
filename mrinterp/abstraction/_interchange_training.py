"""Interchange-intervention training: plant a high-level variable in a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.abstraction._abstraction_task import AbstractionTask
from mrinterp.abstraction._aligned_variable import AlignedVariable, position_for
from mrinterp.abstraction._interchange_pairs import LabelledPairs, draw_pairs, labelled_pairs
from mrinterp.adapters._duplicate import duplicate
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.checks import checked_count, checked_number, checked_seed
from mrinterp.core.errors import InputError
from mrinterp.core.shown import counted
from mrinterp.features._feature_view import edit_of

__all__ = ["InterchangeTraining", "train_with_interchange"]

_PAIRS_PER_INPUT = 16
"""Pairs drawn once and trained on in batches: enough that a base meets many sources, few enough to label at once."""

Rows = NDArray[np.int_]


@dataclass(frozen=True, eq=False)
class InterchangeTraining:
    """A trained network, and how it got there.

    Parameters
    ----------
    adapter : TorchAdapter
        Of the trained network, in evaluation mode, its weights frozen.
    variables : tuple of str
        The V variables that were planted.
    losses : ndarray (steps, 1 + V)
        Cross-entropy at every step: the task's, then each variable's under interchange.
    task_accuracy : float
        Share of the inputs trained on that the network answers as the model does.

    Examples
    --------
    >>> from mrinterp.abstraction import train_with_interchange
    >>> from mrinterp.worlds import equality_task, plain_network
    >>> print(train_with_interchange(plain_network(), equality_task(60), [], steps=2))
    Sequential trained for 2 steps on the task alone: right on ...% of the inputs trained on
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
        The inputs to train on, and the high-level model whose output is the answer.
    alignment : sequence of AlignedVariable
        Where each variable is to live. Empty: plain training on the task.
    steps, batch : int
        Steps of Adam, and inputs (and pairs) per step.
    rate : float
        Step size at the start; it falls to zero linearly.
    weight : float
        Of the mean interchange loss beside the task's loss.
    seed : int
        Of pairs and batches. Training starts from the given module's weights.

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
    source; gradients flow through all three. The loss is the cross-entropy of the answers. Accuracy on the inputs
    trained on is not valid as accuracy on others: judge the network on families that it has not seen.

    Source: Geiger et al. 2022, PMLR 162:7324, arXiv:2112.00826.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.abstraction import AlignedVariable, train_with_interchange
    >>> from mrinterp.features import Subspace
    >>> from mrinterp.worlds import equality_task, plain_network
    >>> left = AlignedVariable("left", "3", Subspace(np.eye(32)[:1]))
    >>> trained = train_with_interchange(plain_network(), equality_task(60), [left], steps=3)
    >>> trained.losses.shape
    (3, 2)
    """
    checked_count(steps, "steps")
    checked_count(batch, "batch", unit="inputs per step")
    checked_number(weight, "weight", least=0)
    checked_seed(seed)
    if not checked_number(rate, "rate") > 0:
        raise InputError("rate", f"{rate:g}", "Give a step size above 0")
    adapter = TorchAdapter(duplicate(module))
    for a in alignment:
        adapter.check(a.site)
    pairs = _pairs(task, alignment, seed)
    parameters = list(adapter.module.requires_grad_(True).parameters())
    optimizer = torch.optim.Adam(parameters, lr=rate)
    rng = np.random.default_rng([seed, 1])  # 1: batches; the pairs were drawn by the seed itself
    losses = np.empty((steps, 1 + len(alignment)))
    for step in counted(range(steps), "interchange training", "step"):
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
    positions = {a.variable: position_for(task.inputs, a.position) for a in alignment}
    count = _PAIRS_PER_INPUT * len(task.inputs)
    return labelled_pairs(
        task, positions, *draw_pairs(task.model, task.settings, list(positions), count, seed=seed)
    )


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
        position = position_for(task.inputs, a.position)
        source = task.inputs.take(pairs.source[rows, v])
        held = adapter.run(source.tensors, read=[a.site]).activations[a.site]
        values, places = a.view.read(held, source.at(position)), base.at(position)
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
