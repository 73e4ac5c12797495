"""Effects of swaps, equivalence tests and heterogeneity: parity with other computations, levels, coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.oneway import anova_oneway
from statsmodels.stats.weightstats import DescrStatsW

from mrinterp.stats.clustered.family_draws import bootstrap_ratio
from mrinterp.stats.clustered.least_squares import clustered_mean
from mrinterp.stats.clustered.swap_effects import swap_effects
from mrinterp.stats.tests.equivalence import tost, verdict
from mrinterp.stats.tests.heterogeneity import correlated_heterogeneity, independent_heterogeneity
from mrinterp.stats.tests.tails import critical_value, log10_tail_t

F, S, P, O, C = 4, 3, 24, 2, 8
FAMILY = np.repeat(np.arange(C), 3)


def swaps(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    amount = rng.standard_normal((F, S, P)) * (1 + np.arange(F))[:, None, None]
    change = 0.5 * amount[..., None] + rng.standard_normal((F, S, P, O))
    return amount, change


def test_error_is_the_jackknife_over_families() -> None:
    amount, change = swaps()
    made = swap_effects(amount, change, FAMILY, (1.0,) * S)
    for f in range(F):
        for o in range(O):
            x, y = amount[f], change[f, :, :, o]
            slope = (x * y).sum() / (x**2).sum()
            left = np.array([(x * y)[:, c != FAMILY].sum() / (x**2)[:, c != FAMILY].sum() for c in range(C)])
            assert made.effect[f, o] == pytest.approx(slope, rel=1e-12)
            assert made.se[f, o] == pytest.approx(
                np.sqrt((C - 1) / C * ((left - slope) ** 2).sum()), rel=1e-10
            )
            assert made.r2[f, o] == pytest.approx(1 - ((y - slope * x) ** 2).sum() / (y**2).sum(), rel=1e-10)


def test_weights_and_effects_by_input_make_up_the_effect() -> None:
    amount, change = swaps()
    made = swap_effects(amount, change, FAMILY, (1.0, -1.0, 1.0))
    np.testing.assert_allclose(
        (made.weight[..., None] * made.effect_by_input).mean(axis=1), made.effect, rtol=1e-12
    )
    np.testing.assert_allclose(made.weight.mean(axis=1), 1.0)
    np.testing.assert_allclose(
        made.change_by_input, (change[:, 0] - change[:, 1] + change[:, 2]) / 3, atol=1e-14
    )
    np.testing.assert_allclose(made.rms_change, np.sqrt((change**2).mean(axis=(1, 2))))


def test_few_families_that_move_have_few_degrees_of_freedom() -> None:
    amount, change = swaps()
    amount[0, :, FAMILY >= 3] = 0.0
    amount[1, :, FAMILY >= 1] = 0.0
    amount[2] = 0.0
    made = swap_effects(amount, change, FAMILY, (1.0,) * S)
    assert 1 < made.effect_df[0] < 3
    assert made.effect_df[3] > 4
    assert made.effect_df[1] == made.effect_df[2] == 0
    assert np.isnan(made.se[1:3]).all()
    assert np.isnan(made.effect[2]).all()
    even = swap_effects(np.ones((F, S, P)), change, FAMILY, (1.0,) * S)
    np.testing.assert_allclose(even.effect_df, C - 1)


def test_bootstrap_is_seeded_and_draws_whole_families() -> None:
    rng = np.random.default_rng(3)
    values = np.repeat(rng.standard_normal((C, 2)), 3, axis=0)
    first = bootstrap_ratio(values, 1.0, FAMILY, draws=4000, seed=1)
    np.testing.assert_array_equal(first, bootstrap_ratio(values, 1.0, FAMILY, draws=4000, seed=1))
    assert not np.array_equal(first[0], bootstrap_ratio(values, 1.0, FAMILY, draws=4000, seed=2)[0])
    half = (first[1] - first[0]) / 2 / stats.t.ppf(0.975, C - 1)
    np.testing.assert_allclose(half, values[::3].std(axis=0, ddof=1) / np.sqrt(C), rtol=0.2)
    np.testing.assert_allclose(bootstrap_ratio(2 * values**2, values**2, FAMILY), 2.0)
    assert np.isnan(bootstrap_ratio(values, 1.0, np.zeros(P))).all()


def test_intervals_cover() -> None:
    """Slopes differ by family, changes are uneven: 400 data sets of 40 families; Monte-Carlo error .011."""
    rng = np.random.default_rng(5)
    family, inside = np.repeat(np.arange(40), 2), []
    amount = rng.standard_normal((400, 2, 80)) * np.exp(0.3 * rng.standard_normal(80))
    slope = 0.7 + np.repeat(0.5 * rng.standard_normal((400, 40)), 2, axis=1)
    change = (slope[:, None] * amount + rng.standard_normal(amount.shape))[..., None]
    made = swap_effects(amount, change, family, (1.0, 1.0), draws=400)
    half = critical_value(0.95, made.effect_df)[:, None] * made.se
    inside = (np.abs(made.effect - 0.7) <= half).mean()
    lower, upper = made.effect_bootstrap
    assert 0.92 <= inside <= 0.98
    assert 0.90 <= ((lower <= 0.7) & (upper >= 0.7)).mean() <= 0.98
    mean_half = critical_value(0.95, 39) * made.mean_se
    assert 0.92 <= (np.abs(made.mean) <= mean_half).mean() <= 0.98
    lower, upper = made.mean_bootstrap
    assert 0.90 <= ((lower <= 0) & (upper >= 0)).mean() <= 0.98


def few_families(R: int, families: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Families of 1 to 16 inputs whose means differ: values (R, P) of mean 0.5, and family (P,)."""
    rng = np.random.default_rng(seed)
    sizes = np.maximum(1, np.round(np.exp(np.linspace(0, np.log(16), families)))).astype(int)
    family = np.repeat(np.arange(families), sizes)
    own = np.repeat(rng.standard_normal((R, families)), sizes, axis=1)
    return 0.5 + own + rng.standard_normal((R, len(family))), family


@pytest.mark.parametrize("families", [5, 10])
def test_means_over_few_families_of_unequal_size_cover(families: int) -> None:
    """Sums by family as they are, on families minus one, and plain percentiles fall short of both bounds."""
    values, family = few_families(1500, families, seed=8)
    made = swap_effects(np.ones((1500, 1, len(family))), values[:, None, :, None], family, (1.0,), draws=500)
    half = critical_value(0.95, made.mean_df) * made.mean_se
    assert (np.abs(made.mean - 0.5) <= half).mean() >= 0.94
    assert 1 < made.mean_df < families - 2
    lower, upper = made.mean_bootstrap
    assert ((lower <= 0.5) & (upper >= 0.5)).mean() >= 0.90
    np.testing.assert_allclose(made.mean, made.effect, rtol=1e-12)
    np.testing.assert_allclose(made.mean_se, made.se, rtol=1e-10)
    np.testing.assert_allclose(made.mean_df, made.effect_df, rtol=1e-10)


def test_error_of_a_mean_is_the_jackknife_over_families() -> None:
    values, family = few_families(3, 6, seed=2)
    mean, se, df = clustered_mean(values.T, family)
    left = np.array([values[:, family != c].mean(axis=1) for c in range(6)])
    np.testing.assert_allclose(se, np.sqrt(5 / 6 * ((left - mean) ** 2).sum(axis=0)), rtol=1e-10)
    alike = clustered_mean(values.T[: 6 * 5], np.repeat(np.arange(6), 5))
    assert alike[2] == pytest.approx(5)


def test_tost_keeps_its_level_with_few_families_of_unequal_size() -> None:
    values, family = few_families(2000, 10, seed=9)
    made = swap_effects(np.ones((2000, 1, len(family))), values[:, None, :, None], family, (1.0,), draws=2)
    edge = tost(made.mean + 1.5, made.mean_se, made.mean_df, 2.0).verdict
    assert (edge == "negligible").mean() <= 0.065
    assert (edge == "causal").mean() <= 0.035


def test_tost_equals_statsmodels() -> None:
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.3, -0.8, 2.0):
        x = shift + rng.standard_normal(20)
        d = DescrStatsW(x)
        p, _, _ = d.ttost_mean(-0.5, 0.5)
        made = tost(d.mean, d.std_mean, 19, 0.5)
        assert 10 ** -float(made.neglog10p) == pytest.approx(p, rel=1e-9)
        low, high = d.tconfint_mean(alpha=0.10)
        np.testing.assert_allclose([made.lower, made.upper], [low, high])
        assert (made.verdict == "negligible") == (low >= -0.5 and high <= 0.5) == (p <= 0.05)


def test_tost_at_a_fortieth_is_the_study_verdict() -> None:
    rng = np.random.default_rng(1)
    effect, se = rng.standard_normal(500), np.exp(rng.standard_normal(500) - 1)
    half = critical_value(0.95, 12) * se
    made = tost(effect, se, 12, 1.0, alpha=0.025).verdict
    old = verdict(effect - half, effect + half, 1.0)
    np.testing.assert_array_equal(made == "negligible", old == "negligible")
    wide = verdict(*(effect + s * critical_value(0.975, 12) * se for s in (-1, 1)), 1.0)
    np.testing.assert_array_equal(made == "causal", wide == "causal")
    assert set(old) == {"causal", "negligible", "indeterminate"}


def test_tost_keeps_its_level_and_has_power() -> None:
    """At the edge of the region the chance to call an effect negligible is 5%; inside it is near one."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((4000, 30))
    se = x.std(axis=1, ddof=1) / np.sqrt(30)
    edge = tost(x.mean(axis=1) + 1.0, se, 29, 1.0).verdict == "negligible"
    assert 0.035 <= edge.mean() <= 0.065
    centre = tost(x.mean(axis=1), se, 29, 1.0).verdict == "negligible"
    assert centre.mean() > 0.99


def test_tost_edges() -> None:
    made = tost([0.0, 0.5, 2.0, np.nan, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, np.nan, 1.0], [5, 5, 5, 5, 5, 0], 1.0)
    assert list(made.verdict) == ["negligible"] * 2 + ["causal"] + ["indeterminate"] * 3
    assert np.isposinf(made.neglog10p[:2]).all()
    assert made.neglog10p[2] == 0
    assert np.isnan(made.neglog10p[3:]).all()
    far = -float(log10_tail_t(60.0, 400.0))
    assert far == pytest.approx(-stats.t.logsf(60.0, 400.0) / np.log(10), rel=1e-6)
    assert float(log10_tail_t(-2.0, 7.0)) == pytest.approx(np.log10(stats.t.sf(-2.0, 7.0)))


def test_independent_heterogeneity_equals_statsmodels() -> None:
    rng = np.random.default_rng(4)
    effect, se = 2 * rng.standard_normal((5, 6)), np.exp(rng.standard_normal((5, 6)))
    made = independent_heterogeneity(effect, se)
    for m in range(6):
        theirs = combine_effects(effect[:, m], se[:, m] ** 2)
        assert made.q[m] == pytest.approx(theirs.q)
        assert made.i2[m] == pytest.approx(max(theirs.i2, 0.0))
        assert 10 ** -made.neglog10p[m] == pytest.approx(stats.chi2.sf(theirs.q, 4), rel=1e-9)


def test_independent_heterogeneity_of_estimated_errors_is_welchs() -> None:
    """Equal to the test of statsmodels on the data themselves."""
    rng = np.random.default_rng(7)
    for sizes in ((5, 9), (4, 7, 12), (6, 5, 8, 11)):
        groups = [k + (k + 1) * rng.standard_normal(n) for k, n in enumerate(sizes)]
        mean = np.array([[g.mean()] for g in groups])
        se = np.array([[g.std(ddof=1) / np.sqrt(len(g))] for g in groups])
        made = independent_heterogeneity(mean, se, np.array([[n - 1.0] for n in sizes]))
        theirs = anova_oneway(groups, use_var="unequal", welch_correction=True)
        assert 10 ** -made.neglog10p[0] == pytest.approx(theirs.pvalue, rel=1e-8)


def correlated(cells: int, K: int = 3, gap: float = 0.0, seed: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Means of 30 families, correlated across kinds, and their estimated covariances."""
    rng = np.random.default_rng(seed)
    mix = np.array([[1.0, 0, 0], [0.9, 0.4, 0], [0.8, 0.2, 0.7]])[:K, :K]
    x = rng.standard_normal((cells, 30, K)) @ mix.T + gap * np.arange(K)
    mean = x.mean(axis=1)
    centred = x - mean[:, None]
    return mean.T, np.einsum("mck,mcl->mkl", centred, centred) / 29 / 30


def test_wald_test_keeps_its_level_and_has_power() -> None:
    """Cochran's Q, blind to the correlation, almost never rejects on the same data."""
    effect, covariance = correlated(4000)
    made = correlated_heterogeneity(effect, covariance, 30)
    assert 0.04 <= (made.neglog10p > -np.log10(0.05)).mean() <= 0.06
    blind = independent_heterogeneity(effect, np.sqrt(np.einsum("mkk->km", covariance)))
    assert (blind.neglog10p > -np.log10(0.05)).mean() < 0.02
    apart = correlated_heterogeneity(*correlated(500, gap=0.6), 30)
    assert (apart.neglog10p > -np.log10(0.05)).mean() > 0.9
    assert np.median(apart.i2) > 0.6


def test_wald_test_is_hotellings_and_does_not_depend_on_the_order() -> None:
    effect, covariance = correlated(20, gap=0.2)
    made = correlated_heterogeneity(effect, covariance, 30)
    order = [2, 0, 1]
    turned = correlated_heterogeneity(effect[order], covariance[:, order][:, :, order], 30)
    np.testing.assert_allclose(turned.q, made.q, rtol=1e-9)
    D = np.array([[1.0, -1, 0], [0, 1, -1]])
    for m in range(20):
        gap = D @ effect[:, m]
        t2 = gap @ np.linalg.solve(D @ covariance[m] @ D.T, gap)
        assert made.q[m] == pytest.approx(t2, rel=1e-9)
        p = stats.f.sf(t2 * 28 / (2 * 29), 2, 28)
        assert 10 ** -made.neglog10p[m] == pytest.approx(p, rel=1e-8)


def test_wald_test_at_the_edges() -> None:
    zero = np.zeros((3, 2, 2))
    effect = np.array([[1.0, 1.0, np.nan], [1.0, 1.5, 1.0]])
    made = correlated_heterogeneity(effect, zero, 10)
    assert list(made.q[:2]) == [0.0, np.inf]
    assert list(made.neglog10p[:2]) == [0.0, np.inf]
    assert list(made.i2[:2]) == [0.0, 1.0]
    assert np.isnan(made.q[2])
    near = correlated_heterogeneity(np.array([[1.0], [1.0 + 1e-6]]), np.zeros((1, 2, 2)), 10, rounding=1e-5)
    assert near.neglog10p[0] == 0
    assert np.isnan(correlated_heterogeneity(effect[:, :1], zero[:1] + np.eye(2), 1).q).all()
