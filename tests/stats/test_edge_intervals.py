"""Intervals of shares and areas at their ends."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score
from statsmodels.stats.proportion import proportion_confint

from mrinterp.stats.agreement.agreement_bootstrap import Prediction, bootstrap_scores
from mrinterp.stats.agreement.edge_intervals import area_edge, precision_edge, share_edge


@pytest.mark.parametrize("n", [1, 7, 40])
def test_shares_are_clopper_and_pearson(n: int) -> None:
    for share, count in ((1.0, n), (0.0, 0)):
        expected = proportion_confint(count, n, method="beta")
        assert share_edge(share, n) == pytest.approx(expected, abs=1e-12)


def test_a_perfect_ranking_of_few_features_proves_little() -> None:
    """Scores whose true area is .9: where the ranking happens to be perfect, the interval holds .9."""
    rng, true, n = np.random.default_rng(0), 0.9, 6
    label = np.arange(2 * n) < n
    perfect, inside = 0, 0
    for _ in range(3000):
        score = rng.standard_normal(2 * n) + label * stats.norm.ppf(true) * np.sqrt(2)
        if score[label].min() > score[~label].max():
            perfect += 1
            inside += area_edge(1.0, n, n)[0] <= true
    assert perfect > 100
    assert inside == perfect


def test_precision_of_the_least_area() -> None:
    """The closed form is that of a ranking whose wrong negatives all stand at the top."""
    positives, negatives = 400, 1000
    low = precision_edge(positives, negatives)[0]
    least = area_edge(1.0, positives, negatives)[0]
    wrong = round((1 - least) * negatives)
    score = np.concatenate([np.full(wrong, 2.0), np.linspace(1, 0.5, positives), np.zeros(negatives - wrong)])
    label = np.concatenate([np.zeros(wrong), np.ones(positives), np.zeros(negatives - wrong)])
    assert low == pytest.approx(average_precision_score(label, score), abs=0.01)


def test_bootstrap_intervals_have_a_width_at_the_edge() -> None:
    causal = np.arange(20) < 10
    x = np.where(causal, 1.0, 0.0) + 0.01 * np.arange(20)
    yes = np.ones(20, dtype=bool)
    p = Prediction(x, np.full(20, 0.1), x, np.full(20, 0.1), yes, ~yes, causal, ~causal, x)
    ends = bootstrap_scores(p, None, 100, 0)
    assert ends["coverage"] == pytest.approx(share_edge(1.0, 20))
    assert ends["coverage_alone"] == pytest.approx(share_edge(0.0, 20))
    assert ends["causal_sign_concordance"] == pytest.approx(share_edge(1.0, 10))
    assert ends["auroc"] == pytest.approx(area_edge(1.0, 10, 10))
    assert ends["auprc"][0] < 0.9
