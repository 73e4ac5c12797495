"""Recovery of known effects: level, coverage and power in the scenarios of the published table, small."""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from mrinterp.mr._engine.default_method import default_method
from mrinterp.mr._engine.registry import registered
from tests.conftest import ROOT


@cache
def simulations() -> ModuleType:
    """The benchmark that writes the published table."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return importlib.import_module("mr_simulations")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@cache
def scores(scenario: str) -> dict[str, Any]:
    room = simulations()
    chosen = tuple(s for s in room.JOINT if s.name == scenario)
    methods: dict[str, dict[str, Any]] = {"mrbee": {}, "srivw": {}, "grapple": {"starts": 3}, "ivw": {}}
    return {s.method: s for s in room.run(methods, chosen, 40)}


# 40 data sets x 8 exposures that correlate: a rate near .05 has a Monte-Carlo deviation of at most
# sqrt(.05 x .95 / 40) = .034 (if exposures' errors agreed fully) and about .015 in fact; 3 of those.
@pytest.mark.parametrize("scenario", ["two samples", "overlap", "balanced", "null"])
@pytest.mark.parametrize("method", ["mrbee", "srivw", "grapple"])
def test_intervals_hold_their_level(scenario: str, method: str) -> None:
    score = scores(scenario)[method]
    assert score.failed == 0
    assert score.coverage > 0.95 - 0.05
    assert score.type_one < 0.05 + 0.05
    if scenario != "null":
        assert abs(score.bias) < 0.08
        assert score.power > 0.8


def test_the_robust_estimator_stands_directional_pleiotropy() -> None:
    found = scores("directional")
    assert abs(found["grapple"].bias) < 0.1
    assert found["grapple"].coverage > 0.87


def test_the_univariable_screen_does_not_hold_its_level() -> None:
    assert scores("two samples")["ivw"].type_one > 0.5


@pytest.mark.parametrize("number", range(10))
def test_the_default_of_a_paired_design_holds_its_level_everywhere(number: int) -> None:
    """100 data sets a scenario: within three Monte-Carlo errors of 5% and 95%."""
    room = simulations()
    (score,) = room.run_defaults("paired", room.JOINT[number : number + 1], 100)
    assert score.failed == 0
    assert score.type_one < 0.05 + 3 * score.error["type_one"], score
    assert score.coverage > 0.95 - 3 * score.error["coverage"], score
    assert "mv_ivw" in score.method


def test_the_default_between_prompts_holds_its_level_with_correlated_instruments() -> None:
    room = simulations()
    (score,) = room.run_defaults("between", [s for s in room.JOINT if s.name == "LD"], 30)
    assert score.method == "between: mv_gmm"
    assert score.type_one < 0.05 + 3 * 0.025
    assert score.coverage > 0.95 - 3 * 0.02


def test_the_default_of_runs_holds_its_level_while_the_cut_is_complete() -> None:
    room = simulations()
    for score in room.run_panels(["within"], room.RUNS[:3], 60):
        assert abs(score.bias) < 4 * score.error["bias"] + 1e-3, score
        assert score.type_one < 0.05 + 3 * score.error["type_one"], score
        assert score.coverage > 0.95 - 3 * score.error["coverage"], score


def test_the_table_has_every_registered_method() -> None:
    room = simulations()
    small = [(room.JOINT, "multivariable"), (room.SINGLE, "univariable")]
    for scenarios, kind in small:
        quick = {"mv_cml": {"starts": 2}, "grapple": {"starts": 2}, "mv_median": {"draws": 20}}
        methods = {m: quick.get(m, room.OPTIONS.get(m, {})) for m in registered(kind)}
        slow = {"anderson_rubin_set", "lm_set", "clr_set", "pc_gmm"}
        first = scenarios[1:2]
        found = room.run({m: o for m, o in methods.items() if m not in slow}, first, 2)
        assert {s.method for s in found} == set(methods) - slow
        assert all(np.isfinite(s.coverage) for s in found if s.failed < 1)
        assert [s.method for s in found if s.failed == 1] in ([], ["hetpen"])
    runs = room.run_panels(registered("run"), room.RUNS[:1], 2)
    assert {s.method for s in runs} == set(registered("run"))
    text = room.level_tables(runs)
    assert all(f"| {m} |" in text for m in registered("run"))
    assert text.count("<sub>") == 4 * len(registered("run"))


def test_scores_are_seeded() -> None:
    room = simulations()
    one, two = (room.run({"mv_ivw": {}}, room.JOINT[:1], 3) for _ in range(2))
    assert (one[0].bias, one[0].coverage) == (two[0].bias, two[0].coverage)


def test_the_default_follows_the_design() -> None:
    room = simulations()
    from dataclasses import replace

    rng = np.random.default_rng(0)
    between, _ = room.simulate(room.JOINT[0], rng)
    assert default_method(between)[0] == "grapple"
    assert default_method(replace(between, ld=np.eye(150)))[0] == "mv_gmm"
    assert default_method(replace(between, design="paired")) == (
        "mv_ivw",
        {"model": "sandwich", "distribution": "t"},
    )
    alone = between.select(["x1"])
    assert default_method(alone)[0] == "ivw"
    assert default_method(alone.select(instruments=np.arange(150) < 1))[0] == "wald"
