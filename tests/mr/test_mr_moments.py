"""Generalized method of moments and weak-instrument sets: published numbers, correlated instruments, level."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from mrinterp.core.mrdata import MRData
from mrinterp.mr._engine.driver import estimate
from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._multivariable.joint_data import JointData, joint_data
from mrinterp.mr._multivariable.mv_gmm import independent_moments, marginal_moments
from mrinterp.stats.profile.dense_profile import minimize_dense
from mrinterp.stats.profile.likelihood import (
    minimize_profile,
    profile_derivatives,
    profile_value,
)
from mrinterp.stats.profile.weak_tests import clr_p, dense_effect_statistics
from tests.mr.joint_cases import (
    CORRELATED,
    L2,
    MV,
    close,
    column,
    draw,
    entry_of,
    fit_of,
    here,
    sized,
)
from tests.reference.mr_cases import load_case


@pytest.mark.parametrize("case", here(CORRELATED))
@pytest.mark.parametrize("variant", ["robust", "nonrobust", "thres0.999"])
def test_principal_component_gmm_agrees(case: str, variant: str) -> None:
    loaded, entry = entry_of(case, f"mendr.corr.pcgmm.{variant}")
    ours = estimate(
        sized(loaded, entry),
        "pc_gmm",
        threshold=entry.args["thres"],
        components="prcomp",
        overdispersion=entry.args["robust"],
        errors="standard",
    )
    close(ours.beta[0, 0], entry.results["estimate"], 1e-5)
    close(ours.se[0, 0], entry.results["se"], 1e-5)
    close(ours.details["f"][0, 0], entry.results["F"], 1e-5)
    close(ours.details["q"][0, 0], entry.results["Q"], 1e-5)
    assert ours.details["n_components"][0, 0] == entry.results["PCs"]
    if entry.results["Overdispersion"] not in ([], None):
        scaled = ours.details["overdispersion"][0, 0] * entry.args["ny"]
        close(scaled, max(entry.results["Overdispersion"], 0.0), 1e-5)


@pytest.mark.parametrize("case", here(CORRELATED))
@pytest.mark.parametrize(
    ("method", "letters"), [("anderson_rubin_set", "AR"), ("lm_set", "K"), ("clr_set", "CLR")]
)
def test_weak_sets_agree_on_the_published_grid(case: str, method: str, letters: str) -> None:
    loaded, entry = entry_of(case, "mendr.corr.clr")
    options = {} if method == "anderson_rubin_set" else {"scaling": "sufficient"}
    ours = estimate(sized(loaded, entry), method, **options)
    grid = np.arange(entry.args["CIMin"], entry.args["CIMax"] + 1e-9, entry.args["CIStep"]).round(10)
    inside = np.zeros(len(grid), bool)
    for low, high in ours.meta["sets"][0]["intervals"]:
        inside |= (grid >= low) & (grid <= high)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    close(grid[edges[::2]], np.atleast_1d(entry.results[f"{letters}lower"]), 0, 1e-9)
    close(grid[edges[1::2] - 1], np.atleast_1d(entry.results[f"{letters}upper"]), 0, 1e-9)


@pytest.mark.parametrize(("case", "low", "high"), [("valid", 0.2875, 0.3395), ("weak", 0.0645, 0.4435)])
def test_anderson_rubin_set_has_its_known_limits(case: str, low: float, high: float) -> None:
    loaded = load_case(case)
    assert loaded is not None
    ours = estimate(loaded.data, "anderson_rubin_set")
    close([ours.ci_lower[0, 0], ours.ci_upper[0, 0]], [low, high], 0, 2e-4)  # type: ignore[index]


@pytest.mark.needs("classic")
def test_anderson_rubin_set_says_empty() -> None:
    loaded = load_case("uv01_ldl_chd")
    assert loaded is not None
    assert "empty" in estimate(loaded.data, "anderson_rubin_set").status[0, 0]
    assert estimate(loaded.data, "anderson_rubin_set", overdispersion=True).status[0, 0] == "ok"


@pytest.mark.parametrize("case", here([c for c in MV if c != "mv03_presso"]))
@pytest.mark.parametrize("variant", ["robust", "nonrobust"])
def test_gmm(case: str, variant: str) -> None:
    """Their optimizer stops early: same Q and error formulas at their estimate, ours has the lower Q."""
    loaded, entry = entry_of(case, f"mendr.mvgmm.{variant}")
    data = sized(loaded, entry)
    ours = estimate(data, "mv_gmm", overdispersion=entry.args["robust"], errors="standard")
    F, _, J = data.shape
    prepared = joint_data(Effects(data.beta_x, data.se_x, data.beta_y, data.se_y), needed=F + 1)
    assert isinstance(prepared, JointData)
    moments = independent_moments(prepared, data.n_x, data.n_y)
    theirs = np.array(entry.results["estimate"])[None]
    extra = (
        max(entry.results["Overdispersion"] or 0.0, 0.0) / entry.args["ny"] if variant == "robust" else 0.0
    )
    _, v, _ = moments.residuals(theirs, extra)
    se = np.sqrt(np.diag(np.linalg.inv((moments.beta_x[0].T / v[0]) @ moments.beta_x[0])))
    close(se, entry.results["se"], 1e-6)
    close(2 * profile_value(moments, theirs, L2, extra)[0], entry.results["Q"], 1e-6)
    best = minimize_profile(moments, theirs, tau2=extra)
    assert 2 * best.value[0] <= entry.results["Q"]
    assert np.abs(profile_derivatives(moments, best.theta, L2, extra)[1]).max() < 1e-5
    if variant == "nonrobust":
        close(column(ours.beta), best.theta[0], 1e-7)
        assert ours.details["q"][0, 0] < entry.results["Q"]
    elif case != "mv3_condweak":  # their Q is 35.7 where the minimum is 32.2
        assert (np.abs(column(ours.beta) - theirs[0]) < 0.15 * se).all()


@pytest.mark.needs("classic")
def test_gmm_refuses_where_theirs_has_a_negative_variance() -> None:
    loaded, entry = entry_of("mv03_presso", "mendr.mvgmm.robust")
    assert entry.results["Q"] < 0
    ours = estimate(sized(loaded, entry), "mv_gmm")
    assert np.isnan(ours.beta).all()
    assert "not positive definite" in ours.status[0, 0]


def test_conditional_likelihood_ratio_p_against_simulation() -> None:
    rng = np.random.default_rng(0)
    q1, q2 = rng.chisquare(1, 200_000), rng.chisquare(9, 200_000)
    for rank in (0.0, 5.0, 60.0):
        a = q1 + q2 - rank
        statistic = 0.5 * (a + np.sqrt(a * a + 4 * rank * q1))
        for at in (2.0, 6.0, 15.0):
            assert abs(clr_p(np.array([at]), np.array([rank]), 9)[0] - (statistic > at).mean()) < 0.005


# ---------------------------------------------------------------- several exposures, correlated instruments

SETS = ["anderson_rubin_set", "lm_set", "clr_set"]


def linked(seed: int, F: int = 2, J: int = 15, se: float = 0.15) -> tuple[MRData, np.ndarray]:
    """Exposures that correlate .6 on instruments that correlate .5 with their neighbours; errors shared at .3."""
    rng = np.random.default_rng(seed)
    ld = 0.5 ** np.abs(np.subtract.outer(np.arange(J), np.arange(J)))
    root = np.linalg.cholesky(np.full((F, F), 0.6) + 0.4 * np.eye(F))
    beta, theta = root @ rng.standard_normal((F, J)) @ ld, np.array([0.3, -0.2, 0.0])[:F]
    corr = np.full((F + 1, F + 1), 0.3) + 0.7 * np.eye(F + 1)
    size = np.exp(0.2 * rng.standard_normal(J))
    errors = np.linalg.cholesky(corr) @ rng.standard_normal((F + 1, J)) @ np.linalg.cholesky(ld).T
    sx, sy = np.tile(se * size, (F, 1)), 0.1 * size[None]
    names = [tuple(f"{c}{i}" for i in range(n)) for c, n in (("x", F), ("y", 1), ("g", J))]
    y = (theta @ beta)[None] + sy * errors[F:]
    return MRData(
        beta_x=beta + sx * errors[:F],
        se_x=sx,
        beta_y=y,
        se_y=sy,
        exposures=names[0],
        outcomes=names[1],
        instruments=names[2],
        error_corr=corr,
        ld=ld,
    ), theta


@pytest.mark.parametrize("options", [{}, {"overdispersion": True}])
@pytest.mark.parametrize("method", SETS)
def test_sets_with_a_correlation_of_the_identity_are_those_of_independent_instruments(
    method: str, options: dict[str, Any]
) -> None:
    data, _ = linked(0, F=3, J=20)
    dense = estimate(replace(data, ld=np.eye(20)), method, **options)
    plain = estimate(replace(data, ld=None), method, **options)
    for name in ("beta", "se", "ci_lower", "ci_upper", "neglog10p"):
        close(getattr(dense, name), getattr(plain, name), 1e-7, 1e-9)
    assert (dense.status == plain.status).all()


@pytest.mark.parametrize("method", ["anderson_rubin_set", "mv_gmm"])
def test_rotating_correlated_instruments_changes_nothing(method: str) -> None:
    """Sums and differences of instruments whose errors are alike carry the same information."""
    data, _ = linked(1, J=16)
    same = replace(data, se_x=np.full_like(data.se_x, 0.15), se_y=np.full_like(data.se_y, 0.1))
    turn = np.kron(np.eye(8), np.array([[1.0, 1.0], [1.0, -1.0]]))
    spread = np.sqrt(np.diag(turn @ same.ld @ turn.T))  # type: ignore[operator]
    turned = replace(
        same,
        beta_x=same.beta_x @ turn.T,
        beta_y=same.beta_y @ turn.T,
        se_x=same.se_x * spread,
        se_y=same.se_y * spread,
        ld=turn @ same.ld @ turn.T / np.outer(spread, spread),
    )
    a, b = estimate(same, method), estimate(turned, method)
    close(b.beta, a.beta, 1e-5, 1e-7)
    close(b.ci_lower, a.ci_lower, 1e-4, 1e-6)
    close(b.ci_upper, a.ci_upper, 1e-4, 1e-6)


def test_the_least_statistic_given_one_effect_is_found() -> None:
    """Anderson-Rubin's statistic of one effect: no other effects give less, by a general search."""
    from scipy.optimize import minimize

    data, _ = linked(2, F=3, J=18)
    prepared = joint_data(
        Effects(data.beta_x, data.se_x, data.beta_y, data.se_y), *_covariances(data), needed=4
    )
    assert isinstance(prepared, JointData)
    moments = marginal_moments(prepared, 0, data.ld, np.eye(18), None, None)  # type: ignore[arg-type]
    centre = minimize_dense(moments).theta
    values = np.array([-1.0, 0.2, 5.0])
    ours = dense_effect_statistics(moments, 1, values, centre)
    for value, found in zip(values, ours.ar, strict=True):
        best = min(
            minimize(lambda r, v=value: moments.objective(np.array([r[0], v, r[1]]))[0], start).fun
            for start in (centre[[0, 2]], np.zeros(2))
        )
        assert found <= best * (1 + 1e-6) + 1e-9


def _covariances(data: MRData) -> tuple[np.ndarray, np.ndarray]:
    F = data.shape[0]
    sigma = data.error_covariance()
    return sigma[:, :F, :F], sigma[:, :F, F:]


def _p_values(data: MRData) -> Callable[[int, np.ndarray], dict[str, np.ndarray]]:
    """P-values of the three tests of an exposure's effect, from their statistics."""
    F, _, J = data.shape
    effects = Effects(data.beta_x, data.se_x, data.beta_y, data.se_y)
    prepared = joint_data(effects, *_covariances(data), needed=F + 1)
    assert isinstance(prepared, JointData)
    moments = marginal_moments(prepared, 0, np.asarray(data.ld), np.eye(J), None, None)
    centre = minimize_dense(moments).theta

    def p_values(k: int, values: np.ndarray) -> dict[str, np.ndarray]:
        s = dense_effect_statistics(moments, k, values, centre)
        found = (chi2.sf(s.ar, J - F + 1), chi2.sf(s.lm, 1), clr_p(s.clr(), s.rank, J - F))
        return dict(zip(SETS, found, strict=True))

    return p_values


def test_sets_hold_their_level_with_correlated_weak_instruments() -> None:
    """A set covers where its test does not reject the planted effect: the next test holds the one against the other."""
    covered: dict[str, list[bool]] = {m: [] for m in (*SETS, "mv_gmm")}
    for seed in range(40):
        data, theta = linked(seed + 100, J=10, se=1.0)
        p_values, wald = _p_values(data), estimate(data, "mv_gmm")
        for k in range(2):
            for method, p in p_values(k, theta[[k]]).items():
                covered[method].append(bool(p[0] >= 0.05))
            covered["mv_gmm"].append(bool(wald.ci_lower[k, 0] <= theta[k] <= wald.ci_upper[k, 0]))
    level = {m: np.mean(c) for m, c in covered.items()}
    # 80 cells: three Monte-Carlo errors below .95 are .877. Wald intervals are not made for this.
    assert all(level[m] >= 0.877 for m in SETS), level
    assert level["mv_gmm"] < min(level[m] for m in SETS), level


@pytest.mark.parametrize("method", SETS)
def test_sets_end_where_their_tests_reject(method: str) -> None:
    """Weak instruments: sets of one piece, of several and without end."""
    pieces = ends = 0
    for seed in (100, 101, 108):
        data, theta = linked(seed, J=10, se=1.0)
        p_values = _p_values(data)
        for listed in estimate(data, method).meta["sets"]:
            k, intervals = data.exposures.index(listed["exposure"]), listed["intervals"]
            for end, into in [(e, s) for i in intervals for e, s in zip(i, (1, -1), strict=True)]:
                if (
                    abs(end) < 100
                ):  # farther out rounding decides; the statistics may jump where another effect leaps
                    step = 1e-3 * (1 + abs(end))
                    out, in_ = p_values(k, end + np.array([-step, step]) * into)[method]
                    assert out < 0.05 <= in_
                    ends += 1
            inside = any(a <= theta[k] <= b for a, b in intervals)
            assert inside == (p_values(k, theta[[k]])[method][0] >= 0.05)
            pieces += len(intervals)
    assert pieces >= 5
    assert ends >= 6


def test_copies_among_the_instruments_are_a_status() -> None:
    data, _ = linked(3)
    ld = data.ld.copy()  # type: ignore[union-attr]
    ld[1], ld[:, 1] = ld[0], ld[:, 0]
    ld[1, 1] = 1.0
    for method in (*SETS, "mv_gmm"):
        found = estimate(replace(data, ld=ld), method)
        assert np.isnan(found.beta).all()
        assert "positive" in found.status[0, 0]


def test_mv_ivw_with_correlated_instruments_is_generalized_least_squares() -> None:
    data, _ = linked(4, F=3, J=20)
    omega = data.ld * np.outer(data.se_y[0], data.se_y[0])  # type: ignore[operator]
    B, inverse = data.beta_x.T, np.linalg.inv(omega)
    theta = np.linalg.solve(B.T @ inverse @ B, B.T @ inverse @ data.beta_y[0])
    e = data.beta_y[0] - B @ theta
    variance = np.linalg.inv(B.T @ inverse @ B) * max(1.0, e @ inverse @ e / 17)
    ours = fit_of("mv_ivw", data, ld=data.ld)  # past the guard: these effects do not follow the correlation
    close(column(ours.beta), theta, 1e-10)
    close(column(ours.se), np.sqrt(np.diag(variance)), 1e-10)
    one = data.select(["x0"])
    close(fit_of("mv_egger", one, ld=one.ld).beta, fit_of("egger_correlated", one, ld=one.ld).beta, 1e-8)


@pytest.mark.parametrize("method", ["mv_ivw", "mv_egger"])
def test_sandwich_errors_are_hc3(method: str) -> None:
    import statsmodels.api as sm

    data = draw(O=1)
    sign = np.where(data.beta_x[0] < 0, -1.0, 1.0)
    X = (sign * data.beta_x).T if method == "mv_egger" else data.beta_x.T
    X = np.c_[np.ones(90), X] if method == "mv_egger" else X
    w = 1 / data.se_y[0]
    y = sign * data.beta_y[0] if method == "mv_egger" else data.beta_y[0]
    theirs = sm.OLS(w * y, w[:, None] * X).fit(cov_type="HC3")
    ours = estimate(data, method, model="sandwich", distribution="t")
    close(column(ours.beta), theirs.params[-4:], 1e-10)
    close(column(ours.se), theirs.bse[-4:], 1e-10)
    assert (ours.df == 90 - X.shape[1]).all()


@pytest.mark.parametrize("sufficient", [False, True])
def test_statistics_go_over_into_their_limit_where_another_effect_runs_off(sufficient: bool) -> None:
    """Below -0.12 the least objective is reached as the other effect grows without bound (singular by rounding)."""
    data, _ = linked(108, J=10, se=1.0)
    xx, xy = (data.error_covariance()[:, :2, cols] for cols in (slice(2), slice(2, 3)))
    errors = joint_data(Effects(data.beta_x, data.se_x, data.beta_y, data.se_y), xx, xy, needed=4)
    assert isinstance(errors, JointData)
    moments = marginal_moments(errors, 0, np.asarray(data.ld), np.eye(10), None, None)
    values = np.linspace(-0.27, 0.0, 28)
    with np.errstate(over="ignore"):
        found = dense_effect_statistics(moments, 0, values, minimize_dense(moments).theta, sufficient)
    assert 0 < np.ptp(found.ar[:10]) + 1e-12 < 1e-6 < np.ptp(found.ar[16:])
    for statistic, step in ((found.lm, 0.1), (found.rank, 0.2)):
        assert np.abs(np.diff(statistic)).max() < step
        assert np.abs(np.diff(statistic[:15], n=2)).max() < 0.01
