"""Runs of one draw at several levels: how plans ask for them, how they are drawn, and what is said of a response that bends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from mrinterp import from_arrays
from mrinterp.core.errors import InputError
from mrinterp.core.panel import Panel
from mrinterp.core.plan import Plan, read_plan
from mrinterp.diagnostics import dose_series_checks
from mrinterp.effects._scale_path import at_levels
from mrinterp.instruments.doses import drawn_doses, instrument_table
from mrinterp.results import Check, NotApplicable
from tests.tiny import tiny_study

LEVELS = (0.5, 2.0, -0.5, -2.0)
Array = NDArray[np.float64]


def plan(**noise: Any) -> Plan:
    study = tiny_study(encoder="none")  # type: ignore[arg-type]
    study["instruments"] = study["instruments"] | {"noise": study["instruments"]["noise"] | noise}
    return read_plan(study)[0]


def panel(bend: Callable[[Array], Array], families: int = 40, error: float = 0.0, seed: int = 0) -> Panel:
    """Two features and an outcome that bends: 2 draws of 6 doses at every level for one prompt a family."""
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal((families, 2, 1, 6)) * np.array(LEVELS)[:, None]
    doses = np.concatenate([np.zeros((families, 1, 6)), drawn.reshape(families, 8, 6)], axis=1).reshape(-1, 6)
    x = doses @ rng.standard_normal((6, 2)) / 3
    prompt = np.repeat(np.arange(families), 9)
    y = bend(x[:, 0]) + error * rng.standard_normal(len(x)) + rng.standard_normal(families)[prompt]
    first = np.tile(np.arange(9) == 0, families)
    kind = np.where(first, "clean", "noise").astype(object)
    return from_arrays(
        doses=doses, features=x, outcomes=y, prompt=prompt, family=prompt, kind=kind, clean=first
    )


def verdicts(of: Panel) -> list[str]:
    return [c.verdict for c in dose_series_checks(of, LEVELS) if isinstance(c, Check)]


def test_what_is_in_proportion_passes_and_what_bends_fails() -> None:
    assert verdicts(panel(lambda x: 3 * x)) == ["passed", "passed"]
    for bend in (np.tanh, lambda x: np.maximum(x, 0.0), lambda x: x + x**2):
        assert verdicts(panel(bend)) == ["passed", "failed"]
    (features, outcome) = dose_series_checks(panel(np.tanh), LEVELS)
    assert isinstance(outcome, Check)
    assert outcome.outcome
    assert not outcome.rungs, "an estimate of this size of change is not wrong for it"
    assert "per unit of dose at level 2 is 0." in outcome.note
    slight = dose_series_checks(panel(lambda x: np.tanh(0.1 * x)), LEVELS)[1]
    assert isinstance(slight, Check)
    assert slight.verdict == "passed", "bent beyond errors, by less than a tenth"
    assert slight.neglog10p > 2


def test_features_that_bend_are_named() -> None:
    straight = panel(lambda x: x)
    bent = straight.features.copy()
    bent[:, 1] = np.tanh(2 * bent[:, 1])
    found = dose_series_checks(replace(straight, features=bent), LEVELS)[0]
    assert isinstance(found, Check)
    assert (found.verdict, found.features) == ("failed", (straight.feature_names[1],))


def test_alarms_of_drawn_outcomes_are_at_the_level() -> None:
    alarms = [dose_series_checks(panel(lambda x: x, error=1.0, seed=s), LEVELS)[1] for s in range(60)]
    failed = sum(c.verdict == "failed" for c in alarms if isinstance(c, Check))
    assert failed <= 9, "P(more than 9 of 60) is .001 at a level of .05"


def test_what_is_no_series_is_refused_and_few_families_are_said() -> None:
    runs = panel(lambda x: x)
    for levels, found in (
        ((0.5, 1.0, 2.0), "0.5, 1, 2"),
        ((1.0, -1.0), "1, -1"),
        ((0.0, 1.0, -1.0, -0.0), "0"),
    ):
        with pytest.raises(InputError, match=f"levels: {found}.* each up and down"):
            dose_series_checks(runs, levels)
    with pytest.raises(InputError, match="not one draw at the levels"):
        dose_series_checks(runs, (1.0, 2.0, -1.0, -2.0))
    with pytest.raises(InputError, match="8 runs for 6 levels"):
        dose_series_checks(runs, (*LEVELS, 1.0, -1.0))
    (few,) = dose_series_checks(panel(lambda x: x, families=10), LEVELS)
    assert isinstance(few, NotApplicable)
    assert "10 families" in few.reason
    still = dose_series_checks(panel(lambda x: 0 * x), LEVELS)[1]
    assert isinstance(still, NotApplicable)
    assert "does not vary" in still.reason


@pytest.mark.parametrize(
    ("noise", "key", "found", "fix"),
    [
        ({"levels": [1.0]}, "levels", "a dose without variation", "two or more"),
        ({"levels": [0.5, 0.5]}, "levels", "a dose without variation", "two or more"),
        ({"levels": [0.0, 1.0]}, r"levels\.0", "greater than 0", "Change"),
        ({"levels": [0.5, 1.0, 2.0], "runs_per_prompt": 10}, "runs_per_prompt", "10 runs .* 3 levels", "such as 12"),
        ({"levels": [0.5, 1.0], "runs_per_prompt": 0}, "runs_per_prompt", "0 runs", "such as 4"),
    ],
)  # fmt: skip
def test_levels_that_are_no_series_are_refused(noise: dict[str, Any], key: str, found: str, fix: str) -> None:
    with pytest.raises(InputError, match=rf"key 'instruments\.noise\.{key}'.*{found}.*{fix}"):
        plan(**noise)


def test_only_plans_with_levels_have_another_hash() -> None:
    assert "levels" not in plan().to_dict()["instruments"]["noise"]
    assert plan(levels=[]).digest == plan().digest
    series = {"levels": [0.5, 1.0, 2.0], "runs_per_prompt": 6}
    assert plan(**series).digest != plan(runs_per_prompt=6).digest


def test_a_draw_is_run_at_every_level_up_and_down() -> None:
    runs = pd.DataFrame({"run": range(26), "prompt": np.repeat(["a", "b"], 13)})
    runs["kind"] = np.where(np.arange(26) % 13 == 0, "clean", "noise")
    asked = plan(levels=[0.5, 1.0, 2.0], runs_per_prompt=12)
    table = instrument_table([], ["first"], asked)
    drawn = drawn_doses(runs, table, asked)[:, table["kind"] == "noise"]
    for first in (1, 7, 14, 20):
        unit = drawn[first] / 0.5
        for turn, level in enumerate((0.5, 1.0, 2.0, -0.5, -1.0, -2.0)):
            np.testing.assert_allclose(drawn[first + turn], level * unit, rtol=1e-6)
    assert abs(np.corrcoef(drawn[1], drawn[7])[0, 1]) < 0.999, "another draw"
    assert not drawn[[0, 13]].any()


def test_the_path_compares_the_same_draws_at_two_levels() -> None:
    whole = panel(np.tanh)
    full, less = at_levels(whole, LEVELS)
    moved, small = full.changes(), less.changes()
    np.testing.assert_allclose(moved.features, 4 * small.features)
    assert len(moved.prompt) == 40 * 4
    clean = (full.runs["kind"] == "clean").to_numpy()
    np.testing.assert_array_equal(full.outcomes[clean], less.outcomes[clean])
