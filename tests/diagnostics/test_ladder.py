"""Rungs that cannot both be true are named on the claim; contrasts and slopes are never held against each other."""

from __future__ import annotations

import numpy as np

from mrinterp.diagnostics._ladder import ladder, ladder_checks
from mrinterp.report.claims import alarms, features
from mrinterp.report.terminal import summary_text
from mrinterp.report.twin.files import claims_table
from tests.study.finished_study import ROPE, TRUTH, study


def test_contradictions_stand_on_the_claims_own_line_and_under_no_passed_checks() -> None:
    """The made-up study's estimate of c2 is +.10, its matched shift and its contrast on other families -.08."""
    found = study()
    row = found.ladder.set_index("feature").loc["layer.1:c2"]
    assert row["local slopes"].startswith("the within regression +0.1 [")
    assert "cannot both be true" in row["local slopes"]
    assert "the contrast on other families -0.08" in row["contrasts"]
    text = summary_text(found)
    (line,) = [one for one in text.splitlines() if one.startswith("c2 ")]
    assert "cannot both be true" in line
    assert "what claims rest on: all passed" not in text
    assert any(c["name"] == "rungs that agree, contrasts: score" for c in alarms(found)[0])
    page = {r.short: r.status for r in features(found)}
    assert "cannot both be true" in page["c2"]
    assert page["c3"] == "ok"
    table = claims_table(found).set_index("feature")
    assert "cannot both be true" in table.loc["layer.1:c2", "contradicting_contrasts"]
    assert table.loc["layer.1:c3", "contradicting_contrasts"] == ""


def test_a_contrast_far_from_its_slope_is_a_finding_and_no_contradiction() -> None:
    made = study()
    shift = made.knockouts["shift"]
    bent = made.results.assign(
        move=made.results["move"] * np.where(made.results["feature"] == "layer.1:c0", 0.1, 1.0)
    )
    for rung in ("within", "gradient", "ivw_noise"):
        for end in ("", "_se", "_lower", "_upper"):
            bent.loc[bent["feature"] == "layer.1:c0", f"{rung}{end}"] *= 0.1
    found = ladder(bent, shift, {"score": ROPE}).set_index("feature")
    assert found.loc["layer.1:c0", "finding"].startswith(
        "the contrast is 10 times its linear extrapolation ("
    )
    assert found.loc["layer.1:c0", "contrasts"] == ""
    assert found.loc["layer.1:c1", "finding"] == ""
    assert np.isnan(found.loc["layer.1:c3", "ratio"]), "its slope may be 0"


def test_rungs_that_share_a_truth_seldom_contradict_each_other() -> None:
    """300 claims with one truth each and errors as stated: fewer than 5% of outcomes have a contradiction by luck."""
    made, rng = study(), np.random.default_rng(0)
    false = 0
    for _ in range(60):
        table = made.results.copy()
        order = [int(f[-1]) for f in table["feature"]]
        for rung, se in (
            ("within", 0.01),
            ("gradient", 0.003),
            ("rectified", 0.01),
            ("knockout", 0.005),
            ("replication", 0.02),
        ):
            value = TRUTH[order] + se * rng.standard_normal(5)
            table = table.assign(
                **{rung: value, f"{rung}_lower": value - 1.96 * se, f"{rung}_upper": value + 1.96 * se}
            )
        checks = ladder_checks(ladder(table, made.knockouts["shift"], {"score": 0.0}))
        false += any(c.verdict == "failed" for c in checks)
    assert false <= 8
