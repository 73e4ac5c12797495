"""Hand-built networks that are not linear: gates, steps, redundant and compensating pairs, and what goes through a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from mrinterp.features._units import Units
from mrinterp.knockouts._bench import Bench
from mrinterp.results._knockout_effects import ROPE_SD
from mrinterp.worlds._company import companions, effect_sizes
from mrinterp.worlds._compiled_text import NAMES as WORDS
from mrinterp.worlds._compiled_text import answer as compiled_answer
from mrinterp.worlds._compiled_text import compiled_text
from mrinterp.worlds._gated import gated_world
from mrinterp.worlds._hand_built import (
    FULL,
    REST,
    SMALL,
    Built,
    Sizes,
    family_of_networks,
    noisy_inputs,
    panel_of,
    substituted_inputs,
    weights_of,
    wired,
)
from mrinterp.worlds._world import Truth, World, WorldFamily

__all__ = ["SWITCH_FAMILIES"]

Array = NDArray[np.float64]

NOT_LINEAR = frozenset({"linearity"})


def _gate(rng: np.random.Generator, sizes: Sizes, seed: int) -> Built:
    """`compiled_text`: the head sums nine words, so that the mean over them is a ninth of each value."""
    world = compiled_text(seed, sizes.families, sizes.prompts)
    return Built(
        world.bench(block=2048),
        world.values,
        compiled_answer,
        noisy_inputs(world.inputs, seed, instruments=16),
        scale=1 / (len(WORDS) + 1),
        impostors={"silent": "plain"},
        broken=NOT_LINEAR,
    )


def _clamp_and_step(rng: np.random.Generator, sizes: Sizes, seed: int) -> Built:
    world = gated_world(seed, sizes.families, sizes.prompts)
    return Built(
        world.bench(block=2048),
        world.inputs.tensors["x"].numpy(),
        lambda x: np.asarray(x[..., 0] + np.clip(4 * x[..., 2], -1, 1) + (x[..., 3] > 0.5)),
        noisy_inputs(world.inputs, seed, size=0.3),
        impostors={"silent": "linear"},
        broken=NOT_LINEAR,
    )


def _threshold(rng: np.random.Generator, sizes: Sizes, seed: int) -> Built:
    """A step between two rectified units: from half of a value on, all of the effect within an eighth of it."""
    names, steep = ("cause", "twin", "other", "idle"), 8.0
    mix = companions(7, {1: (0, rng.uniform(0.85, 0.95)), 4: (0, 0.5)})
    (a, b, c), at = effect_sizes(rng, 3), rng.uniform(0.2, 0.6)
    x = sizes.normal(rng, 7)
    units = np.zeros((7, 2))
    units[0] = steep
    plain = {2: 0.6 * b, 4: 0.5 * c}
    weights = weights_of(plain, 7)
    bench, coordinates, rest = wired(
        x,
        sizes.family,
        names,
        mix,
        rng,
        plain=plain,
        units=units,
        bias=np.array([-steep * at, -steep * at - 1]),
        out=np.array([2 * a, -2 * a]),
    )
    return Built(
        bench,
        coordinates(x),
        lambda z: np.asarray(2 * a * np.clip(steep * (z[..., 0] - at), 0, 1) + z @ weights),
        noisy_inputs(bench.inputs, seed, rest),
        bypass=_columns(coordinates, (4, 5)),
        impostors={"twin": "cause"},
        broken=NOT_LINEAR,
    )


def _columns(coordinates: Callable[[Array], Array], listed: Sequence[int]) -> Callable[[Array], Array]:
    return lambda given: coordinates(given)[:, list(listed)]


def _redundant(rng: np.random.Generator, sizes: Sizes, seed: int) -> Built:
    """``or`` of two detectors that mostly agree; ``silent`` mostly agrees with them and reaches nothing."""
    names = ("first", "second", "silent", "other", "idle")
    P = len(sizes.family)
    common = rng.random((sizes.families, 1))[sizes.family] < rng.uniform(0.35, 0.65)
    seen = rng.random((P, 3)) < np.where(common, 0.85, 0.15)
    x = np.column_stack([seen, sizes.normal(rng, 4)])
    a, b, c = effect_sizes(rng, 3)
    units = np.zeros((7, 1))
    units[[0, 1]] = 1.0
    plain = {0: 2 * a, 1: 2 * a, 3: 0.6 * b, 5: 0.5 * c}
    weights = weights_of(plain, 7)
    bench, coordinates, _ = wired(
        x,
        sizes.family,
        names,
        np.eye(7),
        rng,
        plain=plain,
        units=units,
        bias=np.array([-1.0]),
        out=np.array([-2 * a]),
        mixed=False,
    )

    return Built(
        bench,
        coordinates(x),
        lambda z: np.asarray(z @ weights - 2 * a * np.maximum(z[..., 0] + z[..., 1] - 1, 0)),
        substituted_inputs(bench.inputs, ((0,), (1,), (2,)), (3, 4, 5, 6)),
        bypass=_columns(coordinates, (5,)),
        impostors={"silent": "first"},
        broken=NOT_LINEAR,
    )


def _compensating(rng: np.random.Generator, sizes: Sizes, seed: int) -> Built:
    """The larger of ``main`` and ``backup``: the backup is smaller, and takes over where ``main`` is taken away."""
    names = ("main", "backup", "follower", "other", "idle")
    mix = companions(7, {1: (0, 0.9), 2: (0, 0.9)})
    mix[:2] *= 0.5
    (a, b, c), lower = effect_sizes(rng, 3), rng.uniform(0.5, 0.9)
    x = sizes.normal(rng, 7)
    units = np.zeros((7, 1))
    units[[0, 1], 0] = -1.0, 1.0
    plain = {0: 2 * a, 3: 0.6 * b, 5: 0.5 * c}
    weights = weights_of(plain, 7)
    bench, coordinates, rest = wired(
        x,
        sizes.family,
        names,
        mix,
        rng,
        plain=plain,
        offset={0: 2.5, 1: 2.5 - lower},
        units=units,
        bias=np.zeros(1),
        out=np.array([2 * a]),
    )
    return Built(
        bench,
        coordinates(x),
        lambda z: np.asarray(z @ weights + 2 * a * np.maximum(z[..., 1] - z[..., 0], 0)),
        noisy_inputs(bench.inputs, seed, rest),
        bypass=_columns(coordinates, (5,)),
        impostors={"follower": "main"},
        broken=NOT_LINEAR,
    )


THROUGH = 20.0
"""Bias of the unit that passes a sum on: no sum is as low, so that it is never cut off."""


def _mediated(
    rng: np.random.Generator, sizes: Sizes
) -> tuple[Bench, Callable[[Array], Array], Array, Array, Array, Array]:
    """Bench, coordinates (inputs to them), the rest's direction, inputs, and effects (8,) of the coordinates past the
    layer and through it.

    Three coordinates are no features: one acts past the layer, one is the layer's own, and the rest.
    """
    names = ("both ways", "through", "past", "twin", "idle")
    mix = companions(8, {3: (1, 0.9), 5: (0, 0.4)})
    x = sizes.normal(rng, 8)
    a, b, c, d, e = effect_sizes(rng, 5)
    through, past = np.array([a, b, 0, 0, 0, 0, 0.7, 0]), np.array([0.6 * c, 0, d, 0, 0, 0.5 * e, 0, REST])
    bench, coordinates, rest = wired(
        x,
        sizes.family,
        names,
        mix,
        rng,
        plain=dict(enumerate(past)),
        units=through[:, None],
        bias=np.array([THROUGH]),
        out=np.ones(1),
        constant=-THROUGH,
    )
    return bench, coordinates, rest, x, past, through


def _mediators(rng: np.random.Generator, sizes: Sizes, seed: int) -> Built:
    bench, coordinates, rest, x, past, through = _mediated(rng, sizes)
    return Built(
        bench,
        coordinates(x),
        lambda c: np.asarray(c @ (past + through)),
        noisy_inputs(bench.inputs, seed, rest),
        bypass=_columns(coordinates, (5, 6)),
        impostors={"twin": "through"},
        direct=past[:5],
    )


def _mediators_runs(seed: int, small: bool) -> World:
    """The same network read at both sites: the mediator is the sixth feature."""
    name, sizes = "mediators (runs)", SMALL if small else FULL
    bench, coordinates, rest, _, past, through = _mediated(
        np.random.default_rng([seed, crc32(name.encode())]), sizes
    )
    later = Bench(
        bench.adapter,
        "hidden",
        Units([0], 1, ["mediator"]),
        bench.inputs,
        bench.outcome,
        family=bench.family,
        block=2048,
    )
    perturb, listed = noisy_inputs(bench.inputs, seed, rest), _columns(coordinates, (5,))
    panel = panel_of([bench, later], perturb, np.random.default_rng([seed, 9]), sizes.runs, listed)
    direct, total = np.append(past[:5], 1.0)[:, None], np.append((past + through)[:5], 1.0)[:, None]
    truth = Truth(
        panel.feature_names,
        panel.outcome_names,
        total != 0,
        np.array([-1, -1, -1, panel.feature_names.index("through"), -1, -1]),
        effects={"slope": total, "direct": direct},
        rope=ROPE_SD * bench.computed.std(axis=0),
    )
    return World(name, f"seed {seed}", seed, truth, panel=panel)


SWITCH_FAMILIES = (
    family_of_networks(
        "gate",
        "development",
        "A signal that counts where a gate is open, an AND of two values, and two plain causes, one of them with a twin.",
        _gate,
    ),
    family_of_networks(
        "clamp and step",
        "development",
        "One plain cause with a twin; a clamp and a step that are flat in what they naturally take, and not at zero.",
        _clamp_and_step,
    ),
    family_of_networks(
        "threshold",
        "evaluation",
        "A cause that counts as all or nothing, its twin, and a plain cause: gradients are zero almost everywhere.",
        _threshold,
    ),
    family_of_networks(
        "redundant pair",
        "evaluation",
        "An OR of two detectors that mostly agree, so that taking one away changes little; a third one does nothing.",
        _redundant,
    ),
    family_of_networks(
        "compensating pair",
        "evaluation",
        "The larger of two features counts: a backup, mostly without effect, takes over where the main one is removed.",
        _compensating,
    ),
    family_of_networks(
        "mediators",
        "evaluation",
        "Causes that act through a later layer, past it, or both ways; the direct effect has that layer held.",
        _mediators,
    ),
    WorldFamily(
        "mediators (runs)",
        "evaluation",
        "The same network read at both sites: total effects, and direct ones with the mediator among the features.",
        _mediators_runs,
    ),
)
"""Worlds whose effects depend on what else is there, or on the way they take."""
