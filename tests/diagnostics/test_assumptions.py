"""Every assumption check finds its own violation, named, and leaves right runs alone."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import mrinterp
from mrinterp import InputError
from mrinterp.diagnostics import assumption_checks, diagnose, steiger_test
from mrinterp.diagnostics._claim_checks import _shrinkage
from mrinterp.results import Check, NotApplicable
from mrinterp.scan import marginal_scan
from mrinterp.worlds import linear_world
from tests.study.finished_study import study

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "diagnostics"))
from assumptions import WRONG, runs, words


def alarms(panel: mrinterp.Panel) -> dict[str, Check]:
    found = [c for c in assumption_checks(panel) if isinstance(c, Check)]
    return {c.name.split(":")[0]: c for c in found if c.verdict != "passed"}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_found(wrong: str) -> None:
    found = alarms(runs(2, wrong))
    assert wrong in found, sorted(found)
    if found[wrong].features:
        assert found[wrong].features[0] == "x0"
    assert found[wrong].next_step
    assert found[wrong].rungs


def test_right_runs_are_left_alone() -> None:
    """30 right panels and 12 worlds: tests with a probability fail at most a tenth of them, warnings at most one in ten."""
    every = [alarms(runs(seed)) for seed in range(30)] + [
        alarms(linear_world(seed).panel) for seed in range(12)
    ]
    failed = [[n for n, c in found.items() if c.verdict == "failed"] for found in every]
    warned = [[n for n, c in found.items() if c.verdict == "warning"] for found in every]
    assert sum(map(bool, failed)) <= 4, failed
    assert sum(map(bool, warned)) <= 4, warned


def test_effects_that_depend_on_a_word_of_the_prompt_are_found_by_its_slot() -> None:
    by = "subgroups by attributes: y0"

    def asked(wrong: str, **given: np.ndarray) -> dict[str, Check | NotApplicable]:
        return {c.name: c for c in assumption_checks(runs(2, wrong), attributes=given or words(2))}

    found = asked("subgroups by attributes")[by]
    assert isinstance(found, Check)
    assert found.verdict == "failed"
    quality, place = (
        float(found.note.split(f"{n} ")[1].split()[0].rstrip(",")) for n in ("quality", "place")
    )
    assert quality > place
    assert asked("")[by].verdict == "passed"  # type: ignore[union-attr]
    state = np.random.default_rng(0).standard_normal(len(runs(2).runs))
    assert by in asked("", number=state), "a number is a line, however many values it has"
    names = np.array([f"only here {k}" for k in range(len(state))], dtype=object)
    why = asked("", text=names)[by]
    assert isinstance(why, NotApplicable)
    assert "no attribute has two values of 20 prompts each (text)" in why.reason
    assert by not in {c.name for c in assumption_checks(runs(2))}
    with pytest.raises(InputError, match="Give one value per run"):
        asked("", quality=names[:5])


def test_what_does_not_apply_says_why() -> None:
    panel = runs()
    one = assumption_checks(panel.select(kinds=("noise",)))
    why = {c.name.split(":")[0]: c.reason for c in one if isinstance(c, NotApplicable)}
    assert "one kind" in why["kinds of perturbation agree"]
    few = panel._take(np.flatnonzero(panel.runs["family"].astype(int) < 10))
    assert "10 families" in assumption_checks(few)[0].reason  # type: ignore[union-attr]


def test_the_prediction_interval_holds_a_new_familys_slope() -> None:
    """Slopes of sd 2 between families: the sd is found within a fifth, and is 0 or small where they are alike."""
    from mrinterp.diagnostics._assumptions import _slopes_of_families
    from mrinterp.diagnostics._specification import _Fitted
    from mrinterp.mr._runs.run_level import run_data

    found = []
    for wrong in ("sign in new families", ""):
        fitted = _Fitted(run_data(runs(2, wrong)))
        size = np.sqrt((fitted.data.X[:, 0] ** 2).mean())
        found.append(_slopes_of_families(fitted, 0)[1][0] / size)
    assert found[0] == pytest.approx(2.0, rel=0.3)
    assert found[1] < 0.2


def test_diagnosed_runs_have_one_number_a_claim_and_their_controls() -> None:
    cards = diagnose(linear_world(2, copy=False).panel)
    rows = cards.findings.set_index(["feature", "check"])
    assert "explains" in rows.loc[("cause", "sensitivity: y"), "reason"]
    assert rows.loc[("silent", "sensitivity: y"), "colour"] == "grey", "nothing to undo"
    assert rows.loc[("cause", "outcomes with random signs"), "colour"] == "green"
    assert {"homogeneity", "selection"} <= set(cards.to_frame())


def test_steiger_runs_on_our_own_scans_and_colors_nothing_there() -> None:
    scan = marginal_scan(linear_world(0, copy=False).panel)
    assert scan.size == 2400
    assert isinstance(steiger_test(scan.to_mrdata()), NotApplicable), "sizes are handed on where asked for"
    assert isinstance(steiger_test(scan.to_mrdata(with_sizes=True), "cause", "y"), Check)
    rows = diagnose(scan).findings.set_index(["feature", "check"])
    assert "instruments explain" in rows.loc[("cause", "Steiger: y"), "reason"]
    assert not rows.loc[("cause", "Steiger: y"), "bears"]
    assert "must be invalid" in rows.loc[("cause", "share of invalid instruments: y"), "reason"]


def test_shrinkage_of_what_was_chosen() -> None:
    table = study().results
    table = table.assign(verdict="causal", knockout=0.5 * table["effect"])
    assert _shrinkage(table)[0].verdict == "warning"  # type: ignore[union-attr]
    assert "50%" in str(_shrinkage(table)[0])
    assert _shrinkage(table.assign(knockout=table["effect"]))[0].verdict == "passed"  # type: ignore[union-attr]
    assert isinstance(_shrinkage(table.head(2))[0], NotApplicable)
