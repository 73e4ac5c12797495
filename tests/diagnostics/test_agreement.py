"""Agreement of estimates with knockouts: scores against independent computations, intervals on known truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrinterp.diagnostics._agreement import agreement
from mrinterp.results._agreement import SCORES as WORDS
from mrinterp.results._agreement import Agreement
from mrinterp.stats.agreement.agreement import agree
from mrinterp.stats.agreement.agreement_bootstrap import SCORES, Prediction, scores
from tests.diagnostics.agreement_cases import F, estimates_of, held_against, knockout_of, row_of, truth_of


class TestScores:
    def test_a_perfect_method(self) -> None:
        knockout = knockout_of(truth_of(), noise=1e-6)
        row = row_of(held_against(knockout.effect, 0.05, knockout))
        for name in set(SCORES) - {"kendall"}:
            assert row[name] == pytest.approx(1, abs=1e-5), name
        assert row["kendall"] == pytest.approx(1)
        assert row["reason"] == ""
        assert (row["knockout_causal"], row["knockout_negligible"], row["base_rate"]) == (12, 12, 0.5)

    def test_an_inverted_method(self) -> None:
        knockout = knockout_of(truth_of(), noise=1e-6)
        row = row_of(held_against(-2 * knockout.effect, 0.05, knockout))
        for name in ("correlation", "rank_correlation", "kendall"):
            assert row[name] == pytest.approx(-1)
        assert row["sign_concordance"] == 0
        assert row["york_slope"] == pytest.approx(-2, rel=1e-4)
        assert row["auroc"] == 1, "ranking is by size, whatever the sign"

    def test_twelve_features_by_hand(self) -> None:
        """Ranks, signs, coverage and areas that can be counted on paper."""
        truth = np.array([1.0, 1, 1, 0, 0, 0])
        knockout = knockout_of(truth, noise=1e-9)
        beta = np.array([0.9, 0.5, -0.4, 0.45, 0.1, -0.05])
        row = row_of(held_against(beta, 0.06, knockout, draws=50))
        # By size: c .9, c .5, n .45, c .4, n .1, n .05: 8 of 9 pairs; precision 1, 1, 3/4 at the hits.
        assert row["auroc"] == pytest.approx(8 / 9)
        assert row["auprc"] == pytest.approx((1 + 1 + 3 / 4) / 3)
        # Within 1.96 x .06 of the knockout: .9, .1 and -.05.
        assert row["coverage_alone"] == pytest.approx(3 / 6)

    def test_point_scores_are_those_of_the_analytic_table(self) -> None:
        knockout = knockout_of(truth_of())
        rng = np.random.default_rng(5)
        beta = 0.8 * knockout.effect[:, 0] + 0.1 * rng.standard_normal(F)
        row = row_of(held_against(beta, 0.1, knockout))
        pair = agree(beta, np.full(F, 0.1), knockout.effect[:, 0], knockout.se[:, 0], knockout.df)
        for name in ("correlation", "rank_correlation", "slope", "coverage", "sign_concordance"):
            assert row[name] == pytest.approx(getattr(pair, name), abs=1e-12)
        assert row["slope_lower"] == pytest.approx(pair.slope_lower)

    def test_indeterminate_features_are_left_out_of_the_areas(self) -> None:
        knockout = knockout_of(truth_of())
        unsure = replace(knockout, se=np.where(np.arange(F) < 4, 10.0, knockout.se[:, 0])[:, None])
        row = row_of(held_against(truth_of(), 0.05, unsure))
        assert row["knockout_causal"] + row["knockout_negligible"] == F - 4

    def test_rank_by_z_or_by_effect(self) -> None:
        truth = truth_of()
        se = np.where(truth == 0, 1.0, 0.1)
        beta = np.where(truth == 0, 2.0, truth)
        by = {
            k: row_of(held_against(beta, se, knockout_of(truth), ranked_by=k, draws=20))["auroc"]
            for k in ("effect", "z")
        }
        assert by["effect"] == 0
        assert by["z"] > 0.99

    def test_missing_cells_are_counted(self) -> None:
        beta = truth_of().copy()
        beta[:3] = np.nan
        row = row_of(held_against(beta, draws=50))
        assert (row["n"], row["missing"]) == (F - 3, 3)
        assert np.isfinite(row["auroc_boot_lower"])


@given(st.integers(0, 50), st.floats(0.01, 100), st.permutations(range(F)))
@settings(max_examples=25, deadline=None)
def test_units_signs_and_order_change_nothing(seed: int, scale: float, order: list[int]) -> None:
    rng = np.random.default_rng(seed)
    truth = truth_of(seed)
    x = truth + 0.05 * rng.standard_normal(F)
    y = truth + 0.2 * rng.standard_normal(F)
    causal = truth != 0

    def made(unit: float, turn: np.ndarray, index: Any) -> dict[str, float]:
        a, b = (unit * turn * y)[index], (unit * turn * x)[index]
        s, t = np.full(F, 0.2 * unit), np.full(F, 0.05 * unit)
        near = np.abs(y - x)[index] < 0.4
        return scores(Prediction(a, s, b, t, near, near, causal[index], ~causal[index], np.abs(a)))

    one = made(1.0, np.ones(F), np.arange(F))
    two = made(scale, np.ones(F), np.array(order))
    for name in SCORES:
        assert two[name] == pytest.approx(one[name], rel=1e-6, abs=1e-9), name
    turned = made(1.0, np.where(np.arange(F) % 3 == 0, -1.0, 1.0), np.arange(F))
    for name in ("sign_concordance", "coverage", "auroc", "auprc"):
        assert turned[name] == pytest.approx(one[name])


def test_saved_and_shown(tmp_path: Path) -> None:
    held = held_against(truth_of(), draws=50)
    assert tuple(WORDS) == SCORES
    frame = held.to_frame()
    assert list(frame["score"]) == list(SCORES)
    held.save(tmp_path / "a")
    again = Agreement.load(tmp_path / "a")
    pd.testing.assert_frame_equal(again.to_frame(), frame)
    assert again.meta["ranked_by"] == "effect"
    text = str(again)
    assert "AUROC" in text
    assert "24 features" in text


def test_only_what_the_screen_finds_can_mislead() -> None:
    beta = np.where(np.arange(F) == 1, 0.5, np.where(np.arange(F) == 3, 0.05, 0.0))
    estimates = [estimates_of(beta, 0.05, method) for method in ("ivw", "within")]
    held = agreement(estimates, knockout_of(truth_of()), np.array([0.2]), "ivw", "digest")
    assert held.misled[["method", "exposure"]].to_numpy().tolist() == [["ivw", "f1"]]
    assert held.meta["screen_significant"] == 1
