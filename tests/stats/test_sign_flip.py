"""Scores of clusters against random signs: the level holds, also with more dimensions than clusters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mrinterp.stats.tests.sign_flip import sign_flip_test


@pytest.mark.parametrize("q", [1, 3, 20, 200])
def test_the_level_holds_with_unequal_and_correlated_scores(q):
    rng = np.random.default_rng(q)
    mixing = rng.standard_normal((q, q)) / np.sqrt(q)
    alarms = 0
    for _ in range(600):
        size = rng.gamma(2.0, size=(40, 1))
        alarms += sign_flip_test(size * rng.standard_normal((40, q)) @ mixing)[1] > -np.log10(0.05)
    assert stats.binom.cdf(alarms, 600, 0.02) > 0.001, f"{alarms} of 600"
    assert stats.binom.sf(alarms - 1, 600, 0.06) > 0.001, f"{alarms} of 600"


def test_a_mean_is_found_and_one_dimension_is_a_chi_square():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((60, 1))
    z, p = sign_flip_test(scores)
    t2 = scores.sum() ** 2 / (scores**2).sum()
    assert p == pytest.approx(-stats.chi2.logsf(t2, 1) / np.log(10), abs=0.05)
    assert sign_flip_test(rng.standard_normal((60, 300)) + 0.3)[1] > 6


def test_against_all_signs_of_eight_clusters():
    rng = np.random.default_rng(1)
    scores = rng.standard_normal((8, 4)) + 0.5
    signs = np.array(np.meshgrid(*[[-1, 1]] * 8)).reshape(8, -1).T
    lengths = ((signs @ scores) ** 2).sum(axis=1)
    exact = (lengths >= (scores.sum(axis=0) ** 2).sum() * (1 - 1e-12)).mean()
    assert 10 ** -sign_flip_test(scores)[1] == pytest.approx(exact, rel=0.35)


def test_no_variation_is_no_number():
    assert np.isnan(sign_flip_test(np.zeros((5, 3)))).all()
