"""Deming's slope and its error: another program, leaving points out one by one, and the limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import odr

from mrinterp.stats.agreement.agreement import agree
from mrinterp.stats.agreement.deming import deming_error, deming_slope, error_variance_ratio


@pytest.mark.parametrize("seed", range(8))
def test_it_is_orthogonal_distance_regression(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, true = int(rng.integers(8, 50)), rng.standard_normal() * 2
    sx, sy = 10 ** rng.uniform(-1.5, -0.3, 2)
    across = rng.standard_normal(n)
    x, y = across + sx * rng.standard_normal(n), true * across + sy * rng.standard_normal(n)
    data = odr.RealData(x, y, np.full(n, sx), np.full(n, sy))
    fit = odr.ODR(data, odr.unilinear, beta0=[true, 0.0], maxit=1000).run()
    assert deming_slope(x, y, sy**2 / sx**2) == pytest.approx(fit.beta[0], rel=1e-4)


@pytest.mark.parametrize("ratio", [1e-6, 0.3, 40.0, 1e6])
def test_the_error_is_the_jackknife(ratio: float) -> None:
    x, noise = np.random.default_rng(1).standard_normal((2, 17))
    y = 1 - 2 * x + noise
    left_out = np.array([deming_slope(np.delete(x, i), np.delete(y, i), ratio) for i in range(17)])
    expected = np.sqrt(16 / 17 * ((left_out - left_out.mean()) ** 2).sum())
    assert deming_error(x, y, ratio) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("sign", [1, -1])
def test_without_error_on_one_side_it_is_least_squares(sign: int) -> None:
    """However large the ratio: the two terms of the slope must not cancel."""
    x, noise = np.random.default_rng(2).standard_normal((2, 30))
    y = sign * 2 * x + noise
    for ratio in (1e12, 1e25, 1e200):
        assert deming_slope(x, y, ratio) == pytest.approx(np.polyfit(x, y, 1)[0], rel=1e-10)
    for ratio in (1e-12, 1e-25, 1e-200):
        assert deming_slope(x, y, ratio) == pytest.approx(1 / np.polyfit(y, x, 1)[0], rel=1e-10)


def test_knockouts_that_are_all_but_exact() -> None:
    """Effects of a linear network have errors of 1e-16: the slope must not fall to zero."""
    x, noise = np.random.default_rng(3).standard_normal((2, 20))
    y = 0.8 * x + 0.1 * noise
    held = agree(y, np.full(20, 0.1), x, np.full(20, 1e-16), 10)
    assert held.slope == pytest.approx(np.polyfit(x, y, 1)[0], rel=1e-4)
    assert held.slope_lower < 0.8 < held.slope_upper
    assert error_variance_ratio(np.ones(3), np.zeros(3)) == error_variance_ratio(np.ones(3), np.full(3, 1e-9))


def test_swapping_the_axes_inverts_it_and_rows_are_lines() -> None:
    x, y = np.random.default_rng(4).standard_normal((2, 5, 12))
    np.testing.assert_allclose(deming_slope(x, y, 3.0) * deming_slope(y, x, 1 / 3.0), 1.0)
    each = [deming_slope(a, b, 3.0) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(deming_slope(x, y, 3.0), each)
    assert np.isnan(deming_slope(np.ones(5), np.arange(5.0), 1.0))


def test_its_interval_covers() -> None:
    hits = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        across, ex, ey = rng.standard_normal((3, 30))
        held = agree(0.8 * across + 0.3 * ey, np.full(30, 0.3), across + 0.2 * ex, np.full(30, 0.2))
        hits.append(held.slope_lower <= 0.8 <= held.slope_upper)
    # 300 trials at .95: four standard errors are .05.
    assert 0.90 <= np.mean(hits) <= 0.99
