"""Robustness values: put in exactly what they say, and the interval touches the region."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mrinterp
from mrinterp.core.errors import InputError
from mrinterp.diagnostics import sensitivity
from mrinterp.results import Estimates, example


def _estimates(beta: float, se: float, df: float = np.inf) -> Estimates:
    return Estimates(
        method="ivw", label="made up", exposures=("x",), outcomes=("y",), beta=np.array([[beta]]),
        se=np.array([[se]]), status="ok", n_instruments=10, df=df,
    )  # fmt: skip


@pytest.mark.parametrize("rope", [0.0, 0.2])
def test_that_confounder_brings_the_interval_to_the_region(rope: float) -> None:
    rng = np.random.default_rng(0)
    N = 300
    x = rng.standard_normal(N)
    y = -0.8 * x + rng.standard_normal(N)
    beta = x @ y / (x @ x)
    u = y - beta * x
    found = sensitivity(_estimates(beta, np.sqrt(u @ u / (N - 1) / (x @ x)), N - 1.0), rope)
    value = found.robustness[0, 0]
    n = rng.standard_normal(N)
    n -= x * (x @ n) / (x @ x) + u * (u @ n) / (u @ u)
    unit = [v / np.linalg.norm(v) for v in (x, u, n)]
    z = np.sqrt(value) * unit[0] * np.sign(beta)
    z += np.sqrt(1 - value) * (np.sqrt(value) * unit[1] + np.sqrt(1 - value) * unit[2])
    Z = np.stack([x, z], axis=1)
    b = np.linalg.lstsq(Z, y, rcond=None)[0]
    rest = y - Z @ b
    se = np.sqrt(rest @ rest / (N - 2) * np.linalg.inv(Z.T @ Z)[0, 0])
    near = np.abs(b[0]) - stats.t.ppf(0.975, N - 2) * se
    assert near == pytest.approx(rope, abs=0.004)


def _data(seed: int = 0, J: int = 200) -> mrinterp.MRData:
    rng = np.random.default_rng(seed)
    b = rng.standard_normal((1, J))
    return mrinterp.MRData(
        beta_x=b, se_x=np.full((1, J), 1e-6), beta_y=0.5 * b + 0.3 * rng.standard_normal((1, J)),
        se_y=rng.uniform(0.2, 0.4, (1, J)), exposures=("x",), outcomes=("y",),
        instruments=tuple(f"z{j}" for j in range(J)),
    )  # fmt: skip


def _ivw(data: mrinterp.MRData) -> Estimates:
    w, b = 1 / data.se_y[0] ** 2, data.beta_x[0]
    return _estimates(
        float((w * b * data.beta_y[0]).sum() / (w * b**2).sum()), float(1 / np.sqrt((w * b**2).sum()))
    )


def test_that_pleiotropy_brings_the_interval_to_the_region() -> None:
    from dataclasses import replace

    data = _data()
    fit = _ivw(data)
    found = sensitivity(fit, 0.1, data=data)
    shifted = replace(data, beta_y=data.beta_y - found.directional * np.sign(data.beta_x))
    moved = _ivw(shifted)
    assert moved.ci_lower[0, 0] == pytest.approx(0.1, abs=1e-9)
    w, b = 1 / data.se_y[0] ** 2, data.beta_x[0]
    rng = np.random.default_rng(1)
    draws = found.balanced[0, 0] * rng.standard_normal((20000, len(b)))
    spread = ((draws * w * b).sum(axis=1) / (w * b**2).sum()).std()
    wide = np.sqrt(fit.se[0, 0] ** 2 + spread**2)
    assert fit.beta[0, 0] - 1.96 * wide == pytest.approx(0.1, abs=0.01)


def test_that_share_of_instruments_carries_the_claim() -> None:
    data = _data()
    fit = _ivw(data)
    found = sensitivity(fit, 0.4, data=data)
    count = round(found.breakdown[0, 0] * 200)
    assert 1 <= count <= 60
    pull = (data.beta_x * (data.beta_y - fit.beta * data.beta_x) / data.se_y**2)[0]
    keep = np.ones(200, bool)
    keep[np.argsort(-pull)[:count]] = False
    assert _ivw(data.select(instruments=keep)).ci_lower[0, 0] == pytest.approx(0.4, abs=0.03)


def test_ratios_and_what_touches_already() -> None:
    none = sensitivity(_estimates(0.1, 0.1), 0.0)
    assert none.robustness[0, 0] != none.robustness[0, 0]  # no degrees of freedom are known
    assert none.distance[0, 0] == 0
    assert "as it is" in none.sentence("x", "y")
    strong = sensitivity(_estimates(np.log(3.0), 1e-9, 50.0), 0.0, ratio=["y"])
    assert strong.e_value[0, 0] == pytest.approx(3 + np.sqrt(6), rel=1e-6)
    with pytest.raises(InputError, match="rope"):
        sensitivity(_estimates(1.0, 0.1), -1.0)
    with pytest.raises(InputError, match="data"):
        sensitivity(_estimates(1.0, 0.1), 0.0, data=_data().select(outcomes=["y"], exposures=[]))


def test_one_number_a_claim_is_that_of_the_sensitivity_of_mr() -> None:
    from mrinterp.diagnostics._sensitivity import with_robustness

    made, rope = example("Estimates"), 0.02
    shape = made.beta.shape
    within = replace(
        made,
        beta=made.beta + 1.0,
        se=np.full(shape, 0.05),
        df=np.full(shape, 30.0),
        ci_lower=None,
        ci_upper=None,
    )
    frame = within.to_frame()
    table = pd.DataFrame(
        {"feature": frame["exposure"], "outcome": frame["outcome"], "within": frame["estimate"]}
    )
    table = table.assign(
        within_se=frame["se"], within_lower=frame["ci_lower"], within_upper=frame["ci_upper"]
    )
    found = with_robustness(table, within, dict.fromkeys(within.outcomes, rope))["robustness"]
    wanted = sensitivity(within, rope).robustness.ravel()
    assert (wanted > 0).all()
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_failed_negative_controls_stand_before_everything() -> None:
    from types import SimpleNamespace

    from mrinterp.report.controls import failed_controls

    def said(verdict: str, name: str = "placebo instruments: noise", rung: str = "within") -> str:
        check = {"name": name, "verdict": verdict}
        results = pd.DataFrame({"rests_on": [rung]})
        study = SimpleNamespace(checks=[check], claim_checks=[], results=results)
        return failed_controls(study)  # type: ignore[arg-type]

    first = (
        "Negative controls failed (placebo instruments: noise): estimates by instruments are not calibrated."
    )
    assert said("failed") == f"{first} All claims rest on them."
    assert (
        said("failed", rung="rectified")
        == f"{first} Claims rest on knockouts, which have controls of their own."
    )
    assert said("passed") == said("warning") == ""
    assert "knockouts are not calibrated. All claims" in said("failed", "placebo edits: y", "rectified")
    assert "No claim rests on them" in said("failed", "differences between families", "within")
