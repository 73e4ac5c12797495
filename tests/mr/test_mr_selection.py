"""Methods that choose among instruments: model averaging, the stopping rule of the lasso, several robust planes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.mr._engine.driver import estimate
from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.heterogeneity_stop import heterogeneity_stop
from mrinterp.mr._engine.registry import find


def hetpen(b: np.ndarray, g: np.ndarray, t: np.ndarray, **options: float) -> tuple[float, float, float]:
    fit = find("hetpen").kernel(Effects(b[None], np.full((1, len(b)), 1e-3), g[None], t[None]), **options)
    return float(fit.beta[0, 0]), float(fit.ci_lower[0, 0]), float(fit.ci_upper[0, 0])


def test_model_average_is_the_mixture_over_all_subsets() -> None:
    """Likelihood of every subset by enumeration: normal ratios inside, a constant density outside."""
    rng = np.random.default_rng(1)
    b, t, prior, psi = rng.uniform(0.5, 1.5, 6), rng.uniform(0.05, 0.1, 6), 0.4, 0.7
    g = 0.3 * b + t * rng.normal(size=6) + np.array([0, 0, 0, 0, 0.8, -0.5])
    r, s = g / b, t / b
    theta = np.linspace(-1.0, 1.5, 5001)
    density = np.zeros_like(theta)
    for size in range(2, 7):
        for subset in combinations(range(6), size):
            k = list(subset)
            w = s[k] ** -2.0
            mean = np.sum(w * r[k]) / w.sum()
            inside = stats.norm.pdf(r[k], mean, s[k]).prod()
            outside = stats.norm.pdf(0.0, 0.0, psi) ** (6 - size)
            weight = prior**size * (1 - prior) ** (6 - size) * inside * outside
            q = np.sum(w * (r[k] - mean) ** 2)
            density += weight * stats.norm.pdf(
                theta, mean, max(1.0, np.sqrt(q / (size - 1))) / np.sqrt(w.sum())
            )
    mode = theta[np.argmax(density)]
    kept = theta[2.0 * np.log(density.max() / density) < stats.chi2.ppf(0.95, 1)]
    mine = hetpen(b, g, t, prior=prior, psi=psi, lower=-1.0, upper=1.5, step=5e-4)
    np.testing.assert_allclose(mine, [mode, kept[0], kept[-1]], atol=1e-9)


def test_model_average_does_not_depend_on_units() -> None:
    rng = np.random.default_rng(2)
    b, t = rng.uniform(0.5, 1.5, 8), np.full(8, 0.1)
    g = 0.3 * b + t * rng.normal(size=8)
    mine = np.array(hetpen(b, g, t))
    np.testing.assert_allclose(hetpen(b / 100, g, t), 100 * mine, rtol=1e-6)
    np.testing.assert_allclose(hetpen(b, 7 * g, 7 * t), 7 * mine, rtol=1e-6)


def test_model_average_finds_the_plurality() -> None:
    """5 of 12 instruments are valid, the others scattered."""
    rng, inside = np.random.default_rng(3), 0
    for _ in range(20):
        b, t = rng.uniform(0.5, 1.5, 12), np.full(12, 0.05)
        away = np.r_[np.zeros(5), rng.uniform(0.5, 3.0, 7) * np.where(rng.random(7) < 0.5, -1, 1)]
        estimate_, low, high = hetpen(b, (0.3 + away) * b + t * rng.normal(size=12), t)
        inside += low <= 0.3 <= high and abs(estimate_ - 0.3) < 0.2
    assert inside >= 17


@pytest.mark.parametrize("options", [{"prior": 0.0}, {"prior": 1.0}, {"psi": 0.0}, {"psi": -1.0}])
def test_model_average_refuses(options: dict[str, float]) -> None:
    with pytest.raises(InputError):
        hetpen(np.ones(4), np.ones(4), np.ones(4), **options)


def test_stopping_rule_step_by_step() -> None:
    chance = stats.chi2.ppf(0.95, 1)
    count = np.array([5, 6, 7, 8, 9])
    everyone = np.ones(5, bool)

    def stop(sigma: list[float], usable: np.ndarray = everyone) -> int:
        return int(heterogeneity_stop(np.array([sigma]), count[None], usable[None])[0])

    assert stop([0.9, 0.9, 1.0, 1.0, 1.1]) == 4  # never more than chance
    assert stop([0.9, 0.9, 0.9 + 1.01 * chance / 7, 9.0, 9.0]) == 1  # the first jump counts
    assert stop([0.9, 0.9, 0.9 + 0.99 * chance / 7, 9.0, 9.0]) == 2
    assert stop([0.1, 0.9, 0.9, 0.9, 0.9]) == 4  # no jump matters below 1
    assert stop([0.9, 9.0, 0.9, 0.9, 0.9], np.array([True, False, True, True, True])) == 4
    assert stop([9.0, 9.0, 0.9, 5.0, 5.0], np.array([False, False, True, True, True])) == 2
    assert stop([9.0] * 5, np.zeros(5, bool)) == 0


def planes(seed: int, outliers: int, F: int = 3, J: int = 60) -> tuple[MRData, np.ndarray]:
    rng = np.random.default_rng(seed)
    theta = np.array([0.4, -0.2, 0.1])[:F]
    b, t = rng.normal(size=(F, J)), np.full((1, J), 0.1)
    g = theta @ b + 0.1 * rng.normal(size=J)
    g[:outliers] += rng.uniform(2, 4, outliers)
    names = [tuple(f"{c}{i}" for i in range(n)) for c, n in (("x", F), ("y", 1), ("g", J))]
    return MRData(
        beta_x=b,
        se_x=np.full((F, J), 1e-3),
        beta_y=g[None],
        se_y=t,
        exposures=names[0],
        outcomes=names[1],
        instruments=names[2],
    ), theta


def test_outliers_do_not_move_the_robust_plane() -> None:
    covered, moved = [], []
    for seed in range(30):
        data, theta = planes(seed, 15)
        fit = estimate(data, "mv_robust")
        covered.append(np.abs(fit.beta[:, 0] - theta) < 2.0 * fit.se[:, 0])
        moved.append(np.abs(estimate(data, "mv_ivw").beta[:, 0] - theta).max())
        assert np.abs(fit.beta[:, 0] - theta).max() < 0.1
    assert np.mean(covered) > 0.88
    assert np.median(moved) > 0.1


def test_without_outliers_the_robust_plane_is_near_least_squares() -> None:
    data, _ = planes(1, 0)
    robust, plain = estimate(data, "mv_robust"), estimate(data, "mv_ivw")
    np.testing.assert_allclose(robust.beta, plain.beta, atol=0.01)
    assert (robust.se < 1.3 * plain.se).all()
    assert (robust.se > 0.8 * plain.se).all()


@pytest.mark.parametrize("errors", ["small_sample", "influence"])
def test_one_exposure_is_the_robust_line(errors: str) -> None:
    data, _ = planes(2, 10, F=1)
    a, b = estimate(data, "mv_robust", errors=errors), estimate(data, "robust_ivw", errors=errors)
    np.testing.assert_allclose(a.beta, b.beta, rtol=1e-9)
    np.testing.assert_allclose(a.se, b.se, rtol=1e-9)
    np.testing.assert_allclose(a.ci_lower, b.ci_lower, rtol=1e-9)


def test_robust_plane_follows_units_order_and_labels() -> None:
    data, _ = planes(3, 10)
    fit = estimate(data, "mv_robust")
    rng = np.random.default_rng(4)
    order, sign = rng.permutation(60), np.where(rng.random(60) < 0.5, -1.0, 1.0)
    scale = np.array([10.0, 1.0, 0.1])[:, None]
    moved = MRData(
        beta_x=(data.beta_x * sign * scale)[:, order], se_x=(data.se_x * scale)[:, order],
        beta_y=(data.beta_y * sign)[:, order], se_y=data.se_y[:, order],
        exposures=data.exposures, outcomes=data.outcomes, instruments=tuple(data.instruments[i] for i in order),
    )  # fmt: skip
    again = estimate(moved, "mv_robust")
    np.testing.assert_allclose(again.beta * scale, fit.beta, rtol=1e-6)
    np.testing.assert_allclose(again.se * scale, fit.se, rtol=1e-6)


def test_collinear_exposures_are_a_set() -> None:
    data, _ = planes(5, 0)
    beta = data.beta_x.copy()
    beta[2] = beta[0] + beta[1]
    twin = MRData(
        beta_x=beta,
        se_x=data.se_x,
        beta_y=data.beta_y,
        se_y=data.se_y,
        exposures=data.exposures,
        outcomes=data.outcomes,
        instruments=data.instruments,
    )
    status = estimate(twin, "mv_robust").status[:, 0]
    assert all("cannot tell it from" in status[f] for f in range(3))
