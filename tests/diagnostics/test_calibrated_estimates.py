"""Estimates joined with matched shifts: what is measured, borrowed or unmeasured, per outcome and per unit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import mrinterp
from mrinterp.core.errors import InputError
from mrinterp.effects import CalibrationPlan, calibrated_estimates, calibration_plan
from mrinterp.results import Estimates, KnockoutEffects
from mrinterp.results._estimates import Undecided
from mrinterp.stats import calibrated

K, P = 40, 20
RNG = np.random.default_rng(0)
TRUTH = RNG.standard_normal((K, 2))
FEATURES = tuple(f"f{k}" for k in range(K))
OUTCOMES = ("a", "b")


def estimates(scale: np.ndarray | float = 1.0) -> Estimates:
    sd = np.broadcast_to(scale, (K,))[:, None]
    beta = TRUTH + 0.4 * np.random.default_rng(1).standard_normal((K, 2))
    return Estimates(
        method="within",
        label="within regression",
        exposures=FEATURES,
        outcomes=OUTCOMES,
        beta=beta / sd,
        se=np.full((K, 2), 0.1) / sd,
        status="ok",
        n_instruments=100,
        df=30.0,
        assumes=("the cut is complete",),
    )


def shifts(features: tuple[str, ...], scale: np.ndarray | float = 1.0, **meta: object) -> KnockoutEffects:
    at = [FEATURES.index(f) for f in features]
    sd = np.broadcast_to(scale, (K,))[at]
    n = len(at)
    effect = TRUTH[at] + 0.05 * np.random.default_rng(2).standard_normal((K, 2))[at]
    return KnockoutEffects(
        kind="shift",
        label="shift",
        features=features,
        outcomes=OUTCOMES,
        effect=effect / sd[:, None],
        se=np.full((n, 2), 0.05) / sd[:, None],
        df=9.0,
        effect_by_input=np.zeros((n, P, 2)),
        inputs=pd.DataFrame({"prompt": range(P), "family": np.arange(P) // 2}),
        feature_sd=sd,
        meta=dict(meta),
        **{name: np.zeros(n) for name in ("read_back_error", "leakage", "off_support", "outside_range")},
        noise_floor=np.zeros(2),
    )


def test_each_role_has_its_interval() -> None:
    e = estimates()
    plan = calibration_plan(e, 10, 1)
    s = shifts(plan.to_shift)
    roles = np.array(plan.roles)
    assert [(roles == r).sum() for r in ("own", "drawn", "rest")] == [10, 10, 20]
    made = calibrated_estimates(e, s, plan)
    own = np.flatnonzero(roles == "own")
    rows = [s.features.index(FEATURES[k]) for k in own]
    np.testing.assert_allclose(made.beta[own], s.effect[rows])
    np.testing.assert_allclose(made.ci_upper[own], s.interval()[1][rows])
    whole = np.full((K, 2), np.nan), np.full((K, 2), np.nan)
    at = [FEATURES.index(f) for f in s.features]
    whole[0][at], whole[1][at] = s.effect, s.se
    kernel = calibrated(e.beta, e.se, *whole, roles, shift_df=9.0)
    np.testing.assert_allclose(made.ci_lower, kernel.lower)
    np.testing.assert_allclose(made.df[roles == "rest"], 9.0)
    np.testing.assert_allclose(made.df[roles == "drawn"], 8.0)
    assert made.meta["bias"] == "measured"
    assert [c["outcome"] for c in made.meta["calibration"]] == ["a", "b"]
    assert 0.2 < made.meta["calibration"][0]["tau"] < 0.7
    assert "largest on discovery rest on their own shifts" in made.assumes[0]
    assert (made.details["uncalibrated"] == e.beta).all()
    assert made.method == "within_calibrated"
    wider = (made.ci_upper - made.ci_lower) / (e.ci_upper - e.ci_lower)
    assert (wider[roles == "rest"] > 1).all()
    assert ((made.ci_lower <= TRUTH) & (made.ci_upper >= TRUTH)).mean() > 0.85


def test_what_is_said_of_the_estimate_does_not_bear_on_a_shift_in_its_place() -> None:
    coded = replace(estimates(), details={"undecided": np.full((K, 2), float(Undecided.NOISE_DOES_NOT_FIT))})
    plan = calibration_plan(coded, 10, 1)
    made = calibrated_estimates(coded, shifts(plan.to_shift), plan)
    own = np.array(plan.roles) == "own"
    np.testing.assert_array_equal(made.undecided, np.repeat(~own[:, None], 2, axis=1))


def test_units_do_not_matter_once_their_spread_is_given() -> None:
    scale = np.exp(np.random.default_rng(3).uniform(-2, 2, K))
    plan = calibration_plan(estimates(), 10, 1)
    plain = calibrated_estimates(estimates(), shifts(plan.to_shift), plan)
    scaled = calibrated_estimates(estimates(scale), shifts(plan.to_shift, scale), plan, feature_sd=scale)
    np.testing.assert_allclose(scaled.ci_lower * scale[:, None], plain.ci_lower, rtol=1e-9)
    np.testing.assert_allclose(scaled.neglog10p, plain.neglog10p, rtol=1e-6)
    with pytest.raises(InputError, match="feature_sd"):
        calibrated_estimates(estimates(scale), shifts(plan.to_shift, scale), plan)


def test_without_a_plan_the_shifted_count_as_drawn() -> None:
    made = calibrated_estimates(estimates(), shifts(FEATURES[:12]))
    assert made.meta["roles"] == ["drawn"] * 12 + ["rest"] * 28
    assert made.assumes[0] == "local slope, calibrated on average over features, not for the largest"


def test_few_features_all_rest_on_their_own() -> None:
    plan = CalibrationPlan(FEATURES, ("own",) * K, 0)
    s = shifts(FEATURES)
    made = calibrated_estimates(estimates(), s, plan)
    np.testing.assert_allclose(made.ci_lower, s.interval()[0])
    assert made.assumes == ("local slope; every feature rests on its own shift",)
    assert made.meta["bias"] == "measured"


def test_outcomes_whose_bias_is_not_measured_keep_their_intervals_and_say_so() -> None:
    e = estimates()
    plan = calibration_plan(e, 10, 1)
    made = calibrated_estimates(e, shifts(plan.to_shift, extremal_at_clean=["b"]), plan)
    assert [c["bias"] for c in made.meta["calibration"]] == ["measured", "unmeasured"]
    assert "no slope there" in made.meta["calibration"][1]["reason"]
    assert made.meta["bias"] == "unmeasured"
    np.testing.assert_array_equal(made.ci_lower[:, 1], e.ci_lower[:, 1])
    assert (made.ci_lower[:, 0] != e.ci_lower[:, 0]).all()
    assert any("not measured" in a for a in made.assumes)
    few = calibrated_estimates(e, shifts(FEATURES[:4]))
    assert few.meta["bias"] == "unmeasured"
    assert "5 are needed" in few.meta["calibration"][0]["reason"]
    np.testing.assert_array_equal(few.ci_upper, e.ci_upper)
    alone = calibrated_estimates(e)
    assert alone.meta["bias"] == "unmeasured"
    np.testing.assert_array_equal(alone.ci_upper, e.ci_upper)


def test_a_borrowed_bias_widens_and_is_called_borrowed() -> None:
    e = estimates()
    made = calibrated_estimates(e, tau=[0.4, 0.0], tau_from=10)
    np.testing.assert_allclose(made.se[:, 0], np.hypot(0.1, 0.4))
    np.testing.assert_allclose(made.df, 9.0)
    assert made.meta["bias"] == "borrowed"
    assert "borrowed" in made.assumes[0]
    np.testing.assert_allclose(calibrated_estimates(e, tau=0.4).df, 30.0)


def test_it_comes_back_from_its_folder(tmp_path: object) -> None:
    plan = calibration_plan(estimates(), 10, 1)
    made = calibrated_estimates(estimates(), shifts(plan.to_shift), plan)
    made.save(tmp_path / "made")  # type: ignore[operator]
    again = Estimates.load(tmp_path / "made")  # type: ignore[operator]
    np.testing.assert_allclose(again.ci_lower, made.ci_lower)
    assert again.meta == made.meta


def test_sets_of_dependent_features_stay_sets() -> None:
    one = {
        "members": ["f0", "f1"], "outcome": "a", "rank": 1, "depend": ["f1 = f0"], "verdict": "acts",
        "beta": 1.0, "ci_lower": 0.5, "ci_upper": 1.5,
    }  # fmt: skip
    e = replace(estimates(), meta={"dependent_sets": [one]})
    made = calibrated_estimates(e, shifts(FEATURES[2:14]))
    assert "beta" not in made.meta["dependent_sets"][0]
    assert made.sets()
    plan = CalibrationPlan(FEATURES, ("own", "own", *["drawn"] * 10, *["rest"] * 28), 0)
    assert calibrated_estimates(e, shifts(plan.to_shift), plan).meta["dependent_sets"] == []


def test_bad_input() -> None:
    e = estimates()
    plan = calibration_plan(e, 10, 1)
    s = shifts(plan.to_shift)
    cases = [
        (lambda: calibrated_estimates(e, replace(s, kind="zero"), plan), "matched shifts"),
        (lambda: calibrated_estimates(e, shifts(plan.to_shift[1:]), plan), "not shifted"),
        (lambda: calibrated_estimates(e, s, plan, tau=0.1), "one of the two"),
        (lambda: calibrated_estimates(e, plan=plan), "given without shifts"),
        (lambda: calibrated_estimates(e, replace(s, outcomes=("b", "a")), plan), "in one order"),
        (lambda: calibrated_estimates(e, s, replace(plan, features=FEATURES[::-1])), "same features"),
        (lambda: calibrated_estimates(e, tau=-1), "at least 0"),
        (lambda: calibrated_estimates(e, s, plan, feature_sd=[1.0]), "numbers above 0"),
        (lambda: calibrated_estimates(e.beta), "Estimates"),
        (lambda: calibration_plan(e, 3), "at least 5"),
        (
            lambda: calibrated_estimates(e, replace(s, features=("zz", *s.features[1:])), plan),
            "has no estimate",
        ),
    ]
    for call, words in cases:
        with pytest.raises(InputError, match=words):
            call()
    assert mrinterp.effects.calibration_plan is calibration_plan
