"""Every term of every formula of colocalization, from numbers worked out another way: overlap, unequal errors, large effects."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from mrinterp import coloc, run_mr, tables
from mrinterp.coloc._heidi import heidi_statistics
from mrinterp.coloc._priors import SHARE_GRID
from mrinterp.core.errors import InputError
from mrinterp.results import NotApplicable
from mrinterp.stats.bayes_factors.hyprcoloc import shared_cause
from mrinterp.stats.bayes_factors.wakefield import (
    hypothesis_log_sums,
    hypothesis_posterior,
    log_bayes_factor,
    single_cause_posterior,
    trait_sd_from_frequency,
    variance_from_frequency,
)
from mrinterp.stats.sparse.conditional import conditional_effects, dose_sum_of_squares
from mrinterp.stats.sparse.ld_mismatch import adjusted_z

RNG = np.random.default_rng(0)
LD = 0.6 ** np.abs(np.subtract.outer(np.arange(6), np.arange(6)))


def unequal(rows: int = 1) -> tuple[np.ndarray, ...]:
    """Effects of six instruments on pairs of traits, errors unequal and overlapping."""
    rng = np.random.default_rng(5)
    vx, vy = rng.uniform(0.5, 2.0, (rows, 6)) ** 2 * 1e-3, rng.uniform(0.5, 2.0, (rows, 6)) ** 2 * 2e-3
    bx = 0.5 * LD[2] + np.sqrt(vx) * rng.standard_normal((rows, 6))
    by = 0.3 * LD[2] + np.sqrt(vy) * rng.standard_normal((rows, 6))
    return bx, vx, by, vy, 0.4 * np.sqrt(vx * vy)


def test_heidi_is_the_delta_method_at_unequal_overlapping_errors() -> None:
    bx, vx, by, vy, cov = unequal()
    statistic, p = heidi_statistics(bx, vx, by, vy, cov, LD)
    joint = np.zeros((12, 12))  # covariance of (bx, by)
    for (i, j), block in {(0, 0): np.sqrt(np.outer(vx, vx)), (1, 1): np.sqrt(np.outer(vy, vy))}.items():
        joint[6 * i : 6 * i + 6, 6 * j : 6 * j + 6] = LD * block
    joint[:6, 6:] = LD * 0.4 * np.sqrt(np.outer(vx, vy))
    joint[6:, :6] = joint[:6, 6:].T
    top = int(np.argmax(bx**2 / vx))
    theta = by[0, top] / bx[0, top]
    others = [j for j in range(6) if j != top]
    gradient = np.zeros((5, 12))  # of by_j / bx_j - by_top / bx_top where the ratio is theta everywhere
    for row, j in enumerate(others):
        for k, sign in ((j, 1.0), (top, -1.0)):
            gradient[row, k] = -sign * theta / bx[0, k]
            gradient[row, 6 + k] = sign / bx[0, k]
    # errors of each instrument at the common ratio, correlated as the instruments are
    error = vy + theta**2 * vx - 2 * theta * cov
    root = np.sqrt(error[0]) / bx[0]
    contrast = np.eye(6)[others] - np.eye(6)[top]
    whole = contrast @ (LD * np.outer(root, root)) @ contrast.T
    np.testing.assert_allclose(np.diag(gradient @ joint @ gradient.T), np.diag(whole), rtol=0.25)
    d = by[0, others] / bx[0, others] - theta
    expected = (d**2 / np.diag(whole)).sum()
    assert statistic[0] == pytest.approx(expected, rel=1e-10)
    corr = whole / np.sqrt(np.outer(np.diag(whole), np.diag(whole)))
    draws = (np.random.default_rng(1).multivariate_normal(np.zeros(5), corr, 200_000) ** 2).sum(1)
    assert 10 ** -p[0] == pytest.approx((draws > expected).mean(), abs=0.01)


def test_heidi_of_data_uses_overlap_from_either_form() -> None:
    bx, vx, by, vy, cov = unequal()
    plain = tables.summary_from_arrays(bx, np.sqrt(vx), by, np.sqrt(vy), ld=LD)
    known = tables.summary_from_arrays(
        bx, np.sqrt(vx), by, np.sqrt(vy), ld=LD, error_corr=[[1, 0.4], [0.4, 1]]
    )
    expected, p = heidi_statistics(bx, vx, by, vy, cov, LD)
    found = coloc.heidi(known, "exposure", "outcome", min_abs_z=0.0, max_r2=1.0)
    assert not isinstance(found, NotApplicable)
    assert found.statistic == pytest.approx(expected[0], rel=1e-12)
    assert found.neglog10p == pytest.approx(p[0], rel=1e-9)
    assert found.df == 5.0
    other = coloc.heidi(plain, "exposure", "outcome", min_abs_z=0.0, max_r2=1.0)
    assert not isinstance(other, NotApplicable)
    assert abs(other.statistic / found.statistic - 1) > 0.05
    few = coloc.heidi(known, "exposure", "outcome", min_abs_z=0.0, max_r2=0.3)
    assert not isinstance(few, NotApplicable)
    top = int(np.argmax(bx**2 / vx))
    assert few.df == float(((LD[top] ** 2 <= 0.3).sum() + 1) - 1)


def test_wakefield_is_the_ratio_of_two_normal_densities() -> None:
    b, v, w = RNG.normal(0, 2, 30), RNG.uniform(0.1, 3, 30), RNG.uniform(0.1, 3, 30)
    expected = stats.norm.logpdf(b, 0, np.sqrt(v + w)) - stats.norm.logpdf(b, 0, np.sqrt(v))
    np.testing.assert_allclose(log_bayes_factor(b, v, w), expected, rtol=1e-10, atol=1e-12)


def test_hypotheses_by_enumeration_with_three_different_priors() -> None:
    lx, ly = RNG.normal(0, 3, (2, 5)), RNG.normal(0, 3, (3, 5))
    sums, _ = hypothesis_log_sums(lx, ly)
    p1, p2, p12 = 0.01, 0.03, 0.002
    found = hypothesis_posterior(sums, p1, p2, p12)
    for f in range(2):
        for o in range(3):
            x, y = np.exp(lx[f]), np.exp(ly[o])
            pairs = np.outer(x, y)
            terms = [
                1.0,
                p1 * x.sum(),
                p2 * y.sum(),
                p1 * p2 * (pairs.sum() - np.trace(pairs)),
                p12 * np.trace(pairs),
            ]
            np.testing.assert_allclose(found[f, o], np.array(terms) / np.sum(terms), rtol=1e-9)
    posterior, none = single_cause_posterior(lx[:1], 0.05)
    terms = np.append(0.05 * np.exp(lx[0]), 1 - 5 * 0.05)
    np.testing.assert_allclose(np.append(posterior[0], none[0]), terms / terms.sum(), rtol=1e-9)


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("uniform", [False, True])
def test_shared_cause_by_enumeration(count: int, uniform: bool) -> None:
    p1, c, J = 1e-2, 0.05, 5
    bf = np.exp(RNG.normal(0, 1.5, (count, J)))
    found = shared_cause(np.log(bf), p1, c, uniform, two_trait_weight=0.25)

    def prior(k: int) -> float:
        return p1 * float(np.prod([1 - (1 - c) ** i for i in range(1, k)]))

    every = bf.prod(0).sum()
    without = np.array([np.delete(bf, m, axis=0).prod(0).sum() for m in range(count)])
    apart = np.array(
        [
            sum(np.delete(bf, m, axis=0).prod(0)[i] * bf[m, j] for i in range(J) for j in range(J) if i != j)
            for m in range(count)
        ]
    )
    if uniform:
        whole = fewer = p1 / J
        split = p1 / (count * J * (J - 1)) * (2 if count == 2 else 1)
    else:
        whole, fewer = prior(count), prior(count - 1)
        split = p1 * fewer
    split *= 0.25 if count == 2 else 1.0
    assert found.regional == pytest.approx(
        whole * every / (1 + whole * every + (fewer * without).sum()), rel=1e-9
    )
    assert found.alignment == pytest.approx(whole * every / (whole * every + (split * apart).sum()), rel=1e-9)
    np.testing.assert_allclose(found.instrument_posterior, bf.prod(0) / every, rtol=1e-9)


def test_regional_probability_is_reported_of_traits_in_no_cluster() -> None:
    beta = np.array([[0.9, 0.0, 0.1], [0.8, 0.1, 0.0], [0.0, 0.1, 0.0], [0.1, 0.0, 0.1]])
    found = coloc.cluster_traits(beta, np.full((4, 3), 0.1), traits=list("abcd"))
    alone = [one for one in found.clusters if not one.traits]
    assert alone
    for one in alone:
        assert 0.0 <= one.regional <= 0.5
        assert f"{one.regional:.3g}" in str(one)
    rows = found.to_frame().set_index("dropped").loc[[one.dropped for one in alone]]
    assert rows["regional"].notna().all()
    pair = coloc.cluster_traits(beta[2:], np.full((2, 3), 0.1), traits=list("cd")).clusters[0]
    log_bf = log_bayes_factor(beta[2:], 0.01, 0.15**2)
    assert pair.regional == pytest.approx(shared_cause(log_bf, 1e-4, 0.02).regional, rel=1e-12)


def test_conditional_effects_are_those_of_multiple_regression_in_unequal_units() -> None:
    rng, n = np.random.default_rng(3), 400
    x = rng.standard_normal((n, 6)) @ np.linalg.cholesky(LD).T * rng.uniform(0.5, 3, 6)
    x -= x.mean(0)
    y = 4.0 * (x[:, 1] + 0.6 * x[:, 4]) + 5 * rng.standard_normal(n)
    y -= y.mean()
    d = (x**2).sum(0)
    beta = x.T @ y / d
    variance = (y @ y - beta**2 * d) / (n - 2) / d
    total, size = np.array([y @ y]), np.array([float(n)])
    np.testing.assert_allclose(dose_sum_of_squares(beta[None], variance[None], total, size)[0], d, rtol=1e-10)
    given = np.array([1])
    effect, error = conditional_effects(beta[None], d[None], total, size, np.corrcoef(x.T), given)
    for j in (0, 3, 4, 5):
        design = x[:, [1, j]]
        coef, rss = np.linalg.lstsq(design, y, rcond=None)[:2]
        share = 1 - np.corrcoef(x.T)[1, j] ** 2  # of the whole dose, which the given one does not account for
        assert effect[0, j] == pytest.approx(coef[1] * share, rel=1e-8)
        known = y @ y - (y @ x[:, 1]) ** 2 / d[1] - effect[0, j] * d[j] * beta[j]
        assert error[0, j] == pytest.approx(known / (n - 2) * share / d[j], rel=1e-8)
        assert coef[1] / np.sqrt(rss[0] / (n - 3) * np.linalg.inv(design.T @ design)[1, 1]) == pytest.approx(
            effect[0, j] / np.sqrt(error[0, j]), rel=0.15
        )
    assert np.isnan(effect[0, 1])


def test_moments_from_frequencies() -> None:
    f, n, sd = np.array([0.1, 0.3, 0.45]), 2500.0, 1.7
    v = sd**2 / (2 * n * f * (1 - f))
    assert trait_sd_from_frequency(v, f, n) == pytest.approx(sd, rel=1e-12)
    np.testing.assert_allclose(variance_from_frequency(f, n) * sd**2, v, rtol=1e-12)
    np.testing.assert_allclose(variance_from_frequency(f, n, 0.2), v / sd**2 / 0.16, rtol=1e-12)


def test_adjusted_z_is_the_correlation() -> None:
    r, n = np.array([[0.1, -0.6, 0.9]]), 50.0
    z = r * np.sqrt((n - 2) / (1 - r * r))
    np.testing.assert_allclose(adjusted_z(z, np.array([n])), r * np.sqrt(n - 1), rtol=1e-12)


@pytest.mark.parametrize("rho", [0.0, 0.4])
def test_constrained_likelihood_is_never_beaten_by_a_sweep(rho: float) -> None:
    from mrinterp.mr._univariable.cml import _paths, _shares

    for seed in range(12):
        rng = np.random.default_rng(seed)
        count = int(rng.choice([6, 12, 30, 60]))
        b, s, t = rng.normal(0, 0.08, count), rng.uniform(0.01, 0.03, count), rng.uniform(0.01, 0.04, count)
        g = 0.4 * b + np.where(rng.random(count) < 0.4, rng.normal(0.05, 0.05, count), 0.0)
        b, g = b + s * rng.standard_normal(count), g + t * rng.standard_normal(count)
        theta, _, value, _ = _paths(b, s, g, t, rho, 50_000.0, count - 2)
        kept = count - np.arange(count - 1) - 1
        sweep = np.sort(np.concatenate([g / b, np.tan(np.linspace(-1.57, 1.57, 4001))]))
        trimmed = np.cumsum(np.sort(_shares(b, s, g, t, rho, sweep), axis=1), axis=1)[:, kept]
        assert (value <= trimmed.min(0) + 1e-9).all()
        own = np.cumsum(np.sort(_shares(b, s, g, t, rho, theta), axis=1), axis=1)[np.arange(len(kept)), kept]
        np.testing.assert_allclose(value, own, rtol=1e-9, atol=1e-9)


def test_rucker_lets_q_decide_first() -> None:
    chosen = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        b = rng.uniform(0.1, 0.5, 15)
        tilt, spread = rng.choice([0.0, 0.006, 0.05]), rng.choice([0.0, 0.03])
        g = 0.3 * b + tilt + spread * rng.standard_normal(15) + 0.02 * rng.standard_normal(15)
        data = tables.summary_from_arrays(b, np.full(15, 0.001), g, np.full(15, 0.02))
        one = run_mr(data, "rucker")[0]
        d = {k: float(v[0, 0]) for k, v in one.details.items()}
        model = 1
        if d["q_p"] <= 0.05:
            model = 2
            if d["q_difference_p"] <= 0.05:
                model = 4 if stats.chi2.sf(d["q_egger"], 13) <= 0.05 else 3
        assert d["model"] == model
        chosen.add((model, d["q_difference_p"] <= 0.05))
    assert {(1, True), (1, False), (2, False), (3, True), (4, True)} <= chosen


def test_estimated_prior_variance_maximizes_the_likelihood() -> None:
    from mrinterp.stats.bayes_factors.wakefield import estimated_prior_variance

    rng, loci, per = np.random.default_rng(6), 60, 4
    beta = 0.1 * rng.standard_normal((1, loci * per))
    beta[0, ::per] += np.where(rng.random(loci) < 0.4, rng.normal(0, 0.5, loci), 0.0)
    variance, label = (
        np.full_like(beta, 0.01) * rng.uniform(0.5, 2, beta.shape),
        np.repeat(np.arange(loci), per),
    )

    def loss(log_w: float) -> float:
        bf = np.exp(log_bayes_factor(beta[0], variance[0], np.exp(log_w))).reshape(loci, per)
        return -float(np.log(0.9 + 0.1 * bf.mean(1)).sum())

    best = np.exp(optimize.minimize_scalar(loss, bounds=(-8, 3), method="bounded").x)
    assert estimated_prior_variance(beta, variance, label)[0] == pytest.approx(best, rel=0.05)


def test_shares_of_priors_are_probabilities_in_order() -> None:
    shares = np.array(SHARE_GRID)
    assert (np.diff(shares) > 0).all()
    assert (shares[0] > 0, shares[-1] < 1) == (True, True)
    np.testing.assert_allclose(shares + shares[::-1], 1.0, err_msg="as fine near 0 as near 1")


@pytest.mark.parametrize("sd", [0.0, -1.0, float("nan")])
def test_a_trait_without_spread_is_refused(sd: float) -> None:
    with pytest.raises(InputError, match="Standard deviations must be above 0"):
        coloc.finemap_abf(np.full((1, 4), 0.2), np.full((1, 4), 0.1), sd=np.array([sd]))
