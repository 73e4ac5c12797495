"""Runs whose causes are known, for the run-level estimators: what lies outside the cut, and what does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.panel import Panel
from mrinterp.results._knockout_effects import ROPE_SD
from mrinterp.tables._arrays import from_arrays
from mrinterp.worlds._linear import linear_world
from mrinterp.worlds._world import Part, Truth, World, WorldFamily

__all__ = ["RUNS", "RUN_FAMILIES"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RunScenario:
    """How one panel is drawn: four features (a cause, its silent twin, two more without effect), three paths beside.

    ``own`` deviation of what moves a feature besides the doses; ``known`` whether the paths beside the
    features are in the panel as bypass; ``shared`` a disturbance of each run that features and outcome share and that
    no feature carries; ``balanced`` deviation of the instruments' effects outside the cut; ``invalid`` share of
    instruments with an effect of .3 outside the cut in the direction of the cause's; ``beside`` size of what the paths
    beside the features do; ``driver`` how much of something that the instruments move, that nobody reads and that adds
    its own size to the outcome, is in the last two features; ``outcome_share`` how much of the shared disturbance the
    outcome has (at 1, with an effect of 1, the cause carries it like any other change).
    """

    name: str
    effect: float = 1.0
    own: float = 0.5
    known: bool = True
    shared: float = 0.0
    balanced: float = 0.0
    invalid: float = 0.0
    beside: float = 1.0
    driver: float = 0.0
    outcome_share: float = 1.0


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
    paths = scenario.beside * np.array([[0.7], [-0.5], [0.4]])
    y = size[:, None] * features[:, :1] + bypass @ paths + (z @ outside)[:, None]
    y = (
        y
        + scenario.outcome_share * shock
        + 0.1 * rng.standard_normal((N, 1))
        + rng.standard_normal((P, 1))[prompt]
    )
    if scenario.driver:
        unread = z @ rng.standard_normal((instruments, 1)) / np.sqrt(instruments)
        features, y = features + unread * np.array([0.0, 0.0, 1.0, 1.0]) * scenario.driver, y + unread
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


NAMES = ("cause", "twin", "silent", "bystander")
_SCENARIOS: tuple[tuple[str, Part, str, RunScenario, frozenset[str]], ...] = (
    (
        "co-activation",
        "development",
        "One cause; a twin whose changes correlate .85 with it; two more features that the same instruments move.",
        RunScenario("co-activation", beside=0.0),
        frozenset(),
    ),
    (
        "bypass",
        "development",
        "Co-activation, and three paths beside the features that the same instruments move, listed in the panel.",
        RunScenario("bypass"),
        frozenset(),
    ),
    (
        "overlap",
        "development",
        "Every run has a disturbance of its own that features and outcome share and that no dose moves.",
        RunScenario("overlap", shared=0.3, outcome_share=-1.0),
        frozenset({"independent errors"}),
    ),
    (
        "weak instruments",
        "development",
        "Doses explain a fifth of what moves a feature.",
        RunScenario("weak instruments", own=2.0),
        frozenset({"relevance"}),
    ),
    (
        "balanced pleiotropy",
        "development",
        "Every instrument also acts outside the cut, up as often as down.",
        RunScenario("balanced pleiotropy", balanced=0.05),
        frozenset({"exclusion"}),
    ),
    (
        "unmeasured common driver",
        "development",
        "Instruments move a driver that nobody reads; it moves two features without effect, and the outcome.",
        RunScenario("unmeasured common driver", driver=1.0),
        frozenset({"exclusion"}),
    ),
    (
        "null",
        "development",
        "The null: no feature does anything; what moves the outcome are the listed paths beside them.",
        RunScenario("null", effect=0.0),
        frozenset(),
    ),
    (
        "directional pleiotropy",
        "evaluation",
        "A tenth of the instruments act outside the cut, always in the direction of the cause.",
        RunScenario("directional pleiotropy", invalid=0.1),
        frozenset({"exclusion"}),
    ),
    (
        "correlated pleiotropy",
        "evaluation",
        "The paths beside the features, correlated with three of them, are not in the panel.",
        RunScenario("correlated pleiotropy", known=False),
        frozenset({"exclusion"}),
    ),
)


def _rope(panel: Panel) -> Array:
    return ROPE_SD * np.asarray(panel.clean().outcomes).std(axis=0)


def _draw(name: str, scenario: RunScenario, broken: frozenset[str]) -> Callable[[int, bool], World]:
    def draw(seed: int, small: bool) -> World:
        rng = np.random.default_rng([seed, crc32(name.encode())])
        # 5 to 50 half widths of the region of practical equivalence; 0 stays 0.
        size = scenario.effect * 10 ** rng.uniform(-1, 0) * rng.choice([-1.0, 1.0])
        panel, effects = simulate_runs(replace(scenario, effect=size), rng, families=60 if small else 160)
        causal = effects != 0
        borrows = np.array([-1, 0 if causal[0, 0] else -1, -1, -1])
        truth = Truth(NAMES, ("y",), causal, borrows, effects={"slope": effects}, rope=_rope(panel))
        return World(name, f"seed {seed}", seed, truth, panel=panel, broken=broken)

    return draw


def _linear_network(seed: int, small: bool) -> World:
    """`linear_world` as a world: the twin borrows from the cause, the copy cannot be told from it."""
    drawn = linear_world(seed, families=60 if small else 160)
    effects, names = drawn.effects[:, None], drawn.panel.feature_names
    truth = Truth(
        names,
        drawn.panel.outcome_names,
        effects != 0,
        borrows_from=np.where(np.array(names) == "twin", names.index("cause"), -1),
        group=np.array([names.index("cause") if n == "copy" else k for k, n in enumerate(names)]),
        effects={"slope": effects},
        rope=_rope(drawn.panel),
    )
    return World("linear network", f"seed {seed}", seed, truth, panel=drawn.panel)


RUN_FAMILIES = (
    WorldFamily(
        "linear network",
        "development",
        "One cause, a twin that moves with it, an exact copy, and a bypass moved by the same instruments.",
        _linear_network,
    ),
    *(
        WorldFamily(f"{name} (runs)", part, about, _draw(f"{name} (runs)", scenario, broken))
        for name, part, about, scenario, broken in _SCENARIOS
    ),
)
"""Worlds of runs alone: no network to edit."""
