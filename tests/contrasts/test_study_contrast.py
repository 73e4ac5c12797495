"""The contrasts of a study: who is knocked out, how many families, what stands for whom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mrinterp.knockouts._study_bench import clean_runs
from mrinterp.knockouts._study_contrast import knocked_out, pilot, replication_halves
from mrinterp.study import Study
from tests.tiny import write_tiny_study

pytestmark = pytest.mark.needs("transformers")


@pytest.fixture(scope="module")
def begun(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study as far as its candidates, whose pilot chooses the families."""
    folder = tmp_path_factory.mktemp("pilot")
    path = write_tiny_study(
        folder,
        tiny_encoder,
        knockouts={"families": 0, "width": 8.0, "prompts_per_family": 2, "random_controls": 2},
    )
    study = Study.from_toml(path, folder / "run")
    study.bench()
    return study


def test_the_pilot_says_how_many_families(begun: Study) -> None:
    found = begun.pilot
    assert 10 <= found["families"] <= 40
    assert found["chosen_by"] == "a pilot on 5 discovery families"
    assert (np.array(found["half_width"]) <= np.array(found["bound"])).all()
    narrow = begun.plan.model_copy(
        update={"knockouts": begun.plan.knockouts.model_copy(update={"width": 1e-6})}
    )
    most = pilot(narrow, begun._network, begun.design, begun.basis, begun.contrast_levels, None)
    assert 30 < most["families"] <= 40, "out of reach: as many as still help"
    assert most["reached"] == [False]
    assert most["families"] >= found["families"]


def test_a_plan_overrides_the_pilot(begun: Study) -> None:
    asked = begun.plan.model_copy(
        update={"knockouts": begun.plan.knockouts.model_copy(update={"families": 17})}
    )
    made = pilot(asked, begun._network, begun.design, begun.basis, begun.contrast_levels, None)
    assert made == {"families": 17, "chosen_by": "plan"}


def test_who_is_knocked_out_is_drawn_once_and_shares_no_family(begun: Study) -> None:
    rows = knocked_out(begun.plan, begun.design, 12)
    families = {}
    for name, (split, chosen) in rows.items():
        runs = clean_runs(begun.design, split).iloc[chosen]
        families[name] = set(runs["family"])
        assert len(families[name]) == (12 if name == "contrast" else 10)
        assert (runs["family"].value_counts() == 2).all()
    assert not families["judge"] & families["again"]
    assert families["kinds"] < families["contrast"]
    assert not families["contrast"] & (families["judge"] | families["again"])
    again = knocked_out(begun.plan, begun.design, 12)
    assert all((again[n][1] == rows[n][1]).all() for n in rows)
    halves = replication_halves(begun.plan, begun.design)
    assert set(halves["judge"]) | set(halves["again"]) == set(
        range(len(clean_runs(begun.design, "replication")))
    )


def test_levels_and_pilot_are_hashed_with_the_candidates(begun: Study) -> None:
    before = begun.header["candidates_hash"]
    path = begun.out / "pilot.json"
    text = path.read_text()
    path.write_text(text.replace('"families": ', '"families":  '))
    try:
        assert begun.folder._candidates(begun.header["rules_hash"]) != before
    finally:
        path.write_text(text)
    assert begun.folder._candidates(begun.header["rules_hash"]) == before


def test_noise_is_compared_with_natural_changes(begun: Study) -> None:
    moves = np.array(begun.pilot["noise_moves"])
    assert moves.shape == (len(begun.basis.dictionary.names),)
    assert ((moves > 0.05) & (moves < 20)).all()
