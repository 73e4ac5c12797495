"""Kinds of knockout that a study file asks for: by name, as tables with options, refused with the fix."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrinterp.core.errors import InputError
from mrinterp.core.plan import KnockoutsSection, Plan, read_plan
from mrinterp.study import Study

BARE: dict[str, Any] = {
    "title": "kinds",
    "model": {"package": "none", "folder": "none", "site": "layer.1"},
    "outcome": {"name": "y", "kind": "logit", "target": 0},
    "prompts": {"table": "prompts.csv"},
}
TABLES = [
    "mean",
    {"kind": "clamp", "quantile": 0.9},
    {"kind": "clamp", "name": "clamped_low", "quantile": 0.1},
    {"kind": "steer", "amount": -0.5},
    {"kind": "scale", "factor": 0.5},
    {"kind": "resample", "donors": 3},
]


def plan(kinds: Any) -> Plan:
    return read_plan(BARE | {"knockouts": {"kinds": kinds}})[0]


def test_names_stay_names_and_options_are_kept() -> None:
    made = plan(TABLES).knockouts
    assert [k.named for k in made.kinds] == ["mean", "clamp", "clamped_low", "steer", "scale", "resample"]
    assert made.kinds[1].options(2, 7) == {"quantile": 0.9, "allow_off_support": False}
    assert made.kinds[5].options(2, 7) == {"donors": 3, "seed": 7, "allow_off_support": False}
    assert [k.swaps(2) for k in made.kinds] == [1, 1, 1, 1, 1, 3]
    written = plan(TABLES).to_dict()["knockouts"]["kinds"]
    assert written == TABLES
    assert plan(written).digest == plan(TABLES).digest
    assert KnockoutsSection().model_dump(mode="json")["kinds"] == ["resample", "mean"]
    assert plan([{"kind": "mean"}]).digest == plan(["mean"]).digest


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (["meen"], r"knockouts.kinds.0.kind.*'mean'.*found 'meen'"),
        ([3], r"knockouts.kinds.0.kind.*: 3. Give a name, or a table such as"),
        ([{"kind": "clamp"}], "a clamp with neither value nor quantile. Give either value or quantile"),
        ([{"kind": "clamp", "value": 1.0, "quantile": 0.5}], "a value and a quantile"),
        ([{"kind": "clamp", "quantile": 1.5}], r"kinds.0.quantile.*less than or equal to 1"),
        ([{"kind": "steer"}], r"kinds.0.amount.*missing for kind 'steer'"),
        ([{"kind": "scale", "factor": float("inf")}], r"kinds.0.factor.*finite"),
        ([{"kind": "mean", "quantile": 0.5}], r"not used by kind 'mean'.*'clamp'"),
        ([{"kind": "clamp", "quantil": 0.5}], r"unknown key.*quantile"),
        (["mean", "mean"], "'mean' is used twice. Give each kind a different name"),
        ([{"kind": "mean", "name": "shift"}], "the study's own"),
        ([{"kind": "mean", "name": "a/b"}], r"kinds.0.name"),
        ([{"kind": "mean", "name": ".."}], r"kinds.0.name"),
        ([], "at least 1"),
    ],
)
def test_what_cannot_be_run_is_refused(kinds: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        plan(kinds)


@pytest.fixture(scope="module")
def study(tiny_study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("kinds")
    data = tomllib.loads(tiny_study_file.read_text())
    data["knockouts"] = data.get("knockouts", {}) | {"kinds": TABLES, "random_controls": 0}
    return Study(read_plan(data)[0], tiny_study_file.parent, folder / "run")


def test_a_study_runs_them_blind_and_side_by_side(study: Study) -> None:
    made = study.knockouts
    names = ["shift", "mean", "clamp", "clamped_low", "steer", "scale", "resample"]
    assert list(made) == ["contrast", "judge", "again", *names]
    assert study.kinds.kinds == tuple(names)
    assert made["clamped_low"].label == "clamped to quantile 0.1"
    assert made["clamped_low"].meta["options"]["quantile"] == 0.1
    assert (made["clamp"].outside_range == 0).all()
    np.testing.assert_allclose(
        made["steer"].change_by_input / -0.5, made["steer"].effect_by_input, rtol=1e-5, atol=1e-7
    )
    tested = study.equivalence
    assert list(dict.fromkeys(tested["kind"])) == names
    assert (study.out / "knockouts" / "clamped_low" / "effects.parquet").exists()


def test_a_far_value_is_refused_unless_the_plan_asks_for_it(study: Study, tmp_path: Path) -> None:
    def with_clamp(more: dict[str, Any]) -> Study:
        data = study.plan.to_dict()
        data["knockouts"]["kinds"] = [{"kind": "clamp", "value": 1e4, **more}]
        return Study(read_plan(data)[0], study.source, tmp_path / f"run{len(more)}")

    with pytest.raises(InputError, match=r"clamped to 10000 is far outside.*allow_off_support"):
        with_clamp({}).knockouts  # noqa: B018
    made = with_clamp({"allow_off_support": True})
    assert all("outside support, asked for" in words for words in made.knockouts["clamp"].flags)
    assert "flagged" in str(made.kinds)


def test_a_narrow_site_has_as_many_random_directions_as_dimensions() -> None:
    from mrinterp.core.plan import KnockoutsSection

    assert [KnockoutsSection().controls(width) for width in (8, 16, 384)] == [8, 16, 16]
    assert KnockoutsSection(random_controls=25).controls(8) == 25, (
        "what was asked for otherwise is refused, not cut"
    )
    assert KnockoutsSection(random_controls=0).controls(8) == 0
