"""A small network that mixes tokens, its features by every kind of view, and benches of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.features._directions import Directions
from mrinterp.features._latents import Latents
from mrinterp.features._sae import SparseAutoencoder
from mrinterp.features._units import Units
from mrinterp.knockouts._bench import Bench
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.outcomes._projection_and_callable import CallableOutcome
from mrinterp.positions import AllTokens, LastToken, MeanOfTokens, TokenClass, TokenIndex

WIDTH, TOKENS, PROMPTS = 6, 4, 11
GRADIENT = ("gradient", "gradient_times_activation", "attribution_patching", "integrated_gradients")


class Mix(torch.nn.Module):
    """A layer that mixes tokens and bends (or not)."""

    def __init__(self, bend: bool) -> None:
        super().__init__()
        self.own, self.other = torch.nn.Linear(WIDTH, WIDTH), torch.nn.Linear(WIDTH, WIDTH)
        self.bend = bend

    def forward(self, h: Any) -> Any:
        mixed = self.own(h) + self.other(h.mean(1, keepdim=True))
        return h + (torch.tanh(mixed) if self.bend else mixed)


class Stack(torch.nn.Module):
    """Three layers in a list, so that edited runs are resumed; the output is one vector per token."""

    def __init__(self, bend: bool = True) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = torch.nn.ModuleList(Mix(bend) for _ in range(3))
        self.double()

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x


def inputs(seed: int = 0) -> ModelInputs:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(PROMPTS, TOKENS, WIDTH, generator=g, dtype=torch.float64)
    mask = torch.ones(PROMPTS, TOKENS, dtype=torch.long)
    mask[::3, -1] = 0
    return ModelInputs({"x": x}, mask, torch.where(mask > 0, torch.arange(TOKENS) % 2, -1), ("even", "odd"))


def square(output: Any, mask: Any) -> Any:
    return (output[..., 0] * mask).sum(1) + 0.3 * (output[..., 1] * output[..., 2] * mask).sum(1)


def linear(output: Any, mask: Any) -> Any:
    return (output[..., 0] * mask).sum(1)


BENT = OutcomeSet([CallableOutcome("square", square), CallableOutcome("linear", linear)])
FAMILY = np.arange(PROMPTS) // 2


def views() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    weights = {
        "W_enc": torch.from_numpy(rng.standard_normal((WIDTH, 9))),
        "W_dec": torch.from_numpy(rng.standard_normal((9, WIDTH))),
        "b_enc": torch.zeros(9, dtype=torch.float64),
        "b_dec": torch.zeros(WIDTH, dtype=torch.float64),
    }
    return {
        "units": Units([4, 0, 2], WIDTH),
        "directions": Directions(rng.standard_normal((3, WIDTH)), center=rng.standard_normal(WIDTH)),
        "latents": Latents(SparseAutoencoder("standard", weights), WIDTH, [8, 1, 5]),
    }


RULES = {
    "mean": MeanOfTokens(),
    "last": LastToken(),
    "index": TokenIndex(1),
    "class": TokenClass(1),
    "all": AllTokens(),
}


def bench_of(view: str = "units", rule: str = "mean", bend: bool = True, **changes: Any) -> Bench:
    options: dict[str, Any] = {"position": RULES[rule], "family": FAMILY, "block": 4, **changes}
    outcome = options.pop("outcome", BENT)
    return Bench(TorchAdapter(Stack(bend).eval()), "layers.1", views()[view], inputs(), outcome, **options)


def moved_alone(bench: Bench, moved: np.ndarray) -> np.ndarray:
    """Outcome changes (F, P, O) when each feature alone is moved: the knockouts themselves."""
    F = bench.features
    values = np.moveaxis(bench.values + moved, -1, 0)[:, None]
    return bench.sweep(np.arange(F)[:, None], values, "alone").outcome - bench.clean
