"""Two equalities compared: a task with two known intermediate variables, and a network built to hold them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.abstraction._abstraction_task import AbstractionTask
from mrinterp.abstraction._causal_model import CausalModel, Variable
from mrinterp.abstraction._class_scores import ClassScores
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.errors import InputError

__all__ = ["EqualityTask", "built_network", "equality_task", "plain_network"]


@dataclass(frozen=True, eq=False)
class EqualityTask(AbstractionTask):
    """Is (a == b) the same as (c == d)? ``family``: inputs with the same pair (a, c).

    Parameters
    ----------
    model : CausalModel
        The two equalities ``left`` and ``right``, and ``same``, whether they agree.
    inputs : ModelInputs
        The four symbols of every input, coded one after the other.
    settings : dict of str to ndarray (N,)
        The symbols ``a, b, c, d`` of every input.
    classes : ClassScores
        The two classes of the output.
    family : ndarray (N,)
        Inputs with the same pair (a, c) are one family.
    symbols : int
        How many symbols there are.

    Examples
    --------
    >>> import mrinterp
    >>> len(mrinterp.worlds.equality_task(inputs=20).inputs)
    20
    """

    symbols: int = 6


def equality_task(inputs: int = 600, symbols: int = 6, seed: int = 0) -> EqualityTask:
    """Draw inputs of which each equality holds in half, and code the four symbols one after the other.

    Parameters
    ----------
    inputs, symbols : int
        How many inputs are drawn, and out of how many symbols.
    seed : int
        Of the draw.

    Returns
    -------
    EqualityTask
        The causal model with its inputs, their settings and families.

    Notes
    -----
    Source: the hierarchical equality task of Geiger, Carstensen, Frank & Potts 2023, arXiv:2006.07968,
    with symbols in place of shapes.

    Examples
    --------
    >>> import mrinterp
    >>> task = mrinterp.worlds.equality_task(inputs=100)
    >>> int((task.settings["a"] == task.settings["b"]).sum())
    42
    """
    rng = np.random.default_rng(seed)
    first = rng.integers(0, symbols, (inputs, 2))
    other = (first + rng.integers(1, symbols, (inputs, 2))) % symbols
    second = np.where(rng.random((inputs, 2)) < 0.5, first, other)
    settings = {"a": first[:, 0], "b": second[:, 0], "c": first[:, 1], "d": second[:, 1]}
    kinds = range(symbols)
    model = CausalModel(
        dict.fromkeys("abcd", kinds),
        [
            Variable("left", ("a", "b"), lambda a, b: a == b, (False, True)),
            Variable("right", ("c", "d"), lambda c, d: c == d, (False, True)),
            Variable("same", ("left", "right"), lambda left, right: left == right, (False, True)),
        ],
    )
    coded = np.concatenate([np.eye(symbols, dtype=np.float32)[settings[k]] for k in "abcd"], axis=1)
    family = settings["a"] * symbols + settings["c"]
    given = ModelInputs({"input": torch.from_numpy(coded)})
    return EqualityTask(model, given, settings, ClassScores((False, True)), family, symbols)


def plain_network(symbols: int = 6, width: int = 32, seed: int = 0) -> torch.nn.Sequential:
    """Untrained layers for the task: sites ``1`` and ``3`` are the hidden layers, ``width`` wide.

    Parameters
    ----------
    symbols : int
        As many as the task has.
    width : int
        Of each hidden layer.
    seed : int
        Of the weights.

    Returns
    -------
    torch.nn.Sequential
        A classifier of two classes, float32.

    Examples
    --------
    >>> import mrinterp
    >>> mrinterp.worlds.plain_network(width=8)[0]
    Linear(in_features=24, out_features=8, bias=True)
    """
    generator = torch.Generator().manual_seed(seed)
    layers = torch.nn.Sequential(
        torch.nn.Linear(4 * symbols, width),
        torch.nn.ReLU(),
        torch.nn.Linear(width, width),
        torch.nn.ReLU(),
        torch.nn.Linear(width, width),
        torch.nn.ReLU(),
        torch.nn.Linear(width, 2),
    )
    with torch.no_grad():
        for layer in layers:
            if isinstance(layer, torch.nn.Linear):
                bound = layer.in_features**-0.5
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.weight.mul_(3**0.5)
                layer.bias.uniform_(-bound, bound, generator=generator)
    return layers.eval()


def built_network(
    symbols: int = 6, width: int = 40, noise: float = 1.0, seed: int = 0
) -> tuple[torch.nn.Sequential, dict[str, NDArray[np.float64]]]:
    """Weights set by hand so that one direction of site ``2`` is ``left`` and another is ``right``.

    Parameters
    ----------
    symbols : int
        As many as the task has.
    width : int
        Width of the site; at least 2 + 4 * symbols.
    noise : float
        Size of what else lies at the site: the four symbols, in directions that nothing reads.
    seed : int
        Of the rotation that hides the directions.

    Returns
    -------
    network : torch.nn.Sequential
        ``0`` to ``1`` compare the symbols, ``2`` is the site, ``3`` to ``5`` compare the equalities.
    directions : dict of str to ndarray (1, width)
        The direction of each variable, of length one: its subspace.

    Raises
    ------
    InputError
        For a site too narrow to hold the directions.

    Examples
    --------
    >>> import mrinterp
    >>> network, directions = mrinterp.worlds.built_network()
    >>> directions["left"].shape
    (1, 40)
    """
    if width < 2 + 4 * symbols:
        raise InputError("width", f"{width} for {symbols} symbols", f"Give at least {2 + 4 * symbols}")
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width)))[0]
    one = np.eye(symbols)
    compare = np.zeros((2 * symbols, 4 * symbols))
    compare[:symbols, : 2 * symbols] = np.hstack([one, one])
    compare[symbols:, 2 * symbols :] = np.hstack([one, one])
    # Relu(x - 1) of the sum of two one-hot codes is one where they agree; the codes are handed on beside it.
    first = np.vstack([compare, np.eye(4 * symbols)])
    bias = np.concatenate([-np.ones(2 * symbols), np.zeros(4 * symbols)])
    mix = np.zeros((width, len(first)))
    mix[0, :symbols], mix[1, symbols : 2 * symbols] = 1.0, 1.0
    mix[2 : 2 + 4 * symbols, 2 * symbols :] = noise * np.eye(4 * symbols)
    # A hat over left + right, one where they differ and flat beyond 0 and 2: no other direction does better.
    read = np.vstack([rotation[:, 0] + rotation[:, 1]] * 3)
    hat = np.array([1.0, -2.0, 1.0])
    network = torch.nn.Sequential(
        _linear(first, bias),
        torch.nn.ReLU(),
        _linear(rotation @ mix, np.zeros(width)),
        _linear(read, np.array([0.0, -1.0, -2.0])),
        torch.nn.ReLU(),
        _linear(4 * np.vstack([hat, -hat]), np.array([-2.0, 2.0])),
    )
    return network.eval(), {"left": rotation[:, :1].T, "right": rotation[:, 1:2].T}


def _linear(weight: NDArray[np.float64], bias: NDArray[np.float64]) -> torch.nn.Linear:
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer.requires_grad_(False)
