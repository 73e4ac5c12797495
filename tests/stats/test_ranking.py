"""Areas and rank concordances, compared with scikit-learn and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from mrinterp.stats.agreement.ranking import area_under_roc, average_precision, kendall, spearman


@st.composite
def _ranked(draw: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores with ties, labels, and which of them count."""
    n = draw(st.integers(2, 30))
    score = np.array(draw(st.lists(st.integers(0, 6), min_size=n, max_size=n)), float)
    label = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    counted = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    return score, label, counted


@given(_ranked())
@settings(max_examples=200, deadline=None)
def test_areas_are_those_of_scikit_learn(drawn: Any) -> None:
    score, label, counted = drawn
    ours = [f(score[None], label[None], counted[None])[0] for f in (area_under_roc, average_precision)]
    if 0 < label[counted].sum() < counted.sum():
        assert ours[0] == pytest.approx(roc_auc_score(label[counted], score[counted]))
        assert ours[1] == pytest.approx(average_precision_score(label[counted], score[counted]))
    else:
        assert np.isnan(ours).all()


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=3, max_size=25))
@settings(max_examples=200, deadline=None)
def test_rank_concordances_are_those_of_scipy(pairs: Any) -> None:
    x, y = np.array(pairs, float).T
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert np.isnan(kendall(x[None], y[None])[0])
        return
    assert kendall(x[None], y[None])[0] == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)
    assert spearman(x[None], y[None])[0] == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def test_kendall_in_blocks_is_kendall(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = np.random.default_rng(0).standard_normal((2, 13, 9))
    whole = kendall(x, y)
    monkeypatch.setattr("mrinterp.stats.agreement.ranking.PAIRS", 200)
    np.testing.assert_array_equal(kendall(x, y), whole)
    monkeypatch.setattr("mrinterp.stats.agreement.ranking.MANY", 5)
    np.testing.assert_allclose(kendall(x, y), whole, atol=1e-12)
