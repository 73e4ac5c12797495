"""What colocalization must satisfy whatever the numbers: invariances, limits, statuses, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mrinterp.coloc import _locus_sums as locus_sums
from mrinterp.coloc._abf import colocalize
from mrinterp.coloc._conditional import TraitEffects, clump, condition_on, stepwise
from mrinterp.coloc._finemap import finemap_summary
from mrinterp.coloc._heidi import heidi, heidi_statistics
from mrinterp.coloc._misfit import one_cause_misfit
from mrinterp.coloc._priors import HypothesisPriors, Priors
from mrinterp.coloc._signals import clpp, colocalize_signals
from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.results._check import Check, NotApplicable
from mrinterp.results._coloc import Coloc
from mrinterp.stats.bayes_factors.wakefield import (
    bivariate_log_bayes_factors,
    hypothesis_log_sums,
    log_bayes_factor,
)
from mrinterp.stats.tests.chi2_mixture import neglog10p_chi2_mixture
from mrinterp.stats.tests.tails import neglog10p_chi2
from tests.coloc.coloc_simulation import simulate_locus, simulate_traits


def random_data(rng: np.random.Generator, f: int = 4, o: int = 3, j: int = 12, scale: float = 3.0) -> MRData:
    bx, by = rng.standard_normal((f, j)) * 0.1, rng.standard_normal((o, j)) * 0.1
    bx[:, 2] += scale * 0.1
    by[:, 2] += scale * 0.1
    names = [tuple(f"{p}{i}" for i in range(n)) for p, n in (("f", f), ("y", o), ("i", j))]
    return MRData(
        beta_x=bx,
        se_x=np.full_like(bx, 0.1),
        beta_y=by,
        se_y=np.full_like(by, 0.1),
        exposures=names[0],
        outcomes=names[1],
        instruments=names[2],
    )


def with_corr(data: MRData, rho: float) -> MRData:
    t = len(data.exposures) + len(data.outcomes)
    corr = np.full((t, t), rho) + (1 - rho) * np.eye(t)
    return MRData(
        beta_x=data.beta_x,
        se_x=data.se_x,
        beta_y=data.beta_y,
        se_y=data.se_y,
        exposures=data.exposures,
        outcomes=data.outcomes,
        instruments=data.instruments,
        error_corr=corr,
    )


def test_log_bayes_factor_is_the_ratio_of_densities() -> None:
    rng = np.random.default_rng(1)
    b, v, w = rng.standard_normal(50), rng.uniform(0.1, 2, 50), rng.uniform(0.1, 2, 50)
    direct = stats.norm.logpdf(b, 0, np.sqrt(v + w)) - stats.norm.logpdf(b, 0, np.sqrt(v))
    np.testing.assert_allclose(log_bayes_factor(b, v, w), direct, rtol=1e-10, atol=1e-12)


def test_sums_keep_accuracy_far_out() -> None:
    # z of 60: Bayes factors of e^1700 overflow anything but log space
    lx, ly = np.zeros((1, 5)), np.zeros((1, 5))
    lx[0, 1], ly[0, 3] = 1700.0, 1500.0
    sums, _ = hypothesis_log_sums(lx, ly)
    assert sums[0, 0, 2] == pytest.approx(3200.0, abs=1e-9)  # H3: the two tops
    assert sums[0, 0, 3] == pytest.approx(1700.0 + np.log1p(np.exp(-200.0)), abs=1e-9)
    ly[0, 1] = 1600.0
    same, _ = hypothesis_log_sums(lx, ly)
    assert same[0, 0, 3] == pytest.approx(3300.0, abs=1e-9)


def test_pairs_at_once_equal_pairs_one_by_one() -> None:
    data = random_data(np.random.default_rng(2))
    together = colocalize(data, sd_x=1.0, sd_y=1.0)
    for f, x in enumerate(data.exposures):
        for o, y in enumerate(data.outcomes):
            one = colocalize(data.select([x], [y]), sd_x=1.0, sd_y=1.0)
            np.testing.assert_allclose(together.posterior[f, o], one.posterior[0, 0], rtol=1e-12)
            np.testing.assert_allclose(together.sign[f, o], one.sign[0, 0], rtol=1e-9)
            assert together.top[f, o, 0] == one.top[0, 0, 0]


def test_posteriors_ignore_sign_scale_and_order() -> None:
    data = random_data(np.random.default_rng(3))
    base = colocalize(data, sd_x=1.0, sd_y=1.0)
    np.testing.assert_allclose(base.posterior.sum(-1), 1.0, rtol=1e-12)
    order = np.random.default_rng(0).permutation(12)
    flip = np.where(np.arange(12) % 2, -1.0, 1.0)[order]
    other = MRData(
        beta_x=7 * flip * data.beta_x[:, order],
        se_x=7 * data.se_x,
        beta_y=flip * data.beta_y[:, order],
        se_y=data.se_y,
        exposures=data.exposures,
        outcomes=data.outcomes,
        instruments=tuple(data.instruments[i] for i in order),
    )
    again = colocalize(other, sd_x=7.0, sd_y=1.0)
    np.testing.assert_allclose(again.posterior, base.posterior, rtol=1e-9)
    np.testing.assert_allclose(again.sign, base.sign, rtol=1e-9)
    flipped = MRData(
        beta_x=-data.beta_x,
        se_x=data.se_x,
        beta_y=data.beta_y,
        se_y=data.se_y,
        exposures=data.exposures,
        outcomes=data.outcomes,
        instruments=data.instruments,
    )
    np.testing.assert_allclose(colocalize(flipped, sd_x=1.0, sd_y=1.0).sign, -base.sign, rtol=1e-9)


def test_loci_are_independent_of_each_other() -> None:
    data = random_data(np.random.default_rng(4))
    labels = ["a"] * 5 + ["b"] * 7
    both = colocalize(data, locus=labels, sd_x=1.0, sd_y=1.0)
    assert both.loci == ("a", "b")
    for k, keep in enumerate((np.arange(12) < 5, np.arange(12) >= 5)):
        one = colocalize(data.select(instruments=keep), sd_x=1.0, sd_y=1.0)
        np.testing.assert_allclose(both.posterior[:, :, k], one.posterior[:, :, 0], rtol=1e-12)
        np.testing.assert_allclose(both.sensitivity[:, :, k], one.sensitivity[:, :, 0], rtol=1e-12)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = with_corr(random_data(np.random.default_rng(5), f=9), 0.4)
    runs = []
    for size in (4_000_000, 40):
        monkeypatch.setattr(locus_sums, "_PAIR_ELEMENTS", size)
        runs.append([colocalize(data, sd_x=1.0, sd_y=1.0, correlated_errors=c) for c in (False, True)])
    for small, large in zip(*runs, strict=True):
        np.testing.assert_allclose(small.posterior, large.posterior, rtol=1e-12)
        np.testing.assert_array_equal(small.top, large.top)


def test_sensitivity_spans_the_prior_grid_and_prior_share_is_honoured() -> None:
    data = random_data(np.random.default_rng(6), scale=0.0)
    result = colocalize(data, sd_x=1.0, sd_y=1.0, priors=HypothesisPriors())
    h4 = result.sensitivity[..., 1]
    assert np.all(np.diff(h4, axis=-1) > 0)  # more prior on sharing, more posterior
    p1, p2, p12 = result.priors[0]
    n = 12
    pi3, pi4 = n * (n - 1) * p1 * p2, n * p12
    assert pi4 / (pi3 + pi4) == pytest.approx(0.5)
    assert n * p1 == pytest.approx(0.1)
    middle = list(result.shares).index(0.5)
    np.testing.assert_allclose(h4[..., middle], result.posterior[..., 4], rtol=1e-12)


def test_bivariate_without_correlation_is_the_product() -> None:
    rng = np.random.default_rng(7)
    data = random_data(rng)
    plain = colocalize(data, sd_x=1.0, sd_y=1.0)
    zero = colocalize(with_corr(data, 0.0), sd_x=1.0, sd_y=1.0, correlated_errors=True)
    np.testing.assert_allclose(zero.posterior, plain.posterior, rtol=1e-9)


def test_bivariate_bayes_factor_is_the_ratio_of_densities() -> None:
    rng, rho, w = np.random.default_rng(8), 0.6, (0.5, 0.3)
    b, v = rng.standard_normal((20, 2)), rng.uniform(0.2, 1, (20, 2))
    ours = bivariate_log_bayes_factors(b[:, 0], v[:, 0], b[:, 1], v[:, 1], rho, *w)
    for j in range(20):
        c = rho * np.sqrt(v[j].prod())
        noise = np.array([[v[j, 0], c], [c, v[j, 1]]])
        for got, prior in zip(ours, ((w[0], 0), (0, w[1]), w), strict=True):
            direct = stats.multivariate_normal.logpdf(
                b[j], cov=noise + np.diag(prior)
            ) - stats.multivariate_normal.logpdf(b[j], cov=noise)
            assert got[j] == pytest.approx(direct, rel=1e-9, abs=1e-9)


def test_bivariate_hypotheses_equal_the_full_likelihood() -> None:
    # four correlated instruments, two traits: every hypothesis by brute force on all eight estimates
    rng, J, rho = np.random.default_rng(24), 4, 0.7
    ld = np.array([[0.6 ** abs(i - j) for j in range(J)] for i in range(J)])
    se_x, se_y, w = rng.uniform(0.5, 1, J), rng.uniform(0.5, 1, J), (2.0, 1.5)
    scale = np.concatenate([se_x, se_y])
    noise = np.kron(np.array([[1, rho], [rho, 1]]), ld) * np.outer(scale, scale)
    b = rng.multivariate_normal(np.zeros(2 * J), 3 * noise)

    def log_bf(i: int | None, j: int | None) -> float:
        cov = noise.copy()
        for cause, block, prior in ((i, 0, w[0]), (j, J, w[1])):
            if cause is not None:
                spread = np.zeros(2 * J)
                se = (se_x, se_y)[block > 0]
                spread[block : block + J] = ld[cause] * se / se[cause]
                cov += prior * np.outer(spread, spread)
        null = stats.multivariate_normal.logpdf(b, cov=noise)
        return float(stats.multivariate_normal.logpdf(b, cov=cov) - null)

    data = MRData(
        beta_x=b[None, :J],
        se_x=se_x[None],
        beta_y=b[None, J:],
        se_y=se_y[None],
        exposures=("x",),
        outcomes=("y",),
        instruments=tuple("abcd"),
        error_corr=np.array([[1, rho], [rho, 1]]),
        ld=ld,
    )
    sd = np.sqrt(w) / 0.15
    result = colocalize(data, sd_x=sd[0], sd_y=sd[1], correlated_errors=True, check_misfit=False)
    pairs = [(i, j) for i in range(J) for j in range(J)]
    expected = [
        np.logaddexp.reduce([log_bf(i, None) for i in range(J)]),
        np.logaddexp.reduce([log_bf(None, j) for j in range(J)]),
        np.logaddexp.reduce([log_bf(i, j) for i, j in pairs if i != j]),
        np.logaddexp.reduce([log_bf(i, i) for i in range(J)]),
    ]
    np.testing.assert_allclose(result.log_sums[0, 0, 0], expected, rtol=1e-9)


def test_correlated_errors_no_longer_pass_for_a_shared_cause() -> None:
    # no effects at all, errors correlated .95: the plain Bayes factors see shared causes more often
    rng, J, pairs, rho = np.random.default_rng(9), 8, 400, 0.95
    noise = rng.standard_normal((2, pairs, J))
    bx, by = noise[0], rho * noise[0] + np.sqrt(1 - rho**2) * noise[1]
    plain, joint = [], []
    for p in range(pairs):
        one = MRData(
            beta_x=bx[p : p + 1],
            se_x=np.ones((1, J)),
            beta_y=by[p : p + 1],
            se_y=np.ones((1, J)),
            exposures=("x",),
            outcomes=("y",),
            instruments=tuple("abcdefgh"),
            error_corr=np.array([[1.0, rho], [rho, 1.0]]),
        )
        for target, correlated in ((plain, False), (joint, True)):
            result = colocalize(one, sd_x=10.0, sd_y=10.0, correlated_errors=correlated, check_misfit=False)
            target.append(result.posterior[0, 0, 0, 4])
    assert np.mean(joint) < 0.75 * np.mean(plain)


def test_dense_effects_answer_not_applicable() -> None:
    rng, J = np.random.default_rng(10), 30
    dense = rng.standard_normal(J) * 6
    sparse = np.zeros(J)
    sparse[4] = 12
    names = tuple(f"i{j}" for j in range(J))
    data = MRData(
        beta_x=np.array([dense, sparse]) + rng.standard_normal((2, J)),
        se_x=np.ones((2, J)),
        beta_y=(sparse + rng.standard_normal(J))[None],
        se_y=np.ones((1, J)),
        exposures=("dense", "sparse"),
        outcomes=("y",),
        instruments=names,
        ld=np.eye(J),
    )
    result = colocalize(data, sd_x=30.0, sd_y=30.0)
    answer = result["dense", "y"]
    assert isinstance(answer, NotApplicable)
    assert "very many instruments" in answer.reason
    shared = result["sparse", "y"]
    assert not isinstance(shared, NotApplicable)
    assert shared.posterior[4] > 0.9
    assert shared.top == "i4"
    assert shared.credible_set()[0] == "i4"


def test_misfit_check_holds_its_level_and_counts_causes() -> None:
    rng = np.random.default_rng(11)
    locus = simulate_locus(rng, 2000, 40)
    one = locus.z_scores(simulate_traits(rng, locus, [np.array([7])] * 300, 0.2))
    two = locus.z_scores(simulate_traits(rng, locus, [np.array([7, 32])] * 60, 0.3))
    size = np.full(300, 2000.0)
    for n in (None, size):
        fit = one_cause_misfit(one, locus.ld, alpha=0.05, n=n)
        assert (fit.causes > 1).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
        assert np.all(fit.neglog10p >= 0)
        assert np.median(one_cause_misfit(two, locus.ld, n=None if n is None else size[:60]).causes) == 2


def test_estimated_prior_finds_the_size_of_effects() -> None:
    rng, loci, per = np.random.default_rng(12), 200, 5
    true = 0.7
    beta = np.zeros(loci * per)
    causal = rng.random(loci) < 0.3
    beta[np.flatnonzero(causal) * per] = true * rng.standard_normal(causal.sum())
    beta += 0.1 * rng.standard_normal(len(beta))
    se = np.full((1, len(beta)), 0.1)
    names = tuple(map(str, range(len(beta))))
    data = MRData(
        beta_x=beta[None],
        se_x=se,
        beta_y=beta[None],
        se_y=se,
        exposures=("x",),
        outcomes=("y",),
        instruments=names,
    )
    labels = [f"l{i // per}" for i in range(len(beta))]
    result = colocalize(data, locus=labels, prior="estimated")
    assert 0.5 * true**2 < result.meta["prior_variance_x"][0] < 2 * true**2


def test_saved_and_reopened(tmp_path) -> None:
    result = colocalize(
        random_data(np.random.default_rng(13)), locus=["a"] * 6 + ["b"] * 6, sd_x=1.0, sd_y=1.0
    )
    result.save(tmp_path / "coloc")
    again = Coloc.load(tmp_path / "coloc")
    np.testing.assert_array_equal(again.posterior, result.posterior)
    assert again.to_frame().equals(result.to_frame())
    assert str(again.pair(1, 2, 1)) == str(result.pair(1, 2, 1))
    with pytest.raises(InputError, match="no such feature"):
        result["f9", "y0", "a"]


def test_chi2_mixture_against_simulation_and_chi2() -> None:
    rng, weights = np.random.default_rng(14), np.array([2.0, 1.0, 0.4, 0.1])
    draws = rng.standard_normal((400_000, 4)) ** 2 @ weights
    q = np.quantile(draws, [0.2, 0.5, 0.9, 0.99, 0.999])
    p = 10 ** -neglog10p_chi2_mixture(q, np.tile(weights, (5, 1)))
    np.testing.assert_allclose(p, [0.8, 0.5, 0.1, 0.01, 0.001], rtol=0.12)
    far = neglog10p_chi2_mixture(np.array([1500.0]), np.ones((1, 5)))[0]
    assert far == pytest.approx(float(neglog10p_chi2(1500.0, 5)), rel=1e-3)


def test_heidi_holds_its_level_and_finds_linkage() -> None:
    rng, n, J, B = np.random.default_rng(15), 4000, 12, 400
    locus = simulate_locus(rng, n, J, rho=0.9, block=12)
    chol = np.linalg.cholesky(locus.ld + 1e-9 * np.eye(J))
    se = 1 / np.sqrt(n)
    shared = 0.5 * locus.ld[5]
    apart = 0.5 * locus.ld[9]
    draw = lambda mean: mean + se * rng.standard_normal((B, J)) @ chol.T  # noqa: E731
    v = np.full((B, J), se**2)
    zero = np.zeros((B, J))
    bx = draw(shared)
    _, p = heidi_statistics(bx, v, draw(0.3 * shared), v, zero, locus.ld)
    level = np.mean(p > -np.log10(0.05))
    assert level < 0.05 + 3 * np.sqrt(0.05 * 0.95 / B)
    _, p_apart = heidi_statistics(bx, v, draw(0.3 * apart), v, zero, locus.ld)
    assert np.mean(p_apart > -np.log10(0.05)) > 0.5
    names = tuple(f"i{j}" for j in range(J))
    data = MRData(
        beta_x=bx[:1],
        se_x=np.sqrt(v[:1]),
        beta_y=draw(0.3 * apart)[:1],
        se_y=np.sqrt(v[:1]),
        exposures=("x",),
        outcomes=("y",),
        instruments=names,
        ld=locus.ld,
    )
    assert isinstance(heidi(data, "x", "y"), Check)
    assert isinstance(heidi(data, "x", "y", min_abs_z=1e3), NotApplicable)


def test_conditioning_equals_multiple_regression() -> None:
    rng = np.random.default_rng(16)
    locus = simulate_locus(rng, 800, 20)
    y = simulate_traits(rng, locus, [np.array([3, 12])], 0.4)[0]
    y = y - y.mean()
    n, x = len(y), locus.x
    beta = x.T @ y / (n - 1)
    rss = y @ y - (n - 1) * beta**2
    se = np.sqrt(rss / (n - 2) / (n - 1))
    names = tuple(f"i{j}" for j in range(20))
    trait = TraitEffects("t", beta, se, locus.ld, n, np.sqrt(y @ y / n), names)
    frame = condition_on(trait, ["i3"])
    for j in (5, 12):
        design = np.column_stack([x[:, 3], x[:, j]])
        coef, residual = np.linalg.lstsq(design, y, rcond=None)[:2]
        z = coef[1] / np.sqrt(residual[0] / (n - 3) * np.linalg.inv(design.T @ design)[1, 1])
        assert frame.z[j] == pytest.approx(z, rel=0.02)
    assert np.isnan(frame.z[3])
    assert set(frame.status) == {"ok"}
    with pytest.raises(InputError, match="'nobody': not known"):
        condition_on(trait, ["nobody"])
    with pytest.raises(InputError, match="20 effects, 20 errors and 2 names"):
        TraitEffects("t", beta, se, locus.ld, n, 1.0, names[:2])
    data = MRData(
        beta_x=beta[None],
        se_x=se[None],
        beta_y=beta[None],
        se_y=se[None],
        exposures=("t",),
        outcomes=("u",),
        instruments=names,
        ld=locus.ld,
        n_x=np.array([float(n)]),
    )
    again = condition_on(TraitEffects.from_data(data, "t", sd=trait.sd), "i3")
    np.testing.assert_array_equal(again.z, frame.z)
    with pytest.raises(InputError, match="sample size of 'u'"):
        TraitEffects.from_data(data, "u", sd=1.0)


def test_stepwise_and_clumping_find_the_two_blocks() -> None:
    rng = np.random.default_rng(17)
    locus = simulate_locus(rng, 2000, 50)
    z = locus.z_scores(simulate_traits(rng, locus, [np.array([10, 40]), np.array([], int)], 0.3))
    names = [f"i{j}" for j in range(50)]
    found = stepwise(z, locus.ld, alpha=1e-6, traits=["two", "none"], instruments=names)
    assert sorted(found.instrument) == ["i10", "i40"]
    assert set(found.trait) == {"two"}
    assert set(found.status) == {"ok"}
    groups = clump(np.abs(z[0]), locus.ld, instruments=names, min_neglog10p=5.0)
    assert set(groups.leader[10:11]) | set(groups.leader[40:41]) == {"i10", "i40"}


def test_tables_of_signals_say_where_the_ld_does_not_fit() -> None:
    rng = np.random.default_rng(21)
    locus = simulate_locus(rng, 4000, 30, 0.9, 30)
    z = locus.z_scores(simulate_traits(rng, locus, [np.array([10]), np.array([20])], 0.3))
    z[0] *= np.where(np.arange(30) % 3 == 0, -1.0, 1.0)
    found = stepwise(z, locus.ld, n=4000, traits=["swapped", "right"])
    said = found.groupby("trait")["status"].unique()
    assert list(said["right"]) == ["ok"]
    assert len(said["swapped"]) == 1
    assert said["swapped"][0].startswith("the sign of z contradicts the LD")
    for t, word in ((0, said["swapped"][0]), (1, "ok")):
        r = z[t] / np.sqrt(3998 + z[t] ** 2)
        trait = TraitEffects("t", r, np.sqrt((1 - r * r) / 3998), locus.ld, 4000, 1.0)
        assert set(condition_on(trait, "instrument 3").status) == {word}
    with pytest.raises(InputError, match="sample size n: 1"):
        stepwise(z, locus.ld, n=[4000, 1])


def test_signals_separate_shared_from_distinct_causes() -> None:
    rng = np.random.default_rng(18)
    locus = simulate_locus(rng, 3000, 50)
    y = simulate_traits(rng, locus, [np.array([10, 40]), np.array([40])], 0.3)
    z, names = locus.z_scores(y), [f"i{j}" for j in range(50)]
    x = finemap_summary(z[:1], locus.ld, 3000, traits=["x"], instruments=names)
    o = finemap_summary(z[1:], locus.ld, 3000, traits=["o"], instruments=names)
    result = colocalize_signals(x, o)
    assert isinstance(result, Coloc)
    assert result.posterior.shape == (2, 1, 1, 5)
    shared = result.posterior[:, 0, 0, 4]
    assert sorted(shared > 0.9) == [False, True]
    assert sorted(result.posterior[:, 0, 0, 3] > 0.9) == [False, True]
    table = clpp(x, o)
    assert table.top_instrument[0] == "i40"
    assert table.clpp[0] > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"priors": Priors(0.05, 0.05, 0.01), "sd_x": 1.0, "sd_y": 1.0}, "beyond one"),
        ({"priors": Priors(-0.1), "sd_x": 1.0, "sd_y": 1.0}, "between 0 and 1"),
        ({"priors": HypothesisPriors(share=1.0), "sd_x": 1.0, "sd_y": 1.0}, "0 and 1 excluded"),
        ({"priors": HypothesisPriors(0.6, 0.6), "sd_x": 1.0, "sd_y": 1.0}, "beyond one"),
        ({"sd_y": 1.0}, "not given for a quantitative trait"),
        ({"sd_x": -1.0, "sd_y": 1.0}, "above 0"),
        ({"type_x": "binary", "sd_y": 1.0}, "quant, cc"),
        ({"prior": "estimated"}, "12 instruments"),
        ({"sd_x": 1.0, "sd_y": 1.0, "correlated_errors": True}, "no error correlation"),
        ({"sd_x": 1.0, "sd_y": 1.0, "locus": ["a"]}, "1 names for 12"),
        ({"sd_x": 1.0, "sd_y": 1.0, "locus": "slot"}, "no column 'slot'"),
    ],
)
def test_bad_arguments_say_what_to_do(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        colocalize(random_data(np.random.default_rng(19)), **arguments)


def test_missing_effect_is_named() -> None:
    data = random_data(np.random.default_rng(20))
    data.beta_y[1, 3] = np.nan
    with pytest.raises(InputError, match=r"'y1', instrument 'i3'"):
        colocalize(data, sd_x=1.0, sd_y=1.0)
