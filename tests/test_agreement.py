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
from scipy import odr, optimize, stats
from sklearn.metrics import average_precision_score, roc_auc_score

from mrinterp.core.agreement import SCORES as WORDS
from mrinterp.core.agreement import Agreement
from mrinterp.core.errors import InputError
from mrinterp.core.estimates import Estimates
from mrinterp.core.knockout_effects import KnockoutEffects
from mrinterp.diagnostics.agreement import agreement
from mrinterp.stats.agreement import agree, deming_slope
from mrinterp.stats.agreement_bootstrap import SCORES, Prediction, bootstrap_scores, scores
from mrinterp.stats.ranking import area_under_roc, average_precision, kendall, spearman
from mrinterp.stats.york import york_line

F, FAMILIES, PER = 24, 20, 3


def _truth(seed: int = 0, features: int = F) -> np.ndarray:
    """Half of the features do nothing."""
    rng = np.random.default_rng(seed)
    return np.where(
        np.arange(features) % 2 == 0, rng.choice([-1, 1], features) * rng.uniform(0.3, 1, features), 0
    )


def _knockout(truth: np.ndarray, seed: int = 1, noise: float = 0.05, **changes: Any) -> KnockoutEffects:
    rng = np.random.default_rng(seed)
    P, n = FAMILIES * PER, len(truth)
    family = np.repeat(np.arange(FAMILIES), PER)
    own = rng.standard_normal((n, FAMILIES)) * noise * np.sqrt(FAMILIES)
    each = (truth[:, None] + own[:, family])[:, :, None]
    by_family = each[:, ::PER, 0]
    options: dict[str, Any] = {
        "effect": each.mean(axis=1),
        "se": (by_family.std(axis=1, ddof=1) / np.sqrt(FAMILIES))[:, None],
        "per_prompt": each,
        **changes,
    }
    return KnockoutEffects(
        "shift",
        "shift",
        tuple(f"f{i}" for i in range(n)),
        ("y",),
        options["effect"],
        options["se"],
        FAMILIES - 1.0,
        options["per_prompt"],
        pd.DataFrame({"prompt": np.arange(P), "family": family}),
        *(np.zeros(n) for _ in range(4)),
        0.0,
    )


def _estimates(beta: np.ndarray, se: np.ndarray | float, method: str = "within", **changes: Any) -> Estimates:
    beta = np.asarray(beta, float).reshape(-1, 1)
    names = tuple(f"f{i}" for i in range(len(beta)))
    spread = np.broadcast_to(np.reshape(se, (-1, 1)), beta.shape)
    return Estimates(method, method, names, ("y",), beta, spread, "ok", np.full(beta.shape, 9), **changes)


def _held(beta: np.ndarray, se: np.ndarray | float = 0.05, knockout: Any = None, **options: Any) -> Agreement:
    knockout = _knockout(_truth()) if knockout is None else knockout
    return agreement([_estimates(beta, se)], knockout, np.array([0.2]), "ivw", "digest", **options)


def _row(held: Agreement) -> dict[str, Any]:
    (row,) = held.summary.to_dict(orient="records")
    return row


@st.composite
def _ranked(draw: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores with ties, labels, and which of them count."""
    n = draw(st.integers(2, 30))
    score = np.array(draw(st.lists(st.integers(0, 6), min_size=n, max_size=n)), float)
    label = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    counted = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    return score, label, counted


class TestKernels:
    @given(_ranked())
    @settings(max_examples=200, deadline=None)
    def test_areas_are_those_of_scikit_learn(self, drawn: Any) -> None:
        score, label, counted = drawn
        ours = [f(score[None], label[None], counted[None])[0] for f in (area_under_roc, average_precision)]
        if 0 < label[counted].sum() < counted.sum():
            assert ours[0] == pytest.approx(roc_auc_score(label[counted], score[counted]))
            assert ours[1] == pytest.approx(average_precision_score(label[counted], score[counted]))
        else:
            assert np.isnan(ours).all()

    @given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=3, max_size=25))
    @settings(max_examples=200, deadline=None)
    def test_rank_concordances_are_those_of_scipy(self, pairs: Any) -> None:
        x, y = np.array(pairs, float).T
        if np.ptp(x) == 0 or np.ptp(y) == 0:
            assert np.isnan(kendall(x[None], y[None])[0])
            return
        assert kendall(x[None], y[None])[0] == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)
        assert spearman(x[None], y[None])[0] == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)

    def test_kendall_in_blocks_is_kendall(self, monkeypatch: pytest.MonkeyPatch) -> None:
        x, y = np.random.default_rng(0).standard_normal((2, 13, 9))
        whole = kendall(x, y)
        monkeypatch.setattr("mrinterp.stats.ranking.PAIRS", 200)
        np.testing.assert_array_equal(kendall(x, y), whole)
        monkeypatch.setattr("mrinterp.stats.ranking.MANY", 5)
        np.testing.assert_allclose(kendall(x, y), whole, atol=1e-12)


class TestYork:
    X = np.array([0.0, 0.9, 1.8, 2.6, 3.3, 4.4, 5.2, 6.1, 6.5, 7.4])
    Y = np.array([5.9, 5.4, 4.4, 4.6, 3.5, 3.7, 2.8, 2.8, 2.4, 1.5])
    WX = np.array([1000.0, 1000, 500, 800, 200, 80, 60, 20, 1.8, 1.0])
    WY = np.array([1.0, 1.8, 4, 8, 20, 20, 70, 70, 100, 500])

    def test_pearson_data_with_york_weights(self) -> None:
        """The published solution of this standard example: York 1966, 10.1139/p66-090; 2004, table II."""
        line = york_line(self.X, self.Y, 1 / self.WX, 1 / self.WY)
        assert line.slope[0] == pytest.approx(-0.480533407, rel=1e-8)
        assert line.intercept[0] == pytest.approx(5.47991022, rel=1e-8)
        assert line.slope_se[0] == pytest.approx(0.0579850090, rel=1e-3)
        assert line.misfit[0] == pytest.approx(11.8663532 / 8, rel=1e-6)

    def test_it_minimizes_the_profile(self) -> None:
        rng = np.random.default_rng(2)
        x, y = rng.standard_normal((2, 12))
        y = 2 * x + 0.3 * y
        vx, vy = rng.uniform(0.01, 0.2, (2, 12))

        def loss(b: np.ndarray) -> float:
            w = 1 / (vy + b[1] ** 2 * vx)
            return float((w * (y - b[0] - b[1] * x) ** 2).sum())

        best = optimize.minimize(
            loss, [0.0, 2.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}
        )
        line = york_line(x, y, vx, vy)
        assert line.slope[0] == pytest.approx(best.x[1], rel=1e-6)
        fit = odr.ODR(odr.RealData(x, y, np.sqrt(vx), np.sqrt(vy)), odr.unilinear, beta0=[2.0, 0.0]).run()
        assert line.slope[0] == pytest.approx(fit.beta[0], rel=1e-5)

    def test_equal_errors_are_deming(self) -> None:
        rng = np.random.default_rng(3)
        x = rng.standard_normal(40)
        y = -1.5 * x + 0.4 * rng.standard_normal(40)
        for ratio in (0.25, 1.0, 9.0):
            line = york_line(x, y, np.full(40, 0.1), np.full(40, 0.1 * ratio))
            assert line.slope[0] == pytest.approx(deming_slope(x, y, ratio), rel=1e-8)

    def test_without_errors_across_it_is_weighted_least_squares(self) -> None:
        rng = np.random.default_rng(4)
        x, y, v = *rng.standard_normal((2, 15)), rng.uniform(0.1, 1, 15)
        slope = np.polyfit(x, y, 1, w=1 / np.sqrt(v))[0]
        assert york_line(x, y, np.zeros(15), v).slope[0] == pytest.approx(slope, rel=1e-8)

    def test_swapping_the_axes_inverts_the_slope(self) -> None:
        one = york_line(self.X, self.Y, 1 / self.WX, 1 / self.WY).slope[0]
        two = york_line(self.Y, self.X, 1 / self.WY, 1 / self.WX).slope[0]
        assert one * two == pytest.approx(1, rel=1e-7)

    def test_exact_points_and_too_few(self) -> None:
        x = np.arange(5.0)
        assert york_line(x, 3 * x + 1, np.zeros(5), np.zeros(5)).slope[0] == pytest.approx(3)
        assert np.isnan(york_line(x[:2], x[:2], np.ones(2), np.ones(2)).slope[0])
        assert np.isnan(york_line(np.ones(5), x, np.ones(5), np.ones(5)).slope[0])


class TestScores:
    def test_a_perfect_method(self) -> None:
        knockout = _knockout(_truth(), noise=1e-6)
        row = _row(_held(knockout.effect, 0.05, knockout))
        for name in set(SCORES) - {"kendall"}:
            assert row[name] == pytest.approx(1, abs=1e-5), name
        assert row["kendall"] == pytest.approx(1)
        assert row["reason"] == ""
        assert (row["knockout_causal"], row["knockout_negligible"], row["base_rate"]) == (12, 12, 0.5)

    def test_an_inverted_method(self) -> None:
        knockout = _knockout(_truth(), noise=1e-6)
        row = _row(_held(-2 * knockout.effect, 0.05, knockout))
        for name in ("correlation", "rank_correlation", "kendall"):
            assert row[name] == pytest.approx(-1)
        assert row["sign_concordance"] == 0
        assert row["york_slope"] == pytest.approx(-2, rel=1e-4)
        assert row["auroc"] == 1, "ranking is by size, whatever the sign"

    def test_twelve_features_by_hand(self) -> None:
        """Ranks, signs, coverage and areas that can be counted on paper."""
        truth = np.array([1.0, 1, 1, 0, 0, 0])
        knockout = _knockout(truth, noise=1e-9)
        beta = np.array([0.9, 0.5, -0.4, 0.45, 0.1, -0.05])
        row = _row(_held(beta, 0.06, knockout, draws=50))
        # By size: c .9, c .5, n .45, c .4, n .1, n .05: 8 of 9 pairs; precision 1, 1, 3/4 at the hits.
        assert row["auroc"] == pytest.approx(8 / 9)
        assert row["auprc"] == pytest.approx((1 + 1 + 3 / 4) / 3)
        # Within 1.96 x .06 of the knockout: .9, .1 and -.05.
        assert row["coverage_alone"] == pytest.approx(3 / 6)

    def test_point_scores_are_those_of_the_analytic_table(self) -> None:
        knockout = _knockout(_truth())
        rng = np.random.default_rng(5)
        beta = 0.8 * knockout.effect[:, 0] + 0.1 * rng.standard_normal(F)
        row = _row(_held(beta, 0.1, knockout))
        pair = agree(beta, np.full(F, 0.1), knockout.effect[:, 0], knockout.se[:, 0], knockout.df)
        for name in ("correlation", "rank_correlation", "slope", "coverage", "sign_concordance"):
            assert row[name] == pytest.approx(getattr(pair, name), abs=1e-12)
        assert row["slope_lower"] == pytest.approx(pair.slope_lower)

    def test_indeterminate_features_are_left_out_of_the_areas(self) -> None:
        knockout = _knockout(_truth())
        unsure = replace(knockout, se=np.where(np.arange(F) < 4, 10.0, knockout.se[:, 0])[:, None])
        row = _row(_held(_truth(), 0.05, unsure))
        assert row["knockout_causal"] + row["knockout_negligible"] == F - 4

    def test_rank_by_z_or_by_effect(self) -> None:
        truth = _truth()
        se = np.where(truth == 0, 1.0, 0.1)
        beta = np.where(truth == 0, 2.0, truth)
        by = {
            k: _row(_held(beta, se, _knockout(truth), ranked_by=k, draws=20))["auroc"]
            for k in ("effect", "z")
        }
        assert by["effect"] == 0
        assert by["z"] > 0.99

    def test_missing_cells_are_counted(self) -> None:
        beta = _truth().copy()
        beta[:3] = np.nan
        row = _row(_held(beta, draws=50))
        assert (row["n"], row["missing"]) == (F - 3, 3)
        assert np.isfinite(row["auroc_boot_lower"])


class TestIntervals:
    def test_they_hold_the_score_and_are_seeded(self) -> None:
        rng = np.random.default_rng(6)
        knockout = _knockout(_truth())
        beta = knockout.effect[:, 0] + 0.2 * rng.standard_normal(F)
        one, two, three = (_row(_held(beta, 0.2, knockout, seed=s, draws=400)) for s in (0, 0, 1))
        for name in SCORES:
            low, high = one[f"{name}_boot_lower"], one[f"{name}_boot_upper"]
            assert low <= one[name] <= high, name
            assert (low, high) == (two[f"{name}_boot_lower"], two[f"{name}_boot_upper"])
        assert one["correlation_boot_lower"] != three["correlation_boot_lower"]

    def test_families_widen_what_features_alone_show(self) -> None:
        truth = np.full(F, 0.5) + np.linspace(-0.01, 0.01, F)
        knockout = _knockout(truth, noise=0.05)
        both = _held(knockout.effect[:, 0], 0.001, knockout, draws=400)
        assert both.meta["resampled"] == "features and knockout families"
        alone = _held(
            knockout.effect[:, 0], 0.001, replace(knockout, effect=knockout.effect + 1.0), draws=400
        )
        assert alone.meta["resampled"] == "features"
        width = [r["correlation_boot_upper"] - r["correlation_boot_lower"] for r in map(_row, (both, alone))]
        assert width[1] < 1e-9, "a perfect prediction of this knockout stays perfect whatever the features"
        assert width[0] > 0.05, "but not of one on other families"
        assert _row(both)["correlation_boot_upper"] == 1.0, "recentred: the interval holds the score"

    def test_a_weighted_knockout_is_redrawn_with_its_weights(self) -> None:
        rng = np.random.default_rng(7)
        knockout = _knockout(_truth())
        weight = rng.uniform(0.2, 1.8, knockout.per_prompt.shape[:2])
        weight /= weight.mean(axis=1, keepdims=True)
        effect = (weight[:, :, None] * knockout.per_prompt).mean(axis=1)
        weighted = replace(knockout, effect=effect, weight=weight)
        assert (
            _held(_truth(), knockout=weighted, draws=20).meta["resampled"] == "features and knockout families"
        )
        wrong = replace(weighted, weight=np.ones_like(weight))
        assert _held(_truth(), knockout=wrong, draws=20).meta["resampled"] == "features"

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
            found.append(_row(_held(estimate, 0.3, _knockout(truth, seed + 999, noise=0.3), draws=150)))
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
            knockout = _knockout(truth, seed + 100, noise=0.5)
            estimate = truth + 0.5 * np.random.default_rng(seed + 50).standard_normal(200)
            row = _row(_held(estimate, 0.5, knockout, draws=100))
            centre.append(
                [(row[f"{n}_boot_lower"] + row[f"{n}_boot_upper"]) / 2 for n in ("slope", "york_slope")]
            )
        np.testing.assert_allclose(np.mean(centre, axis=0), 1.0, atol=0.07)


class TestUndefined:
    def test_one_class_only(self) -> None:
        held = _held(np.linspace(0.4, 1, F), knockout=_knockout(np.full(F, 0.7)), draws=50)
        row = _row(held)
        assert np.isnan([row["auroc"], row["auprc"], row["auroc_boot_lower"]]).all()
        assert "no feature negligible" in row["reason"]
        assert np.isfinite(row["kendall"])
        assert "no feature negligible" in str(held)

    def test_equal_estimates(self) -> None:
        row = _row(_held(np.full(F, 0.1), draws=50))
        assert np.isnan([row["correlation"], row["kendall"], row["york_slope"]]).all()
        assert "all estimates are equal" in row["reason"]
        assert row["auroc"] == 0.5

    def test_too_few_features(self) -> None:
        row = _row(_held(np.ones(3), knockout=_knockout(np.array([1.0, 0, 1])), draws=50))
        assert np.isnan([row[name] for name in SCORES]).all()
        assert "at least 4" in row["reason"]

    def test_an_estimate_without_any_number(self) -> None:
        row = _row(_held(np.full(F, np.nan), draws=20))
        assert (row["n"], row["missing"]) == (0, F)
        assert "0 features" in row["reason"]

    def test_no_error_at_all(self) -> None:
        truth = np.round(_truth() * 64) / 64  # sums of these are exact
        row = _row(_held(truth, 0.0, _knockout(truth, noise=0.0), draws=50))
        assert row["coverage"] == row["coverage_alone"] == 1
        assert row["york_slope"] == pytest.approx(1)

    def test_bad_input(self) -> None:
        with pytest.raises(InputError, match="ranked_by"):
            _held(_truth(), ranked_by="p")
        with pytest.raises(InputError, match="differ from the knockout"):
            _held(np.ones(5))


@given(st.integers(0, 50), st.floats(0.01, 100), st.permutations(range(F)))
@settings(max_examples=25, deadline=None)
def test_units_signs_and_order_change_nothing(seed: int, scale: float, order: list[int]) -> None:
    rng = np.random.default_rng(seed)
    truth = _truth(seed)
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
    held = _held(_truth(), draws=50)
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
