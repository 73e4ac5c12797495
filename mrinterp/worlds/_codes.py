"""Hand-built networks whose features are not one a unit: one-hot words, polysemantic units, more features than dimensions."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.features._latents import Latents
from mrinterp.features._units import Units
from mrinterp.worlds._company import effect_sizes
from mrinterp.worlds._hand_built import (
    Built,
    Sizes,
    StreamNetwork,
    family_of_networks,
    noisy_inputs,
    stream_bench,
    substituted_inputs,
    weights_of,
)

__all__ = ["CODE_FAMILIES"]

Array = NDArray[np.float64]

WORDS = 6
"""Words that a field may hold."""


def _one_hot(rng: np.random.Generator, sizes: Sizes, seed: int) -> Built:
    """Two fields of one word each: the cue's word decides, the decoy's mostly is the same."""
    P, F, W = len(sizes.family), 2 * WORDS + 1, 2 * WORDS + 2
    favourite = rng.integers(WORDS, size=sizes.families)[sizes.family]
    cue = np.where(rng.random(P) < 0.3, favourite, rng.integers(WORDS, size=P))
    decoy = np.where(rng.random(P) < 0.8, cue, rng.integers(WORDS, size=P))
    x = np.column_stack([np.eye(WORDS)[cue], np.eye(WORDS)[decoy], sizes.normal(rng, 2)])
    weights = weights_of({2 * WORDS: 0.3}, W)
    weights[:WORDS] = rng.permutation(np.array([-1.0, -0.6, -0.3, 0.3, 0.6, 1.0]))
    names = (*(f"cue {k}" for k in range(WORDS)), *(f"decoy {k}" for k in range(WORDS)), "number")
    bench = stream_bench(
        StreamNetwork(np.eye(W), np.zeros(W), weights), x, sizes.family, Units(range(F), W, names)
    )
    fields = (tuple(range(WORDS)), tuple(range(WORDS, 2 * WORDS)))
    return Built(
        bench,
        x,
        lambda c: np.asarray(c @ weights),
        substituted_inputs(bench.inputs, fields, (F - 1, F)),
        impostors={f"decoy {k}": f"cue {k}" for k in range(WORDS)},
        broken=frozenset({"independent features"}),
    )


def _polysemantic(rng: np.random.Generator, sizes: Sizes, seed: int) -> Built:
    """Units hold sums of concepts; the answer reads one concept as the difference of two units, a third unit holds it too."""
    names = tuple(f"unit {k}" for k in range(6))
    holds = np.eye(7)  # units, concepts; the last ones are the rest
    for unit, concepts in enumerate([(0, 1), (1,), (0, 2), (2, 3), (3,), (4, 5)]):
        holds[unit] = np.isin(np.arange(7), concepts)
    holds[2, 0] = rng.uniform(1.0, 1.5)
    a, b = effect_sizes(rng, 2)
    weights = weights_of({0: a, 1: -a, 5: 0.4 * b}, 7)
    x = sizes.normal(rng, 7)
    bench = stream_bench(
        StreamNetwork(holds.T, np.zeros(7), weights), x, sizes.family, Units(range(6), 7, names)
    )
    return Built(
        bench,
        x @ holds.T,
        lambda c: np.asarray(c @ weights),
        noisy_inputs(bench.inputs, seed, np.eye(7)[-1]),
        impostors={"unit 2": "unit 0"},
    )


PLANES, CORNERS, BIAS = 4, 5, 0.3
"""Planes, each of which holds a regular polygon of so many concepts, and what a latent must exceed to fire."""


class Overcomplete:
    """An autoencoder of more latents than dimensions, given its directions (F, W): ``relu(h @ d - bias)``, back by ``@ d``.

    Parameters
    ----------
    directions : ndarray (F, W)
        Unit rows.
    """

    def __init__(self, directions: Array) -> None:
        self.directions = torch.from_numpy(directions)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Latents (..., F) of vectors (..., W)."""
        return torch.relu(x @ self.directions.T.to(x) - BIAS)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Vectors (..., W) of latents (..., F)."""
        return latents @ self.directions.to(latents)


def _superposition(rng: np.random.Generator, sizes: Sizes, seed: int) -> Built:
    """Twenty concepts that rarely occur in eight dimensions, five to a plane; the answer reads one corner of two planes."""
    P, F, W = len(sizes.family), PLANES * CORNERS, 2 * PLANES
    angle = 2 * np.pi * np.arange(CORNERS) / CORNERS
    polygon = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    directions = np.kron(np.eye(PLANES), polygon) @ np.linalg.qr(rng.standard_normal((W, W)))[0]
    chance = rng.uniform(0.1, 0.35, (sizes.families, F))[sizes.family]
    occurs = rng.random((P, F)) < chance
    # The first corners of the other two planes occur with those that are read.
    read, company = (0, CORNERS), (2 * CORNERS, 3 * CORNERS)
    occurs[:, company] = np.where(rng.random((P, 2)) < 0.85, occurs[:, read], occurs[:, company])
    x = occurs * rng.uniform(0.7, 1.5, (P, F))
    units, out = directions[list(read)].T, 2 * effect_sizes(rng, 2)
    view = Latents(Overcomplete(directions), W)
    network = StreamNetwork(directions, np.zeros(W), np.zeros(W), units, np.full(2, -BIAS), out)
    bench = stream_bench(network, x, sizes.family, view)
    names = view.names
    return Built(
        bench,
        x,
        lambda c: np.asarray(np.maximum(c @ (directions @ units) - BIAS, 0) @ out),
        noisy_inputs(bench.inputs, seed, size=0.3),
        values=np.maximum(x @ directions @ directions.T - BIAS, 0),
        impostors={names[c]: names[r] for c, r in zip(company, read, strict=True)},
        broken=frozenset({"independent features", "linearity"}),
    )


CODE_FAMILIES = (
    family_of_networks(
        "one-hot code",
        "development",
        "A field of six words decides, one unit each; a decoy field mostly holds the same word and does nothing.",
        _one_hot,
    ),
    family_of_networks(
        "polysemantic code",
        "evaluation",
        "Units hold sums of concepts: one concept is read as a difference of two units, a third one holds it unread.",
        _polysemantic,
    ),
    family_of_networks(
        "superposition",
        "evaluation",
        "Twenty latents in eight dimensions: two are read, their neighbours interfere, ten reach nothing, two of these as company.",
        _superposition,
    ),
)
"""Worlds whose features share dimensions, or a dimension several of them."""
