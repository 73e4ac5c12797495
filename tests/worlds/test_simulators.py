"""Simulated tables and runs: what was planted is in them, and what breaks an assumption does so where it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mrinterp import run_mr
from mrinterp.mr import within
from mrinterp.worlds import world_families
from mrinterp.worlds._run_worlds import _SCENARIOS as RUN_SCENARIOS
from mrinterp.worlds._run_worlds import RunScenario, simulate_runs
from mrinterp.worlds._summary_worlds import _SCENARIOS as TABLE_SCENARIOS
from mrinterp.worlds._summary_worlds import Scenario, simulate

EXACT = 1e-9


def _beside(scenario, rng):
    """What of an outcome's effects its exposures' true effects leave, per instrument, without errors."""
    data, effects = simulate(replace(scenario, se_x=EXACT, instruments=1500), rng)
    return data.beta_y - effects.T @ data.beta_x, scenario.se_y


@pytest.mark.parametrize(("name", "scenario"), [(s[0], s[3]) for s in TABLE_SCENARIOS])
def test_tables_hold_what_was_planted_and_pleiotropy_where_it_is_said_to_be(name, scenario):
    left, error = _beside(scenario, np.random.default_rng(0))
    outlying = (np.abs(left) > 4.5 * error).mean()
    spread = left.std() / error
    if "exclusion" not in next(s[4] for s in TABLE_SCENARIOS if s[0] == name):
        assert outlying < 0.02
        assert 0.8 < spread < 1.3
    else:
        assert spread > 1.5
    if scenario.invalid == 0.1:
        assert 0.03 < outlying < 0.12


@pytest.mark.parametrize("name", [s[0] for s in RUN_SCENARIOS])
def test_changes_of_runs_are_the_planted_effect_and_what_is_said_to_lie_beside(name):
    """The outcome's changes, the cause's taken off, are the listed paths and noise of .1 where nothing is broken."""
    scenario, broken = next((s[3], s[4]) for s in RUN_SCENARIOS if s[0] == name)
    panel, effects = simulate_runs(scenario, np.random.default_rng(0), families=60)
    change = panel.changes()
    known = np.column_stack([change.features, change.bypass])
    left = change.outcomes - change.features @ effects
    explained = (
        np.column_stack([change.bypass, change.features[:, :1]]) if change.bypass.size else known[:, :1]
    )
    rest = left - explained @ np.linalg.lstsq(explained, left, rcond=None)[0]
    # .1 in each of the two runs, and effects that differ by a fifth between families.
    clean = np.hypot(np.sqrt(2) * 0.1, 0.2 * scenario.effect * change.features[:, 0].std())
    outside = rest.std() > 1.1 * clean
    assert outside == bool(broken & {"exclusion", "independent errors"})


@pytest.mark.parametrize("name", ["co-activation (tables)", "bypass (tables)"])
def test_grapple_finds_the_planted_effects_of_clean_tables(name):
    found = []
    for seed in range(5):
        world = world_families()[name].make(seed, small=False)
        made = run_mr(world.mr_data, ["grapple"])[0]
        found.append((made.beta - world.truth.effects["slope"]) / made.se)
    z = np.array(found)
    assert np.abs(z.mean(axis=0)).max() < 4 / np.sqrt(len(z))
    assert 0.6 < z.std() < 1.5


@pytest.mark.parametrize("name", ["co-activation (runs)", "bypass (runs)", "weak instruments (runs)"])
def test_the_within_regression_finds_the_planted_effects_of_clean_runs(name):
    world = world_families()[name].make(3)
    made = within(world.panel)
    assert np.abs((made.beta - world.truth.effects["slope"]) / made.se).max() < 4


def test_scenarios_draw_what_they_always_drew():
    """``benchmarks/results/mr_simulations.md`` rests on these."""
    panel, _ = simulate_runs(RunScenario("overlap", shared=0.3), np.random.default_rng([2, 3, 0]))
    assert panel.outcomes[:2, 0] == pytest.approx([-0.17804467, -1.28744357], rel=1e-7)
    data, _ = simulate(Scenario("balanced", balanced=1.5), np.random.default_rng([0, 4, 0]))
    assert data.beta_y[0, :2] == pytest.approx([0.09321562, -0.01878534], rel=1e-6)
