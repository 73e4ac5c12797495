"""The contrasts of a study: who is knocked out, how many families, what stands for whom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mrinterp.core.plan import PILOT_FAMILIES
from mrinterp.knockouts._kinds.contrast import Contrast
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.knockouts._study_bench import clean_runs, study_bench
from mrinterp.knockouts._study_contrast import knocked_out, pilot, replication_halves, study_rectified
from mrinterp.stats import families_for_width, rectified_mean
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


def test_the_width_that_the_pilot_expects_is_reached(begun: Study) -> None:
    """Four of five features are as narrow as five families had promised, within a factor of two."""
    found = begun.pilot
    split, rows = knocked_out(begun.plan, begun.design, int(found["families"]))["contrast"]
    levels, basis = begun.contrast_levels, begun.basis
    bench = study_bench(begun._network, begun.design, basis.dictionary, None, split, rows)
    knockout = knock_out(bench, Contrast(levels=levels))
    made = study_rectified(begun.plan, begun._network, begun.design, basis, levels, knockout, "contrast")
    half = np.quantile((made.ci_upper - made.ci_lower) / 2, 0.8, axis=0)
    assert made.meta["families"] == found["families"]
    assert made.meta["all_families"] == 80, "estimation and knockout: discovery is left out of large studies"
    assert ((half / found["half_width"] > 0.5) & (half / found["half_width"] < 2)).all()
    assert "stated_se" not in made.details


@pytest.mark.parametrize("own", [0.2, 1.0])
def test_a_small_studys_pilot_and_its_prediction_on_discovery(own: float) -> None:
    """100 families: five of discovery say how many of the knockout split's 25 are knocked out, for 75 that the claim stands
    for. Recovered: N, coverage, and the planned width; ``own`` is what the prediction does not know, in its own sd."""
    rng, quarter, prompts = np.random.default_rng(4), 25, 3
    family = np.repeat(np.arange(3 * quarter), prompts)
    spread = np.exp(0.3 * rng.standard_normal((1, 12, 1)))
    ratios, held, enough, numbers = [], [], [], []
    for _ in range(50):

        def drawn(share: float) -> np.ndarray:
            both = rng.standard_normal((75, 1, 12, 1)) + rng.standard_normal((75, prompts, 12, 1))
            return share * spread * both.reshape(-1, 12, 1)

        g = 1.0 + drawn(1.0)
        C = 2.0 + (g - 1.0) + drawn(own)
        few = family < PILOT_FAMILIES
        wanted = 1.5 if own > 0.5 else 0.7
        needed = families_for_width(C[few], g[few], family[few], wanted, 3 * quarter)
        n = int(np.clip(needed.families, 10, quarter))
        knocked = (family >= 2 * quarter) & (family < 2 * quarter + n)
        made = rectified_mean(C[knocked], g[knocked], family[knocked], g, family)
        assert (made.all_families == 75).all()
        assert (made.families == n).all()
        half = float(np.quantile((made.upper - made.lower) / 2, 0.8))
        if needed.families == n:
            ratios.append(half / needed.half_width[0])
        enough.append(half <= wanted), numbers.append(n)
        held.append((made.lower <= 2) & (made.upper >= 2))
    assert 0.92 < np.mean(held) < 0.98
    assert len(ratios) >= 25
    assert 0.6 < np.median(ratios) < 1.6
    assert np.quantile(ratios, 0.9) < 2.0
    assert np.mean(enough) >= 0.8
    assert min(numbers) < quarter, "not simply all there are"
