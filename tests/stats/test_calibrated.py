"""Intervals widened by a measured bias: the moment equation, roles, coverage with and without the split."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from mrinterp.stats import calibrated, calibration_roles

K, SE, V = 64, 0.3, 0.15


def study(
    drawn: int, times: float, bias: float, worlds: int = 200, split: bool = True
) -> dict[str, np.ndarray]:
    """Estimates that are ``times`` the truth plus a bias of their own, features sorted by role in every world."""
    rng = np.random.default_rng([drawn, int(10 * times), int(10 * bias)])
    truth = rng.standard_normal((K, worlds)) * np.where(rng.random((K, worlds)) < 0.12, 3.0, 0.3)
    of = times * truth + bias * rng.standard_normal((K, worlds))
    seen = of + 0.5 * rng.standard_normal((K, worlds))
    roles = np.stack([calibration_roles(seen[:, w], drawn, w) for w in range(worlds)], axis=1)
    if not split:
        roles[:] = "rest"
        roles[:drawn] = "drawn"
    order = np.argsort(roles.astype(str), axis=0, kind="stable")
    truth, of, roles = (np.take_along_axis(x, order, 0) for x in (truth, of, roles))
    beta = of + SE * rng.standard_normal(of.shape)
    shift = np.where(roles == "rest", np.nan, truth + V * rng.standard_normal(of.shape))
    made = calibrated(beta, np.full(of.shape, SE), shift, np.full(of.shape, V), roles[:, 0])
    covered = (made.lower <= truth) & (made.upper >= truth)
    return {
        "made": made,
        "covered": covered,
        "role": roles[:, 0],
        "truth": truth,
        "beta": beta,
        "shift": shift,
    }


def test_roles() -> None:
    size = np.arange(100.0)
    roles = calibration_roles(size, 10, 3)
    assert (roles[-20:] == "own").all()
    assert (roles == "drawn").sum() == 10
    assert (roles == "rest").sum() == 70
    assert (calibration_roles(size, 10, 4) != roles).any()
    assert (calibration_roles(size, 10, 3) == roles).all()
    assert (calibration_roles(size[:25], 10) == "own").all()  # 19 others are fewer than 2 x 10
    assert (calibration_roles(size[:27], 10) == "drawn").sum() == 10
    assert (calibration_roles(-size, 10, 3) == roles).all()
    with pytest.raises(ValueError, match="at least 5"):
        calibration_roles(size, 4)
    equal = np.mean([np.flatnonzero(calibration_roles(0 * size, 10, s) == "own").mean() for s in range(40)])
    assert 45 < equal < 54


def test_tau_solves_the_moment_equation_and_a_drawn_feature_leaves_itself_out() -> None:
    rng = np.random.default_rng(0)
    b, C = rng.standard_normal((30, 2)), rng.standard_normal((30, 2))
    se, v = rng.uniform(0.1, 0.4, (30, 2)), rng.uniform(0.1, 0.2, (30, 2))
    roles = np.array(["own"] * 5 + ["drawn"] * 10 + ["rest"] * 15)
    shift = np.where((roles == "rest")[:, None], np.nan, C)
    made = calibrated(b, se, shift, v, roles, shift_df=9)

    def tau2(some: np.ndarray, o: int) -> float:
        def left(t: float) -> float:
            return float(((C - b)[some, o] ** 2 / (v**2 + se**2 + t)[some, o]).sum() - (len(some) - 1))

        return optimize.brentq(left, 0, 50, xtol=1e-13)

    drawn = np.arange(5, 15)
    for o in range(2):
        assert made.tau[o] ** 2 == pytest.approx(tau2(drawn, o), rel=1e-8)
        half = stats.t.ppf(0.975, 9) * np.sqrt(se[20, o] ** 2 + tau2(drawn, o))
        assert made.upper[20, o] - b[20, o] == pytest.approx(half, rel=1e-8)
        half = stats.t.ppf(0.975, 8) * np.sqrt(se[7, o] ** 2 + tau2(drawn[drawn != 7], o))
        assert made.upper[7, o] - made.beta[7, o] == pytest.approx(half, rel=1e-8)
        assert made.beta[2, o] == C[2, o]
        assert made.upper[2, o] - C[2, o] == pytest.approx(stats.t.ppf(0.975, 9) * v[2, o])
    assert (made.slope == 1).all()
    exact = calibrated(C, se, np.where((roles == "rest")[:, None], np.nan, C), v, roles)
    assert (exact.tau == 0).all()


def test_a_multiple_is_found_and_an_added_bias_is_not_taken_for_one() -> None:
    times, added = study(20, 1.5, 0.0), study(20, 1.0, 0.5)
    slopes = times["made"].slope[times["made"].slope != 1]
    assert len(slopes) > 20
    assert 0.6 < np.median(slopes) < 0.78
    assert (added["made"].slope == 1).mean() > 0.9


@pytest.mark.parametrize(("drawn", "times", "bias"), [(10, 1.0, 0.5), (10, 1.5, 0.0), (20, 1.0, 0.5)])
def test_intervals_cover_with_the_split(drawn: int, times: float, bias: float) -> None:
    got = study(drawn, times, bias)
    largest = np.argsort(-np.abs(got["truth"]), axis=0)[:5]
    assert 0.93 < got["covered"].mean() < 0.98
    assert np.take_along_axis(got["covered"], largest, 0).mean() > 0.92
    assert got["covered"][got["role"] == "drawn"].mean() > 0.93
    assert (np.abs(got["beta"] - got["truth"]) < 1.96 * SE).mean() < 0.88  # what it was without


def test_without_the_split_the_largest_are_not_covered() -> None:
    got = study(10, 1.5, 0.0, split=False)
    largest = np.argsort(-np.abs(got["truth"]), axis=0)[:5]
    assert got["covered"].mean() > 0.9
    assert np.take_along_axis(got["covered"], largest, 0).mean() < 0.75


def test_too_few_drawn_is_not_measured() -> None:
    rng = np.random.default_rng(1)
    b = rng.standard_normal((30, 1))
    roles = np.array(["own"] * 5 + ["drawn"] * 6 + ["rest"] * 19)
    shift = np.where((roles == "rest")[:, None], np.nan, b)
    b[5:7] = np.nan
    made = calibrated(b, 0 * b + 0.1, shift, 0 * b + 0.1, roles)
    assert made.drawn[0] == 4
    assert not made.measured[0]
    assert np.isnan(made.tau[0])
    assert np.isnan(made.lower[11:]).all()
    assert np.isfinite(made.lower[:5]).all()


def test_bad_input() -> None:
    b = np.zeros((6, 1))
    with pytest.raises(ValueError, match="all alike"):
        calibrated(b, b, b[:3], b, np.array(["own"] * 6))
    with pytest.raises(ValueError, match="one for each of 6"):
        calibrated(b, b, b, b, np.array(["own"] * 5))
    with pytest.raises(ValueError, match="'large'"):
        calibrated(b, b, b, b, np.array(["large"] * 6))
