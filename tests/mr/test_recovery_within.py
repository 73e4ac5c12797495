"""Recovery: on a world with known causes univariable MR must fail and the within regression must not."""

from __future__ import annotations

import numpy as np
import pytest

import mrinterp
from mrinterp.stats.clustered.least_squares import clustered_least_squares
from mrinterp.worlds._linear import linear_world

SEEDS = range(100)


@pytest.fixture(scope="module")
def fits() -> dict[str, np.ndarray]:
    within, univariable, tsls, truth = [], [], [], []
    for seed in SEEDS:
        world = linear_world(seed)
        within.append(mrinterp.mr.within(world.panel))
        univariable.append(
            mrinterp.run_mr(mrinterp.scan.marginal_scan(world.panel).to_mrdata(with_errors=False), ["ivw"])[0]
        )
        if seed < 30:
            tsls.append(mrinterp.mr.tsls(world.panel))
        truth.append(world.effects)
    return {"within": within, "univariable": univariable, "tsls": tsls, "truth": np.array(truth)}


def _covered(estimates: list, truth: np.ndarray) -> np.ndarray:
    low = np.array([e.ci_lower[:, 0] for e in estimates])
    high = np.array([e.ci_upper[:, 0] for e in estimates])
    return (low <= truth[: len(low)]) & (truth[: len(low)] <= high)


def test_within_covers_at_its_level(fits: dict) -> None:
    covered = _covered(fits["within"], fits["truth"])
    # 100 seeds: a true 95% lies in [.87, .995] with probability above .999 per feature.
    assert (covered.mean(axis=0) >= 0.87).all(), covered.mean(axis=0)
    assert covered.mean() <= 0.995


def test_within_is_unbiased(fits: dict) -> None:
    beta = np.array([e.beta[:, 0] for e in fits["within"]])
    error = beta - fits["truth"]
    standard_error = error.std(axis=0, ddof=1) / np.sqrt(len(beta))
    assert (np.abs(error.mean(axis=0)) < 4 * standard_error + 1e-3).all()


def test_univariable_mr_calls_the_silent_twin_causal(fits: dict) -> None:
    twin = fits["univariable"][0].exposures.index("twin")
    called = np.mean([e.neglog10p[twin, 0] > -np.log10(0.05) for e in fits["univariable"]])
    assert called > 0.8
    quiet = np.mean([e.neglog10p[twin, 0] > -np.log10(0.05) for e in fits["within"]])
    assert quiet < 0.14


def test_two_stage_least_squares_finds_the_cause(fits: dict) -> None:
    covered = _covered(fits["tsls"], fits["truth"])
    assert covered[:, 1:4].mean() >= 0.85
    assert all("bypass rank" not in e.status[0, 0] for e in fits["tsls"])


def test_the_copy_is_reported_as_a_set(fits: dict) -> None:
    e = fits["within"][0]
    assert e["cause", "y"].beta == e["copy", "y"].beta
    assert "cannot tell it from copy" in e["cause", "y"].status
    assert "Note: the data cannot tell" in str(e["copy", "y"])


def test_leaving_the_bypass_out_misleads() -> None:
    biased = [mrinterp.mr.within(linear_world(s).panel, rank=0) for s in range(20)]
    silent = biased[0].exposures.index("bystander")
    assert np.mean([abs(e.beta[silent, 0]) > 3 * e.se[silent, 0] for e in biased]) > 0.5


def test_type_one_error_under_the_global_null() -> None:
    hits = []
    for seed in range(150):
        world = linear_world(seed + 1000, families=40, prompts=2, runs=6, effect=0.0, copy=False)
        hits.append(mrinterp.mr.within(world.panel).neglog10p[:, 0] > -np.log10(0.05))
    rate = np.mean(hits)
    # 600 tests, few of them correlated: three standard errors around .05.
    assert 0.02 <= rate <= 0.08, rate


def test_prompt_deviations_and_clean_pairs_agree() -> None:
    world = linear_world(3, runs=12)
    panel = world.panel
    perturbed = np.flatnonzero((panel.runs["kind"] != "clean").to_numpy())
    without_clean = panel._take(perturbed)
    a, b = mrinterp.mr.within(panel), mrinterp.mr.within(without_clean)
    assert b.meta["absorbed"] == panel.runs["prompt"].nunique()
    assert (np.abs(a.beta - b.beta) < 4 * np.hypot(a.se, b.se)).all()


def test_cr3_equals_leaving_families_out() -> None:
    """CR3 is the jackknife over families; computed here by brute force."""
    rng = np.random.default_rng(0)
    N, d, C = 120, 7, 12
    Z, family = rng.standard_normal((N, d)), np.repeat(np.arange(C), N // C)
    Y = rng.standard_normal((N, 2)) * (1 + family[:, None] / 4)
    fit = clustered_least_squares(Z, Y, family, 3, "CR3")
    full = np.linalg.lstsq(Z, Y, rcond=None)[0]
    out = np.array([np.linalg.lstsq(Z[family != c], Y[family != c], rcond=None)[0] for c in range(C)])
    variance = (C - 1) / C * ((out - full) ** 2).sum(axis=0)
    np.testing.assert_allclose(fit.beta, full[:3], rtol=1e-10)
    np.testing.assert_allclose(fit.se, np.sqrt(variance)[:3], rtol=1e-8)


def test_cr1_equals_statsmodels() -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(1)
    N, d = 200, 5
    Z, family = rng.standard_normal((N, d)), rng.integers(0, 25, N)
    y = Z @ rng.standard_normal(d) + rng.standard_normal(N)
    ours = clustered_least_squares(Z, y[:, None], family, d, "CR1")
    theirs = sm.OLS(y, Z).fit(cov_type="cluster", cov_kwds={"groups": family})
    np.testing.assert_allclose(ours.beta[:, 0], theirs.params, rtol=1e-10)
    np.testing.assert_allclose(ours.se[:, 0], theirs.bse, rtol=1e-10)


def test_bootstrap_agrees_with_cr3() -> None:
    panel = linear_world(5, copy=False).panel
    a, b = mrinterp.mr.within(panel), mrinterp.mr.within(panel, covariance="bootstrap", draws=400)
    np.testing.assert_allclose(b.se, a.se, rtol=0.25)
