"""Runs whose causes are known, for the run-level estimators: what lies outside the cut, and what does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.panel import Panel
from mrinterp.tables._arrays import from_arrays

__all__ = ["RUNS", "RunScenario", "simulate_runs"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RunScenario:
    """How one panel is drawn: four features (a cause, its silent twin, two more without effect), three paths beside.

    ``own`` deviation of what moves a feature besides the doses; ``known`` whether the paths beside the
    features are in the panel as bypass; ``shared`` a disturbance of each run that features and outcome share and that
    no feature carries; ``balanced`` deviation of the instruments' effects outside the cut; ``invalid`` share of
    instruments with an effect of .3 outside the cut in the direction of the cause's.
    """

    name: str
    effect: float = 1.0
    own: float = 0.5
    known: bool = True
    shared: float = 0.0
    balanced: float = 0.0
    invalid: float = 0.0


RUNS = (
    RunScenario("co-activated"),
    RunScenario("weak", own=2.0),
    RunScenario("null", effect=0.0),
    RunScenario("overlap", shared=0.3),
    RunScenario("balanced", balanced=0.05),
    RunScenario("directional", invalid=0.1),
    RunScenario("correlated", known=False),
    RunScenario("null, balanced", effect=0.0, balanced=0.05),
)
"""The first three keep the assumptions of the within regression; in the others something lies outside the cut."""


def simulate_runs(
    scenario: RunScenario, rng: np.random.Generator, families: int = 60, instruments: int = 24
) -> tuple[Panel, Array]:
    """One panel (two prompts a family, a clean and eight perturbed runs each) with its true effects (4, 1)."""
    prompts, runs = 2, 8
    P = families * prompts
    prompt = np.repeat(np.arange(P), runs + 1)
    family = prompt // prompts
    clean = np.tile(np.arange(runs + 1) == 0, P)
    N, moved = len(prompt), ~clean[:, None]
    z = rng.standard_normal((N, instruments)) * moved
    gamma = rng.standard_normal((instruments, 7)) / np.sqrt(instruments)
    x = z @ gamma + scenario.own * rng.standard_normal((N, 7)) * moved
    x[:, 1] = 0.85 * x[:, 0] + np.sqrt(1 - 0.85**2) * x[:, 1]
    features, bypass = x[:, :4], x[:, 4:] + 0.6 * x[:, [0, 2, 3]]
    size = scenario.effect * (1 + 0.2 * rng.standard_normal(families))[family]
    outside = scenario.balanced * rng.standard_normal(instruments)
    outside += 0.3 * np.sign(gamma[:, 0]) * (rng.random(instruments) < scenario.invalid)
    shock = scenario.shared * rng.standard_normal((N, 1)) * moved
    y = size[:, None] * features[:, :1] + bypass @ np.array([[0.7], [-0.5], [0.4]]) + (z @ outside)[:, None]
    y = y + shock + 0.1 * rng.standard_normal((N, 1)) + rng.standard_normal((P, 1))[prompt]
    panel = from_arrays(
        doses=z,
        features=features + shock + rng.standard_normal((P, 4))[prompt],
        outcomes=y,
        prompt=prompt,
        family=family,
        bypass=bypass[:, : 3 * scenario.known],
        clean=clean,
        feature_names=["cause", "twin", "silent", "bystander"],
        outcome_names=["y"],
    )
    return panel, np.array([[scenario.effect], [0.0], [0.0], [0.0]])
