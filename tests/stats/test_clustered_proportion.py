"""Intervals of a proportion whose rows come in families."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from mrinterp.stats.clustered.family_draws import bootstrap_ratio
from mrinterp.stats.clustered.proportion import clustered_proportion


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_independent_rows_give_wilsons_interval(share: float) -> None:
    hits = np.arange(20_000) < share * 20_000
    found = clustered_proportion(hits, np.arange(20_000))
    low, high = proportion_confint(hits.sum(), 20_000, method="wilson")
    assert (found.lower[0], found.upper[0]) == pytest.approx((low, high), rel=2e-3)
    assert found.effective[0] == pytest.approx(20_000, rel=2e-3)


@pytest.mark.parametrize("hits", [np.arange(300) % 3 == 0, np.arange(300) < 260], ids=["third", "most"])
def test_copies_within_a_family_add_nothing(hits: np.ndarray) -> None:
    once = clustered_proportion(hits, np.arange(300))
    often = clustered_proportion(np.repeat(hits, 7), np.repeat(np.arange(300), 7))
    for name in ("estimate", "se", "lower", "upper"):
        np.testing.assert_allclose(getattr(often, name), getattr(once, name), rtol=5e-3)


def test_all_hits_are_not_certainty_and_one_family_has_no_interval() -> None:
    found = clustered_proportion(np.ones(200), np.repeat(np.arange(10), 20))
    assert found.estimate[0] == 1.0
    assert 0.7 < found.lower[0] < 0.85  # far from what 200 independent rows would say
    assert clustered_proportion(np.ones(200), np.arange(200)).lower[0] > 0.97
    assert found.upper[0] == 1.0
    alone = clustered_proportion(np.ones(20), np.zeros(20))
    assert np.isnan([alone.lower[0], alone.upper[0], alone.se[0]]).all()


def test_rows_that_do_not_count_are_as_if_absent() -> None:
    rng = np.random.default_rng(0)
    hits, family = rng.random((3, 90)) < 0.6, np.arange(90) % 15
    counted = np.zeros((3, 90), dtype=bool)
    counted[:, :60] = True
    some = clustered_proportion(hits, family, counted)
    only = clustered_proportion(hits[:, :60], family[:60])
    np.testing.assert_allclose(some.lower, only.lower)
    np.testing.assert_array_equal(some.rows, [60, 60, 60])
    none = clustered_proportion(hits, family, np.zeros((3, 90)))
    assert np.isnan(none.estimate).all()


@pytest.mark.parametrize(("share", "families"), [(0.5, 12), (0.8, 20), (0.95, 20), (0.98, 40)])
def test_interval_covers_at_its_level(share: float, families: int) -> None:
    """Beta-binomial families of ten, intraclass correlation 0.25; 3,000 worlds."""
    rng = np.random.default_rng(1)
    own = rng.beta(3 * share, 3 * (1 - share), (3000, families))
    hits = (rng.random((3000, families, 10)) < own[:, :, None]).reshape(3000, -1)
    family = np.repeat(np.arange(families), 10)
    found = clustered_proportion(hits, family)
    covered = np.mean((found.lower <= share) & (share <= found.upper))
    assert 0.935 < covered < 0.985  # Monte-Carlo error .004
    assert np.all((found.lower <= found.estimate) & (found.estimate <= found.upper))
    naive = clustered_proportion(hits, np.arange(hits.shape[1]))
    assert np.mean((naive.lower <= share) & (share <= naive.upper)) < 0.85
    low, high = bootstrap_ratio(hits[:500].T.astype(float), 1.0, family, 400)
    assert np.mean((low <= share) & (share <= high)) > 0.8
