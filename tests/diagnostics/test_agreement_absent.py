"""Agreement where numbers are absent, alike or cannot be used: values with reasons, and refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mrinterp.core.errors import InputError
from mrinterp.diagnostics._agreement import agreement
from mrinterp.stats.agreement.agreement import agree
from mrinterp.stats.agreement.agreement_bootstrap import SCORES
from tests.diagnostics.agreement_cases import F, estimates_of, held_against, knockout_of, row_of, truth_of


class TestUndefined:
    def test_one_class_only(self) -> None:
        held = held_against(np.linspace(0.4, 1, F), knockout=knockout_of(np.full(F, 0.7)), draws=50)
        row = row_of(held)
        assert np.isnan([row["auroc"], row["auprc"], row["auroc_boot_lower"]]).all()
        assert "no feature negligible" in row["reason"]
        assert np.isfinite(row["kendall"])
        assert "no feature negligible" in str(held)

    def test_equal_estimates(self) -> None:
        row = row_of(held_against(np.full(F, 0.1), draws=50))
        assert np.isnan([row["correlation"], row["kendall"], row["york_slope"]]).all()
        assert "all estimates are equal" in row["reason"]
        assert row["auroc"] == 0.5

    def test_equal_effects_have_no_slope(self) -> None:
        alike = knockout_of(np.full(F, 0.5), noise=0.0, se=np.full((F, 1), 0.01))
        row = row_of(held_against(np.linspace(0.3, 0.7, F), knockout=alike, draws=50))
        assert np.isnan([row["slope"], row["york_slope"], row["correlation"]]).all()

    def test_too_few_features(self) -> None:
        row = row_of(held_against(np.ones(3), knockout=knockout_of(np.array([1.0, 0, 1])), draws=50))
        assert np.isnan([row[name] for name in SCORES]).all()
        assert "at least 4" in row["reason"]

    def test_an_estimate_without_any_number(self) -> None:
        row = row_of(held_against(np.full(F, np.nan), draws=20))
        assert (row["n"], row["missing"]) == (0, F)
        assert "0 features" in row["reason"]

    def test_no_error_at_all(self) -> None:
        truth = np.round(truth_of() * 64) / 64  # sums of these are exact
        row = row_of(held_against(truth, 0.0, knockout_of(truth, noise=0.0), draws=50))
        assert row["coverage"] == row["coverage_alone"] == 1
        assert row["york_slope"] == pytest.approx(1)

    def test_bad_input(self) -> None:
        with pytest.raises(InputError, match="ranked_by"):
            held_against(truth_of(), ranked_by="p")
        with pytest.raises(InputError, match="differ from the knockout"):
            held_against(np.ones(5))


def test_signs_of_causal_features_are_told_from_those_of_nulls() -> None:
    """A method that gets every causal sign right, and throws a coin for features that do nothing."""
    truth = truth_of()
    coin = np.where(np.arange(F) % 4 == 1, 0.01, -0.01)
    knockout = knockout_of(np.where(truth == 0, 0.01, truth), noise=1e-6)
    row = row_of(held_against(np.where(truth == 0, coin, truth), 0.05, knockout, draws=50))
    assert row["sign_concordance"] == pytest.approx(0.75)
    assert row["causal_sign_concordance"] == 1
    assert 0.6 < row["causal_sign_concordance_boot_lower"] < 0.8


def test_features_without_a_knockout_are_told_from_those_without_an_estimate() -> None:
    knockout = knockout_of(truth_of())
    effect = knockout.effect.copy()
    effect[3:5] = np.nan
    beta = truth_of().copy()
    beta[:4] = np.nan
    held = held_against(beta, knockout=replace(knockout, effect=effect), draws=50)
    row = row_of(held)
    assert (row["n"], row["missing"], row["no_knockout"]) == (F - 5, 5, 2)
    assert "19 features (3 with no estimate, 2 with no knockout: left out)" in str(held)


def test_every_method_is_scored_on_what_it_answers() -> None:
    """One that is silent on three features is compared on the rest; its neighbour is not touched by that."""
    knockout, rng = knockout_of(truth_of()), np.random.default_rng(1)
    full = truth_of() + 0.1 * rng.standard_normal(F)
    some = np.where(np.arange(F) < 3, np.nan, full)
    both = agreement([estimates_of(full, 0.1, "a"), estimates_of(some, 0.1, "b")], knockout, 0.2, draws=50)
    table = both.scores.set_index("method")
    pair = agree(full[3:], np.full(F - 3, 0.1), knockout.effect[3:, 0], knockout.se[3:, 0], knockout.df)
    assert table.loc["b", "correlation"] == pytest.approx(pair.correlation)
    assert table.loc["a", "n"] == F
    alone = agreement([estimates_of(full, 0.1, "a")], knockout, 0.2, draws=50).scores.iloc[0]
    assert table.loc["a", "auroc"] == alone["auroc"]


def test_equal_estimates_still_have_coverage_and_signs() -> None:
    row = row_of(held_against(np.full(F, 0.1), draws=50))
    assert np.isfinite([row["coverage"], row["coverage_lower"], row["sign_concordance"], row["rmse"]]).all()
    assert np.isnan([row["slope"], row["correlation_lower"]]).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"estimates": []}, "none given"),
        ({"rope": [0.1, 0.2]}, "for 1 outcomes"),
        ({"rope": -1.0}, "at least 0"),
        ({"draws": 1}, "Give 2 to"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(options: dict[str, Any], words: str) -> None:
    given = {"estimates": [estimates_of(truth_of(), 0.1)], "knockout": knockout_of(truth_of()), "rope": 0.2}
    with pytest.raises(InputError, match=words):
        agreement(**(given | options))


def test_names_that_differ_are_named() -> None:
    other = estimates_of(truth_of(), 0.1)
    knockout = knockout_of(truth_of())
    renamed = replace(knockout, features=("g0", *knockout.features[1:]))
    with pytest.raises(InputError, match="'f0' in one only"):
        agreement([other], renamed, 0.2)
    turned = replace(knockout, features=knockout.features[::-1])
    with pytest.raises(InputError, match="in their order"):
        agreement([other], turned, 0.2)
