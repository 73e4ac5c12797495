"""Hand-built networks whose outcome has no gradient: a label, a drawn answer, the grade that a judge gives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from mrinterp.knockouts._bench import Bench
from mrinterp.outcomes._outcome import Sampling
from mrinterp.outcomes._projection_and_callable import CallableOutcome
from mrinterp.results._knockout_effects import ROPE_SD
from mrinterp.worlds._company import companions, effect_sizes
from mrinterp.worlds._exhaustive_truth import causal_label
from mrinterp.worlds._hand_built import (
    FULL,
    SMALL,
    Built,
    exact_effects,
    noisy_inputs,
    weights_of,
    wired,
)
from mrinterp.worlds._world import Truth, World, WorldFamily

__all__ = ["DECISION_FAMILIES"]

Array = NDArray[np.float64]

NAMES = ("cause", "twin", "other", "far twin", "idle")
IMPOSTORS = {"twin": "cause", "far twin": "other"}
CAUSE_OF = np.array([NAMES.index(IMPOSTORS[n]) if n in IMPOSTORS else -1 for n in NAMES])

SCALE = 0.5
"""Of the logistic curve by which an answer is drawn, and sd of a judge's error, where the number behind has an sd of 1 to 2."""


def _label(answer: torch.Tensor) -> torch.Tensor:
    return (answer > 0).double()


def _grade(answer: torch.Tensor) -> torch.Tensor:
    return torch.clamp(torch.round(3 + answer), 1, 5)


def _decided(
    seed: int,
    small: bool,
    name: str,
    of: Callable[[torch.Tensor], torch.Tensor],
    drawn: str = "",
) -> World:
    """A world of two causes with a twin each: ``of`` their sum is what is measured, drawn anew in every run where ``drawn``
    names how."""
    sizes = SMALL if small else FULL
    rng = np.random.default_rng([seed, crc32(name.encode())])
    mix = companions(8, {1: (0, rng.uniform(0.88, 0.96)), 3: (2, rng.uniform(0.6, 0.8)), 5: (0, 0.5)})
    a, b, c = effect_sizes(rng, 3)
    plain = {0: a, 2: b, 5: 0.5 * c}
    x = sizes.normal(rng, 8)
    added, coordinates, rest = wired(x, sizes.family, NAMES, mix, rng, plain=plain)
    bench = Bench(
        added.adapter,
        added.site,
        added.view,
        added.inputs,
        CallableOutcome("answer", lambda output, _mask: of(output[:, 0])),
        family=sizes.family,
        block=2048,
        sampling=Sampling(drawn, 1, SCALE, 0.0, seed) if drawn else None,
    )
    weights = weights_of(plain, 8)

    def expected(z: Array) -> Array:
        value = of(torch.from_numpy(np.asarray(z @ weights))).numpy()
        return np.asarray(expit(value / SCALE) if drawn == "bernoulli" else value)

    built = Built(bench, coordinates(x), expected, noisy_inputs(bench.inputs, seed, rest))
    effects, sd = exact_effects(built)
    if drawn != "bernoulli":  # a step has no local slope
        del effects["slope"]
    rope = ROPE_SD * bench.clean.std(axis=0)
    causal = causal_label(effects, rope)
    truth = Truth(
        NAMES, tuple(bench.outcome.names), causal, CAUSE_OF, effects=effects, rope=rope, feature_sd=sd
    )
    return World(name, f"seed {seed}", seed, truth, bench=bench, broken=frozenset({"linearity"}))


def _family(
    name: str, about: str, of: Callable[[torch.Tensor], torch.Tensor], drawn: str = ""
) -> WorldFamily:
    return WorldFamily(name, "development", about, partial(_decided, name=name, of=of, drawn=drawn))


DECISION_FAMILIES = (
    _family(
        "label",
        "Two causes, each with a twin; what is measured is on which side of a threshold their sum lies: gradients are zero.",
        _label,
    ),
    _family(
        "drawn answer",
        "The same network asked for yes or no, drawn anew in every run with the chance that the sum gives it: no gradient.",
        lambda answer: answer,
        "bernoulli",
    ),
    _family(
        "judged grade",
        "The same network, its answer graded 1 to 5 by a judge who errs by half a grade: no gradient.",
        _grade,
        "normal",
    ),
)
"""Worlds where a gradient says nothing or does not exist."""
