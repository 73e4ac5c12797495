"""A small network whose every effect is known: linear layers over tokens, a mean, and a curve on request."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.features._units import WholeLayer
from mrinterp.knockouts._bench import Bench

WIDTH, WORDS = 6, 9


class LinearStack(torch.nn.Module):
    """Embedding, three linear layers, the mean over own tokens; ``curve`` adds its first coordinate squared."""

    def __init__(self, curve: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.curve, self.calls, self.allowed = curve, 0, 10**9
        self.embed = torch.nn.Embedding(WORDS, WIDTH)
        self.layer = torch.nn.ModuleList([torch.nn.Linear(WIDTH, WIDTH) for _ in range(3)])

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        self.calls += len(ids)
        if self.calls > self.allowed:
            raise KeyboardInterrupt
        h = self.embed(ids)
        for layer in self.layer:
            h = layer(h)
        mean = (h * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
        return torch.cat([mean[:, :1] + self.curve * mean[:, :1] ** 2, mean[:, 1:]], 1)


class FirstTwo:
    """The first two coordinates."""

    names = ("first", "second")

    def __call__(self, output: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return output[:, :2]


def stack_inputs(
    prompts: int, tokens: int = 5, padded: int = 0, seed: int = 1, even: bool = False
) -> ModelInputs:
    """Random words, of 2 to ``tokens`` tokens each; ``padded`` more places hold words that must not matter."""
    rng = np.random.default_rng(seed)
    length = np.full(prompts, tokens) if even else rng.integers(2, tokens + 1, prompts)
    ids = rng.integers(0, WORDS, (prompts, tokens))
    ids = np.hstack([ids, rng.integers(0, WORDS, (prompts, padded))])
    mask = np.arange(tokens + padded)[None] < length[:, None]
    tensors = {"ids": torch.from_numpy(ids), "mask": torch.from_numpy(mask).long()}
    return ModelInputs(tensors, tensors["mask"])


def stack_bench(prompts: int = 16, network: LinearStack | None = None, **options: Any) -> Bench:
    """A bench on the output of the second layer, every coordinate a feature, two inputs a family."""
    network = (LinearStack() if network is None else network).double().eval()
    inputs = options.pop("inputs", None) or stack_inputs(prompts)
    view = options.pop("view", None) or WholeLayer(WIDTH)
    options.setdefault("family", np.arange(len(inputs)) // 2)
    return Bench(TorchAdapter(network), "layer.1", view, inputs, FirstTwo(), **options)


def known_effects(bench: Bench) -> np.ndarray:
    """Effect (6, 2) of one unit at every token on the outcomes, without a curve: the last layer's weights."""
    return bench.adapter.submodule("layer.2").weight.detach().numpy()[:2].T  # type: ignore[attr-defined]
