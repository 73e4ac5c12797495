"""Tests of MR's equation: silent where it holds, loud where a cause is left out, and heard by the claims."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mrinterp import from_arrays
from mrinterp.core.errors import InputError
from mrinterp.core.panel import Panel
from mrinterp.diagnostics import specification_checks
from mrinterp.effects._doubts import doubted_rungs, with_doubts
from mrinterp.results import Check, NotApplicable
from mrinterp.worlds import linear_world

NAMES = (
    "moved by doses of their own",
    "doses beyond the cut",
    "over-identification",
    "curvature",
    "slope changes with size",
    "least squares against two stages",
)


def network(seed: int, what: str = "right", families: int = 60) -> Panel:
    """Three features moved by 12 doses; the outcome follows the first two, or breaks the equation as `what` says."""
    rng = np.random.default_rng(seed)
    prompts, runs = 2 * families, 9
    prompt = np.repeat(np.arange(prompts), runs)
    clean = np.tile(np.arange(runs) == 0, prompts)
    moved = ~clean[:, None]
    doses = rng.standard_normal((len(prompt), 12)) * moved
    x = doses @ rng.standard_normal((12, 4)) / 3 + 0.3 * rng.standard_normal((len(prompt), 4)) * moved
    base = rng.standard_normal((prompts, 4))[prompt]
    level = rng.standard_normal((prompts, 1))[prompt]
    driver = 0.5 * rng.standard_normal((len(prompt), 1)) * moved
    y = x[:, :1] - 0.5 * x[:, 1:2] + 0.3 * rng.standard_normal((len(prompt), 1)) * moved
    y = y + {
        "right": 0.0,
        "left out": 0.3 * x[:, 3:],
        "curved": 0.3 * x[:, :1] ** 2,
        "gate": np.clip(2 * x[:, :1], -0.8, 0.8),
        "driver": driver,
    }.get(what, 0.0)
    features = x[:, :3] + (driver if what == "driver" else 0.0)
    if what == "echo":
        features = np.concatenate([features[:, :2], y + 0.3 * rng.standard_normal(y.shape) * moved], axis=1)
    return from_arrays(
        doses=doses,
        features=features + base[:, :3],
        outcomes=y + level,
        prompt=prompt,
        family=prompt // 2,
        clean=clean,
    )


def failed(panel: Panel, **options: float) -> set[str]:
    found = specification_checks(panel, **options)
    return {c.name.split(":")[0] for c in found if isinstance(c, Check) and c.verdict == "failed"}


def test_a_right_equation_fails_at_its_level() -> None:
    alarms = sum(bool(failed(network(seed))) for seed in range(80))
    assert stats.binom.sf(alarms - 1, 80, 0.05) > 0.005, f"{alarms} of 80"


def many_columns(seed: int, features: int) -> Panel:
    """A right equation with as many columns as a third of the runs."""
    rng = np.random.default_rng(seed)
    prompts, runs = 60, 9
    prompt, clean = np.repeat(np.arange(prompts), runs), np.tile(np.arange(runs) == 0, prompts)
    moved = ~clean[:, None]
    doses = rng.standard_normal((len(prompt), 200)) * moved
    x = (
        doses @ rng.standard_normal((200, features)) / 14
        + 0.7 * rng.standard_normal((len(prompt), features)) * moved
    )
    y = x[:, :5].sum(axis=1, keepdims=True) + 0.5 * rng.standard_normal((len(prompt), 1)) * moved
    return from_arrays(doses=doses, features=x, outcomes=y, prompt=prompt, family=prompt // 2, clean=clean)


def test_what_fitting_takes_from_the_errors_makes_no_alarms() -> None:
    """Families' residuals as they are summed to an alarm in every one of these."""
    found = [failed(many_columns(seed, 160)) for seed in range(12)]
    assert sum(bool(f - {"moved by doses of their own"}) for f in found) <= 3
    (bent,) = [c for c in specification_checks(many_columns(0, 160)) if c.name.startswith("curvature")]
    assert isinstance(bent, NotApplicable)
    assert "15 runs a column" in bent.reason


@pytest.mark.parametrize(
    ("what", "by"),
    [
        ("left out", "doses beyond the cut"),
        ("echo", "moved by doses of their own"),
        ("curved", "curvature"),
        ("gate", "slope changes with size"),
    ],
)
def test_what_breaks_the_equation_is_found(what: str, by: str) -> None:
    assert all(by in failed(network(seed, what)) for seed in range(10))


def test_an_unmeasured_driver_is_found_and_two_stages_are_not_doubted() -> None:
    found = specification_checks(network(0, "driver"))
    driven = next(c for c in found if c.name.startswith("least squares"))
    assert isinstance(driven, Check)
    assert driven.verdict == "failed"
    assert driven.rungs == ("within",)
    assert "two-stage" in driven.next_step


def test_bypass_that_was_not_asked_for_is_missed() -> None:
    world = linear_world(3)
    assert not failed(world.panel)
    assert "doses beyond the cut" in failed(world.panel, rank=0)


def test_one_check_of_each_kind_for_every_outcome() -> None:
    found = specification_checks(network(0))
    assert [c.name.split(":")[0] for c in found] == list(NAMES)
    assert [c.outcome for c in found if isinstance(c, Check)] == ["", *(["y0"] * 5)]


def test_few_families_constant_outcomes_and_exact_fits_do_not_apply() -> None:
    few = specification_checks(network(0, families=10))
    assert all(isinstance(c, NotApplicable) and "10 families" in c.reason for c in few)
    panel = network(0)
    flat = replace(panel, outcomes=np.zeros_like(panel.outcomes))
    _, constant = specification_checks(flat)
    assert isinstance(constant, NotApplicable)
    assert "does not vary" in constant.reason
    exact = replace(panel, outcomes=2 * np.asarray(panel.features[:, :1]))
    _, whole = specification_checks(exact)
    assert isinstance(whole, NotApplicable)
    assert "consequence" in whole.reason


def test_too_few_doses_do_not_test_their_agreement() -> None:
    panel = network(0)
    small = replace(panel, doses=panel.doses[:, :3], instruments=panel.instruments.iloc[:3])
    found = {c.name.split(":")[0]: c for c in specification_checks(small)}
    assert isinstance(found["over-identification"], NotApplicable)
    assert isinstance(found["curvature"], Check)


@pytest.mark.parametrize("level", [0.0, 0.9, float("nan"), "x"])
def test_a_level_that_is_none_is_refused(level: object) -> None:
    with pytest.raises(InputError, match="level"):
        specification_checks(network(0), level=level)  # type: ignore[arg-type]


CHECK = {"name": "curvature: y", "verdict": "failed", "outcome": "y", "rungs": ["within", "tsls"]}


def test_only_failures_that_bear_on_a_rung_are_doubts() -> None:
    others = [CHECK | {"verdict": "passed"}, CHECK | {"rungs": []}, {"name": "families", "verdict": "failed"}]
    found = doubted_rungs([*others, CHECK, CHECK], ["y", "other"])
    assert found == {("within", "y"): "curvature", ("tsls", "y"): "curvature"}


def test_a_failure_about_one_feature_doubts_that_feature_alone() -> None:
    check = CHECK | {"name": "moved", "outcome": "", "features": ["a"]}
    rows = [{"feature": f, "rests_on": "within", "outcome": "y", "bias": "unmeasured"} for f in "ab"]
    table = pd.DataFrame(rows).assign(ceiling="D", ceiling_why="bias not measured")
    assert with_doubts(table, [check])["doubted"].tolist() == ["moved", ""]
    assert doubted_rungs([check], ["y"])["within", "y"] == "moved (1 of the features)"


@pytest.mark.parametrize(
    ("rests_on", "bias", "why", "doubted", "ceiling"),
    [
        ("within", "unmeasured", "bias not measured", "curvature", "D"),
        ("within", "unmeasured", "fewer than 40 families in all", "curvature", "N"),
        ("within_calibrated", "measured", "local slope", "", "C"),
        ("within_calibrated", "borrowed", "bias borrowed", "curvature", "D"),
        ("rectified", "none: knocked out", "", "", "A"),
    ],
)
def test_claims_on_a_doubted_rung_say_so_and_reach_less(
    rests_on: str, bias: str, why: str, doubted: str, ceiling: str
) -> None:
    best = {"bias not measured": "D", "local slope": "C", "bias borrowed": "C", "": "A"}.get(why, "N")
    table = pd.DataFrame(
        [
            {
                "feature": "a",
                "rests_on": rests_on,
                "outcome": "y",
                "bias": bias,
                "ceiling": best,
                "ceiling_why": why,
            }
        ]
    )
    (row,) = with_doubts(table, [CHECK]).to_dict("records")
    assert (row["doubted"], row["ceiling"]) == (doubted, ceiling)
