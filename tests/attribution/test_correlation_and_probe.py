"""Correlation and linear probe: simple regression, held-out families, errors that leave one family out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mrinterp.attribution._correlation import correlation
from mrinterp.attribution._linear_probe import linear_probe
from mrinterp.core.errors import InputError
from mrinterp.results._check import NotApplicable
from mrinterp.stats.clustered.through_origin import through_origin
from tests.knockouts.given_bench import given_bench


def test_correlation_is_the_simple_regression() -> None:
    rng = np.random.default_rng(1)
    x, y, family = rng.standard_normal((30, 3)), rng.standard_normal(30), np.repeat(np.arange(10), 3)
    found = correlation(given_bench(x, y, family))
    for f in range(3):
        fit = stats.linregress(x[:, f], y)
        assert found.beta[f, 0] == pytest.approx(fit.slope)
        assert found.details["correlation"][f, 0] == pytest.approx(fit.rvalue)
    assert (found.df <= 9).all()
    assert (found.df > 1).all()


def test_errors_leave_one_family_out() -> None:
    rng = np.random.default_rng(4)
    family = rng.integers(0, 7, 40)
    x, y = rng.standard_normal((40, 3)), rng.standard_normal((40, 3, 2))
    beta, se, df = through_origin(x, y, family)

    def slopes(rows: np.ndarray) -> np.ndarray:
        return np.einsum("pf,pfo->fo", x[rows], y[rows]) / (x[rows] ** 2).sum(0)[:, None]

    np.testing.assert_allclose(beta, slopes(np.full(40, True)))
    out = np.array([slopes(family != c) for c in range(7)])
    np.testing.assert_allclose(se, np.sqrt(6 / 7 * ((out - beta) ** 2).sum(0)))
    assert (df < 6).all()
    alike = through_origin(np.ones((14, 1)), y[:14, :1], np.repeat(np.arange(7), 2))[2]
    np.testing.assert_allclose(alike, 6)
    alone = np.r_[np.ones(2), np.zeros(38)][:, None]
    assert through_origin(alone, y[:, :1], np.repeat(np.arange(20), 2))[2] == 0


def test_intervals_cover_the_slope() -> None:
    """Effects per unit differ between families: the clustered interval covers their mean."""
    rng = np.random.default_rng(5)
    inside = []
    for _ in range(400):
        slope = np.repeat(1 + 0.5 * rng.standard_normal(20), 3)
        x = rng.standard_normal((60, 1))
        beta, se, df = through_origin(x, (slope[:, None] * x)[..., None], np.repeat(np.arange(20), 3))
        inside.append(abs(beta[0, 0] - 1) <= stats.t.ppf(0.975, df[0]) * se[0, 0])
    assert 0.92 <= np.mean(inside) <= 0.985


def test_probe_finds_planted_weights_and_no_others() -> None:
    rng = np.random.default_rng(6)
    planted = np.array([1.0, -2.0, 0.0, 0.0])
    x = rng.standard_normal((240, 4)) * np.array([1.0, 3.0, 1.0, 0.5])
    bench = given_bench(x, x @ planted + 0.1 * rng.standard_normal(240), np.repeat(np.arange(60), 4))
    found = linear_probe(bench)
    np.testing.assert_allclose(found.beta[:, 0], planted, atol=0.06)
    assert ((found.ci_lower[:, 0] <= planted) & (planted <= found.ci_upper[:, 0])).sum() >= 3
    assert found.details["held_out"][0, 0] > 0.99


def test_a_probe_of_noise_reads_nothing_on_families_held_out() -> None:
    """Outcomes that belong to the family can be learned by heart from features of the family; not held out."""
    rng = np.random.default_rng(7)
    family = np.repeat(np.arange(20), 6)
    x = np.repeat(rng.standard_normal((20, 40)), 6, axis=0) + 0.01 * rng.standard_normal((120, 40))
    bench = given_bench(x, np.repeat(rng.standard_normal(20), 6), family)
    assert linear_probe(bench).details["held_out"][0, 0] < 0.3
    naive = np.arange(120)
    assert linear_probe(given_bench(x, bench.clean[:, 0], naive)).details["held_out"][0, 0] > 0.9


def test_the_probe_is_logistic_where_the_outcome_has_two_values() -> None:
    rng = np.random.default_rng(8)
    x = rng.standard_normal((400, 3))
    chance = 1 / (1 + np.exp(-1.5 * x[:, 0]))
    label = (rng.random(400) < chance) * 2.0 + 5.0
    found = linear_probe(given_bench(x, label, np.repeat(np.arange(100), 4)))
    # Average marginal effect of the generating model, in units of the outcome (its two values are 2 apart).
    truth = 2.0 * 1.5 * (chance * (1 - chance)).mean()
    assert found.beta[0, 0] == pytest.approx(truth, rel=0.15)
    assert found.ci_lower[0, 0] > 0.4
    assert np.abs(found.beta[1:, 0]).max() < 0.12


def test_bad_input() -> None:
    x, family = np.random.default_rng(0).standard_normal((8, 2)), np.repeat(np.arange(4), 2)
    bench = given_bench(x, x[:, 0], family)
    with pytest.raises(InputError, match="1 folds"):
        linear_probe(bench, folds=1)
    with pytest.raises(InputError, match="penalties"):
        linear_probe(bench, penalties=(0.0,))
    few = correlation(given_bench(x[:2], x[:2, 0], family[:2]))
    assert isinstance(few, NotApplicable)
    assert "at least three" in few.reason
