"""Hand-built networks whose causes are known, and benches on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.features._units import WholeLayer
from mrinterp.knockouts._bench import Bench
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.outcomes._projection_and_callable import CallableOutcome

WIDTH, PROMPTS, FAMILIES = 6, 48, 16


class Readout(torch.nn.Module):
    """x -> hidden (read and written) -> a function of hidden, one column per outcome."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.early, self.hidden = torch.nn.Identity(), torch.nn.Identity()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self.hidden(self.early(x)))


class Residual(torch.nn.Module):
    """A stream that MLPs add to: h + sum of mlp(h), read out at the end by a weight per coordinate."""

    def __init__(self, mlps: Sequence[torch.Tensor], read: Sequence[float]) -> None:
        super().__init__()
        width = len(read)
        self.layers = torch.nn.ModuleList()
        for weight in mlps:
            layer = torch.nn.Module()
            layer.mlp = torch.nn.Linear(width, width, bias=False, dtype=torch.float64)
            layer.mlp.weight.data = weight
            self.layers.append(layer)
        self.start = torch.nn.Identity()
        self.read = torch.tensor(read, dtype=torch.float64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.start(x)
        for layer in self.layers:
            h = h + layer.mlp(h)
        return (h @ self.read).unsqueeze(-1)


def inputs(seed: int = 0, prompts: int = PROMPTS, width: int = WIDTH) -> torch.Tensor:
    """Prompts around family means, so that clustering matters."""
    rng = np.random.default_rng(seed)
    family = np.arange(prompts) % FAMILIES
    return torch.from_numpy(
        rng.standard_normal((FAMILIES, width))[family] + rng.standard_normal((prompts, width))
    )


def columns(count: int) -> Any:
    """The output's columns as outcomes y0, y1, ..."""
    return OutcomeSet([CallableOutcome(f"y{o}", lambda out, _mask, o=o: out[:, o]) for o in range(count)])


def bench_of(
    module: torch.nn.Module,
    x: torch.Tensor,
    outcomes: int = 1,
    site: str = "hidden",
    families: int = FAMILIES,
    **options: Any,
) -> Bench:
    """A bench of every coordinate of the site."""
    options = {"family": np.arange(len(x)) % families, "block": 64} | options
    view = WholeLayer(x.shape[-1])
    adapter = TorchAdapter(module.eval())
    return Bench(adapter, site, view, ModelInputs({"x": x}), columns(outcomes), **options)


def linear(weights: Sequence[Sequence[float]], x: torch.Tensor | None = None, **options: Any) -> Bench:
    """Outcomes W h: every knockout's effect is its own weight times its own change."""
    w = torch.tensor(weights, dtype=torch.float64)
    x = inputs(width=w.shape[1]) if x is None else x
    return bench_of(Readout(lambda h: h @ w.T), x, len(w), **options)
