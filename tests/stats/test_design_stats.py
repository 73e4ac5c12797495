"""Kernels behind the knockout designs, compared with independent computations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mrinterp.stats.clustered.dose_shape import fit_ramp, monotonicity
from mrinterp.stats.clustered.family_draws import bootstrap_ratio, family_draws, percentile_interval
from mrinterp.stats.clustered.least_squares import clustered_mean
from mrinterp.stats.clustered.ratio import clustered_ratio
from mrinterp.stats.tests.minimum_effect import minimum_effect_p

FAMILY = np.repeat(np.arange(12), [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6])


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((len(FAMILY), 3, 2)) + 2


def test_ends_of_the_ratio_are_those_that_a_t_test_cannot_refuse(values: np.ndarray) -> None:
    top, bottom = values[:, 0], values[:, 1]
    ratio = clustered_ratio(top, bottom, FAMILY)
    np.testing.assert_allclose(ratio.ratio, top.mean(axis=0) / bottom.mean(axis=0), rtol=1e-12)
    for end in (ratio.lower, ratio.upper):
        mean, se, df = clustered_mean(top - end * bottom, FAMILY)
        np.testing.assert_allclose(np.abs(mean / se), stats.t.ppf(0.975, df), rtol=1e-9)
    assert (ratio.lower < ratio.ratio).all()
    assert (ratio.ratio < ratio.upper).all()


def test_a_denominator_near_zero_has_no_interval(values: np.ndarray) -> None:
    ratio = clustered_ratio(values[:, 0], values[:, 1] - values[:, 1].mean(axis=0), FAMILY)
    assert np.isnan(ratio.lower).all()
    assert np.isnan(clustered_ratio(values, values, np.zeros(len(FAMILY))).lower).all()


def test_draws_are_those_of_the_bootstrap_of_ratios(values: np.ndarray) -> None:
    flat = values.reshape(len(FAMILY), -1)
    ours = percentile_interval(family_draws(flat, FAMILY, 300, 4), families=len(np.unique(FAMILY)))
    theirs = bootstrap_ratio(flat, 1.0, FAMILY, 300, 4)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_minimum_effect_without_a_region_is_the_t_test() -> None:
    t = np.array([0.0, 0.7, -2.5, 9.0])
    np.testing.assert_allclose(
        minimum_effect_p(t * 0.3, 0.3, 0.0, 9), 2 * stats.t.sf(np.abs(t), 9), rtol=1e-12
    )
    assert minimum_effect_p(0.3, 0.1, 0.3, 9) == pytest.approx(0.5, abs=1e-3)
    assert minimum_effect_p([0.2, 0.4], 0.0, 0.3, 9).tolist() == [1.0, 0.0]
    assert np.isnan(minimum_effect_p(1.0, 0.1, 0.0, 0.0))


def test_monotonicity_by_enumeration() -> None:
    """One contrast and six families: p is the share of sign patterns whose t is as large."""
    rng = np.random.default_rng(2)
    values = np.stack([np.zeros(6), rng.standard_normal(6) + 0.8], axis=1)[:, None, :, None]
    gap = values[:, 0, 1, 0]
    signs = np.array(np.meshgrid(*[[-1, 1]] * 6)).reshape(6, -1).T
    flipped = signs * gap
    t = flipped.mean(axis=1) / (flipped.std(axis=1, ddof=1) / np.sqrt(6))
    observed = gap.mean() / (gap.std(ddof=1) / np.sqrt(6))
    tested = monotonicity(values, np.arange(6), draws=20000)
    assert tested.p_rising[0, 0] == pytest.approx((t >= observed - 1e-12).mean(), abs=0.01)
    assert tested.p_falling[0, 0] == pytest.approx((t >= -observed - 1e-12).mean(), abs=0.01)


@pytest.mark.parametrize("turn", [1.0, -1.0])
def test_a_ramp_between_doses_is_found_exactly(turn: float) -> None:
    dose = np.linspace(0, 8, 9)[None]
    curve = turn * np.clip((dose - 2.25) / 3.5, 0, 1)
    values = np.repeat(curve[None, :, :, None], 4, axis=0) + np.arange(4.0)[:, None, None, None]
    ramp = fit_ramp(dose, values, np.arange(4), draws=50)
    assert ramp.low[0, 0] == pytest.approx(2.25)
    assert ramp.high[0, 0] == pytest.approx(5.75)
    assert ramp.r2[0, 0] == pytest.approx(1.0)
