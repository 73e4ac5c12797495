"""Verdicts of claims, their confirmation on other families, and the table that is a study's answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mrinterp.core.errors import InputError
from mrinterp.diagnostics._claim_checks import claim_checks
from mrinterp.effects._ceiling import CEILINGS, ceilings
from mrinterp.effects._claims import (
    SIGN_VARIES,
    _claimed_intervals,
    claim_table,
    claim_verdicts,
    confirmation,
    rests_on,
)
from mrinterp.effects._ladder import _gated
from mrinterp.effects._rungs import rung_table
from mrinterp.results import example
from mrinterp.results._agreement import Agreement
from mrinterp.results._estimates import Estimates, Undecided
from mrinterp.results._knockout_effects import FIRING, KnockoutEffects

NAMES = ("a", "b", "c", "d")
ROPE = 0.1


def made(beta: Any, se: float = 0.02, estimand: str = "contrast", **changes: Any) -> Estimates:
    beta = np.asarray(beta, dtype=float)[:, None]
    F = len(beta)
    given: dict[str, Any] = {
        "method": "rectified_contrast",
        "label": "rectified",
        "exposures": NAMES[:F],
        "outcomes": ("y",),
        "beta": beta,
        "se": np.full((F, 1), se),
        "df": np.full((F, 1), 30.0),
        "status": np.full((F, 1), "ok", dtype=object),
        "n_instruments": np.full((F, 1), 40),
        "meta": {"estimand": estimand},
    }
    return Estimates(**(given | changes))


def knocked(kind: str = "resample", **changes: Any) -> KnockoutEffects:
    base = example("KnockoutEffects", size=4)
    F, P = 4, len(base.inputs)
    blank = {
        "kind": kind,
        "features": NAMES,
        "outcomes": ("y",),
        "meta": {},
        "flags": ("",) * F,
        "noise_floor": np.zeros(1),
        "outcome_sd": np.ones(1),
    }
    cells = (
        "effect",
        "se",
        "mean",
        "mean_se",
        "r2",
        "share_changed",
        "rms_change",
        "rms_bound",
        "rms_upper",
        *FIRING,
    )
    blank |= {name: np.zeros((F, 1)) for name in cells}
    blank |= {name: np.zeros((F, P, 1)) for name in ("effect_by_input", "change_by_input")}
    blank |= {name: np.zeros((2, F, 1)) for name in ("effect_bootstrap", "mean_bootstrap")}
    blank |= {
        name: np.zeros(F)
        for name in ("read_back_error", "leakage", "off_support", "outside_range", "moved_by")
    }
    blank |= {
        "effect_df": np.full(F, 20.0),
        "feature_sd": np.ones(F),
        "mean_move": np.full(F, 2.563),
        "weight": np.ones((F, P)),
    }
    blank |= {"positions": (), "outside": np.zeros((F, 0)), "massive_activation": np.zeros((F, 0))}
    return replace(base, **(blank | changes))


def test_verdicts_by_interval() -> None:
    found = claim_verdicts(made([0.5, 0.01, 0.12, -0.4]), ROPE)
    assert found.ravel().tolist() == ["causal", "negligible", "indeterminate", "causal"]


def test_a_local_slope_never_shows_that_there_is_no_effect() -> None:
    found = claim_verdicts(made([0.5, 0.01, 0.0, -0.4], estimand="local slope"), ROPE)
    assert found.ravel().tolist() == ["causal", "indeterminate", "indeterminate", "causal"]


def test_what_other_values_move_is_not_negligible() -> None:
    """Inside the region by its contrast; resampling moves the outcome by more than twice the region, surely."""
    bound = np.array([0.9, 0.29, 0.27, 0.9])[:, None]
    estimates = made([0.5, 0.01, 0.01, 0.0])
    words = claim_verdicts(estimates, ROPE, knocked(rms_bound=bound)).ravel().tolist()
    assert words == ["causal", SIGN_VARIES, "negligible", SIGN_VARIES]
    upper = np.array([0.9, 0.9, 0.29, 0.27])[:, None]
    unsure = claim_verdicts(made([0.5, 0.01, 0.01, 0.0]), ROPE, knocked(rms_bound=bound / 9, rms_upper=upper))
    assert unsure.ravel().tolist() == ["causal", "indeterminate", "indeterminate", "negligible"]
    drawn = knocked(rms_bound=bound, rms_upper=upper, meta={"sampled_outcomes": ["y"]})
    assert claim_verdicts(estimates, ROPE, drawn).ravel().tolist()[1:] == ["negligible"] * 3
    assert SIGN_VARIES not in claim_verdicts(estimates, ROPE, drawn)


def test_intervals_of_what_is_called_of_draws_miss_one_in_twenty() -> None:
    """24 features whose noise is far beyond most effects, 300 studies: plain intervals of what stands out miss often."""
    rng, names = np.random.default_rng(1), tuple(f"f{i}" for i in range(24))
    drawn, missed = np.array([True]), []
    for _ in range(300):
        truth = np.where(rng.random(24) < 0.15, 4.0, 0.05 * rng.standard_normal(24))
        e = made(truth + rng.standard_normal(24), se=1.0, exposures=names, df=np.full((24, 1), 200.0))
        p = 2 * stats.t.sf(np.maximum(np.abs(e.beta[:, 0]) - ROPE, 0), 200)
        called = stats.false_discovery_control(p) <= 0.05
        words = np.where(called, "causal", "indeterminate").astype(object)[:, None]
        for ends in (_claimed_intervals(e, words, drawn), (e.ci_lower, e.ci_upper)):
            off = ((ends[0][:, 0] > truth) | (truth > ends[1][:, 0]))[called]
            missed.append(off.mean() if called.any() else 0.0)
        lower, upper = _claimed_intervals(e, words, drawn)
        assert ((lower[called] > ROPE) | (upper[called] < -ROPE)).all(), "outside the region too"
        np.testing.assert_array_equal(lower[~called], e.ci_lower[~called])
        np.testing.assert_array_equal(_claimed_intervals(e, words, ~drawn)[0], e.ci_lower)
    adjusted, plain = np.array(missed).reshape(-1, 2).mean(axis=0)
    assert adjusted < 0.06
    assert plain > 1.4 * adjusted


def test_of_a_drawn_outcome_only_what_stands_out_among_all_features_is_causal() -> None:
    """An effect 2.2 standard errors beyond the region: enough for one interval, not for the best of four."""
    beta = np.array([0.5, 0.1 + 2.2 * 0.02, 0.0, 0.0])
    estimates = made(beta.tolist())
    sampled = knocked(meta={"sampled_outcomes": ["y"]})
    alone = claim_verdicts(estimates, ROPE, knocked()).ravel().tolist()
    assert alone == ["causal", "causal", "negligible", "negligible"]
    found = claim_verdicts(estimates, ROPE, sampled).ravel().tolist()
    assert found == ["causal", "indeterminate", "negligible", "negligible"]


def test_what_cannot_be_told_is_indeterminate() -> None:
    """By the coded column alone: words of a status decide nothing."""
    status = np.array([["this noise"], ["ok"], ["ok"], ["fewer than 10"]], dtype=object)
    codes = np.array([[Undecided.DECIDED], [Undecided.FEW_FAMILIES], [Undecided.NO_LABEL_FLIPPED], [0]])
    estimates = made([0.5, 0.9, 0.0, 0.0], status=status, details={"undecided": codes})
    assert claim_verdicts(estimates, ROPE).ravel().tolist() == [
        "causal",
        "indeterminate",
        "indeterminate",
        "negligible",
    ]


def test_a_noise_that_does_not_move_a_feature_is_coded() -> None:
    coded = _gated(made([0.5, 0.5, 0.5, 0.5], estimand="local slope"), [1.0, 0.1, 4.0, np.nan], 0.04)
    assert coded.details["undecided"].ravel().tolist() == [0, 1, 1, 0]
    assert "try instruments.noise.scale = 0.4" in coded.status[1, 0]
    assert claim_verdicts(coded, ROPE).ravel().tolist() == [
        "causal",
        "indeterminate",
        "indeterminate",
        "causal",
    ]


@pytest.mark.parametrize(
    ("changes", "families", "grade", "why"),
    [
        ({}, 160, "A", ""),
        ({}, 159, "C", "fewer than 160 families in all"),
        ({}, 39, "N", "fewer than 40 families in all"),
        ({}, None, "A", ""),
        (
            {"meta": {"estimand": "contrast", "bias": "none: knocked out", "all_families": 80}},
            None,
            "C",
            "fewer than 160",
        ),
        ({"details": {"families": [[9.0], [10.0]]}}, 160, "N", "fewer than 10 knocked-out families"),
        ({"meta": {"estimand": "local slope", "bias": "measured"}}, 160, "C", "local slope"),
        ({"meta": {"estimand": "local slope", "bias": "borrowed"}}, 159, "C", "bias borrowed"),
        ({"meta": {"estimand": "local slope"}}, 200, "D", "bias not measured"),
    ],
)
def test_what_a_claim_can_reach_at_most(changes: Any, families: int | None, grade: str, why: str) -> None:
    given = {"meta": {"estimand": "contrast", "bias": "none: knocked out"}} | changes
    found = ceilings(made([0.5, 0.5], **given), families)
    assert CEILINGS[found[0, 0]] == grade
    assert found[0, 0].startswith(why)
    if "details" in changes:
        assert found[1, 0] == "", "its own families count, feature by feature"


def test_other_families_confirm_sign_and_size() -> None:
    words = confirmation(made([0.5, 0.5, 0.5, 0.5]), made([0.55, 0.15, -0.4, 0.0]), ROPE).ravel().tolist()
    assert words == ["confirmed", "size disagrees", "contradicted", "contradicted"]
    wide = confirmation(made([0.5, 0.5]), made([0.5, 0.2], se=0.2), ROPE).ravel().tolist()
    assert wide == ["size not resolved", "size not resolved"]
    gone = confirmation(made([0.5]), made([np.nan]), ROPE).ravel().tolist()
    assert gone == ["no knockout"]
    with pytest.raises(InputError, match="one estimand"):
        confirmation(made([0.5]), made([0.5], estimand="local slope"), ROPE)
    with pytest.raises(InputError, match="other features"):
        confirmation(made([0.5]), made([0.5, 0.1]), ROPE)


def test_the_ratio_interval_covers() -> None:
    """Estimate and judge of one true effect: "confirmed" nearly always where both are precise, "size disagrees" rarely."""
    rng, draws = np.random.default_rng(0), 4000
    names = tuple(f"f{i}" for i in range(draws))
    one, two = (made(1.0 + s * rng.normal(size=draws), se=s, exposures=names) for s in (0.05, 0.1))
    assert np.mean(confirmation(one, two, ROPE) == "confirmed") > 0.99
    half = made(0.5 * (1.0 + 0.1 * rng.normal(size=draws)), se=0.05, exposures=names)
    assert np.mean(confirmation(one, half, ROPE) == "size disagrees") == pytest.approx(0.025, abs=0.012)


def test_claims_rest_on_the_weakest_assumptions() -> None:
    e = made([0.5])
    assert rests_on({"observational": e, "within": e}) == "within"
    assert rests_on({"within": e, "within_calibrated": e}) == "within_calibrated"
    assert rests_on({"within": e, "rectified": e, "gradient": e}) == "rectified"
    with pytest.raises(InputError, match="Give one of rectified"):
        rests_on({"gradient": e})


def answer() -> pd.DataFrame:
    slope = made([0.25, 0.01, 0.1, 0.0], estimand="local slope")
    contrast = knocked("contrast", mean_move=np.array([5.126, 2.563, 2.563, -2.563]))
    estimates = {"rectified": made([0.5, 0.01, 0.3, 0.0]), "within": slope}
    return claim_table(
        estimates, contrast, made([0.5, 0.0, 0.0, 0.0]), made([0.45, 0.0, 0.3, 0.0]), np.array([ROPE]), NAMES
    )


def test_the_answer_says_what_is_per_firing() -> None:
    def cells(value: float) -> np.ndarray:
        return np.array([[value], [np.nan], [np.nan], [np.nan]])

    details = {"share_firing": cells(0.02), "as_it_is": cells(0.4)}
    details |= {"as_it_is_lower": cells(0.3), "as_it_is_upper": cells(0.5)}
    rare, judge = made([0.5, 0.01, 0.3, 0.0], details=details), made([0.5, 0.0, 0.0, 0.0])
    table = claim_table({"rectified": rare}, knocked("contrast"), judge, judge, np.array([ROPE]), NAMES)
    table = table.set_index("feature")
    assert table["per_firing"].to_dict() == {"a": True, "c": False, "b": False, "d": False}
    shown = ["share_firing", "as_it_is", "as_it_is_lower", "as_it_is_upper"]
    assert table.loc["a", shown].tolist() == [0.02, 0.4, 0.3, 0.5]
    assert table.loc["b", shown].isna().all()


def test_the_answer_stands_on_one_scale() -> None:
    table = answer().set_index("feature")
    assert table.index.tolist() == ["a", "c", "b", "d"]
    assert table.loc["a", "within"] == pytest.approx(0.5), "a slope of .25 times a move of two natural sd"
    assert table.loc["a", "within_se"] == pytest.approx(0.04)
    assert (table["within_lower"] <= table["within_upper"]).all()
    assert table["rests_on"].unique().tolist() == ["rectified"]
    assert table["confirmed"].tolist() == ["confirmed", "contradicted", "", ""]


def test_checks_fail_where_other_families_disagree() -> None:
    table, held = answer(), example("Agreement")
    found = claim_checks(table, held)[0]
    assert found.verdict == "failed"
    assert "Do not rely on c on y" in str(found)
    assert claim_checks(table[table["feature"] == "a"], held)[0].verdict == "passed"
    assert claim_checks(table[table["feature"] == "b"], held)[0].to_dict()["verdict"] == "not applicable"
    row = {"method": "within", "label": "within", "outcome": "y", "n": 40, "coverage": 0.5}
    row |= {"coverage_lower": 0.3, "coverage_upper": 0.7}
    doubted = claim_checks(table, replace(held, scores=pd.DataFrame([row])))
    assert doubted[1].verdict == "failed"
    assert "no claim rests on it" in str(doubted[1])


def test_rungs_are_compared_within_their_estimand() -> None:
    estimates = {
        "rectified": made([0.5, 0.01, 0.3, 0.0]),
        "within": made([0.25, 0.01, 0.1, 0.0], estimand="local slope"),
    }
    row = {"method": "within", "label": "within", "outcome": "y", "n": 4, "coverage": 0.75}
    row |= {"coverage_lower": 0.2, "coverage_upper": 0.99}
    held: Agreement = replace(example("Agreement"), scores=pd.DataFrame([row]))
    table = rung_table(
        estimates,
        held,
        made([0.5, 0.0, 0.0, 0.0]),
        answer(),
        {"y": ROPE},
        {"rectified": {"forward": 7, "backward": 3}},
    ).set_index("rung")
    assert table.loc["rectified", "coverage"] == pytest.approx(0.75), "c is off by 15 errors"
    assert table.loc["within", "compared_with"] == "matched shift"
    assert table.loc["within", "coverage"] == pytest.approx(0.75)
    assert table.loc["rectified", ["forward", "resumed", "backward"]].tolist() == [7, 0, 3]
