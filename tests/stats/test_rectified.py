"""Rectified means: parity with the formula written out, coverage in simulation, labels, what is missing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mrinterp.stats import families_for_width, rectified_mean

N, K, F, O = 40, 3, 5, 2
FAMILY = np.repeat(np.arange(N), K)
FEW = FAMILY < 10


def world(
    seed: int = 0, rho: float = 0.9, features: int = F, worlds: int = O
) -> tuple[np.ndarray, np.ndarray]:
    """Knockouts with mean 0 and their prediction, families and prompts each with parts of their own."""
    rng = np.random.default_rng(seed)

    def drawn() -> np.ndarray:
        own = rng.standard_normal((N, 1, features, worlds)) + rng.standard_normal((N, K, features, worlds))
        return own.reshape(N * K, features, worlds)

    C = drawn()
    return C, rho * C + np.sqrt(1 - rho**2) * drawn() + 0.3


def test_it_is_the_formula_with_families_left_out() -> None:
    C, g = world()
    made = rectified_mean(C[FEW], g[FEW], FAMILY[FEW], g, FAMILY)
    c, h = (x.reshape(N, K, F, O).mean(axis=1) for x in (C, g))
    c, n = c[:10], 10
    everyone = h.mean(axis=0)

    def fit(keep: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.isin(FAMILY, keep)
        a, b = (x[rows] - x[rows].mean(axis=0) for x in (C, g))
        pooled = (a * b).sum(axis=(0, 1)) / (b * b).sum(axis=(0, 1))
        r_squared = (a * b).sum(axis=0) ** 2 / (a * a).sum(axis=0) / (b * b).sum(axis=0)
        prior = 2 * (1 - r_squared) / (len(keep) - 1)
        lam = ((a * b).sum(axis=0) / (b * b).sum(axis=0) + prior * pooled) / (1 + prior)
        return lam, lam * target + (c[keep] - lam * h[:10][keep]).mean(axis=0)

    lam, beta = fit(np.arange(n), everyone)
    np.testing.assert_allclose(made.lam, lam, rtol=1e-12)
    np.testing.assert_allclose(made.beta, beta, rtol=1e-10)
    left = np.stack([fit(np.flatnonzero(np.arange(n) != i), everyone)[1] for i in range(n)])
    v_e = (n - 1) / n * ((left - beta) ** 2).sum(axis=0)
    e = c - lam * h[:10]
    shared = ((e - e.mean(axis=0)) * (h[:10] - h[:10].mean(axis=0))).sum(axis=0) / (n - 1)
    v_g = lam**2 * h.var(axis=0, ddof=1) / N
    np.testing.assert_allclose(made.se**2, np.maximum(v_e + v_g + 2 * lam * shared / N, v_e), rtol=1e-9)
    np.testing.assert_allclose(made.df, (v_e + v_g) ** 2 / (v_e**2 / (n - 1) + v_g**2 / (N - 1)), rtol=1e-9)
    np.testing.assert_allclose(made.upper - made.beta, stats.t.ppf(0.975, made.df) * made.se, rtol=1e-9)
    np.testing.assert_allclose(made.alone_se**2, c.var(axis=0, ddof=1) / n, rtol=1e-10)
    np.testing.assert_allclose(
        made.rho[1, 1], np.corrcoef(C[FEW][:, 1, 1], g[FEW][:, 1, 1])[0, 1], rtol=1e-10
    )
    within = rectified_mean(C[FEW], g[FEW], FAMILY[FEW], g, FAMILY, new_families=False)
    np.testing.assert_allclose(within.se**2, v_e, rtol=1e-9)
    np.testing.assert_allclose(within.df, n - 1.0)


def test_the_unit_and_the_order_do_not_matter() -> None:
    C, g = world()
    made = rectified_mean(C[FEW], g[FEW], FAMILY[FEW], g, FAMILY)
    order = np.random.default_rng(1).permutation(N * K)
    few = FEW[order]
    names = np.array([f"family {x}" for x in FAMILY])[order]
    other = rectified_mean(
        -3 * C[order][few], 7 * g[order][few] + 2, names[few], 7 * g[order] + 2, names, level=0.95
    )
    np.testing.assert_allclose(other.beta, -3 * made.beta, rtol=1e-8)
    np.testing.assert_allclose(other.se, 3 * made.se, rtol=1e-8)
    np.testing.assert_allclose(other.lam, -3 / 7 * made.lam, rtol=1e-8)


def test_a_prediction_right_for_some_features_helps_these_and_harms_no_other() -> None:
    """Gradients of half of the features are off by a factor of 5 and a sign: one weight for all would serve neither."""
    C, g = world(4, 0.98, 20, 40)
    g[:, ::2] *= -5.0
    made = rectified_mean(C[FEW], g[FEW], FAMILY[FEW], g, FAMILY)
    gain = made.alone_se / made.se
    assert (np.median(gain, axis=1) > 1.5).all()
    inside = np.abs(made.beta) <= (made.upper - made.beta)  # the truth is 0
    assert inside.mean() > 0.93


@pytest.mark.parametrize("features", [1, 20])
def test_intervals_cover_and_are_narrower_than_knockouts_alone(features: int) -> None:
    """One feature alone: with its weight held fixed the intervals cover .92."""
    C, g = world(3, 0.9, features, 3000 // features)
    made = rectified_mean(C[FEW], g[FEW], FAMILY[FEW], g, FAMILY)
    covered = ((made.lower <= 0) & (made.upper >= 0)).mean()
    assert 0.935 < covered < 0.968
    width = np.median(made.upper - made.lower) / np.median(
        2 * stats.t.ppf(0.975, made.alone_df) * made.alone_se
    )
    assert 0.45 < width < 0.65
    careful = rectified_mean(C[FEW], g[FEW], FAMILY[FEW], g, FAMILY, careful=True)
    assert (careful.upper >= made.upper - 1e-12).all()


def test_without_a_prediction_it_is_the_mean_of_families() -> None:
    C, g = world()
    alone = rectified_mean(C[FEW], None, FAMILY[FEW])
    np.testing.assert_allclose(alone.beta, C[FEW].reshape(10, K, F, O).mean(axis=(0, 1)))
    np.testing.assert_allclose(alone.se, alone.alone_se)
    assert (alone.lam == 0).all()
    assert not alone.kink.any()
    np.testing.assert_allclose(alone.possible_gain, 1.0)
    dead = rectified_mean(C[FEW], 0 * g[FEW], FAMILY[FEW], 0 * g, FAMILY)
    np.testing.assert_allclose(dead.beta, alone.beta)
    np.testing.assert_allclose(dead.se, alone.se)
    assert dead.kink.all()


def test_a_slope_that_is_constant_gains_nothing_and_a_perfect_one_all_there_is() -> None:
    C, _ = world()
    constant = rectified_mean(C[FEW], 0 * C[FEW] + 5, FAMILY[FEW], 0 * C + 5, FAMILY)
    np.testing.assert_allclose(constant.gain, 1.0, rtol=1e-6)
    perfect = rectified_mean(C[FEW], 2 * C[FEW], FAMILY[FEW], 2 * C, FAMILY)
    np.testing.assert_allclose(perfect.beta, C.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(perfect.possible_gain, N / 10, rtol=1e-9)
    np.testing.assert_allclose(
        perfect.se**2, C.reshape(N, K, F, O).mean(axis=1).var(axis=0, ddof=1) / N, rtol=1e-9
    )


def test_effects_where_the_feature_fires_do_not_depend_on_how_many_prompts_are_looked_at() -> None:
    """Families that fire more have larger effects: weighed alike, 2 prompts and 12 are means of different things."""
    rng = np.random.default_rng(5)
    many, prompts, worlds = 60, 12, 400
    share = rng.beta(0.6, 1.8, size=(many, 1, 1, worlds))
    own = 1 + 3 * (share - 0.25) + 0.3 * rng.standard_normal(share.shape)
    fires = rng.random((many, prompts, 1, worlds)) < share
    C = np.where(fires, own + 0.3 * rng.standard_normal(fires.shape), np.nan).reshape(-1, 1, worlds)
    g = np.where(fires, own, np.nan).reshape(-1, 1, worlds)
    family = np.repeat(np.arange(many), prompts)
    few = (family < 20) & (np.tile(np.arange(prompts), many) < 2)
    made = rectified_mean(C[few], g[few], family[few], g, family)
    truth = 1 + 3 * (0.25 * (0.6 + 1) / (0.6 + 1.8 + 1) - 0.25**2) / 0.25  # E[s (s - 1/4)] / E[s], of a beta
    assert abs(np.nanmean(made.beta) - truth) < 0.03
    assert 0.92 < ((made.lower <= truth) & (made.upper >= truth))[made.families >= 2].mean() < 0.985
    assert (made.families <= 20).all()
    assert (made.all_families > made.families).all()


def test_what_is_missing_says_so() -> None:
    C, g = world()
    C[:, 0], C[K:, 1] = np.nan, np.nan
    g[4, 2, 0] = np.nan
    made = rectified_mean(C[FEW], g[FEW], FAMILY[FEW], g, FAMILY)
    assert made.families[0, 0] == 0
    assert made.families[1, 0] == 1
    for f, word in ((0, "no knocked-out prompt moved"), (1, "an error needs two")):
        assert word in made.status[f, 0]
        assert np.isnan([made.beta[f, 0], made.se[f, 0], made.lower[f, 0], made.upper[f, 0]]).all()
    assert "knockouts alone" in made.status[2, 0]
    np.testing.assert_allclose(made.beta[2, 0], made.alone[2, 0])
    np.testing.assert_allclose(made.se[2, 0], made.alone_se[2, 0])
    assert (made.status[3:] == "ok").all()
    still = rectified_mean(0 * C[FEW][:, 3:], None, FAMILY[FEW])
    assert (still.se == 0).all()
    assert "not seen" in still.status[0, 0]


def test_labels() -> None:
    rng = np.random.default_rng(2)
    C = (rng.random((40, 3, 400)) < 0.1).astype(float)
    C[:, 0] = 0.0
    family = np.arange(40) // 4
    made = rectified_mean(C, None, family, largest=1.0)
    plain = rectified_mean(C, None, family)
    some = ~made.unflipped
    np.testing.assert_allclose((made.se**2 - plain.se**2)[some], (1 / 10) ** 2 / 10, rtol=1e-9)
    assert made.unflipped[0].all()
    bound = stats.binomtest(0, 10).proportion_ci(method="exact").high
    np.testing.assert_allclose(made.upper[0], bound)
    np.testing.assert_allclose(made.lower[0], -bound)
    np.testing.assert_allclose(stats.t.ppf(0.975, made.df[0]) * made.se[0], bound)
    assert "binomial" in made.status[0, 0]
    assert ((made.lower <= 0.1) & (made.upper >= 0.1))[1:].mean() > 0.95
    smooth = rectified_mean(C, None, family, largest=np.array([np.nan] * 399 + [2.0]))
    assert not smooth.unflipped[:, :399].any()
    np.testing.assert_allclose(smooth.upper[0, -1], 2 * bound)


def test_a_pilot_says_how_many_families() -> None:
    rng = np.random.default_rng(4)
    enough, likely = [], []
    wanted = 0.3
    for _ in range(60):
        # All features err together in a family: five families say least of it.
        C = rng.standard_normal((5, 1, 1, 1)) + 0.3 * rng.standard_normal((5, 4, 12, 1))
        made = families_for_width(C.reshape(20, 12, 1), None, np.arange(20) // 4, wanted, 400)
        true = stats.t.ppf(0.975, made.families - 1) * np.sqrt((1 + 0.09 / 4) / made.families)
        enough.append(true <= wanted * 1.02)
        likely.append(made.likely)
        assert made.reached.all() == (made.bound <= wanted).all()
    assert 0.68 < np.mean(enough) < 0.92
    assert 20 < np.median(likely) < 60
    never = families_for_width(C.reshape(20, 12, 1), None, np.arange(20) // 4, 1e-3, 50)
    assert never.families == 50
    assert not never.reached.any()


def test_a_good_prediction_needs_fewer_families() -> None:
    C, g = world(6, 0.95, 30, 1)
    few = FAMILY < 5
    alone = families_for_width(C[few], None, FAMILY[few], 0.5, 400)
    helped = families_for_width(C[few], g[few], FAMILY[few], 0.5, 400)
    assert helped.families < 0.5 * alone.families
    assert helped.pilot == 5


def test_a_feature_that_some_prompts_do_not_move_gets_more_families_than_the_least() -> None:
    """Ten families drawn of which nine move it are one too few for a claim."""
    rng, family = np.random.default_rng(3), np.arange(20) // 4
    C = 1.0 + 0.01 * rng.standard_normal((20, 5, 1))
    assert families_for_width(C, None, family, 1.0, 200).families == 10
    C[::4, 0] = np.nan  # every family still moves it: a share of families near 1
    nearly = families_for_width(C, None, family, 1.0, 200, share=0.99).families
    C[family == 1, 0] = np.nan
    seldom = families_for_width(C, None, family, 1.0, 200, share=0.99).families
    C[family > 1, 0] = np.nan
    hardly = families_for_width(C, None, family, 1.0, 200, share=0.99).families
    assert 10 < nearly < seldom <= hardly == 20
    # One of five features is beyond the share of four fifths.
    assert families_for_width(C, None, family, 1.0, 200).families == 10


def test_bad_input() -> None:
    C, g = world()
    with pytest.raises(ValueError, match="features, outcomes"):
        rectified_mean(C[FEW][:, 0], None, FAMILY[FEW])
    with pytest.raises(ValueError, match="one label for each"):
        rectified_mean(C[FEW], None, FAMILY)
    with pytest.raises(ValueError, match="that of the knockouts"):
        rectified_mean(C[FEW], g, FAMILY[FEW], g, FAMILY)
    with pytest.raises(ValueError, match="on all families"):
        rectified_mean(C[FEW], g[FEW], FAMILY[FEW])
    with pytest.raises(ValueError, match="one label for each"):
        rectified_mean(C[FEW], g[FEW], FAMILY[FEW], g, FAMILY[:4])
    with pytest.raises(ValueError, match="at least 3"):
        families_for_width(C[:6], None, FAMILY[:6], 0.1, 100)


def test_a_prediction_that_varies_in_one_family_only_leaves_a_finite_interval() -> None:
    """Where it is left out, or not among those that were moved, the weight is 0, not a quotient of two roundings."""
    rng = np.random.default_rng(0)
    family = np.repeat(np.arange(8), 4)
    C = 0.3 + 0.1 * rng.standard_normal((32, 1, 200))
    C[rng.random(C.shape) < 0.5] = np.nan
    g = np.full(C.shape, 0.7) / 3
    g[:4] += 0.1 * rng.standard_normal((4, 1, 200))
    made = rectified_mean(C, g, family, np.concatenate([g, g]), np.arange(64) // 4)
    assert np.nanmax(made.se / made.alone_se) < 10


def test_a_prediction_of_rounding_errors_is_none() -> None:
    """A gate that is shut at the clean input: its gradient is 0 but for rounding, what opening it does is not."""
    rng = np.random.default_rng(0)
    family = np.repeat(np.arange(10), 4)
    C = np.where(rng.random((40, 1, 20)) < 0.5, 32.0, 1e-15 * rng.standard_normal((40, 1, 20)))
    g = 7e-15 * rng.integers(-1, 2, (200, 1, 20))
    made = rectified_mean(C, g[:40], family, g, np.repeat(np.arange(50), 4))
    assert (made.lam == 0).all()
    assert made.kink.all()
    np.testing.assert_allclose(made.se, made.alone_se)
