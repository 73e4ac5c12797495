"""Univariable estimators: what must not change, what must be said, and what they must cover."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.mr._engine import driver
from mrinterp.mr._engine.driver import estimate, run_mr
from mrinterp.mr._engine.leave_one_out import leave_one_out
from mrinterp.mr._engine.registry import registered
from mrinterp.mr._univariable.leave_one_out import leave_one_out_ivw

OPTIONS: dict[str, dict[str, Any]] = {
    "simple_median": {"draws": 50},
    "weighted_median": {"draws": 50},
    "penalized_weighted_median": {"draws": 50},
    "simple_mode": {"draws": 20},
    "weighted_mode": {"draws": 20},
    "cml": {"n": 50_000},
    "presso": {"draws": 100},
}
OURS = sorted(registered("univariable"))
PLAIN = [m for m in OURS if "correlated" not in m]
NOT_AN_EFFECT = {"sign"}
GRID = {"mrmix": 0.2, "hetpen": 0.01, "conmix": 0.02, "simple_mode": 1e-6, "weighted_mode": 1e-6}
"""Methods whose answer lies on a grid: how much of an error it may move when the grid moves."""


def simulate(
    seed: int = 0, F: int = 1, O: int = 1, J: int = 12, theta: float = 0.4, noise: float = 1.0
) -> MRData:
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 0.1, (F, J)) + 0.05 * rng.choice([-1, 1], (F, J))
    sx, sy = rng.uniform(0.005, 0.01, (F, J)), rng.uniform(0.01, 0.02, (O, J))
    y = theta * x[:1] + noise * sy * rng.normal(size=(O, J))
    bx = x + sx * rng.normal(size=(F, J))
    names = tuple(f"i{j}" for j in range(J))
    return MRData(beta_x=bx, se_x=sx, beta_y=y, se_y=sy, exposures=tuple(f"x{f}" for f in range(F)), outcomes=tuple(f"y{o}" for o in range(O)), instruments=names,
                  ld=np.eye(J))  # fmt: skip


def fit(data: MRData, method: str) -> Any:
    return estimate(data, method, **OPTIONS.get(method, {}))


def close(a: np.ndarray, b: np.ndarray, method: str, se: np.ndarray) -> None:
    slack = GRID.get(method, 1e-6)
    np.testing.assert_allclose(a, b, rtol=1e-6, atol=float(slack * np.nanmax(np.abs(se))))


@pytest.mark.parametrize("method", OURS)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000))
def test_relabelling_an_instruments_sign_changes_nothing(method: str, seed: int) -> None:
    data = simulate(seed)
    sign = np.random.default_rng(seed + 1).choice([-1.0, 1.0], data.shape[2])
    assert data.ld is not None
    flipped = replace(
        data, beta_x=data.beta_x * sign, beta_y=data.beta_y * sign, ld=data.ld * np.outer(sign, sign)
    )
    one, two = fit(data, method), fit(flipped, method)
    close(two.beta, one.beta, method, one.se)


@pytest.mark.parametrize("method", [m for m in OURS if m not in NOT_AN_EFFECT])
@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000), c=st.sampled_from([0.01, 0.5, 3.0, 1000.0]), d=st.sampled_from([0.1, 20.0])
)
def test_units_scale_the_estimate_and_its_error(method: str, seed: int, c: float, d: float) -> None:
    data = simulate(seed)
    scaled = replace(
        data, beta_x=data.beta_x * c, se_x=data.se_x * c, beta_y=data.beta_y * d, se_y=data.se_y * d
    )
    one, two = fit(data, method), fit(scaled, method)
    close(two.beta * c / d, one.beta, method, one.se)
    if "draws" not in OPTIONS.get(method, {}):
        np.testing.assert_allclose(two.se * c / d, one.se, rtol=1e-3 if method in GRID else 1e-5)


@pytest.mark.parametrize("method", OURS)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_instruments_changes_nothing(method: str, seed: int) -> None:
    data = simulate(seed)
    order = np.random.default_rng(seed).permutation(data.shape[2])
    assert data.ld is not None
    shuffled = replace(
        data, beta_x=data.beta_x[:, order], se_x=data.se_x[:, order], beta_y=data.beta_y[:, order],
        se_y=data.se_y[:, order], ld=data.ld[np.ix_(order, order)], instruments=tuple(data.instruments[j] for j in order),
    )  # fmt: skip
    one, two = fit(data, method), fit(shuffled, method)
    close(two.beta, one.beta, method, one.se)


@pytest.mark.parametrize("method", OURS)
def test_all_cells_at_once_equal_one_by_one_whatever_the_block(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = simulate(3, F=4, O=3)
    together = fit(data, method)
    monkeypatch.setattr(driver, "BLOCK_CELLS", 13)
    blocks = fit(data, method)
    np.testing.assert_array_equal(blocks.beta, together.beta)
    np.testing.assert_array_equal(blocks.se, together.se)
    for f, x in enumerate(data.exposures):
        for o, y in enumerate(data.outcomes):
            alone = fit(data.select([x], [y]), method)
            np.testing.assert_allclose(alone.beta[0, 0], together.beta[f, o], rtol=1e-9)
            np.testing.assert_allclose(alone.se[0, 0], together.se[f, o], rtol=1e-7)


@pytest.mark.parametrize("method", OURS)
def test_a_missing_instrument_is_a_dropped_one_for_its_cell_only(method: str) -> None:
    data = simulate(5, F=2, O=2)
    beta_x, beta_y = data.beta_x.copy(), data.beta_y.copy()
    beta_x[0, 2] = np.nan
    beta_y[1, 7] = np.nan
    holes = fit(replace(data, beta_x=beta_x, beta_y=beta_y), method)
    full = fit(data, method)
    keep = np.ones(data.shape[2], bool)
    counts = [[11, 10], [12, 11]] if method != "wald" else [[1, 1], [1, 1]]  # it uses the strongest only
    assert holes.n_instruments.tolist() == counts
    np.testing.assert_allclose(holes.beta[1, 0], full.beta[1, 0], rtol=1e-9)
    keep[2] = False
    np.testing.assert_allclose(
        holes.beta[0, 0], fit(data.select(instruments=keep), method).beta[0, 0], rtol=1e-9
    )
    keep[7] = False
    np.testing.assert_allclose(
        holes.beta[0, 1], fit(data.select(instruments=keep), method).beta[0, 1], rtol=1e-9
    )


@pytest.mark.parametrize("method", OURS)
def test_hopeless_cells_get_a_reason_and_the_others_a_number(method: str) -> None:
    data = simulate(7, F=5, O=1)
    bx, sx = data.beta_x.copy(), data.se_x.copy()
    bx[1] = 0.0
    bx[2, 1:] = np.nan
    bx[3] = np.nan
    sx[4, 0] = np.inf
    result = fit(replace(data, beta_x=bx, se_x=sx), method)
    assert np.isfinite(result.beta[0, 0]), result.status[0, 0]
    assert result.status[0, 0] == "ok" or "too" in result.status[0, 0]
    for f in (1, 3):
        assert not np.isfinite(result.beta[f, 0])
        assert result.status[f, 0] != "ok"
    assert result.status[2, 0] != "ok" or method in ("wald", "ivw_fixed")
    assert "infinite" in result.status[4, 0]
    assert str(result["x1", "y0"]).startswith(result.label)


@pytest.mark.parametrize("method", OURS)
@pytest.mark.parametrize("J", [1, 2, 3, 4])
def test_few_instruments_never_raise(method: str, J: int) -> None:
    result = fit(simulate(11, J=J), method)
    if registered()[method].min_instruments > J:
        assert "needs at least" in result.status[0, 0]
    else:
        assert np.isfinite(result.beta[0, 0]) or result.status[0, 0] != "ok"


@pytest.mark.parametrize("method", OURS)
def test_equal_effects_never_raise(method: str) -> None:
    data = simulate(13)
    same = replace(data, beta_x=np.full_like(data.beta_x, 0.1), beta_y=np.full_like(data.beta_y, 0.05),
                   se_x=np.full_like(data.se_x, 0.01), se_y=np.full_like(data.se_y, 0.01))  # fmt: skip
    result = fit(same, method)
    if method in ("egger", "egger_correlated", "grip"):
        assert "equal" in result.status[0, 0]
    elif np.isfinite(result.beta[0, 0]) and method not in NOT_AN_EFFECT:
        np.testing.assert_allclose(result.beta[0, 0], 0.5, rtol=0.05)


def test_correlation_of_instruments_is_checked_and_used() -> None:
    data = simulate(17)
    bad = np.full((12, 12), -0.9) + 1.9 * np.eye(12)
    result = estimate(replace(data, ld=bad), "ivw_correlated")
    assert "not positive semidefinite" in result.status[0, 0]
    assert estimate(replace(data, ld=bad), "ivw").status[0, 0] == "ok"
    assert "needs the correlation" in estimate(replace(data, ld=None), "ivw_correlated").status[0, 0]
    copies = np.eye(12)
    copies[0, 1] = copies[1, 0] = 1.0
    assert "singular" in estimate(replace(data, ld=copies), "egger_correlated").status[0, 0]
    np.testing.assert_allclose(estimate(data, "ivw_correlated").beta, estimate(data, "ivw").beta, rtol=1e-12)
    np.testing.assert_allclose(
        estimate(data, "egger_correlated").beta, estimate(data, "egger").beta, rtol=1e-9
    )


def test_an_error_correlation_is_used_or_its_neglect_is_said() -> None:
    data = replace(simulate(19), error_corr=np.array([[1.0, 0.5], [0.5, 1.0]]))
    for method in PLAIN:
        result = fit(data, method)
        without = fit(replace(data, error_corr=None), method)
        ignored = any("errors of exposure and outcome are independent (" in a for a in result.assumes)
        same = np.array_equal(result.beta, without.beta) and np.array_equal(result.se, without.se)
        assert ignored == same, method


def test_maximum_likelihood_knows_overlap() -> None:
    """Under the global null with correlated errors ML centres on 0 and IVW does not."""
    rng = np.random.default_rng(0)
    J, O, rho = 100, 400, 0.7
    bx = rng.normal(0, 0.03, (1, J))
    z = rng.normal(size=(O, J))
    sx = np.full((1, J), 0.01)
    noise = rng.normal(size=(1, J))
    data = MRData(beta_x=bx + sx * noise, se_x=sx, beta_y=0.01 * (rho * noise + np.sqrt(1 - rho**2) * z), se_y=np.full((O, J), 0.01), exposures=("x",),
                  outcomes=tuple(f"y{o}" for o in range(O)), instruments=tuple(map(str, range(J))))  # fmt: skip
    corr = np.eye(1 + O)
    corr[0, 1:] = corr[1:, 0] = rho
    informed = estimate(replace(data, error_corr=corr), "max_likelihood").beta.mean()
    naive = estimate(data, "ivw").beta.mean()
    assert abs(informed) < 0.5 * abs(naive)


EXACT = ["ivw_fixed", "max_likelihood", "radial_ivw", "raps", "divw", "pivw", "rucker", "egger"]
AT_MOST = ["ivw", "weighted_median", "simple_median", "penalized_weighted_median", "conmix", "sign", "grip",
           "weighted_mode"]  # fmt: skip


def null_p(methods: list[str], O: int, seed: int = 1, J: int = 40) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    bx = rng.normal(0, 0.1, (1, J))
    sx, sy = np.full((1, J), 0.01), np.broadcast_to(rng.uniform(0.01, 0.02, (1, J)), (O, J))
    data = MRData(beta_x=bx + sx * rng.normal(size=(1, J)), se_x=sx, beta_y=sy * rng.normal(size=(O, J)), se_y=sy, exposures=("x",),
                  outcomes=tuple(f"y{o}" for o in range(O)), instruments=tuple(map(str, range(J))))  # fmt: skip
    settings_ = {
        **OPTIONS,
        "weighted_mode": {"draws": 200},
        **{m: {"draws": 200} for m in AT_MOST if "median" in m},
    }
    results = run_mr(data, methods, {m: o for m, o in settings_.items() if m in methods})
    return {r.method: 10.0 ** -np.asarray(r.neglog10p[0]) for r in results}


def test_type_one_error_of_exact_methods() -> None:
    """2,000 outcomes without any effect: rejections at .05 within three Monte-Carlo errors."""
    for method, p in null_p(EXACT, 2000).items():
        floor = 0.03 if method in ("raps", "radial_ivw", "max_likelihood", "egger", "divw", "pivw") else 0.035
        assert floor <= np.mean(p < 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000), (
            method,
            np.mean(p < 0.05),
        )


def test_type_one_error_of_cautious_methods() -> None:
    """300 outcomes without any effect: no more rejections than .05 allows."""
    for method, p in null_p(AT_MOST, 300).items():
        assert np.mean(p < 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300), (method, np.mean(p < 0.05))


WEAK_DRAWS = 250


@cache
def weak_coverage(method: str) -> float:
    """Share of data sets with a mean F of about 5 whose interval holds the effect."""
    rng = np.random.default_rng(4)
    J, D, theta = 100, 600, 0.4
    gamma = rng.normal(0, 0.02, (D, J))
    bx = gamma + 0.01 * rng.normal(size=(D, J))
    by = theta * gamma + 0.01 * rng.normal(size=(D, J))
    covered = []
    for d in range(WEAK_DRAWS):
        data = MRData(beta_x=bx[d : d + 1], se_x=np.full((1, J), 0.01), beta_y=by[d : d + 1], se_y=np.full((1, J), 0.01), exposures=("x",), outcomes=("y",),
                      instruments=tuple(map(str, range(J))))  # fmt: skip
        r = estimate(data, method)
        covered.append(r.ci_lower[0, 0] <= theta <= r.ci_upper[0, 0])
    return float(np.mean(covered))


@pytest.mark.parametrize("method", ["divw", "pivw", "max_likelihood", "raps"])
def test_coverage_with_weak_instruments(method: str) -> None:
    """The intervals of methods made for weak instruments hold the truth; IVW's do not."""
    found = weak_coverage(method)
    assert found >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / WEAK_DRAWS), found
    assert weak_coverage("ivw") < 0.9


def test_robust_methods_survive_outliers() -> None:
    data = simulate(23, J=40, theta=0.4)
    by = data.beta_y.copy()
    by[0, :8] += 0.3 * np.sign(data.beta_x[0, :8])
    dirty = replace(data, beta_y=by)
    assert abs(fit(dirty, "ivw").beta[0, 0] - 0.4) > 0.3
    for method in ("weighted_median", "weighted_mode", "conmix", "lasso", "cml", "robust_ivw", "presso"):
        assert abs(fit(dirty, method).beta[0, 0] - 0.4) < 0.15, method
    for method in ("lasso", "cml", "presso"):
        named = set(fit(dirty, method).meta["outliers"][0][2])
        assert {f"i{j}" for j in range(8)} <= named, method


def test_seeds_repeat_and_differ() -> None:
    data = simulate(29)
    for method in ("weighted_median", "weighted_mode"):
        a, b, c = (estimate(data, method, draws=100, seed=s).se[0, 0] for s in (1, 1, 2))
        assert a == b
        assert a != c


def test_options_travel_and_unknown_ones_are_refused() -> None:
    data = simulate(31)
    assert estimate(data, "egger", distribution="normal").meta["options"] == {"distribution": "normal"}
    with pytest.raises(InputError, match="Did you mean 'distribution'"):
        estimate(data, "egger", distributoin="normal")
    with pytest.raises(InputError, match="normal"):
        estimate(data, "ivw", distribution="gauss")
    with pytest.raises(InputError, match="not among those asked for"):
        run_mr(data, ["ivw"], {"egger": {}})


def test_leave_one_out_in_closed_form_equals_refitting() -> None:
    data = simulate(37, F=2, O=2)
    beta, se = leave_one_out_ivw(data)
    for j, (_, result) in enumerate(leave_one_out(data, "ivw")):
        np.testing.assert_allclose(beta[:, :, j], result.beta, rtol=1e-10)
        np.testing.assert_allclose(se[:, :, j], result.se, rtol=1e-8)


def test_wald_is_ivw_of_one_instrument() -> None:
    data = simulate(41, J=1)
    for method in ("wald", "ivw", "ivw_fixed"):
        np.testing.assert_allclose(
            fit(data, method).beta[0, 0], data.beta_y[0, 0] / data.beta_x[0, 0], rtol=1e-12
        )


def test_multivariable_with_one_exposure_is_univariable() -> None:
    data = simulate(43)
    np.testing.assert_allclose(estimate(data, "mv_ivw").beta, estimate(data, "ivw").beta, rtol=1e-10)
    np.testing.assert_allclose(estimate(data, "mv_ivw").se, estimate(data, "ivw").se, rtol=1e-10)
    np.testing.assert_allclose(estimate(data, "mv_egger").beta, estimate(data, "egger").beta, rtol=1e-9)


def test_multivariable_statuses() -> None:
    data = simulate(47, F=3)
    twin = replace(data, beta_x=np.stack([data.beta_x[0], data.beta_x[1], data.beta_x[0] + data.beta_x[1]]))
    for method in ("mv_ivw", "mv_egger"):
        assert "(x2 = x0 + x1)" in estimate(twin, method).status[0, 0]
        assert estimate(data, method).status[0, 0] == "ok"
        few = estimate(data.select(instruments=np.arange(12) < 2), method)
        assert "3 exposures need at least" in few.status[0, 0]
