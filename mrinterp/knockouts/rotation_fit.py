"""Gradient descent on a rotation, so that interchanging its coordinates gives the counterfactual labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from mrinterp.core.errors import InputError
from mrinterp.knockouts.class_scores import ClassScores
from mrinterp.knockouts.rotation import Rotation
from mrinterp.models.adapter import Adapter
from mrinterp.models.features import ChannelMap, Feature
from mrinterp.models.inputs import ModelInputs
from mrinterp.models.positions import PositionRule
from mrinterp.models.resumption import Resumption

__all__ = ["RotationFit", "RotationSettings", "SearchPairs", "fit_rotation"]

Rows = NDArray[np.int_]

COLDEST = 0.1
"""Temperature of a learned boundary at the end, in rows."""


@dataclass(frozen=True, eq=False)
class SearchPairs:
    """Base inputs (M,), sources (M, V) and the classes (M, V) that interchanging each variable must give."""

    base: Rows
    source: Rows
    wanted: NDArray[np.int_]


@dataclass(frozen=True)
class RotationSettings:
    """Steps, pairs per step, step size, starts, learned boundary and its price, seed."""

    steps: int
    batch: int
    rate: float
    starts: int
    boundary: bool
    penalty: float
    seed: int


@dataclass(frozen=True, eq=False)
class RotationFit:
    """The rows found for each variable, and the losses (steps, V) on the way, of the best start."""

    rows: dict[str, NDArray[np.float64]]
    losses: NDArray[np.float64]


def fit_rotation(
    adapter: Adapter,
    site: str,
    inputs: ModelInputs,
    rule: PositionRule | None,
    dimensions: Mapping[str, int],
    pairs: SearchPairs,
    classes: ClassScores,
    settings: RotationSettings,
    what: str = "search",
) -> RotationFit:
    """Learn one subspace per variable, all orthogonal to each other.

    Every start is a search of its own; the one with the smallest mean loss over its last tenth of steps is
    kept. The network's weights are not touched.

    Raises
    ------
    InputError
        For subspaces wider than the site, or an adapter through which no gradient flows.
    """
    site_runs = _SiteRuns(adapter, site, inputs, rule, classes, settings.batch)
    total = sum(dimensions.values())
    if min(dimensions.values()) < 1 or total > site_runs.width:
        raise InputError(
            "dimensions",
            f"{dict(dimensions)} at {site!r}, which is {site_runs.width} wide",
            f"Search for at least 1 and at most {site_runs.width} dimensions together",
        )
    best: RotationFit | None = None
    with tqdm(total=settings.steps * settings.starts, desc=what, unit="step", disable=None) as bar:
        for start in range(settings.starts):
            fit = _descend(site_runs, dict(dimensions), pairs, settings, start, bar)
            if best is None or _last(fit.losses) < _last(best.losses):
                best = fit
    assert best is not None
    return best


def _last(losses: NDArray[np.float64]) -> float:
    return float(losses[-max(len(losses) // 10, 1) :].mean())


class _SiteRuns:
    """Clean activations of all inputs at the site, and differentiable runs of edited base inputs."""

    def __init__(
        self,
        adapter: Adapter,
        site: str,
        inputs: ModelInputs,
        rule: PositionRule | None,
        classes: ClassScores,
        block: int,
    ) -> None:
        self.adapter, self.site, self.inputs, self.rule, self.classes = adapter, site, inputs, rule, classes
        self.resumption = Resumption.before(adapter, site)
        held, starts = [], []
        for a in range(0, len(inputs), block):
            part = inputs.take(np.arange(a, min(a + block, len(inputs))))
            with torch.no_grad():
                held.append(adapter.run(part.tensors, read=[site]).activations[site].clone())
            start = None if self.resumption is None else self.resumption.activation(part, classes)
            if start is None:
                self.resumption = None
            else:
                starts.append(start)
        self.held = torch.cat(held)
        # Joined outside inference mode: autograd refuses tensors that were made in it.
        self.starts = torch.cat(starts) if self.resumption is not None else None
        self.feature_map = self.held.ndim == 4
        self.width = self.held.shape[1 if self.feature_map else -1]

    def scores(self, view: Any, base: Rows, source: Rows) -> torch.Tensor:
        """Scores (n, classes) of base inputs with the view's values from their sources."""
        fitting: Feature = ChannelMap(view) if self.feature_map else view
        given, places = self.inputs.take(base), self.inputs.take(base).at(self.rule)
        at = torch.from_numpy(source).to(self.held.device)
        values = fitting.read(self.held[at], self.inputs.take(source).at(self.rule))
        begin: Any = nullcontext()
        if self.starts is not None and self.resumption is not None:
            begin = self.resumption.begin(self.starts[torch.from_numpy(base).to(self.starts.device)])
        with torch.enable_grad(), begin:
            write = {self.site: lambda h: fitting.write(h, values, places)}
            output = self.adapter.run(given.tensors, write=write).output
            return self.classes(output, given.given_mask)


def _descend(
    runs: _SiteRuns,
    dimensions: dict[str, int],
    pairs: SearchPairs,
    settings: RotationSettings,
    start: int,
    bar: tqdm,
) -> RotationFit:
    seeds = np.random.SeedSequence([settings.seed, start]).generate_state(2)
    rotation = Rotation(runs.width, dimensions, settings.boundary, int(seeds[0])).to(runs.held.device)
    rng = np.random.default_rng(int(seeds[1]))
    parameters = list(rotation.parameters())
    optimizer = torch.optim.Adam(parameters, lr=settings.rate)
    losses = np.empty((settings.steps, len(dimensions)))
    warmest = max(dimensions.values()) / 4
    for step in range(settings.steps):
        done = step / settings.steps
        rotation.temperature = warmest * (COLDEST / warmest) ** done
        for group in optimizer.param_groups:
            group["lr"] = settings.rate * (1 - done)
        rows = rng.integers(0, len(pairs.base), settings.batch)
        parts = _losses(runs, rotation, list(dimensions), pairs, rows)
        total = torch.stack(parts).mean()
        if rotation.shares is not None:
            total = total + settings.penalty * rotation.shares.mean()
        _step(optimizer, parameters, total)
        if rotation.shares is not None:
            with torch.no_grad():
                rotation.shares.clamp_(0.0, 1.0)
        losses[step] = [float(part.detach()) for part in parts]
        bar.update()
    return RotationFit({v: rotation.kept(v) for v in dimensions}, losses)


def _losses(
    runs: _SiteRuns, rotation: Rotation, variables: Sequence[str], pairs: SearchPairs, rows: Rows
) -> list[torch.Tensor]:
    weight = rotation.weight
    parts = []
    for v, variable in enumerate(variables):
        scores = runs.scores(rotation.view(variable, weight), pairs.base[rows], pairs.source[rows, v])
        wanted = torch.from_numpy(pairs.wanted[rows, v]).to(scores.device)
        parts.append(torch.nn.functional.cross_entropy(scores, wanted))
    return parts


def _step(
    optimizer: torch.optim.Optimizer, parameters: Sequence[torch.nn.Parameter], loss: torch.Tensor
) -> None:
    # Gradients of the rotation only: a network whose weights ask for gradients gathers none.
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True) if loss.requires_grad else [None]
    if gradients[0] is None:
        raise InputError(
            "adapter",
            "no gradient flows from the scores back to the site",
            "Search through an adapter whose forward pass is differentiable, such as TorchAdapter",
        )
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
