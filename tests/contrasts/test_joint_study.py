"""A study of a drawn outcome with many features: all are set at random at once, the strongest run one at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mrinterp.results._check import NotApplicable
from mrinterp.results._designs.site_experiment import SiteExperiment
from mrinterp.study import Study
from tests.scan.test_workers import Beside
from tests.study.page_text import undrawn_page
from tests.study.study_kinds import write_study

pytestmark = pytest.mark.needs("transformers")


def test_features_rest_on_the_joint_experiment_where_the_outcome_is_a_draw(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mrinterp.knockouts._study_contrast.MANY", 8)
    outcome = {
        "name": "judged",
        "positive": ["good"],
        "negative": ["bad"],
        "sampling": "bernoulli",
        "noise": 0.02,
        "replicates": 1,
    }
    path = write_study(tmp_path, tiny_encoder, outcome=outcome, features={"count": 8})
    monkeypatch.setattr("mrinterp.scan._reader.SHARD_BLOCKS", 2)
    study = Study.from_toml(path, tmp_path / "run")
    study.workers = beside = Beside(1)
    joint = study.site_experiment
    assert {f"{step}: workers" for step in ("learn_basis", "run_knockouts", "randomize_site")} <= {
        *beside.tasks
    }
    assert isinstance(joint, SiteExperiment)
    table = study.results.set_index("feature")
    alone = np.isfinite(joint.alone[:, 0])
    names = np.array(joint.features)
    assert set(table.loc[names[~alone], "rests_on"]) == {"site_experiment"}
    assert set(table.loc[names[alone], "rests_on"]) == {"rectified"}
    one = names[~alone][0]
    assert table.loc[one, "effect"] == pytest.approx(joint[one, "judged"].effect)
    assert "averaged over" in table.loc[one, "status"]
    assert "at random" in undrawn_page(study)
    again = Study.open(tmp_path / "run")
    assert again.results.equals(study.results)


def test_it_does_not_apply_elsewhere(finished_run: Path) -> None:
    found = Study.open(finished_run).site_experiment
    assert isinstance(found, NotApplicable)
    assert "40 features" in str(found)


def test_claims_rest_on_instruments_where_the_plan_says_so(tiny_encoder: Path, tmp_path: Path) -> None:
    """A local slope: never negligible, and not confirmed by the very shift that it rests on."""
    path = write_study(tmp_path, tiny_encoder, estimation={"rests_on": "mr"})
    study = Study.from_toml(path, tmp_path / "run")
    table = study.results
    assert set(table["rests_on"]) == {"within_calibrated"}
    assert "negligible" not in set(table["verdict"])
    assert study.estimates["within_calibrated"].meta["roles"] == ["own"] * len(table)
    assert set(table["confirmed"]) <= {"no knockout", ""}
    assert table["rectified"].notna().all(), "every rung stands in the answer"
    assert "local slopes" in undrawn_page(study)
