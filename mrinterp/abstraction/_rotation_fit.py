"""Gradient descent on a rotation, so that interchanging its coordinates gives the counterfactual labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.abstraction._abstraction_task import AbstractionTask
from mrinterp.abstraction._interchange_pairs import LabelledPairs
from mrinterp.abstraction._rotation import Rotation
from mrinterp.adapters._adapter import Adapter
from mrinterp.core.checks import checked_count, checked_number
from mrinterp.core.errors import InputError
from mrinterp.core.shown import Bar, progress
from mrinterp.core.storage import read_arrays, write_arrays
from mrinterp.features._feature_view import ChannelMap, FeatureView
from mrinterp.models._resumption import Resumption
from mrinterp.positions import Position

__all__ = ["RotationFit", "RotationSettings", "fit_rotation"]

Rows = NDArray[np.int_]

COLDEST = 0.1
"""Temperature of a learned boundary at the end, in rows: half a row from the edge, a row then counts by less than
0.01 or more than 0.99. It starts at a quarter of the rows, where many of them count in part and get a gradient."""


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

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "starts"):
            checked_count(getattr(self, name), name)
        checked_number(self.penalty, "penalty", least=0)
        if not checked_number(self.rate, "rate") > 0:
            raise InputError("rate", f"{self.rate:g}", "Give a step size above 0")


@dataclass(frozen=True, eq=False)
class RotationFit:
    """The rows found for each variable, and the losses (steps, V) on the way, of the best start."""

    rows: dict[str, NDArray[np.float64]]
    losses: NDArray[np.float64]


def fit_rotation(
    adapter: Adapter,
    task: AbstractionTask,
    site: str,
    position: Position | None,
    dimensions: Mapping[str, int],
    pairs: LabelledPairs,
    settings: RotationSettings,
    what: str = "search",
    folder: str | Path | None = None,
) -> RotationFit:
    """Learn one subspace per variable, all orthogonal to each other.

    Every start is a search of its own; the one with the smallest mean loss over its last tenth of steps is
    kept. The network's weights are not touched. Finished starts are kept in ``folder``, where one is given.

    Raises
    ------
    InputError
        For subspaces wider than the site, or an adapter through which no gradient flows.
    """
    site_runs = _SiteRuns(adapter, task, site, position, settings.batch)
    total = sum(dimensions.values())
    whole = all(isinstance(n, Integral) for n in dimensions.values())
    if not whole or min(dimensions.values()) < 1 or total > site_runs.width:
        raise InputError(
            "dimensions",
            f"{dict(dimensions)} at {site!r}, which is {site_runs.width} wide",
            f"Search for at least 1 and at most {site_runs.width} dimensions together",
        )
    key = "" if folder is None else _key(site_runs, pairs, dimensions, settings)
    best: RotationFit | None = None
    with progress(settings.steps * settings.starts, what, "step") as bar:
        for start in range(settings.starts):
            path = None if folder is None else Path(folder) / f"start-{start}-{key}.npz"
            if path is not None and path.exists():
                fit = _reopened(path, list(dimensions))
                bar.update(settings.steps)
            else:
                fit = _descend(site_runs, dict(dimensions), pairs, settings, start, bar)
                if path is not None:
                    rows = {f"arr_{k}": value for k, value in enumerate(fit.rows.values())}
                    write_arrays(path, {**rows, "losses": fit.losses})
            if best is None or _last(fit.losses) < _last(best.losses):
                best = fit
    assert best is not None
    return best


def _key(
    runs: _SiteRuns, pairs: LabelledPairs, dimensions: Mapping[str, int], settings: RotationSettings
) -> str:
    """Digest of all that a start depends on, the number of starts aside."""
    given = {**vars(settings), "starts": None}
    words = [runs.adapter.hash, runs.site, str(runs.position), dict(dimensions), given]
    made = hashlib.sha256(repr(words).encode())
    held, clean = (x.double().cpu().numpy() for x in (runs.held, runs.clean))
    for part in (held, clean, pairs.base, pairs.source, pairs.wanted):
        made.update(np.ascontiguousarray(part).tobytes())
    return made.hexdigest()[:16]


def _reopened(path: Path, variables: Sequence[str]) -> RotationFit:
    saved = read_arrays(path)
    return RotationFit({v: saved[f"arr_{k}"] for k, v in enumerate(variables)}, saved["losses"])


def _last(losses: NDArray[np.float64]) -> float:
    return float(losses[-max(len(losses) // 10, 1) :].mean())


def _descend(
    runs: _SiteRuns,
    dimensions: dict[str, int],
    pairs: LabelledPairs,
    settings: RotationSettings,
    start: int,
    bar: Bar,
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
    runs: _SiteRuns, rotation: Rotation, variables: Sequence[str], pairs: LabelledPairs, rows: Rows
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


class _SiteRuns:
    """Clean activations and scores of all inputs at a site, and runs of base inputs edited there.

    Parameters
    ----------
    adapter : Adapter
    task : AbstractionTask
    site : str
    position : Position, optional
    block : int
        Inputs per forward pass of the clean runs.
    """

    def __init__(
        self, adapter: Adapter, task: AbstractionTask, site: str, position: Position | None, block: int
    ) -> None:
        self.adapter, self.site, self.position = adapter, site, position
        self.inputs, self.classes = task.inputs, task.classes
        self.resumption = Resumption.before(adapter, site)
        held, clean, starts = [], [], []
        for a in range(0, len(self.inputs), block):
            part = self.inputs.take(np.arange(a, min(a + block, len(self.inputs))))
            with torch.no_grad():
                run = adapter.run(part.tensors, read=[site])
                held.append(run.activations[site].clone())
                clean.append(self.classes(run.output, part.mask_or_ones))
            start = None if self.resumption is None else self.resumption.activation(part, self.classes)
            if start is None:
                self.resumption = None
            else:
                starts.append(start)
        self.held, self.clean = torch.cat(held), torch.cat(clean)
        # Joined outside inference mode: autograd refuses tensors that were made in it.
        self.starts = torch.cat(starts) if self.resumption is not None else None
        self.feature_map = self.held.ndim == 4
        self.width = self.held.shape[1 if self.feature_map else -1]

    def scores(self, view: Any, base: Rows, source: Rows) -> torch.Tensor:
        """Scores (n, classes) of base inputs with the view's values from their sources."""
        fitting: FeatureView = ChannelMap(view) if self.feature_map else view
        given = self.inputs.take(base)
        at = torch.from_numpy(source).to(self.held.device)
        values = fitting.read(self.held[at], self.inputs.take(source).at(self.position))
        places = given.at(self.position)
        begin: Any = nullcontext()
        if self.starts is not None and self.resumption is not None:
            begin = self.resumption.begin(self.starts[torch.from_numpy(base).to(self.starts.device)])
        with torch.enable_grad(), begin:
            write = {self.site: lambda h: fitting.write(h, values, places)}
            output = self.adapter.run(given.tensors, write=write).output
            return self.classes(output, given.mask_or_ones)
