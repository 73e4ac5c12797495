"""York's line: published solutions, other programs, and limits that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import odr, optimize

from mrinterp.stats.agreement.deming import deming_slope
from mrinterp.stats.agreement.york import york_line


class TestYork:
    X = np.array([0.0, 0.9, 1.8, 2.6, 3.3, 4.4, 5.2, 6.1, 6.5, 7.4])
    Y = np.array([5.9, 5.4, 4.4, 4.6, 3.5, 3.7, 2.8, 2.8, 2.4, 1.5])
    WX = np.array([1000.0, 1000, 500, 800, 200, 80, 60, 20, 1.8, 1.0])
    WY = np.array([1.0, 1.8, 4, 8, 20, 20, 70, 70, 100, 500])

    def test_pearson_data_with_york_weights(self) -> None:
        """The published solution of this standard example: York 1966, 10.1139/p66-090; 2004, table II."""
        line = york_line(self.X, self.Y, 1 / self.WX, 1 / self.WY)
        assert line.slope[0] == pytest.approx(-0.480533407, rel=1e-8)
        assert line.intercept[0] == pytest.approx(5.47991022, rel=1e-8)
        assert line.slope_se[0] == pytest.approx(0.0579850090, rel=1e-3)
        assert line.misfit[0] == pytest.approx(11.8663532 / 8, rel=1e-6)

    def test_it_minimizes_the_profile(self) -> None:
        rng = np.random.default_rng(2)
        x, y = rng.standard_normal((2, 12))
        y = 2 * x + 0.3 * y
        vx, vy = rng.uniform(0.01, 0.2, (2, 12))

        def loss(b: np.ndarray) -> float:
            w = 1 / (vy + b[1] ** 2 * vx)
            return float((w * (y - b[0] - b[1] * x) ** 2).sum())

        best = optimize.minimize(
            loss, [0.0, 2.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}
        )
        line = york_line(x, y, vx, vy)
        assert line.slope[0] == pytest.approx(best.x[1], rel=1e-6)
        fit = odr.ODR(odr.RealData(x, y, np.sqrt(vx), np.sqrt(vy)), odr.unilinear, beta0=[2.0, 0.0]).run()
        assert line.slope[0] == pytest.approx(fit.beta[0], rel=1e-5)

    def test_equal_errors_are_deming(self) -> None:
        rng = np.random.default_rng(3)
        x = rng.standard_normal(40)
        y = -1.5 * x + 0.4 * rng.standard_normal(40)
        for ratio in (0.25, 1.0, 9.0):
            line = york_line(x, y, np.full(40, 0.1), np.full(40, 0.1 * ratio))
            assert line.slope[0] == pytest.approx(deming_slope(x, y, ratio), rel=1e-8)

    def test_without_errors_across_it_is_weighted_least_squares(self) -> None:
        rng = np.random.default_rng(4)
        x, y, v = *rng.standard_normal((2, 15)), rng.uniform(0.1, 1, 15)
        slope = np.polyfit(x, y, 1, w=1 / np.sqrt(v))[0]
        assert york_line(x, y, np.zeros(15), v).slope[0] == pytest.approx(slope, rel=1e-8)

    def test_swapping_the_axes_inverts_the_slope(self) -> None:
        one = york_line(self.X, self.Y, 1 / self.WX, 1 / self.WY).slope[0]
        two = york_line(self.Y, self.X, 1 / self.WY, 1 / self.WX).slope[0]
        assert one * two == pytest.approx(1, rel=1e-7)

    def test_exact_points_and_too_few(self) -> None:
        x = np.arange(5.0)
        assert york_line(x, 3 * x + 1, np.zeros(5), np.zeros(5)).slope[0] == pytest.approx(3)
        assert np.isnan(york_line(x[:2], x[:2], np.ones(2), np.ones(2)).slope[0])
        assert np.isnan(york_line(np.ones(5), x, np.ones(5), np.ones(5)).slope[0])
