"""Colocalization straight from runs: the same numbers as from summary statistics, in any block."""

from __future__ import annotations

import numpy as np
import pytest

from mrinterp.coloc import _runs as runs_module
from mrinterp.coloc._abf import colocalize
from mrinterp.coloc._finemap import finemap_traits
from mrinterp.coloc._priors import Priors
from mrinterp.coloc._runs import colocalize_runs, marginal_effects, screen_runs
from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.stats.bayes_factors.wakefield import hypothesis_posterior, posterior_over_priors
from tests.coloc.coloc_simulation import simulate_locus, simulate_traits


def test_from_runs_equals_from_summary_statistics() -> None:
    rng = np.random.default_rng(23)
    locus = simulate_locus(rng, 600, 20)
    y = simulate_traits(rng, locus, [np.array([4]), np.array([4]), np.array([15])], 0.3)
    runs = colocalize_runs(3 * locus.x, y[:2].T, y[2:].T)
    z = locus.z_scores(y)
    beta, se, sd = marginal_effects(3 * locus.x, y.T)
    np.testing.assert_allclose(beta / se, z, rtol=1e-9)
    names = ("f0", "f1"), ("y",), tuple(map(str, range(20)))
    data = MRData(
        beta_x=beta[:2],
        se_x=se[:2],
        beta_y=beta[2:],
        se_y=se[2:],
        exposures=names[0],
        outcomes=names[1],
        instruments=names[2],
        ld=locus.ld,
        n_x=np.full(2, 600.0),
    )
    again = colocalize(data, sd_x=sd[:2], sd_y=sd[2:])
    np.testing.assert_allclose(runs.posterior, again.posterior, rtol=1e-10)
    assert runs.posterior[0, 0, 0, 3] > 0.9
    fit = finemap_traits(data)
    assert fit.traits == ("f0", "f1")
    assert fit.sets[0][0].members == ("4",)
    with pytest.raises(InputError, match="monomorphic"):
        marginal_effects(np.ones((5, 2)), np.arange(5.0)[:, None])


def test_screen_of_runs_gives_the_same_hypotheses_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(29)
    locus = simulate_locus(rng, 300, 30)
    y = simulate_traits(rng, locus, [np.array([4]), np.array([9]), np.array([], int), np.array([4])], 0.4)
    x = 1e3 + 2.0 * locus.x  # neither side centred
    full = colocalize_runs(x, y[:3].T, 50.0 + y[2:].T, priors=Priors(), check_misfit=False)
    screened = screen_runs(x, y[:3].T, 50.0 + y[2:].T)
    np.testing.assert_allclose(screened, full.posterior[:, :, 0], rtol=1e-9)
    monkeypatch.setattr(runs_module, "_CACHED_ELEMENTS", 40)
    np.testing.assert_allclose(screen_runs(x, y[:3].T, 50.0 + y[2:].T), screened, rtol=1e-9)
    with pytest.raises(InputError, match="299 of outcomes"):
        screen_runs(x, y[:3].T, y[2:, 1:].T)
    with pytest.raises(InputError, match="beyond one"):
        screen_runs(x, y[:3].T, y[2:].T, priors=Priors(p1=0.5))


def test_posterior_over_priors_is_the_posterior_at_each_prior() -> None:
    log_sums = np.random.default_rng(30).normal(0.0, 40.0, (5, 4, 3, 4))
    log_sums[0, 0, 0, 2:] = -np.inf
    p1, p2, grid = np.array([1e-4, 1e-3, 0.2]), 1e-4, np.logspace(-7, -2, 6) * np.ones((3, 1))
    found = posterior_over_priors(log_sums, p1, p2, grid)
    for g in range(6):
        expected = hypothesis_posterior(log_sums, p1, p2, grid[:, g])[..., 3:]
        np.testing.assert_allclose(found[..., g, :], expected, rtol=1e-11)
