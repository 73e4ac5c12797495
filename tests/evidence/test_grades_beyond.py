"""What lifts a claim to the best grade, and what it is computed from: company, doses, stability, shared causes, another run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mrinterp
from mrinterp.core.panel import Panel
from mrinterp.core.sumstats import SumStats
from mrinterp.diagnostics import dose_directions, shared_causes, stability, told_apart
from mrinterp.evidence import grade
from mrinterp.evidence._compare import survival
from mrinterp.evidence._rules import DEFAULT
from mrinterp.results._check import NotApplicable
from mrinterp.study import Study
from tests.evidence.test_grades import by_name, supported
from tests.study.finished_study import EFFECT, Finished, _knockout
from tests.warm_cli import command

FEATURES = tuple(f"layer.1:c{k}" for k in range(5))


def having(made: Finished, **tables: Any) -> Finished:
    """A study that holds more than a claim needs."""
    made.__dict__.update(tables)
    return made


def cells(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"feature": FEATURES, "outcome": "score", **columns})


def told(pip: float = 1.0, company: str = "") -> pd.DataFrame:
    return cells(pip=pip, set=int(pip > 0.9), company=company, company_pip=np.nan)


def rising(direction: str = "rising") -> pd.DataFrame:
    return cells(doses=4, direction=direction)


def other(survived: str = "survives", differs: bool = True) -> dict[str, pd.DataFrame]:
    return {"x": cells(survived=survived, differs=differs, label="seed 1", effect_other=0.4)}


def best(rules: str = DEFAULT, **tables: Any) -> pd.Series:
    made = having(
        supported(), **{"told_apart": told(), "dose_directions": rising(), "other_runs": other()} | tables
    )
    return by_name(made, rules).loc["c0"]


def test_a_claim_is_definitive_with_company_told_apart_doses_and_another_run() -> None:
    row = best()
    assert row[["grade", "E4", "E8", "points"]].tolist() == ["A", 2, 3, 11]
    assert row["lacking"] == ""


@pytest.mark.parametrize(
    ("tables", "letter", "lacking"),
    [
        ({"other_runs": {}}, "B", "two seeds or models (mrinterp rerun"),
        ({"other_runs": other(differs=False)}, "B", "two seeds or models"),
        ({"other_runs": other("not resolved there")}, "B", "two seeds or models"),
        ({"told_apart": NotApplicable("few runs", "company")}, "B", "for E4"),
        ({"told_apart": told(0.01, FEATURES[1])}, "B", "for E4"),
        ({"dose_directions": rising("both")}, "B", "three doses and more"),
        ({"dose_directions": rising("falling")}, "B", "for E8"),
    ],
)
def test_without_one_of_them_it_is_strong_and_says_what_is_missing(
    tables: dict[str, Any], letter: str, lacking: str
) -> None:
    row = best(**tables)
    assert row["grade"] == letter
    assert lacking in row["lacking"]


def located(shared: bool) -> pd.DataFrame:
    return cells(colocalized=True, coloc_shared=shared, coloc_distinct=not shared, at="slot", why="")


def test_colocalization_never_decides_alone() -> None:
    alone = best(shared_causes=located(False))
    assert alone[["grade", "E5", "points"]].tolist() == ["A", 0, 11]
    assert alone["contradiction"] == ""
    assert best("MIG-3", shared_causes=located(False))["grade"] == "C", "by the rules before, it did"
    assert best(shared_causes=located(True))["points"] == 12


def test_colocalization_counts_where_something_else_is_against_the_claim() -> None:
    made = having(supported(effect=EFFECT * np.array([0.3, 1, 1, 1, 1])), shared_causes=located(False))
    row = by_name(made, DEFAULT).loc["c0"]
    assert row[["E5", "E8"]].tolist() == [-1, -1]
    quiet = having(supported(), shared_causes=located(False))
    reasons = grade(quiet).domains
    said = reasons[(reasons["feature"] == FEATURES[0]) & (reasons["domain"] == "E5")]["reason"].iloc[0]
    assert said.endswith("it does not count, since nothing else speaks against the claim")
    assert "does not count" not in grade(quiet, "MIG-3").domains["reason"].str.cat()


@pytest.mark.parametrize("survived", ["does not survive", "survives in sign, not in size"])
def test_a_run_at_another_seed_that_says_otherwise_bounds_the_grade(survived: str) -> None:
    row = best(other_runs=other(survived))
    assert row["grade"] == "C"
    assert "says otherwise: seed 1 +0.4" in row["ceiling_why"]


def test_the_same_size_on_other_families_need_not_be_equal_to_the_last_digit() -> None:
    made = supported()
    first = made.results["feature"] == FEATURES[0]
    columns = {"replication": 0.55, "replication_lower": 0.549, "replication_upper": 0.551}
    changed = {c: made.results[c].mask(first, v) for c, v in columns.items()}
    exact = made.results.assign(**changed, ci_lower=0.499, ci_upper=0.501)
    tight = replace(made, results=exact)
    rectified = tight.estimates["rectified"]
    tight = replace(
        tight, estimates=tight.estimates | {"rectified": replace(rectified, se=rectified.se / 100)}
    )
    assert by_name(tight, "MIG-2").loc["c0", "E7"] == 0, "1.1 times the estimate, with hardly any error"
    assert by_name(tight, DEFAULT).loc["c0", "E7"] == 2


def test_a_feature_whose_effect_its_company_carries_is_told_apart_from_it() -> None:
    world = mrinterp.worlds.linear_world(0)
    found = told_apart(world.panel)
    assert isinstance(found, pd.DataFrame)
    row = found.set_index("feature")
    assert row.loc["cause", "pip"] > 0.9
    assert row.loc["cause", "set"] == 1
    assert row.loc["twin", "pip"] < 0.1
    assert row.loc["twin", "company"] == "cause"
    assert np.isnan(row.loc["copy", "pip"]), "the runs cannot tell it from the cause"


def repeating(seed: int) -> Panel:
    """Three features without an effect; all six runs of a family are alike, and so are their disturbances."""
    rng = np.random.default_rng(seed)
    families, runs = 40, 6
    moved = np.repeat(rng.standard_normal((families, 3)), runs, axis=0)
    noise = np.repeat(rng.standard_normal((families, 1)), runs, axis=0)
    values = np.concatenate([np.zeros((families, 3)), moved])
    who = np.concatenate([np.arange(families), np.repeat(np.arange(families), runs)])
    return mrinterp.from_arrays(
        doses=values,
        features=values,
        outcomes=np.concatenate([np.zeros((families, 1)), noise]),
        prompt=who,
        family=who,
        clean=np.arange(len(values)) < families,
    )


def test_runs_of_a_family_that_repeat_each_other_are_not_counted_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def found() -> int:
        tables = [told_apart(repeating(seed)) for seed in range(12)]
        return sum(int((t["pip"] > 0.9).sum()) for t in tables if isinstance(t, pd.DataFrame))

    assert found() <= 1
    monkeypatch.setattr("mrinterp.diagnostics._told_apart._design_effect", lambda *_: np.ones(1))
    assert found() >= 6, "each run counted: features without an effect look like causes"


def doses(effects: dict[float, list[float]], kind: str = "clamp", option: str = "quantile") -> dict[str, Any]:
    """Knockouts of several doses on 6 families: change (F,) of each, with a little noise."""
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.02, (3, 6, 1))
    made = {}
    for dose, effect in effects.items():
        one = _knockout(kind, ("up", "down", "turn"), "score", np.zeros(3))
        change = np.array(effect)[:, None, None] + (1 + dose) * noise
        made[f"d{dose}"] = replace(
            one,
            inputs=pd.DataFrame({"prompt": range(6), "family": range(6)}),
            change_by_input=change,
            meta={"options": {option: dose}},
        )
    return made


def test_doses_are_put_in_their_order_and_a_turn_is_seen() -> None:
    made = doses({0.9: [1.0, -1.0, 0.0], 0.1: [-1.0, 1.0, 0.0], 0.5: [0.0, 0.0, 1.0]})
    found = dose_directions(made)
    assert isinstance(found, pd.DataFrame)
    assert found["direction"].tolist() == ["rising", "falling", "both"]
    assert set(found["doses"]) == {3}


def test_steering_by_nothing_is_a_dose_and_two_clamps_are_too_few() -> None:
    two = {-1.0: [-1.0, 1.0, 1.0], 1.0: [1.0, -1.0, 1.0]}
    found = dose_directions(doses(two, "steer", "amount"))
    assert isinstance(found, pd.DataFrame)
    assert found["direction"].tolist() == ["rising", "falling", "both"]
    few = dose_directions(doses({0.1: [0.0] * 3, 0.9: [1.0] * 3}))
    assert isinstance(few, NotApplicable)
    assert "2 doses" in few.reason


def two_kinds(second: float) -> Panel:
    """A panel in which the effect is 1 under one kind of perturbation and another one under the second."""
    rng = np.random.default_rng(3)
    families, runs = 60, 4
    who = np.concatenate([np.arange(families), np.repeat(np.arange(families), runs)])
    moved = rng.standard_normal((families * runs, 2))
    kind = np.tile(["noise", "noise", "slot", "slot"], families)
    effect = np.where(kind == "noise", 1.0, second)
    values = effect[:, None] * moved[:, :1] + 0.05 * rng.standard_normal((len(moved), 1))
    features = np.concatenate([np.zeros((families, 2)), moved])
    panel = mrinterp.from_arrays(
        doses=features,
        features=features,
        outcomes=np.concatenate([np.zeros((families, 1)), values]),
        prompt=who,
        family=who,
        clean=np.arange(len(features)) < families,
    )
    named = np.concatenate([np.full(families, "clean"), kind])
    return replace(panel, runs=panel.runs.assign(kind=named))


@pytest.mark.parametrize(("second", "answer"), [(1.0, (True, False)), (2.0, (False, True))])
def test_an_estimate_that_hangs_on_one_kind_of_perturbation_is_unstable(
    second: float, answer: tuple[bool, bool]
) -> None:
    found = stability(two_kinds(second), rope=0.1)
    assert isinstance(found, pd.DataFrame)
    assert tuple(found[["stable", "unstable"]].iloc[0]) == answer
    if second > 1:
        assert found["moved_most"].iloc[0].startswith("without ")


def alleles(feature: list[float], outcome: list[float]) -> SumStats:
    """Marginal effects of eight alleles of one slot on a feature and an outcome."""
    names = [f"slot={k}" for k in range(8)]
    instruments = pd.DataFrame(
        {"instrument": names, "kind": "slot", "locus": "slot", "allele": "", "unit": "", "placebo": False}
    )
    traits = pd.DataFrame({"trait": ["f", "y"], "role": ["feature", "outcome"], "label": ""})
    beta = np.array([feature, outcome]) + np.random.default_rng(2).normal(0, 0.05, (2, 8))
    return SumStats(
        beta=beta, se=np.full(beta.shape, 0.05), traits=traits, instruments=instruments, dof=np.full(8, 40.0), clusters=40,
        ld=np.eye(8),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("place", "answer"),
    [([0], (True, True, False)), ([5], (True, False, True)), ([0, 3, 5], (False, False, False))],
)
def test_one_shared_allele_two_distinct_ones_and_many(place: list[int], answer: tuple[bool, ...]) -> None:
    feature = np.zeros(8)
    feature[0 if len(place) == 1 else place] = 0.6
    outcome = np.zeros(8)
    outcome[place] = 0.6
    found = shared_causes({"slot": alleles(feature.tolist(), outcome.tolist())})
    assert isinstance(found, pd.DataFrame)
    assert tuple(found[["colocalized", "coloc_shared", "coloc_distinct"]].iloc[0]) == answer
    assert (found["why"].iloc[0] != "") == (not answer[0])
    assert isinstance(shared_causes({"noise": alleles([0.0] * 8, [0.0] * 8)}), NotApplicable)


def test_a_claim_survives_in_sign_and_size_only() -> None:
    rows = pd.DataFrame(
        [
            ("causal", 0.5, "causal", 0.4, "survives"),
            ("causal", 0.5, "causal", 0.1, "survives in sign, not in size"),
            ("causal", 0.5, "causal", -0.4, "does not survive"),
            ("causal", 0.5, "negligible", 0.01, "does not survive"),
            ("causal", 0.5, "indeterminate", 0.4, "not resolved there"),
            ("negligible", 0.0, "negligible", 0.01, "absent there too"),
            ("negligible", 0.0, "causal", 0.3, "does not survive"),
            ("indeterminate", 0.02, "causal", 0.3, "no claim"),
        ],
        columns=["verdict", "effect", "verdict_other", "effect_other", "answer"],
    ).assign(same="same within errors")
    assert survival(rows).tolist() == rows["answer"].tolist()
    assert set(survival(rows.assign(same="not compared"))) == {"no claim"}


@pytest.fixture(scope="module")
def repeated(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The finished study, repeated differently by the command line."""
    import shutil

    out = tmp_path_factory.mktemp("again") / "run"
    shutil.copytree(finished_run, out)
    return out, command("rerun", out, "--differently")


def test_a_different_repetition_says_what_survived_and_the_grades_read_it(repeated: tuple[Path, Any]) -> None:
    out, done = repeated
    assert done.returncode in (0, 1), done.stderr
    assert "carried out again, with seed 1, noise 0.05 in place of 0.1" in done.stdout
    assert f"mrinterp grade {out}" in done.stdout
    study, again = Study.open(out), Study.open(f"{out}-differently")
    assert again.plan.seed == study.plan.seed + 1
    assert again.plan.instruments.noise.scale == study.plan.instruments.noise.scale / 2
    (frame,) = study.other_runs.values()
    assert frame["differs"].all()
    assert len(frame) == len(study.results)
    assert study.header["history"][-1]["step"] == "rerun differently"
    assert done.returncode == int((frame["survived"] == "does not survive").any())
    different = set(frame.loc[frame["same"] == "different beyond error", "reason"])
    assert different <= {"seed: 1 there, 0 here; plan: instruments.noise.scale: 0.05 there, 0.1 here"}
    before = sorted(p.name for p in (out / "grades").iterdir())
    assert study.grade().meta["other_runs"] == 1
    assert len(sorted((out / "grades").iterdir())) == len(before) + 1, "the grades without it stay"
    assert study.folder.finished
