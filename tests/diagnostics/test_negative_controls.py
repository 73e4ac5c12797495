"""Negative controls: the null they imply, calibrated claims, small counts, and the level of the placebo check."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import mrinterp
from mrinterp.core.errors import InputError
from mrinterp.diagnostics import negative_controls, placebo_check
from mrinterp.results import Estimates, NotApplicable
from mrinterp.stats.tests.redealt import redealt_test

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "diagnostics"))
from negative_controls import level_of, placebo_panel
from placebo_level import DESIGNS, level


def _claims(beta: np.ndarray, se: np.ndarray) -> Estimates:
    F, O = beta.shape
    return Estimates(
        method="ivw",
        label="made up",
        exposures=tuple(f"f{i}" for i in range(F)),
        outcomes=tuple(f"y{i}" for i in range(O)),
        beta=beta,
        se=se,
        status="ok",
        n_instruments=10,
    )


def test_calibrated_intervals_cover_where_plain_ones_do_not() -> None:
    """Systematic error of mean .5 and sd 1.5 (z), of 40 controls and of null claims, 300 times."""
    rng = np.random.default_rng(0)
    plain, calibrated, error = [], [], []
    for _ in range(300):
        z = 0.5 + 1.5 * rng.standard_normal((50, 1))
        found = negative_controls((z[:40], np.ones((40, 1))), _claims(z[40:], np.ones((10, 1))))
        plain.append((np.abs(z[40:]) < 1.96).mean())
        calibrated.append(((found.calibrated_lower <= 0) & (found.calibrated_upper >= 0)).mean())
        error.append((found.calibrated_neglog10p > -np.log10(0.05)).mean())
    assert np.mean(plain) < 0.85
    assert np.mean(calibrated) == pytest.approx(0.95, abs=0.02)
    assert np.mean(error) == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize("count", [5, 30])
def test_the_check_keeps_its_level_with_few_controls(count: int) -> None:
    rng = np.random.default_rng(1)
    p = [negative_controls((rng.standard_normal(count), np.ones(count))).test_neglog10p for _ in range(600)]
    assert np.mean(np.array(p) > -np.log10(0.05)) == pytest.approx(0.05, abs=0.03)


def test_verdicts() -> None:
    rng = np.random.default_rng(2)
    good, bad = rng.standard_normal(300), 0.3 + 2.0 * rng.standard_normal(300)
    assert negative_controls((good, np.ones(300))).check().verdict == "passed"
    assert negative_controls((bad, np.ones(300))).check().verdict == "failed"
    narrow = negative_controls((0.5 * good, np.ones(300)))
    assert narrow.check().verdict == "warning"  # errors too large are no false claims, but no theory either
    assert isinstance(negative_controls((good[:4], np.ones(4))).check(), NotApplicable)


def test_central_matching_is_not_moved_by_a_few_that_act() -> None:
    rng = np.random.default_rng(3)
    z = np.concatenate([0.2 + 1.3 * rng.standard_normal(2000), rng.normal(8, 1, 60)])
    robust = negative_controls((z, np.ones(2060)), method="central matching")
    plain = negative_controls((z, np.ones(2060)))
    assert robust.sd == pytest.approx(1.3, abs=0.12)
    assert robust.mean == pytest.approx(0.2, abs=0.12)
    assert plain.sd > 1.7


def test_fewer_independent_controls_widen_everything() -> None:
    rng = np.random.default_rng(4)
    z, claims = rng.standard_normal(60), _claims(np.array([[3.0]]), np.array([[1.0]]))
    many = negative_controls((z, np.ones(60)), claims)
    few = negative_controls((z, np.ones(60)), claims, effective=6)
    assert few.sd_upper > many.sd_upper
    assert few.calibrated_upper[0, 0] > many.calibrated_upper[0, 0]
    assert (many.calibrated_upper - many.calibrated_lower)[0, 0] >= 2 * 1.96


def test_several_sources_and_refusals() -> None:
    rng = np.random.default_rng(5)
    one = (rng.standard_normal((4, 2)), np.ones((4, 2)))
    found = negative_controls({"random": one, "placebo": _claims(*one)})
    assert len(found.controls) == 16
    assert found.controls[0].startswith("random: ")
    with pytest.raises(InputError, match="at least 3"):
        negative_controls((np.ones(2), np.ones(2)))
    with pytest.raises(InputError, match="positive"):
        negative_controls((np.ones(4), np.zeros(4)))
    with pytest.raises(InputError, match="pair"):
        negative_controls(np.ones(3))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["pair", "noise"])
def test_the_placebo_check_keeps_its_level(kind: str) -> None:
    """120 studies: at most .05 of them fail at .01 (12 by chance 1.2); p below .05 in at most .13."""
    failed, small = level_of(kind, 120, families=12)
    assert failed <= 0.05
    assert small <= 0.13


@pytest.mark.parametrize("design", ["pair, 12 families, heavy tails", "4 runs a prompt, one coin a prompt"])
def test_the_placebo_check_keeps_its_level_whatever_the_coin_was_tossed_for(design: str) -> None:
    """40 random networks: p is as often below .2 as chance has it (.07 to .36), and two of them fail at most."""
    p = level(DESIGNS[design], 40)
    assert 0.07 <= (p <= 0.2).mean() <= 0.36
    assert (p <= 0.01).mean() <= 0.05


def test_dealing_out_anew_is_exact_for_few_rows_with_heavy_tails() -> None:
    """12 rows in 4 groups of 3, Cauchy traits, 400 times: shares at .05 and .2 within their errors."""
    rng, group = np.random.default_rng(0), np.repeat(np.arange(4), 3)
    p = []
    for seed in range(400):
        coins, traits = rng.integers(0, 2, (12, 1)), rng.standard_cauchy((12, 3))
        found = redealt_test(coins - coins.mean(), traits - traits.mean(axis=0), group, 199, seed)
        p.append(10.0**-found.neglog10p)
    p = np.array(p)
    assert np.mean(p[np.isfinite(p)] <= 0.05) <= 0.075
    assert np.mean(p[np.isfinite(p)] <= 0.2) <= 0.25
    flat = redealt_test(np.zeros((12, 1)), traits, group)
    assert np.isnan(flat.neglog10p)


@pytest.mark.parametrize("kind", ["pair", "noise"])
def test_a_placebo_that_acts_is_found(kind: str) -> None:
    assert all(
        placebo_check(placebo_panel(s, kind, families=40, acts=1.5)).verdict == "failed" for s in range(5)
    )


def test_a_shared_change_is_no_placebo_effect_and_few_families_do_not_apply() -> None:
    panel = placebo_panel(0, "pair", shared=50.0)
    assert placebo_check(panel).verdict == "passed"
    assert isinstance(placebo_check(placebo_panel(0, "pair", families=1)), NotApplicable), "three prompts"
    summary = mrinterp.scan.marginal_scan(panel, factorial=False)
    found = mrinterp.diagnostics.manipulation_checks(panel, summary)
    assert found[-1].name.startswith("placebo instruments")
    assert found[-1].verdict == "passed"


def test_of_runs_without_edits_no_first_stage_is_told() -> None:
    values = np.random.default_rng(0).standard_normal((40, 3))
    given = {"prompt": np.repeat(np.arange(20), 2), "family": np.repeat(np.arange(10), 4)}
    panel = mrinterp.from_arrays(doses=np.zeros((40, 1)), features=values, outcomes=values[:, :1], **given)
    found = mrinterp.diagnostics.manipulation_checks(panel, mrinterp.scan.marginal_scan(panel))[0]
    assert "nan" not in found.note
    assert "100.0% of 40 runs changed the site; no first stage, since no instrument" in found.note
    assert np.isnan(found.statistic)


def test_random_signs_find_errors_that_are_too_small_and_nothing_else() -> None:
    """A left-out cause breaks the equation, not the errors; one family's outcome 50 times as large as the others' does neither."""
    from dataclasses import replace

    from mrinterp.diagnostics import random_sign_controls
    from mrinterp.diagnostics._study_controls import DIFFERENCES, _verdict

    panel = mrinterp.worlds.linear_world(1).panel
    found = random_sign_controls(panel, draws=8)
    assert found.check().verdict == "passed"
    assert 0.7 < found.sd < 1.3
    few = panel._take(np.flatnonzero(panel.runs["family"].isin(panel.runs["family"].unique()[:6])))
    assert isinstance(random_sign_controls(few), NotApplicable)
    wide = replace(found, z=3 * found.z, sd=3 * found.sd, false_share=0.5, test_neglog10p=9.0)
    check = _verdict(DIFFERENCES, wide, ("rectified",))
    assert check.verdict == "failed"
    assert check.rungs == ("rectified",)
    narrow = replace(found, z=0.3 * found.z, sd=0.3 * found.sd, false_share=0.0, test_neglog10p=9.0)
    assert _verdict(DIFFERENCES, narrow, ("rectified",)).verdict == "passed", "too careful is no false claim"
