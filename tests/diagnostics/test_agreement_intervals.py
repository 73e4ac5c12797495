"""Bootstrap intervals of agreement scores: seeds, families, coverage on known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from mrinterp.stats.agreement.agreement_bootstrap import SCORES, Prediction, bootstrap_scores
from tests.diagnostics.agreement_cases import F, held_against, knockout_of, row_of, truth_of


class TestIntervals:
    def test_they_hold_the_score_and_are_seeded(self) -> None:
        rng = np.random.default_rng(6)
        knockout = knockout_of(truth_of())
        beta = knockout.effect[:, 0] + 0.2 * rng.standard_normal(F)
        one, two, three = (row_of(held_against(beta, 0.2, knockout, seed=s, draws=400)) for s in (0, 0, 1))
        for name in SCORES:
            low, high = one[f"{name}_boot_lower"], one[f"{name}_boot_upper"]
            assert low <= one[name] <= high, name
            assert (low, high) == (two[f"{name}_boot_lower"], two[f"{name}_boot_upper"])
        assert one["correlation_boot_lower"] != three["correlation_boot_lower"]

    def test_families_widen_what_features_alone_show(self) -> None:
        truth = np.full(F, 0.5) + np.linspace(-0.01, 0.01, F)
        knockout = knockout_of(truth, noise=0.05)
        both = held_against(knockout.effect[:, 0], 0.001, knockout, draws=400)
        assert both.meta["resampled"] == "features and knockout families"
        alone = held_against(
            knockout.effect[:, 0], 0.001, replace(knockout, effect=knockout.effect + 1.0), draws=400
        )
        assert alone.meta["resampled"] == "features"
        width = [
            r["correlation_boot_upper"] - r["correlation_boot_lower"] for r in map(row_of, (both, alone))
        ]
        assert width[1] < 1e-9, "a perfect prediction of this knockout stays perfect whatever the features"
        assert width[0] > 0.05, "but not of one on other families"
        assert row_of(both)["correlation_boot_upper"] == 1.0, "recentred: the interval holds the score"

    def test_a_weighted_knockout_is_redrawn_with_its_weights(self) -> None:
        rng = np.random.default_rng(7)
        knockout = knockout_of(truth_of())
        weight = rng.uniform(0.2, 1.8, knockout.effect_by_input.shape[:2])
        weight /= weight.mean(axis=1, keepdims=True)
        effect = (weight[:, :, None] * knockout.effect_by_input).mean(axis=1)
        weighted = replace(knockout, effect=effect, weight=weight)
        assert (
            held_against(truth_of(), knockout=weighted, draws=20).meta["resampled"]
            == "features and knockout families"
        )
        wrong = replace(weighted, weight=np.ones_like(weight))
        assert held_against(truth_of(), knockout=wrong, draws=20).meta["resampled"] == "features"

    def test_intervals_of_the_area_cover(self) -> None:
        """Normal scores one sd apart: the area is Phi(1 / sqrt 2)."""
        rng = np.random.default_rng(8)
        inside, n = [], 60
        for k in range(100):
            causal = rng.random(n) < 0.5
            strength = rng.standard_normal(n) + causal
            p = Prediction(
                strength, np.ones(n), strength, np.ones(n), causal, causal, causal, ~causal, strength
            )
            low, high = bootstrap_scores(p, None, 200, k)["auroc"]
            inside.append(low <= stats.norm.cdf(1 / np.sqrt(2)) <= high)
        # 100 trials at .95 (percentile intervals run a little short): three standard errors are .06.
        assert 0.87 <= np.mean(inside) <= 1.0

    def test_intervals_of_signs_ranks_and_slopes_cover(self) -> None:
        """Features and families drawn anew in every study; the mean score is held by its intervals."""
        names, found = ("kendall", "sign_concordance", "york_slope"), []
        for seed in range(80):
            rng = np.random.default_rng(seed)
            truth = np.where(rng.random(30) < 0.5, rng.standard_normal(30), 0.0)
            estimate = truth + 0.3 * rng.standard_normal(30)
            found.append(
                row_of(held_against(estimate, 0.3, knockout_of(truth, seed + 999, noise=0.3), draws=150))
            )
        table = pd.DataFrame(found)
        for name in names:
            middle = 1.0 if name == "york_slope" else table[name].mean()
            inside = (table[f"{name}_boot_lower"] <= middle) & (middle <= table[f"{name}_boot_upper"])
            # 80 studies at .95: three standard errors are .07.
            assert inside.mean() >= 0.88, name

    def test_slopes_of_redrawn_families_are_not_attenuated(self) -> None:
        """The draws hold the knockout's error twice; the slope is corrected for that."""
        centre = []
        for seed in range(12):
            truth = np.random.default_rng(seed).standard_normal(200)
            knockout = knockout_of(truth, seed + 100, noise=0.5)
            estimate = truth + 0.5 * np.random.default_rng(seed + 50).standard_normal(200)
            row = row_of(held_against(estimate, 0.5, knockout, draws=100))
            centre.append(
                [(row[f"{n}_boot_lower"] + row[f"{n}_boot_upper"]) / 2 for n in ("slope", "york_slope")]
            )
        np.testing.assert_allclose(np.mean(centre, axis=0), 1.0, atol=0.07)
