"""Every registered summary-level method on every kind of bad cell: a reason there, numbers everywhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from mrinterp.core.mrdata import MRData
from mrinterp.mr._engine.driver import estimate
from mrinterp.mr._engine.registry import registered

J = 12
OPTIONS: dict[str, dict[str, Any]] = {
    "simple_median": {"draws": 20},
    "weighted_median": {"draws": 20},
    "penalized_weighted_median": {"draws": 20},
    "simple_mode": {"draws": 20},
    "weighted_mode": {"draws": 20},
    "cml": {"n": 50_000},
    "presso": {"draws": 50},
    "mv_median": {"draws": 20},
    "mv_presso": {"draws": 50},
    "mv_cml": {"starts": 3},
    "grapple": {"starts": 3},
}
UNIVARIABLE = sorted(registered("univariable"))
MULTIVARIABLE = sorted(registered("multivariable"))
EVERY = UNIVARIABLE + MULTIVARIABLE
WITH_LD = [m for m in EVERY if "ld" in registered()[m].options]
NEED_LD = ["ivw_correlated", "egger_correlated", "pc_gmm"]


def data(seed: int = 0, F: int = 2, O: int = 2) -> MRData:
    """F exposures of which the first acts, O outcomes, 12 good instruments."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 0.1, (F, J)) + 0.05 * rng.choice([-1, 1], (F, J))
    sx, sy = rng.uniform(0.005, 0.01, (F, J)), rng.uniform(0.01, 0.02, (O, J))
    y = 0.4 * x[:1] + sy * rng.normal(size=(O, J))
    names = [tuple(f"{c}{i}" for i in range(n)) for c, n in (("x", F), ("y", O), ("i", J))]
    return MRData(
        beta_x=x + sx * rng.normal(size=(F, J)),
        se_x=sx,
        beta_y=y,
        se_y=sy,
        exposures=names[0],
        outcomes=names[1],
        instruments=names[2],
    )


def fit(d: MRData, method: str) -> Any:
    if method in NEED_LD and d.ld is None:
        d = replace(d, ld=np.eye(d.shape[2]))
    return estimate(d, method, **OPTIONS.get(method, {}))


@cache
def alone(method: str, one: str) -> Any:
    """The fit of one exposure or outcome of the good data by itself."""
    good = data()
    return fit(good.select(outcomes=[one]) if one.startswith("y") else good.select([one]), method)


def has_reason(result: Any, f: int, o: int) -> bool:
    """No number and a status that says why; prints as a sentence."""
    status = result.status[f, o]
    said = str(result[result.exposures[f], result.outcomes[o]])
    return bool(np.isnan(result.beta[f, o]) and len(status) > 15 and status in said)


def changed(d: MRData, **rows: np.ndarray) -> MRData:
    """The first exposure's (x, sx) or the second outcome's (y, sy) numbers replaced."""
    arrays = {k: getattr(d, k).copy() for k in ("beta_x", "se_x", "beta_y", "se_y")}
    for short, (name, row) in {
        "x": ("beta_x", 0), "sx": ("se_x", 0), "y": ("beta_y", 1), "sy": ("se_y", 1),
    }.items():  # fmt: skip
        if short in rows:
            arrays[name][row] = rows[short]
    return replace(d, **arrays)


def kept(d: MRData, values: np.ndarray, count: int) -> np.ndarray:
    return np.where(np.arange(J) < count, values, np.nan)


Change = Callable[[MRData], MRData]
OUTCOME: dict[str, Change] = {
    "one instrument": lambda d: changed(d, y=kept(d, d.beta_y[1], 1)),
    "two instruments": lambda d: changed(d, y=kept(d, d.beta_y[1], 2)),
    "no instrument": lambda d: changed(d, y=kept(d, d.beta_y[1], 0)),
    "an infinite effect": lambda d: changed(d, y=np.where(np.arange(J) == 3, np.inf, d.beta_y[1])),
    "an infinite error": lambda d: changed(d, sy=np.where(np.arange(J) == 3, np.inf, d.se_y[1])),
    "a missing effect": lambda d: changed(d, y=np.where(np.arange(J) == 3, np.nan, d.beta_y[1])),
    "a missing error": lambda d: changed(d, sy=np.where(np.arange(J) == 3, np.nan, d.se_y[1])),
    "all effects equal": lambda d: changed(d, y=np.full(J, 0.05), sy=np.full(J, 0.01)),
    "all effects zero": lambda d: changed(d, y=np.zeros(J)),
    "huge effects": lambda d: changed(d, y=1e30 * d.beta_y[1]),
    "tiny errors": lambda d: changed(d, sy=np.full(J, 1e-60)),
}
EXPOSURE: dict[str, Change] = {
    "one instrument": lambda d: changed(d, x=kept(d, d.beta_x[0], 1)),
    "two instruments": lambda d: changed(d, x=kept(d, d.beta_x[0], 2)),
    "no instrument": lambda d: changed(d, x=kept(d, d.beta_x[0], 0)),
    "all effects zero": lambda d: changed(d, x=np.zeros(J)),
    "all effects equal": lambda d: changed(d, x=np.full(J, 0.1), sx=np.full(J, 0.01)),
    "an infinite effect": lambda d: changed(d, x=np.where(np.arange(J) == 3, np.inf, d.beta_x[0])),
    "an infinite error": lambda d: changed(d, sx=np.where(np.arange(J) == 3, np.inf, d.se_x[0])),
    "a missing effect": lambda d: changed(d, x=np.where(np.arange(J) == 3, np.nan, d.beta_x[0])),
    "a missing error": lambda d: changed(d, sx=np.where(np.arange(J) == 3, np.nan, d.se_x[0])),
    "a zero among them": lambda d: changed(d, x=np.where(np.arange(J) == 3, 0.0, d.beta_x[0])),
    "a copy of another": lambda d: changed(d, x=d.beta_x[1], sx=d.se_x[1]),
}
HOPELESS = {"no instrument", "all effects zero"}


def check(result: Any, f: int, o: int) -> None:
    """A finite number, or a reason; never a nan that is called ok."""
    if np.isfinite(result.beta[f, o]):
        assert result.n_instruments[f, o] > 0
    else:
        assert has_reason(result, f, o), (result.method, result.status[f, o])


@pytest.mark.parametrize("what", OUTCOME)
@pytest.mark.parametrize("method", EVERY)
def test_a_bad_outcome_leaves_the_other_alone(method: str, what: str) -> None:
    bad, good = fit(OUTCOME[what](data()), method), alone(method, "y0")
    np.testing.assert_allclose(bad.beta[:, 0], good.beta[:, 0], rtol=1e-6)
    np.testing.assert_allclose(bad.se[:, 0], good.se[:, 0], rtol=1e-5)
    assert list(bad.status[:, 0]) == list(good.status[:, 0])
    for f in range(2):
        check(bad, f, 1)
        if "infinite" in what:
            assert "infinite" in bad.status[f, 1]
        if what == "no instrument":
            assert has_reason(bad, f, 1)


@pytest.mark.parametrize("what", EXPOSURE)
@pytest.mark.parametrize("method", UNIVARIABLE)
def test_a_bad_exposure_leaves_the_others_alone(method: str, what: str) -> None:
    bad, good = fit(EXPOSURE[what](data()), method), alone(method, "x1")
    np.testing.assert_allclose(bad.beta[1:], good.beta, rtol=1e-6)
    np.testing.assert_allclose(bad.se[1:], good.se, rtol=1e-5)
    for o in range(2):
        check(bad, 0, o)
        assert not (what in HOPELESS and not has_reason(bad, 0, o))
        if what == "one instrument" and registered()[method].min_instruments > 1:
            assert "needs at least" in bad.status[0, o]
        if "infinite" in what:
            assert "infinite" in bad.status[0, o]


@pytest.mark.parametrize("what", EXPOSURE)
@pytest.mark.parametrize("method", MULTIVARIABLE)
def test_a_bad_exposure_is_said_by_joint_methods(method: str, what: str) -> None:
    result = fit(EXPOSURE[what](data()), method)
    reasons = {"one instrument": "need at least", "two instruments": "need at least"}
    for f in range(2):
        for o in range(2):
            check(result, f, o)
            needed = registered()[method].min_instruments + 2
            if what in reasons and not (what == "two instruments" and needed <= 2):
                assert has_reason(result, f, o)
                assert reasons[what] in result.status[f, o]
                assert "x0 lacks 1" in result.status[f, o]
            elif "infinite" in what:
                assert "infinite" in result.status[f, o] or f > 0


@pytest.mark.parametrize("what", [*sorted(HOPELESS), "a copy of another"])
@pytest.mark.parametrize("method", MULTIVARIABLE)
def test_an_exposure_without_information_costs_itself_only(method: str, what: str) -> None:
    result, good = fit(EXPOSURE[what](data()), method), alone(method, "x1")
    np.testing.assert_allclose(result.beta[1:], good.beta, rtol=1e-6)
    np.testing.assert_allclose(result.se[1:], good.se, rtol=1e-5)
    for o in range(2):
        if what in HOPELESS:
            assert has_reason(result, 0, o)
            assert "left out" in result.status[0, o]
            assert result.status[1, o] == good.status[0, o]
        else:
            assert "cannot tell it from x1" in result.status[0, o]
            assert "cannot tell it from x0" in result.status[1, o]
    if what in HOPELESS:
        assert [e["exposure"] for e in result.meta["left_out"]] == ["x0"]
    else:
        assert [e["members"] for e in result.meta["dependent_sets"]] == [["x0", "x1"]] * 2


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("method", EVERY)
def test_few_instruments_give_numbers_or_reasons(method: str, count: int) -> None:
    few = data().select(instruments=np.arange(J) < count)
    result = fit(few, method)
    how = registered()[method]
    needed = how.min_instruments + (2 if how.kind == "multivariable" else 0)
    for f in range(2):
        for o in range(2):
            check(result, f, o)
            if count < needed:
                assert has_reason(result, f, o)
                assert "at least" in result.status[f, o]


@pytest.mark.parametrize("method", WITH_LD)
def test_a_correlation_of_instruments_that_is_none(method: str) -> None:
    wrong = np.full((J, J), -0.9) + 1.9 * np.eye(J)
    missing = np.eye(J)
    missing[0, 1] = missing[1, 0] = np.nan
    for ld, word in ((wrong, "not positive semidefinite"), (missing, "missing or infinite")):
        result = fit(replace(data(), ld=ld), method)
        assert all(has_reason(result, f, o) for f in range(2) for o in range(2))
        assert word in result.status[0, 0]
    copies = np.eye(J)
    copies[0, 1] = copies[1, 0] = 1.0
    result = fit(replace(data(), ld=copies), method)
    for f in range(2):
        for o in range(2):
            check(result, f, o)


@pytest.mark.parametrize("method", EVERY)
@pytest.mark.parametrize("as_sigma", [False, True])
def test_an_error_correlation_that_is_none(method: str, as_sigma: bool) -> None:
    """The errors of x0 and y1 are said to correlate 1.5: nothing that uses it may give that cell a number."""
    good = data()
    corr = np.eye(4)
    bad = corr.copy()
    bad[0, 3] = bad[3, 0] = 1.5
    results = []
    for c in (corr, bad):
        known = replace(good, error_corr=c)
        results.append(fit(replace(known, sigma=known.error_covariance()) if as_sigma else known, method))
    right, wrong = results
    np.testing.assert_allclose(wrong.beta[:, 0], right.beta[:, 0], rtol=1e-6)
    if registered()[method].kind == "univariable":
        np.testing.assert_allclose(wrong.beta[1:], right.beta[1:], rtol=1e-9)
    used = wrong.meta["uses_overlap"]
    joint = registered()[method].kind == "multivariable"
    if used:
        assert has_reason(wrong, 0, 1), wrong.status[0, 1]
        assert "correlation" in wrong.status[0, 1] or "positive semidefinite" in wrong.status[0, 1]
    elif not joint:
        np.testing.assert_allclose(wrong.beta, right.beta, rtol=1e-9)
    else:
        check(wrong, 0, 1)


@pytest.mark.parametrize("method", EVERY)
def test_no_outcome_is_a_table_without_columns(method: str) -> None:
    """Nothing to estimate is no error."""
    result = fit(data().select(outcomes=[]), method)
    assert result.beta.shape == (2, 0)
