"""A network read and written at a cut: features, bypass, gradients, dictionaries, the rank that is chosen; double precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch

from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.features import Directions
from mrinterp.features._units import Units
from mrinterp.models._array_network import array_network
from mrinterp.models._cut import CutNetwork
from mrinterp.outcomes import Logit, LogitDifference, OutcomeSet
from mrinterp.perturbations import ColumnNoise, perturb
from mrinterp.positions import MEAN_OF_TOKENS, TokenClass
from mrinterp.scan import _bypass as bypass
from mrinterp.scan import _dictionary as dictionaries
from mrinterp.scan import read_arrays
from tests.linear_stack import WIDTH, FirstTwo, LinearStack, stack_inputs


@cache
def _arrays() -> tuple[CutNetwork, Any]:
    torch.manual_seed(2)
    net = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)).double().eval()
    made = perturb(np.random.default_rng(0).normal(size=(24, 5)), [ColumnNoise()], runs_per_input=3)
    return array_network(net, "1", np.asarray(made.inputs, float), LogitDifference(0, 1)), made.prompt


@cache
def _images() -> CutNetwork:
    torch.manual_seed(4)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 2), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(27, 2)
    )
    images = np.random.default_rng(1).normal(size=(30, 1, 4, 4))
    return array_network(net.double().eval(), "1", images, Logit(0))


@cache
def _words(classed: bool = False, one: bool = False) -> CutNetwork:
    inputs = stack_inputs(20, padded=2)
    if classed:
        classes = torch.where(inputs.mask.bool(), torch.arange(inputs.mask.shape[1]) % 2, -1)  # type: ignore[union-attr]
        inputs = replace(inputs, classes=classes, class_names=("even", "odd"))
    position = TokenClass(1) if one else MEAN_OF_TOKENS
    return CutNetwork(
        TorchAdapter(LinearStack(1.5).double().eval()),
        "layer.1",
        inputs,
        OutcomeSet([FirstTwo()]),
        position,
        "embed",
    )


def _ran(network: CutNetwork, **options: Any) -> Any:
    view = Directions(np.eye(WIDTH)[:2] + 0.1, names=("a", "b"))
    rows = np.arange(9)
    viewed = network.viewing(view)
    run = viewed.run(rows, **options)
    return {
        "run": run,
        "mean": run.mean,
        "deviation": run.deviation,
        "gradient": viewed.gradient(rows),
        "read back": viewed.each_written(view, np.eye(WIDTH)[:3], rows),
        "lengths": viewed.lengths,
    }


def _noise(classes: int) -> Any:
    return np.random.default_rng(3).normal(size=(9, classes, WIDTH)).astype(np.float64)


def _changes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(6)
    features, rest = rng.standard_normal((90, 3)), rng.standard_normal((90, 40))
    features += rest[:, :3]
    outcome = features @ rng.standard_normal((3, 2)) + rest[:, 5:7] + rng.standard_normal((90, 2))
    return features, rest, outcome


def _means() -> np.ndarray:
    rng = np.random.default_rng(8)
    return np.asarray(
        rng.exponential(size=(80, 4)) @ rng.standard_normal((4, 7)) + 0.1 * rng.standard_normal((80, 7))
    )


def _dictionary(kind: str) -> Any:
    learned = dictionaries.learn_dictionary(_means(), kind, 3, 0, "layer")
    return {
        "dictionary": learned,
        "bypass": np.abs(bypass.mean_bypass(learned, _means() - _means().mean(0))),
    }


def cases() -> dict[str, Callable[[], Any]]:
    """Name of a case to what computes it."""
    network, prompt = _arrays()
    features, rest, outcome = _changes()
    family = np.arange(90) // 3
    images = _images()
    return {
        "arrays": lambda: _absolute(read_arrays(network, Units([0, 3], 6), clean=prompt, rank=3)),
        "arrays, learned on some": lambda: _absolute(
            read_arrays(
                network, Units([1], 6), clean=prompt, rank=2, block=7, learn=np.arange(len(prompt)) % 2 == 0
            )
        ),
        "images": lambda: {
            "run": images.viewing(Units([1], 3)).run(),
            "gradient": images.viewing(Units([1], 3)).gradient(),
        },
        "words": lambda: _ran(_words()),
        "words, first tokens": lambda: _ran(_words(), tokens=5),
        "words, classes": lambda: _ran(_words(True)),
        "words, shifted": lambda: _ran(_words(), shift=np.random.default_rng(1).normal(size=(9, WIDTH))),
        "words of classes": lambda: _ran(_words(True), noise=_noise(2)),
        "words of one class": lambda: _ran(_words(True, True), shift=np.ones((9, WIDTH))),
        "nested order": lambda: bypass.nested_order(features, rest, outcome).astype(float),
        "rank": lambda: bypass.choose_rank(features, rest, outcome, family, 30),
        "rank, ceiling": lambda: bypass.choose_rank(features, rest, outcome, family, 0, folds=3),
        "independent components": lambda: _dictionary("independent_components"),
        "scaled directions": lambda: dictionaries.scaled_dictionary(
            ("a", "b"), 3.0 * np.eye(7)[:2] + 0.2, np.eye(7)[:2] / 3.0, _means(), oriented=True
        ),
        "principal components": lambda: _dictionary("principal_components"),
    }


def _absolute(reading: Any) -> Any:
    """Components of a bypass have no sign of their own."""
    return replace(reading, bypass=np.abs(reading.bypass))
