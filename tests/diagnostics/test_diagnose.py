"""Assumption cards from arrays, summaries and a finished study: what failed is on the claim that it bears on."""

from __future__ import annotations

import numpy as np
import pytest

import mrinterp
from mrinterp import MRData
from mrinterp.core.errors import InputError
from mrinterp.diagnostics import diagnose
from mrinterp.results import Diagnosis
from mrinterp.results._diagnosis import ASSUMPTIONS
from mrinterp.worlds import linear_world
from tests.study.finished_study import study


def summaries(seed: int = 0, pleiotropy: float = 0.0, direct: float = 0.0, outcomes: int = 1) -> MRData:
    """Two exposures of 60 instruments, the first a cause of every outcome."""
    rng = np.random.default_rng(seed)
    x = np.abs(rng.normal(1.0, 0.4, size=(2, 60)))
    y = 0.5 * x[:1] + pleiotropy * rng.standard_normal((outcomes, 60)) + direct
    se = 0.05
    return MRData(
        beta_x=x + se * rng.standard_normal(x.shape),
        se_x=np.full(x.shape, se),
        beta_y=y + se * rng.standard_normal(y.shape),
        se_y=np.full(y.shape, se),
        exposures=("cause", "other"),
        outcomes=tuple(f"y{o}" if o else "y" for o in range(outcomes)),
        instruments=tuple(f"i{k}" for k in range(60)),
    )


def colours(found: Diagnosis, feature: str) -> dict[str, str]:
    return found.to_frame().set_index("feature").loc[feature].to_dict()


def test_a_copy_is_doubtful_and_what_is_told_apart_is_green() -> None:
    found = diagnose(linear_world(3).panel)
    assert colours(found, "copy")["colour"] == "amber"
    assert colours(found, "copy")["data"] == "amber"
    assert "cause, copy" in colours(found, "copy")["reasons"]
    assert colours(found, "silent")["colour"] == "green"
    assert colours(found, "silent")["direction"] == "grey", "no test of direction is made of arrays"


def test_the_heterogeneity_of_instruments_is_about_its_exposure() -> None:
    found = diagnose(summaries())
    assert colours(found, "cause")["exclusion"] == "green"
    assert colours(found, "other")["exclusion"] == "red", "half of the outcome goes around it"
    assert set(found.of("other")["feature"]) == {"other"}
    assert colours(diagnose(summaries(pleiotropy=0.2)), "cause")["exclusion"] == "red"


def test_what_a_check_could_have_found_is_said_and_is_right() -> None:
    reason = (
        diagnose(summaries()).of("cause").set_index("check").loc["heterogeneity of instruments: y", "reason"]
    )
    factor = float(reason.split("errors ")[1].split(" times")[0])
    extra = (
        0.05 * np.sqrt(factor**2 - 1) * np.sqrt(1 + 0.25)
    )  # of the outcome's error and .5 of the exposure's
    found = diagnose(summaries(1, extra, outcomes=60)).of("cause")
    asked = found[found["check"].str.startswith("heterogeneity")]
    assert 0.65 < asked["colour"].eq("red").mean() < 0.95


def test_a_direct_effect_of_all_instruments_shows_in_the_intercept() -> None:
    table = diagnose(summaries(direct=0.2)).of("cause").set_index("check")
    assert table.loc["Egger intercept: y", "colour"] == "red"
    assert "another way" in table.loc["Egger intercept: y", "next_step"]


def test_weak_exposures_are_red() -> None:
    data = summaries()
    weak = MRData(
        beta_x=np.stack([data.beta_x[0], 0.05 * np.random.default_rng(1).standard_normal(60)]),
        se_x=data.se_x,
        beta_y=data.beta_y,
        se_y=data.se_y,
        exposures=data.exposures,
        outcomes=data.outcomes,
        instruments=data.instruments,
    )
    assert colours(diagnose(weak), "other")["relevance"] == "red"
    assert colours(diagnose(weak), "cause")["relevance"] == "green"


def test_two_instruments_are_too_few_to_be_held_against_each_other() -> None:
    data = summaries()
    two = MRData(
        beta_x=data.beta_x[:1, :2],
        se_x=data.se_x[:1, :2],
        beta_y=data.beta_y[:, :2],
        se_y=data.se_y[:, :2],
        exposures=("cause",),
        outcomes=("y",),
        instruments=("i0", "i1"),
    )
    found = diagnose(two)
    assert colours(found, "cause")["colour"] == "grey"
    assert "2 instruments" in found.findings["reason"].item()


def test_checks_of_mr_do_not_color_claims_on_knockouts() -> None:
    finished = study()
    failing = {
        "name": "curvature: score",
        "verdict": "failed",
        "note": "bent.",
        "outcome": "score",
        "rungs": ["within"],
        "next_step": "",
    }
    finished.checks.append(failing)
    found = diagnose(finished)
    row = found.of("layer.1:c0").set_index("check").loc["curvature: score"]
    assert row["colour"] == "red"
    assert not row["bears"]
    assert found.to_frame()["linearity"].eq("red").all(), "the card still shows it"
    assert "bent" not in " ".join(found.to_frame()["reasons"])


def test_one_feature_of_many_and_unknown_ones() -> None:
    found = diagnose(linear_world(0).panel, ["twin"])
    assert found.to_frame()["feature"].tolist() == ["twin"]
    assert list(found.to_frame())[3:-1] == list(ASSUMPTIONS)
    with pytest.raises(InputError, match="twi"):
        diagnose(linear_world(0).panel, ["twi"])
    with pytest.raises(InputError, match="source"):
        diagnose(3)  # type: ignore[arg-type]


def test_thousands_of_features_take_seconds_and_no_loop_over_checks_is_lost() -> None:
    rng = np.random.default_rng(0)
    F, J = 3000, 12
    data = MRData(
        beta_x=rng.normal(1, 0.3, (F, J)),
        se_x=np.full((F, J), 0.05),
        beta_y=rng.normal(1, 0.3, (1, J)),
        se_y=np.full((1, J), 0.05),
        exposures=tuple(f"f{k}" for k in range(F)),
        outcomes=("y",),
        instruments=tuple(f"i{k}" for k in range(J)),
    )
    found = diagnose(data)
    assert len(found.to_frame()) == F
    assert (found.findings.groupby("feature").size() == 6).all()


def test_a_card_names_whose_effect_a_feature_shows() -> None:
    found = diagnose(linear_world(1, copy=False).panel, features=["twin", "cause"])
    rows = found.findings[found.findings["check"] == "whose effect it shows: y"].set_index("feature")
    assert rows.loc["twin", "colour"] == "amber"
    assert "borrowed from cause, correlation ." in rows.loc["twin", "reason"]
    assert rows.loc["cause", "colour"] == "green"
    # The claim rests on the within regression, which holds the cause fixed: its card keeps its colour.
    assert not rows["bears"].any()
    assert colours(found, "twin")["colour"] == "green"


def test_more_features_than_runs_are_screened_on_half_of_the_families() -> None:
    """700 features in 560 changes: two act, one only moves with the first; what is left has every check, on families of its own."""
    rng = np.random.default_rng(0)
    prompt = np.repeat(np.arange(80), 8)
    clean = np.tile(np.arange(8) == 0, 80)
    x = rng.standard_normal((len(prompt), 700)) * ~clean[:, None]
    x[:, 2] = 0.9 * x[:, 0] + 0.4 * x[:, 2]
    y = x[:, [0]] - x[:, [1]] + 0.3 * rng.standard_normal((len(prompt), 1))
    runs = {"prompt": prompt, "family": prompt // 2, "clean": clean}
    found = diagnose(mrinterp.from_arrays(doses=x[:, 3:13], features=x, outcomes=y, **runs))
    screen = found.findings[found.findings["check"] == "screen of features"].set_index("feature")
    left = set(screen.index[screen["colour"] == "green"])
    assert {"x0", "x1"} <= left
    assert len(left) < 20
    assert len(screen) == 700
    assert "20 others" in screen.loc["x0", "reason"]
    asked = found.findings.groupby("feature")["check"].nunique()
    assert asked["x0"] > 15
    assert asked[[f for f in asked.index if f not in left]].max() == 2
    shown = found.findings[found.findings["check"].str.startswith("whose effect it shows")].set_index(
        "feature"
    )
    assert shown.loc["x2", "colour"] == "amber"
    assert "borrowed from x0" in shown.loc["x2", "reason"]


def test_a_screen_that_finds_nothing_says_so() -> None:
    rng = np.random.default_rng(1)
    prompt = np.repeat(np.arange(40), 4)
    x, y = rng.standard_normal((160, 420)), rng.standard_normal((160, 1))
    found = diagnose(
        mrinterp.from_arrays(doses=x[:, :3], features=x, outcomes=y, prompt=prompt, family=prompt)
    )
    said = found.findings.loc[found.findings["check"] == "within regression", "reason"].unique()
    assert said == [
        "no feature explains the outcome beyond chance on half of the families: effects of all together are not identified"
    ]
