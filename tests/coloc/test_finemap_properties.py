"""What fine-mapping must satisfy: forms of input agree, batches change nothing, flags speak, sets cover."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from mrinterp.coloc import _susie_fit as susie_fit
from mrinterp.coloc._finemap import SusieOptions, finemap_individual, finemap_sufficient, finemap_summary
from mrinterp.core.errors import InputError
from mrinterp.results._fine_mapping import FineMapping
from mrinterp.stats.sparse.credible_sets import credible_sets
from mrinterp.stats.sparse.single_effect import best_shrinkage, posterior_weights
from tests.coloc.coloc_simulation import simulate_locus, simulate_traits

TIGHT = SusieOptions(tol=1e-9, max_iter=5000)


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(21)
    locus = simulate_locus(rng, 500, 60)
    causes = [np.array([5, 40]), np.array([20]), np.array([], int), np.array([3, 30, 55])]
    return locus, simulate_traits(rng, locus, causes, 0.35), causes


def test_three_forms_of_input_agree(study) -> None:
    locus, y, _ = study
    x = 3.0 * locus.x  # doses in units of their own
    runs = finemap_individual(x, y.T, options=TIGHT)
    centred = y - y.mean(1, keepdims=True)
    n = len(x)
    products = finemap_sufficient(x.T @ x, centred @ x, (centred**2).sum(1), n, options=TIGHT)
    beta = centred @ x / (9 * (n - 1))
    rss = (centred**2).sum(1)[:, None] - 9 * (n - 1) * beta**2
    se = np.sqrt(rss / (n - 2) / (9 * (n - 1)))
    estimated = SusieOptions(tol=1e-9, max_iter=5000, estimate_residual_variance=True)
    summary = finemap_summary(
        beta / se, locus.ld, n, se=se, variance_y=centred.var(1, ddof=1), options=estimated
    )
    for other in (products, summary):
        np.testing.assert_allclose(other.pip, runs.pip, atol=1e-6)
        np.testing.assert_allclose(other.coef, runs.coef, atol=1e-6)
        np.testing.assert_allclose(other.sigma2, runs.sigma2, rtol=1e-6)
        assert [len(s) for s in other.sets] == [len(s) for s in runs.sets]


def test_traits_together_equal_traits_alone(study, monkeypatch: pytest.MonkeyPatch) -> None:
    locus, y, _ = study
    z = locus.z_scores(y)
    together = finemap_summary(z, locus.ld, 500)
    for t in range(len(z)):
        alone = finemap_summary(z[t], locus.ld, 500)
        np.testing.assert_allclose(together.pip[t], alone.pip[0], rtol=1e-7, atol=1e-12)
        assert together.n_iterations[t] == alone.n_iterations[0]
    monkeypatch.setattr(susie_fit, "_BLOCK_ELEMENTS", 1)
    np.testing.assert_allclose(finemap_summary(z, locus.ld, 500).pip, together.pip, rtol=1e-7, atol=1e-12)


def test_causes_are_found_and_signs_do_not_matter(study) -> None:
    locus, y, causes = study
    z = locus.z_scores(y)
    result = finemap_summary(z, locus.ld, 500)
    for t, members in enumerate(causes):
        covered = {j for s in result.sets[t] for j in s.positions}
        assert set(members) <= covered
        assert len(result.sets[t]) == len(members)
    flip = np.where(np.arange(60) % 3 == 0, -1.0, 1.0)
    other = finemap_summary(z * flip, locus.ld * np.outer(flip, flip), 500)
    np.testing.assert_allclose(other.pip, result.pip, atol=1e-9)
    np.testing.assert_allclose(other.coef, result.coef * flip, atol=1e-9)


def test_single_effect_sits_at_the_maximum() -> None:
    rng = np.random.default_rng(22)
    half_z2 = rng.standard_normal((40, 30)) ** 2 / 2
    half_z2[:20, 0] += np.linspace(0, 30, 20)
    prior, alpha, grid = np.full(30, 1 / 30), np.empty(30), np.linspace(0, 0.999, 4000)
    for g in half_z2:
        top = g.max()
        evidence = np.log(np.exp(grid[:, None] * (g - top)).mean(1)) + grid * top + 0.5 * np.log1p(-grid)
        for start in (0.0, 0.05, 0.9):
            k = best_shrinkage(top, g - top, prior, start, 0.0, np.empty(30))
            log_bf = posterior_weights(k, top, g - top, prior, 0.0, alpha)
            # a start may follow another maximum; without one it is the highest
            assert log_bf >= evidence.max() - 1e-6 or start > 0.0
            expected = np.exp(k * (g - top))
            np.testing.assert_allclose(alpha, expected / expected.sum(), rtol=1e-12)


def test_expectation_maximization_climbs_to_the_same_causes(study) -> None:
    locus, y, causes = study
    z = locus.z_scores(y)
    slow = SusieOptions(prior_variance="em", tol=1e-9, max_iter=5000, max_effects=3)
    best, climbed = (
        finemap_summary(z, locus.ld, 500, options=replace(TIGHT, max_effects=3)),
        finemap_summary(z, locus.ld, 500, options=slow),
    )
    for t, members in enumerate(causes):
        there = best.prior_variance[t] > 0
        assert there.sum() >= len(members)
        np.testing.assert_allclose(climbed.prior_variance[t, there], best.prior_variance[t, there], rtol=0.01)
    assert np.all(climbed.prior_variance > 0)  # EM never reaches 0
    assert np.all(climbed.elbo < best.elbo + 1e-6)


@pytest.mark.parametrize("prior_variance", ["optimized", "em", "fixed"])
def test_evidence_bound_never_falls(study, prior_variance: str) -> None:
    locus, y, _ = study
    z = locus.z_scores(y)
    options = [SusieOptions(tol=1e-14, max_iter=m, prior_variance=prior_variance) for m in range(1, 9)]
    bounds = [finemap_summary(z, locus.ld, 500, options=o).elbo for o in options]
    assert np.all(np.diff(np.array(bounds), axis=0) > -1e-9)


def test_no_sets_from_a_fit_that_did_not_converge(study) -> None:
    locus, y, _ = study
    result = finemap_summary(locus.z_scores(y), locus.ld, 500, options=SusieOptions(tol=1e-14, max_iter=1))
    assert not result.converged.any()
    assert all(len(s) == 0 for s in result.sets)
    assert "not converged" in result.status[0]


def test_foreign_ld_and_swapped_alleles_are_flagged(study) -> None:
    locus, y, _ = study
    z = locus.z_scores(y)
    assert finemap_summary(z, locus.ld, 500).status == ("ok",) * 4
    foreign = finemap_summary(z, simulate_locus(np.random.default_rng(5), 400, 60, 0.98, 60).ld, 500)
    assert "does not belong" in foreign.status[0]
    swapped = z.copy()
    swapped[0, 6] *= -1.0  # neighbor of a cause
    assert "instrument 7" in finemap_summary(swapped, locus.ld, 500).status[0]


def test_null_weight_lowers_inclusion_and_prior_weights_steer(study) -> None:
    locus, y, _ = study
    z = locus.z_scores(y)
    plain = finemap_summary(z, locus.ld, 500)
    cautious = finemap_summary(z, locus.ld, 500, options=SusieOptions(null_weight=0.5))
    assert cautious.pip[2].sum() <= plain.pip[2].sum() + 1e-12
    weights = np.ones(60)
    weights[20] = 0.0
    steered = finemap_summary(z, locus.ld, 500, prior_weights=weights)
    assert steered.pip[1, 20] == 0.0
    assert steered.pip[1].argmax() in (19, 21)


def test_refinement_leaves_a_local_optimum() -> None:
    # an instrument that is nearly the sum of the two causes looks best marginally and traps the first effect
    rng, escaped = np.random.default_rng(3), 0
    for _ in range(10):
        x = rng.standard_normal((600, 12))
        x[:, 9] = 0.95 * (x[:, 2] + x[:, 5]) / np.sqrt(2) + np.sqrt(1 - 0.95**2) * x[:, 9]
        y = 0.5 * (x[:, 2] + x[:, 5]) + rng.standard_normal(600)
        before = finemap_individual(x, y)
        after = finemap_individual(x, y, options=SusieOptions(refine=True))
        assert after.elbo[0] >= before.elbo[0] - 1e-6
        trapped = before.pip[0, 9] > 0.9
        escaped += trapped and after.pip[0, 9] < 0.5 and after.pip[0, [2, 5]].min() > 0.9
    assert escaped > 0


def test_purity_rule_drops_sets_that_are_spread_out() -> None:
    ld = np.eye(4)
    ld[0, 1] = ld[1, 0] = 0.9
    alpha = np.array([[[0.5, 0.49, 0.005, 0.005], [0.5, 0.0, 0.5, 0.0], [0.5, 0.49, 0.005, 0.005]]])
    found = credible_sets(alpha, np.ones((1, 3), bool), ld)[0]
    assert [s.members.tolist() for s in found] == [
        [0, 1]
    ]  # the spread set dropped, the repeated one listed once
    assert found[0].min_abs_corr == 0.9
    assert found[0].coverage == pytest.approx(0.99)


def test_saved_and_reopened(study, tmp_path) -> None:
    locus, y, _ = study
    result = finemap_summary(locus.z_scores(y), locus.ld, 500, traits=list("abcd"))
    result.save(tmp_path / "fit")
    again = FineMapping.load(tmp_path / "fit")
    np.testing.assert_array_equal(again.pip, result.pip)
    assert again.sets == result.sets
    assert again.to_frame().equals(result.to_frame())
    assert str(again) == str(result)
    with pytest.raises(InputError, match="no such trait"):
        again["e"]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_credible_sets_cover_at_their_level(count: int) -> None:
    rng, traits = np.random.default_rng(100 + count), 150
    locus = simulate_locus(rng, 800, 80)
    causes = [rng.choice(80, count, replace=False) for _ in range(traits)]
    result = finemap_summary(locus.z_scores(simulate_traits(rng, locus, causes, 0.3)), locus.ld, 800)
    hits = [
        bool(set(members) & set(s.positions))
        for members, sets in zip(causes, result.sets, strict=True)
        for s in sets
    ]
    bound = 0.95 - 3 * np.sqrt(0.95 * 0.05 / len(hits))
    assert len(hits) > 0.7 * count * traits
    assert np.mean(hits) > bound


def test_inclusion_probabilities_are_calibrated() -> None:
    rng, traits = np.random.default_rng(200), 300
    locus = simulate_locus(rng, 800, 80)
    causes = [rng.choice(80, rng.integers(1, 4), replace=False) for _ in range(traits)]
    pip = finemap_summary(locus.z_scores(simulate_traits(rng, locus, causes, 0.25)), locus.ld, 800).pip
    truth = np.zeros_like(pip, bool)
    for t, members in enumerate(causes):
        truth[t, members] = True
    for low, high in ((0.1, 0.3), (0.3, 0.6), (0.6, 0.9), (0.9, 1.01)):
        inside = (pip >= low) & (pip < high)
        error = np.sqrt(pip[inside].mean() * (1 - pip[inside].mean()) / inside.sum()) + 0.02
        assert abs(truth[inside].mean() - pip[inside].mean()) < 4 * error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ld: ld[:-1, :-1], "shape"),
        (lambda ld: ld + np.triu(np.full(ld.shape, 0.01), 1), "not symmetric"),
        (lambda ld: 2 * ld, "instead of 1"),
        (
            lambda ld: np.where(np.eye(len(ld)) > 0, 1.0, np.where(ld > 0.3, 1.0, -0.9)),
            "positive semidefinite",
        ),
        (
            lambda ld: np.where(
                np.arange(len(ld)) == 3, np.nan, np.where(np.arange(len(ld))[:, None] == 3, np.nan, ld)
            ),
            "monomorphic",
        ),
    ],
)
def test_bad_ld_is_refused(study, change, message: str) -> None:
    locus, y, _ = study
    with pytest.raises(InputError, match=message):
        finemap_summary(locus.z_scores(y), change(locus.ld), 500)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda s: finemap_summary(np.where(np.arange(60) == 4, np.inf, 1.0), s.ld, 500),
            "instrument 5.*inf",
        ),
        (lambda s: finemap_summary(np.ones(60), s.ld, 1), "more than 2"),
        (lambda s: finemap_individual(np.column_stack([s.x[:, :3], np.ones(500)]), s.x[:, 0]), "monomorphic"),
        (lambda s: finemap_individual(s.x, s.x[:10, 0]), "one row per run"),
        (lambda s: SusieOptions(coverage=1.5), "between 0 and 1"),
        (lambda s: SusieOptions(prior_variance="optim"), "one of fixed, optimized, em"),
        (lambda s: finemap_summary(np.ones(60), s.ld, 500, instruments=["a"]), "1 names for 60"),
    ],
)
def test_bad_arguments_say_what_to_do(study, call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(study[0])


def test_compiled_loops_are_imported_by_the_first_fit_only() -> None:
    code = (
        "import sys, numpy; from mrinterp.coloc._finemap import finemap_summary; print('numba' in sys.modules);"
        "finemap_summary(numpy.ones(3), numpy.eye(3), 50); print('numba' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "True"]
