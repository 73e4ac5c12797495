"""A transformer written by hand: a gate, an AND and a plain path, with the exact answer to every knockout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.checks import checked_count, checked_seed
from mrinterp.features._directions import Directions
from mrinterp.knockouts._bench import Bench
from mrinterp.outcomes._outcome import Outcome
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.outcomes._projection_and_callable import CallableOutcome

__all__ = ["CompiledText", "CompiledTransformer", "compiled_text"]

Array = NDArray[np.float64]

NAMES = ("first", "second", "signal", "gate", "plain", "silent", "weak", "idle")
"""One word of every sentence holds each of them; a last word holds none and is where the answer is read."""
WIDTH, LARGE = 12, 8.0
"""Width of the residual stream, and a size that no signal reaches: a closed gate pushes both halves below zero."""
AND, GATED, PLAIN, WEAK = 2.0, 1.0, 0.5, 0.05
"""What the parts of the answer weigh."""


def answer(values: NDArray[np.float64]) -> Array:
    """The network's answer (...,) to the values of its eight words (..., 8), in order of `NAMES`."""
    first, second, signal, gate, plain, _, weak, _ = np.moveaxis(np.asarray(values, dtype=float), -1, 0)
    shut = LARGE * (1 - gate)
    passed = np.maximum(signal - shut, 0) - np.maximum(-signal - shut, 0)
    both = np.maximum(first + second - 1, 0)
    return np.asarray(AND * both + GATED * passed + PLAIN * plain + WEAK * weak)


class CompiledTransformer(torch.nn.Module):
    """One attention head and one layer of rectified units, float64, in a rotated residual stream of width 12.

    The head sums all words at the last one; the units compute ``2 relu(first + second - 1)``, an AND of two values
    that are zero or one, and ``signal`` where ``gate`` is one, nothing where it is zero; ``plain`` and ``weak`` add
    a half and a twentieth of themselves. ``silent`` and ``idle`` reach nothing.

    Parameters
    ----------
    seed : int
        Of the rotation that hides the values.

    Examples
    --------
    >>> import torch
    >>> import mrinterp
    >>> words = torch.tensor([[1.0, 1.0, 0.7, 0.0, 2.0, 9.0, 0.0, 9.0]], dtype=torch.float64)
    >>> mrinterp.worlds.CompiledTransformer()(words).round(decimals=6).tolist()
    [[3.0]]
    """

    rotation: torch.Tensor
    units: torch.Tensor
    bias: torch.Tensor
    out: torch.Tensor
    plain: torch.Tensor

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((WIDTH, WIDTH)))[0]
        self.register_buffer("rotation", torch.from_numpy(rotation))
        units = np.zeros((3, WIDTH))
        units[0, [0, 1]] = 1.0
        units[1, [2, 3]] = 1.0, LARGE
        units[2, [2, 3]] = -1.0, LARGE
        plain = np.zeros(WIDTH)
        plain[[4, 6]] = PLAIN, WEAK
        self.register_buffer("units", torch.from_numpy(units @ rotation))
        self.register_buffer("bias", torch.tensor([-1.0, -LARGE, -LARGE], dtype=torch.float64))
        self.register_buffer("out", torch.tensor([AND, GATED, -GATED], dtype=torch.float64))
        self.register_buffer("plain", torch.from_numpy(plain @ rotation))
        self.stream = torch.nn.Identity()

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """Outputs (runs, 1) of the values of the words, (runs, 8)."""
        n, count = words.shape
        own = torch.diag_embed(words)  # word k holds its value in coordinate k
        wide = torch.nn.functional.pad(own, (0, WIDTH - count, 0, 1)) @ self.rotation
        stream = self.stream(wide)
        # One head whose scores are all alike, times the number of words: their sum, at the last word.
        last = stream.sum(dim=1)
        hidden = torch.relu(last @ self.units.T + self.bias)
        return (hidden @ self.out + last @ self.plain).unsqueeze(-1)


@dataclass(frozen=True, eq=False)
class CompiledText:
    """The network with inputs, ready for a bench, and its answer as a formula.

    Attributes
    ----------
    adapter : TorchAdapter
        The network, ready to be run and edited.
    site : str
        The residual stream, where every word has its own vector.
    view : Directions
        The eight values by name: ``first, second, signal, gate, plain, silent, weak, idle``.
    inputs : ModelInputs
        P inputs of nine words, each word a token class of its own.
    outcome : Outcome
        The network's one output.
    family : ndarray (P,) of int
        The family of every input.
    values : ndarray (P, 8)
        The values of the words.

    Examples
    --------
    >>> import mrinterp
    >>> mrinterp.worlds.compiled_text(families=10).bench()
    Bench(site='stream', features=8, outcomes=1, prompts=40, families=10)
    """

    adapter: TorchAdapter
    site: str
    view: Directions
    inputs: ModelInputs
    outcome: Outcome
    family: NDArray[np.int_]
    values: Array

    def answer(self, **values: Any) -> Array:
        """The exact outcome (P,) where some of the words are set to other values.

        Parameters
        ----------
        **values
            By name, a number or one per input, such as ``gate=0``.

        Returns
        -------
        ndarray (P,)
            As the network must give it.

        Examples
        --------
        >>> import mrinterp
        >>> world = mrinterp.worlds.compiled_text(families=10)
        >>> float((world.answer(plain=1.0) - world.answer(plain=-1.0)).mean().round(6))
        1.0
        """
        changed = self.values.copy()
        for name, value in values.items():
            changed[:, NAMES.index(name)] = value
        return answer(changed)

    def bench(self, outcome: Outcome | OutcomeSet | None = None, **options: Any) -> Bench:
        """A bench of the network on its inputs.

        Parameters
        ----------
        outcome : Outcome or OutcomeSet, optional
            Default the network's one output.
        **options
            Of `mrinterp.knockouts.Bench`, such as ``position``, ``block`` or ``folder``.

        Returns
        -------
        Bench
            Eight features on P inputs, errors clustered by family.
        """
        given = {"family": self.family, **options}
        measured = self.outcome if outcome is None else outcome
        return Bench(self.adapter, self.site, self.view, self.inputs, measured, **given)


def compiled_text(
    seed: int = 0, families: int = 160, per_family: int = 4, co_activation: float = 0.95
) -> CompiledText:
    """Draw inputs of the hand-written transformer.

    Parameters
    ----------
    seed : int
        Of the inputs, and of the rotation.
    families, per_family : int
        How many families, and inputs in each.
    co_activation : float
        Correlation of ``silent`` with ``plain``.

    Returns
    -------
    CompiledText
        Network, inputs, and the answer as a formula.

    Notes
    -----
    ``first``, ``second`` and ``gate`` are zero or one: one of the first two is common in a family, and families
    differ in how often their gate is open. The mean gradient of the AND is not the effect of setting one of its parts:
    below the bend it is zero.

    Examples
    --------
    >>> import mrinterp
    >>> world = mrinterp.worlds.compiled_text(families=10)
    >>> world.values.shape, world.view.names[3]
    ((40, 8), 'gate')
    """
    checked_seed(seed)
    checked_count(families, "families")
    checked_count(per_family, "per_family")
    rng = np.random.default_rng([seed, 1])
    count = families * per_family
    chance = np.repeat(rng.uniform(0.2, 0.8, (families, 3)), per_family, axis=0)
    first, second, gate = (rng.random((count, 3)) < chance).T.astype(float)
    own = np.repeat(rng.standard_normal((families, 5)), per_family, axis=0)
    signal, plain, other, weak, idle = (0.5**0.5 * (own + rng.standard_normal((count, 5)))).T
    silent = co_activation * plain + np.sqrt(1 - co_activation**2) * other
    signal = np.clip(signal, 1 - LARGE, LARGE - 1)
    values = np.column_stack([first, second, signal, gate, plain, silent, weak, idle])
    network = CompiledTransformer(seed).eval()
    words = len(NAMES) + 1
    classes = torch.arange(words).repeat(count, 1)
    inputs = ModelInputs(
        {"words": torch.from_numpy(values)},
        torch.ones(count, words, dtype=torch.long),
        classes,
        (*NAMES, "last"),
    )
    view = Directions(network.rotation.numpy()[: len(NAMES)], names=NAMES)
    outcome = CallableOutcome("answer", lambda output, _mask: output[:, 0])
    family = np.repeat(np.arange(families), per_family)
    return CompiledText(TorchAdapter(network), "stream", view, inputs, outcome, family, values)
