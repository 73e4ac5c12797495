"""Kernel densities' modes against a search that spares no effort."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from mrinterp.stats.robust.density import density_modes, silverman_bandwidth


def height(at: np.ndarray, x: np.ndarray, w: np.ndarray, h: float) -> np.ndarray:
    return np.exp(-0.5 * ((np.asarray(at)[..., None] - x) / h) ** 2) @ w


def hard_search(x: np.ndarray, w: np.ndarray, h: float) -> float:
    grid = np.arange(x.min() - h, x.max() + h, h / 40)
    start = grid[np.argmax(height(grid, x, w, h))]
    found = optimize.minimize_scalar(
        lambda t: -float(height(t, x, w, h)), bounds=(start - h / 40, start + h / 40), method="bounded",
        options={"xatol": 1e-12},
    )  # fmt: skip
    return float(-found.fun)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 40])
@pytest.mark.parametrize("spread", [0.05, 0.5, 3.0])
def test_nothing_is_higher_than_the_mode(n: int, spread: float) -> None:
    rng = np.random.default_rng([n, int(100 * spread)])
    x = np.concatenate([rng.normal(size=(8, n)), np.clip(5.0 * rng.standard_cauchy(size=(8, n)), -30, 30)])
    w = rng.exponential(size=x.shape) ** 2 + 1e-6
    h = np.full(len(x), spread)
    for row, mode in enumerate(density_modes(x, w, h)):
        mine = float(height(mode, x[row], w[row], spread))
        assert mine >= hard_search(x[row], w[row], spread) * (1 - 1e-12)


def test_modes_do_not_depend_on_order_unit_place_or_company() -> None:
    rng = np.random.default_rng(7)
    x, w = rng.normal(size=(30, 12)), rng.uniform(0.1, 1.0, size=(30, 12))
    h = silverman_bandwidth(x)
    modes = density_modes(x, w, h)
    other = rng.permutation(12)
    np.testing.assert_allclose(density_modes(x[:, other], 3.0 * w[:, other], h), modes, atol=1e-9)
    np.testing.assert_allclose(density_modes(100.0 * x + 7.0, w, 100.0 * h), 100.0 * modes + 7.0, rtol=1e-9)
    np.testing.assert_array_equal(
        [density_modes(x[i : i + 1], w[i : i + 1], h[i : i + 1])[0] for i in range(30)], modes
    )


def test_a_grid_of_points_is_asked_for_by_number() -> None:
    rng = np.random.default_rng(8)
    x, w = rng.normal(size=(5, 9)), np.ones((5, 9))
    h = silverman_bandwidth(x)
    low, high = x.min(axis=1) - 3 * h, x.max(axis=1) + 3 * h
    on_grid = density_modes(x, w, h, points=512)
    steps = (on_grid - low) / ((high - low) / 511)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-8)
    for row in range(5):
        grid = np.linspace(low[row], high[row], 512)
        assert on_grid[row] == pytest.approx(grid[np.argmax(height(grid, x[row], w[row], h[row]))])
    assert (np.abs(on_grid - density_modes(x, w, h)) <= (high - low) / 511).all()


def test_silverman_bandwidth_of_a_known_sample() -> None:
    x = np.array([[1.0, 2.0, 3.0, 4.0, 100.0], [5.0, 5.0, 5.0, 5.0, 9.0]])
    assert silverman_bandwidth(x)[0] == pytest.approx(0.9 * 1.4826 * 1.0 / 5**0.2)
    assert silverman_bandwidth(x)[1] == pytest.approx(0.9 * np.std(x[1], ddof=1) / 5**0.2)
