"""Rules applied to facts: what each grade takes, what stops it, and that grades by other rules stay."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mrinterp.cli import cli
from mrinterp.core.errors import InputError
from mrinterp.evidence import FACTS, grade, read_rules, rule_versions
from mrinterp.evidence._facts import facts_of
from mrinterp.evidence._rules import DEFAULT
from mrinterp.results._check import Check
from mrinterp.results._claims import CARD_ITEMS, GRADES
from mrinterp.results._designs.paths_to_outcome import NO_PATH
from mrinterp.study import Study
from tests.study.finished_study import EFFECT, HOSTILE, TRUTH, Finished, _knockout, study

RANDOM = 16


def supported(**changes: np.ndarray) -> Finished:
    """The study of five features with all that grade B takes: resampling, and 16 random directions of little effect."""
    made = study(**changes)
    shift, small = made.knockouts["shift"], np.linspace(0.001, 0.01, RANDOM)
    controls = _knockout("random", tuple(f"r{k}" for k in range(RANDOM)), "score", small)
    kinds = {
        "contrast": replace(
            _knockout("contrast", shift.features, "score", TRUTH), mean_move=np.full(5, 2.563)
        ),
        "resample": _knockout("resample", shift.features, "score", TRUTH),
        "mean": _knockout("mean", shift.features, "score", TRUTH),
        "random": controls,
    }
    checks = [c for c in made.checks if not c["name"].startswith("placebo")]
    return replace(made, knockouts=made.knockouts | kinds, checks=checks, results=unbounded(made.results))


def unbounded(results: pd.DataFrame) -> pd.DataFrame:
    """Without the ceiling of a study of few families; the first feature is replicated in its size."""
    out = results.assign(ceiling="A", ceiling_why="", doubted="")
    first = out["feature"].str.endswith("c0")
    out.loc[first, ["replication", "replication_lower", "replication_upper"]] = 0.49, 0.45, 0.53
    return out


@pytest.fixture(scope="module")
def graded() -> pd.DataFrame:
    return by_name(supported())


def by_name(made: Finished, rules: str = "MIG-2") -> pd.DataFrame:
    frame = grade(made, rules).to_frame()
    return frame.set_index(frame["feature"].str.rsplit(":").str[-1])


@pytest.mark.parametrize("version", rule_versions())
def test_rules_ask_for_facts_that_there_are(version: str) -> None:
    rules = read_rules(version)
    names = {d.name for d in rules.domains} | {"points", "least"}
    levels = [lv for d in rules.domains for lv in (*d.not_applicable, *d.levels, *d.extras)]
    for condition in (c for entry in (*rules.gates, *levels, *rules.decisions) for c in entry.when):
        if condition.compared is None:
            assert condition.fact in FACTS
        else:
            assert condition.compared[0] in names
    assert {d.grade for d in rules.decisions} | {"N"} == set(GRADES)
    assert rules.decisions[-1].when == (), "the last one always holds"
    assert [d.name for d in rules.domains] == [f"E{k}" for k in range(1, 9)]
    assert rules.version == version


def test_rules_of_another_name_are_refused() -> None:
    with pytest.raises(InputError, match=r"MIG-9.*Did you mean"):
        read_rules("MIG-9")


def test_what_a_strong_claim_takes(graded: pd.DataFrame) -> None:
    best = graded.loc["c0"]
    assert (best["grade"], best["size"], best["contradiction"]) == ("B", "confirmed", "")
    assert best[["E1", "E2", "E7", "E8"]].tolist() == [2, 2, 2, 2]
    assert "A needs" in best["lacking"]
    assert "two seeds" in best["lacking"]


def test_contradicted_is_refuted_or_conflicting_and_says_so(graded: pd.DataFrame) -> None:
    wrong = graded.loc["c2"]
    assert wrong["grade"] == "R", "opposite in the knockouts and in the replication"
    assert wrong["E7"] == wrong["E8"] == -2
    assert "opposite sign" in wrong["contradiction"]
    only_judged = supported()
    again = only_judged.results.assign(
        **{
            f"replication{e}": only_judged.results[c]
            for e, c in (("", "effect"), ("_lower", "ci_lower"), ("_upper", "ci_upper"))
        }
    )
    assert by_name(replace(only_judged, results=again)).loc["c2", "grade"] == "X"


def test_absent_is_shown_by_estimate_knockout_and_replication(graded: pd.DataFrame) -> None:
    none = graded.loc["c3"]
    assert none["verdict"] in ("negligible", "indeterminate")
    assert none["grade"] == ("Z" if none["verdict"] == "negligible" else "E")


def test_without_a_path_an_effect_is_shown_absent_whatever_is_estimated() -> None:
    made = supported()
    first = made.results["feature"].str.endswith("c0")
    none = made.results.assign(
        status=made.results["status"].mask(first, NO_PATH),
        verdict=made.results["verdict"].mask(first, "negligible"),
    )
    row = by_name(replace(made, results=none)).loc["c0"]
    assert (row["grade"], row["E1"]) == ("Z", 0)


def test_an_effect_too_small_to_matter_is_absent_though_its_interval_excludes_0() -> None:
    made = supported()
    third = made.results["feature"].str.endswith("c3")
    small = {"effect": 0.005, "ci_lower": 0.004, "ci_upper": 0.006, "verdict": "negligible"}
    small |= {
        f"{w}{e}": v
        for w in ("knockout", "replication")
        for e, v in (("", 0.005), ("_lower", 0.001), ("_upper", 0.009))
    }
    row = by_name(
        replace(
            made, results=made.results.assign(**{k: made.results[k].mask(third, v) for k, v in small.items()})
        )
    )
    assert row.loc["c3", ["grade", "E1", "E8"]].tolist() == ["Z", 0, 0]


def test_a_size_that_disagrees_is_not_confirmed() -> None:
    smaller = EFFECT * np.array([0.3, 1, 1, 1, 1])
    row = by_name(supported(effect=smaller)).loc["c0"]
    assert row["size"] == "same direction, size disagrees (x3.2)"
    assert row["E8"] == -1
    assert row["grade"] not in "AB"


@pytest.mark.parametrize("few", [True, False])
def test_what_random_directions_do_as_well_is_moderate_at_best(few: bool) -> None:
    made = supported()
    large = _knockout("random", tuple(f"r{k}" for k in range(RANDOM)), "score", np.full(RANDOM, 0.9))
    some = _knockout("random", ("r0", "r1"), "score", np.array([0.01, 0.02]))
    row = by_name(replace(made, knockouts=made.knockouts | {"random": some if few else large})).loc["c0"]
    assert row["grade"] == "C"
    assert ("fewer than 10 random" if few else "95th percentile of 16") in row["ceiling_why"]
    assert "B is out of reach" in row["lacking"]


def test_without_a_plan_hashed_first_everything_is_exploratory() -> None:
    made = supported()
    frame = by_name(replace(made, header=made.header | {"history": []}))
    assert frame["exploratory"].all()
    assert not frame["grade"].isin(list("ABCZ")).any()
    assert "exploratory" in frame.loc["c0", "sentence"]


def test_failed_negative_controls_and_the_ceiling_of_the_study_hold_a_claim_down() -> None:
    made = supported()
    failed = [{"name": "placebo instruments: noise", "verdict": "failed", "note": "", "null_in_words": ""}]
    controls = replace(made, checks=[*made.checks, *failed])
    assert by_name(controls).loc["c0", "grade"] == "B", (
        "placebo instruments are controls of estimates by instruments"
    )
    assert by_name(controls, "MIG-1").loc["c0", "grade"] == "D"
    few = made.results.assign(ceiling="C", ceiling_why="fewer than 160 families in all")
    row = by_name(replace(made, results=few)).loc["c0"]
    assert row["grade"] == "C"
    assert "fewer than 160 families" in row["lacking"]
    none = made.results.assign(ceiling="N", ceiling_why="fewer than 10 knocked-out families")
    assert set(by_name(replace(made, results=none))["grade"]) == {"N"}


def test_a_failed_set_of_controls_bears_on_the_claims_of_its_rung_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = supported()
    words: dict[str, Any] = {
        "null_in_words": "",
        "statistic": 9.0,
        "df": 2.0,
        "neglog10p": 4.0,
        "verdict": "failed",
    }
    signs = Check(name="outcomes with random signs", rungs=("within", "tsls"), **words)
    apart = Check(name="differences between families", rungs=("rectified",), **words)
    first = np.arange(len(made.results)) == 0
    on_mr = replace(made, results=made.results.assign(rests_on=np.where(first, "within", "rectified")))
    monkeypatch.setattr(Finished, "claim_checks", property(lambda self: [signs, apart]))
    found = facts_of(on_mr)
    assert found.true["negative_controls_failed"].all()
    assert found.values["failed_controls"].tolist() == [signs.name, *[apart.name] * (len(first) - 1)]
    monkeypatch.setattr(
        Finished, "claim_checks", property(lambda self: [signs, replace(apart, verdict="passed")])
    )
    assert facts_of(on_mr).true["negative_controls_failed"].tolist() == first.tolist()


def test_a_replication_of_few_families_says_nothing() -> None:
    made = supported()
    again = made.estimates["rectified_again"]
    small = replace(again, meta=again.meta | {"families": 6})
    row = by_name(replace(made, estimates=made.estimates | {"rectified_again": small})).loc["c0"]
    assert row["E7"] == 0
    assert row["grade"] == "C"


def test_older_rules_know_no_random_directions_and_no_other_kinds() -> None:
    frame = by_name(supported(), "MIG-1")
    assert frame["E2"].isna().all()
    assert frame.loc["c0", "E8"] == 3
    assert frame.loc["c0", "grade"] == "D", "without E2 there is no C"


def test_every_claim_has_reasons_and_the_five_answers() -> None:
    made = supported()
    claims = grade(made)
    assert len(claims.domains) == 8 * len(made.results)
    assert claims.domains["reason"].str.len().gt(10).all()
    absent = claims.domains[claims.domains["points"].isna()]
    assert absent["reason"].str.startswith("does not apply, because ").all()
    for _, card in claims.cards.groupby(["feature", "outcome"]):
        assert card["item"].tolist() == list(CARD_ITEMS)
    first = claims.cards[claims.cards["feature"] == made.results["feature"][0]].set_index("item")["answer"]
    assert "0.46, 92% of the estimate" in first["stress"], "near end .48, region .02"
    assert "indeterminate" in first["consequence"]
    bounded = made.results["ci_lower"].notna().to_numpy()
    stressed = claims.cards[claims.cards["item"] == "stress"]["answer"].to_numpy()[bounded]
    assert all(re.search(r"\d", said) for said in stressed), "a number on every claim that has an interval"
    assert "knockouts of other families" in first["assumptions"]
    said = str(claims[made.results["feature"][0], "score"])
    assert "What is missing: A needs" in said
    assert claims.meta["tested"] == 5


def test_names_are_only_text() -> None:
    claims = grade(study(HOSTILE))
    assert len(claims.claims) == 5
    assert claims.claims["sentence"].str.contains("<script>", regex=False).sum() == 1


def test_a_feature_that_was_not_found_causal_but_is_by_the_knockouts(graded: pd.DataFrame) -> None:
    missed = graded.loc["c4"]
    assert (missed["verdict"], missed["size"]) == ("indeterminate", "")
    assert missed["grade"] == "E", "its interval just includes 0"


def test_grades_by_other_rules_stay_beside_these(finished_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished_run, out)
    first = Study.open(out).claims
    older = Study.open(out).grade("MIG-1")
    assert sorted(p.name for p in (out / "grades").iterdir()) == ["MIG-1", DEFAULT]
    again = Study.open(out)
    pd.testing.assert_frame_equal(again.claims.claims, first.claims)
    assert older.meta["rules"] == "MIG-1"
    assert [e["wrote"].keys() for e in again.header["history"] if e["step"] == "grades"] == [
        {f"grades/{DEFAULT}"},
        {"grades/MIG-1"},
    ]
    assert first.meta["rules_digest"] == read_rules().digest


def test_the_verb_prints_grades_reasons_and_json(finished_run: Path) -> None:
    said = CliRunner().invoke(cli, ["grade", str(finished_run)])
    assert said.exit_code == 0, said.output
    assert f"6 claims graded by {DEFAULT}" in said.output
    assert "missing: B is out of reach: fewer than 10 random" in " ".join(said.output.split())
    card = CliRunner().invoke(cli, ["grade", str(finished_run), "-f", "c04"]).output
    assert all(question in card for question in CARD_ITEMS.values())
    assert max(map(len, card.splitlines())) <= 110
    found = json.loads(CliRunner().invoke(cli, ["grade", str(finished_run), "--json"]).output)
    assert sum(found["grades"].values()) == len(found["claims"]) == 6
    assert CliRunner().invoke(cli, ["grade", str(finished_run), "--rules", "MIG-9"]).exit_code == 2


def test_absence_is_stressed_too() -> None:
    made = supported()
    third = made.results["feature"].str.endswith("c3")
    small = {"effect": 0.005, "ci_lower": 0.004, "ci_upper": 0.006, "verdict": "negligible"}
    shown = replace(
        made, results=made.results.assign(**{k: made.results[k].mask(third, v) for k, v in small.items()})
    )
    card = grade(shown).cards.set_index(["feature", "item"])["answer"]
    assert "take away 0.014, 70% of the half width" in card["layer.1:c3", "stress"]
    assert "no longer shown absent" in card["layer.1:c3", "consequence"]
