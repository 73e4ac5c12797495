"""The calibration of grades counts what it says, and the page of grades prints what was measured."""

from __future__ import annotations

import json
import runpy

import numpy as np
import pandas as pd
import pytest
import torch

from mrinterp.evidence._rules import DEFAULT, MEASURED, measured_truth
from tests.house.test_readme import PAGES, RESULTS, ROOT

MADE = runpy.run_path(str(ROOT / "benchmarks" / "evidence" / "grade_calibration.py"), run_name="calibration")


def claims(*rows: tuple[str, float, float, float]) -> pd.DataFrame:
    """Grade, estimate, truth, and what swapping does; the region is .02."""
    frame = pd.DataFrame(rows, columns=["grade", "effect", "truth", "swapped"])
    return frame.assign(
        rope=0.02,
        seed=0,
        family="layers",
        estimand="contrast",
        repeated=False,
        feature="f",
        outcome="y",
        ci_lower=0.0,
        ci_upper=1.0,
    )


def test_a_claim_is_true_outside_the_region_with_its_sign_and_absence_inside() -> None:
    found = MADE["table"](
        claims(
            ("B", 0.5, 0.4, 0.3),
            ("B", 0.5, -0.4, 0.3),
            ("B", 0.5, 0.01, 0.1),
            ("Z", 0.0, 0.01, 0.01),
            ("Z", 0.0, 0.0, 0.3),
            ("X", 0.2, 0.3, 0.2),
        )
    ).set_index("grade")
    assert found.loc["B strong", ["claims", "with an effect"]].tolist() == [3, 2]
    assert found.loc["B strong", "share true"] == pytest.approx(1 / 3)
    assert found.loc["Z shown absent", "share true"] == 0.5, "a sign that varies is no absence"
    assert np.isnan(found.loc["X conflicting", "share true"])
    assert found.loc["B strong", "lower"] == pytest.approx(0.0615, abs=1e-3), "Wilson's of 1 in 3"


@pytest.mark.parametrize("name", list(MADE["WORLDS"]))
def test_networks_have_few_causes_and_the_rest_hardly_any_effect(name: str) -> None:
    world = MADE["world_of"](name, 5)
    assert world.causes / world.width <= 0.2
    for o, causes in enumerate(world.cause.tolist()):
        assert len(set(causes)) == world.causes
        assert (world.small[causes, o] == 0).all()
    assert world.small.abs().max() <= 0.01


@pytest.mark.parametrize("name", ["directions", "tokens", "images"])
def test_the_truth_sets_a_feature_and_no_other(name: str) -> None:
    world = MADE["world_of"](name, 5)
    rows = world.draw(np.random.default_rng(0), 4)
    read = world.chosen() if name == "directions" else np.eye(world.width)
    write = np.linalg.inv(read).T
    made = MADE["Edited"].of(world, rows, read, write, np.zeros(world.width))
    clean = world(torch.from_numpy(rows).to(made.site.dtype if name != "tokens" else torch.int64))
    np.testing.assert_allclose(made.outcome(made.site), clean.detach().numpy(), rtol=1e-9)
    np.testing.assert_allclose(made.setting(2, made.values(2)), made.outcome(made.site), rtol=1e-6, atol=1e-9)
    assert (
        np.abs(made.setting(int(world.cause[0, 0]), made.values(2) + 1) - made.outcome(made.site)).max()
        > 1e-3
    )


def test_the_page_of_grades_prints_what_was_measured() -> None:
    measured = (RESULTS / "grade_calibration.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in measured if line.startswith("| ")]
    page = PAGES["docs/grades.md"]
    assert all(row in page for row in rows), "copy the table of benchmarks/results/grade_calibration.md"
    kept = pd.read_csv(RESULTS / "grade_calibration.csv")
    assert f"{len(kept)} claims of {len(kept[['family', 'seed']].drop_duplicates())} networks" in page
    assert MADE["page"](kept).splitlines() == measured


def test_what_reports_print_beside_a_grade_is_what_was_measured() -> None:
    kept = pd.read_csv(RESULTS / "grade_calibration.csv")
    assert json.loads(MEASURED.read_text(encoding="utf-8")) == MADE["measured"](kept)
    words = measured_truth(DEFAULT)
    assert set(words) >= {"A", "B", "C", "D", "Z"}
    assert words["B"].startswith(f"Of {(kept['grade'] == 'B').sum():,} claims graded B on small networks")
    assert measured_truth("MIG-1") == {}
