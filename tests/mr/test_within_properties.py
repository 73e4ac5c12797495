"""Properties of the run-level estimators: what must not matter does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

import mrinterp
from mrinterp.core.errors import InputError
from mrinterp.core.panel import Panel
from mrinterp.mr._engine.registry import find
from mrinterp.stats.clustered.least_squares import marginal_slopes
from mrinterp.worlds._linear import linear_world


@pytest.fixture(scope="module")
def panel() -> Panel:
    return linear_world(0, families=40, prompts=2, runs=6, copy=False).panel


def _with(panel: Panel, **changes: Any) -> Panel:
    from dataclasses import replace

    return replace(panel, **changes)


@pytest.mark.parametrize("method", ["within", "tsls"])
def test_rescaling_a_feature_rescales_its_effect(panel: Panel, method: str) -> None:
    scale = np.array([10.0, -0.5, 1.0, 2.0])
    a = getattr(mrinterp.mr, method)(panel)
    b = getattr(mrinterp.mr, method)(_with(panel, features=panel.features * scale))
    np.testing.assert_allclose(b.beta[:, 0] * scale, a.beta[:, 0], rtol=1e-7)
    np.testing.assert_allclose(b.se[:, 0] * np.abs(scale), a.se[:, 0], rtol=1e-7)


def test_mixing_the_bypass_changes_nothing(panel: Panel) -> None:
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    a, b = mrinterp.mr.within(panel), mrinterp.mr.within(_with(panel, bypass=panel.bypass @ rotation))
    np.testing.assert_allclose(a.beta, b.beta, rtol=1e-9)
    np.testing.assert_allclose(a.se, b.se, rtol=1e-9)


def test_order_of_runs_changes_nothing(panel: Panel) -> None:
    order = np.random.default_rng(0).permutation(len(panel.runs))
    a, b = mrinterp.mr.within(panel), mrinterp.mr.within(panel._take(order))
    np.testing.assert_allclose(a.beta, b.beta, rtol=1e-9)
    np.testing.assert_allclose(a.se, b.se, rtol=1e-9)


def test_adding_a_constant_per_prompt_changes_nothing(panel: Panel) -> None:
    codes = np.unique(panel.runs["prompt"], return_inverse=True)[1]
    lift = np.random.default_rng(0).standard_normal(codes.max() + 1)[codes][:, None]
    a = mrinterp.mr.within(panel)
    b = mrinterp.mr.within(_with(panel, outcomes=panel.outcomes + 5 * lift, features=panel.features + lift))
    np.testing.assert_allclose(a.beta, b.beta, rtol=1e-8)


def test_several_outcomes_at_once_equal_one_by_one(panel: Panel) -> None:
    twice = _with(
        panel, outcomes=np.c_[panel.outcomes, -2 * panel.outcomes], outcome_names=("y", "minus_two_y")
    )
    a, b = mrinterp.mr.within(panel), mrinterp.mr.within(twice)
    np.testing.assert_allclose(b.beta[:, 0], a.beta[:, 0], rtol=1e-10)
    np.testing.assert_allclose(b.beta[:, 1], -2 * a.beta[:, 0], rtol=1e-10)
    np.testing.assert_allclose(b.se[:, 1], 2 * a.se[:, 0], rtol=1e-10)


def test_saving_and_reopening_changes_nothing(panel: Panel, tmp_path) -> None:  # type: ignore[no-untyped-def]
    panel.save(tmp_path / "panel")
    a, b = mrinterp.mr.within(panel), mrinterp.mr.within(Panel.load(tmp_path / "panel"))
    assert a.beta.tobytes() == b.beta.tobytes()
    a.save(tmp_path / "estimates")
    c = mrinterp.Estimates.load(tmp_path / "estimates")
    assert c.to_frame().equals(a.to_frame())


PLACEBOS = 15


def _placebo_z(seed: int) -> dict[str, np.ndarray]:
    """Z-scores of 0/1 doses that edit nothing, in a factorial with strong company, by the kind of their errors."""
    p = linear_world(seed, families=40, prompts=2, runs=8, copy=False).panel
    rng = np.random.default_rng(seed)
    perturbed = (p.runs["kind"] != "clean").to_numpy()[:, None]
    dummy = rng.integers(0, 2, (len(p.runs), PLACEBOS)) * perturbed
    # A shift that all perturbed runs share must not reach the placebos either.
    q = mrinterp.from_arrays(
        doses=dummy,
        features=p.features + 3.0 * perturbed,
        outcomes=p.outcomes,
        prompt=p.runs["prompt"],
        family=p.runs["family"],
        clean=~perturbed[:, 0],
        placebo=[f"z{i}" for i in range(PLACEBOS)],
    )
    found = {c: mrinterp.scan.marginal_scan(q, covariance=c) for c in ("CR1", "CR3")}
    for s in found.values():
        assert ((s.dof > 34) & (s.dof < 39)).all()  # 39 if the doses varied alike in all families
    return {c: s.beta / s.se for c, s in found.items()}


@pytest.fixture(scope="module")
def placebo_z() -> list[dict[str, np.ndarray]]:
    """Worlds are drawn once for both kinds of errors."""
    return [_placebo_z(seed) for seed in range(200)]


@pytest.mark.parametrize("covariance", ["CR1", "CR3"])
def test_placebo_instruments_are_null(covariance: str, placebo_z: list[dict[str, np.ndarray]]) -> None:
    """Over 3,000 placebos of 200 worlds the mean square is that of t on 38 degrees of freedom, and so are the tails."""
    z = np.array([of_world[covariance] for of_world in placebo_z])
    square = (z**2).mean(axis=(1, 2))
    error = square.std(ddof=1) / np.sqrt(len(square))
    assert abs(square.mean() - 38 / 36) < 3 * error, (square.mean(), error)
    assert error < 0.02
    called = (np.abs(z) > stats.t.isf(0.025, 38)).mean(axis=(1, 2))
    assert abs(called.mean() - 0.05) < 3 * called.std(ddof=1) / np.sqrt(len(called))


def _unequal_families(
    rng: np.random.Generator, families: int, traits: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Doses in one run of twenty, families of very unequal size, traits that no dose moves, prompt means removed."""
    size = np.maximum(2, np.round(16 * np.exp(0.8 * rng.standard_normal(families)))).astype(int)
    family = np.repeat(np.arange(families), size)
    z = (rng.random((len(family), 20)) < 0.05).astype(float)
    x = rng.standard_normal((len(family), traits))
    for c in range(families):
        rows = family == c
        z[rows] -= z[rows].mean(axis=0)
        x[rows] -= x[rows].mean(axis=0)
    return z, x, family


def test_equal_families_have_one_degree_of_freedom_less() -> None:
    rng = np.random.default_rng(0)
    z = np.tile(np.array([-1.0, 1.0]), 30)[:, None]
    for covariance in ("CR1", "CR3"):
        dof = marginal_slopes(z, rng.standard_normal((60, 1)), np.arange(60) // 4, covariance)[3]
        np.testing.assert_allclose(dof, 14, rtol=1e-12)


def test_marginal_errors_are_the_jackknife_over_families() -> None:
    z, x, family = _unequal_families(np.random.default_rng(0), 12, 3)
    beta, se, errors, dof = marginal_slopes(z, x, family)
    for j in range(3):
        present = [c for c in range(12) if (z[family == c, j] != 0).any()]
        kept = [family != c for c in present]
        out = np.array([(z[k, j] @ x[k]) / (z[k, j] @ z[k, j]) for k in kept])
        apart = out - beta[:, j]
        np.testing.assert_allclose(errors[j], (len(present) - 1) / len(present) * apart.T @ apart, rtol=1e-9)
        np.testing.assert_allclose(se[:, j], np.sqrt(np.diag(errors[j])), rtol=1e-12)
        share = np.array([z[family == c, j] @ z[family == c, j] for c in present]) / (z[:, j] @ z[:, j])
        spread = np.diag(share) - np.outer(share, share)  # of the scores' residuals under equal errors
        spread = spread / np.outer(1 - share, 1 - share)
        np.testing.assert_allclose(dof[j], np.trace(spread) ** 2 / (spread**2).sum(), rtol=1e-9)
        assert dof[j] < len(present) - 1


def test_marginal_errors_hold_their_level_in_unequal_families() -> None:
    rng = np.random.default_rng(1)
    rejected: dict[str, list[float]] = {"CR1": [], "CR3": []}
    for _ in range(250):
        z, x, family = _unequal_families(rng, 20, 4)
        for covariance, found in rejected.items():
            beta, se, _, dof = marginal_slopes(z, x, family, covariance)
            found.append(float((np.abs(beta / se) > stats.t.isf(0.025, dof)).mean()))
    level = {k: np.mean(v) for k, v in rejected.items()}
    error = float(np.std(rejected["CR3"], ddof=1) / np.sqrt(250))
    # The jackknife leans to caution where one family carries much of a rare dose; the sandwich does not.
    assert 0.035 < level["CR3"] < 0.05 + 3 * error, (level, error)
    assert level["CR1"] > level["CR3"]


def test_a_dose_in_one_family_only_has_no_error() -> None:
    z, x, family = _unequal_families(np.random.default_rng(2), 6, 2)
    z[:, :2] = 0.0
    z[family == 3, 0] = np.arange((family == 3).sum()) - ((family == 3).sum() - 1) / 2
    beta, se, errors, dof = marginal_slopes(z, x, family)
    assert np.isfinite(beta[:, 0]).all()
    assert (se[:, 0] == 0).all()
    assert dof[0] == 0
    assert np.isnan(beta[:, 1]).all()
    assert np.isnan(se[:, 1]).all()
    assert np.isfinite(errors[2:]).all()


@pytest.mark.parametrize("method", ["within", "within_partialled", "tsls", "liml", "gmm", "jive", "ujive"])
def test_a_feature_that_is_the_sum_of_two_others_is_not_identified(panel: Panel, method: str) -> None:
    """Least squares of least length would give all three a coefficient with a small error; features that
    take no part in the sum keep theirs."""
    summed = panel.features[:, [0]] + panel.features[:, [1]]
    more = _with(
        panel,
        features=np.concatenate([panel.features, summed], axis=1),
        feature_names=(*panel.feature_names, "sum"),
        labels=(*panel.labels, "sum"),
    )
    estimator = find(method).kernel
    found, before = estimator(more), estimator(panel)
    rest = slice(2, len(panel.feature_names))
    blocked = [*range(2), len(panel.feature_names)]
    assert all(s.startswith("the data cannot tell it from") for s in found.status[blocked].ravel())
    assert np.isnan(found.beta[blocked]).all()
    np.testing.assert_allclose(found.beta[rest], before.beta[rest], rtol=1e-5)
    (one,) = found.meta["dependent_sets"]
    assert one["depend"] == [f"sum = {panel.feature_names[0]} + {panel.feature_names[1]}"]
    np.testing.assert_allclose(one["beta"], before.beta[:2, 0], rtol=1e-5)


@pytest.mark.parametrize("ranks", [3, "03"])
def test_ranks_are_a_list(ranks: Any) -> None:
    with pytest.raises(InputError, match=r"ranks: .*Give a list of ranks"):
        mrinterp.mr.rank_path(linear_world(0).panel, ranks)


def test_the_numerical_floor_is_in_the_unit_of_the_feature() -> None:
    """What does nothing at all has the error of rounding, a hundredth of it where the feature is a hundred times as large."""
    panel = linear_world(3).panel
    outcome = panel.features[:, :2] @ np.array([[1e-3], [2e-3]])
    found = [
        mrinterp.mr.within(replace(panel, features=panel.features * size, outcomes=outcome))
        for size in (1.0, 100.0)
    ]
    for one in found:
        assert [str(s).startswith("at the numerical floor") for s in one.status[2:4, 0]] == [True, True]
    np.testing.assert_allclose(found[1].se[2:4] * 100.0, found[0].se[2:4], rtol=0.05)
