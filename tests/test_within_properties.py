"""Properties of the run-level estimators: what must not matter does not."""

from __future__ import annotations

import numpy as np
import pytest

import mrinterp
from mrinterp.core.panel import Panel
from mrinterp.worlds.linear import linear_world


@pytest.fixture(scope="module")
def panel() -> Panel:
    return linear_world(0, families=40, prompts=2, runs=6, copy=False).panel


def _with(panel: Panel, **changes: np.ndarray) -> Panel:
    from dataclasses import replace

    return replace(panel, **changes)


@pytest.mark.parametrize("method", ["within", "tsls"])
def test_rescaling_a_feature_rescales_its_effect(panel: Panel, method: str) -> None:
    scale = np.array([10.0, -0.5, 1.0, 2.0])
    a = getattr(mrinterp, method)(panel)
    b = getattr(mrinterp, method)(_with(panel, features=panel.features * scale))
    np.testing.assert_allclose(b.beta[:, 0] * scale, a.beta[:, 0], rtol=1e-7)
    np.testing.assert_allclose(b.se[:, 0] * np.abs(scale), a.se[:, 0], rtol=1e-7)


def test_mixing_the_bypass_changes_nothing(panel: Panel) -> None:
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    a, b = mrinterp.within(panel), mrinterp.within(_with(panel, bypass=panel.bypass @ rotation))
    np.testing.assert_allclose(a.beta, b.beta, rtol=1e-9)
    np.testing.assert_allclose(a.se, b.se, rtol=1e-9)


def test_order_of_runs_changes_nothing(panel: Panel) -> None:
    order = np.random.default_rng(0).permutation(len(panel.runs))
    a, b = mrinterp.within(panel), mrinterp.within(panel._take(order))
    np.testing.assert_allclose(a.beta, b.beta, rtol=1e-9)
    np.testing.assert_allclose(a.se, b.se, rtol=1e-9)


def test_adding_a_constant_per_prompt_changes_nothing(panel: Panel) -> None:
    codes = np.unique(panel.runs["prompt"], return_inverse=True)[1]
    lift = np.random.default_rng(0).standard_normal(codes.max() + 1)[codes][:, None]
    a = mrinterp.within(panel)
    b = mrinterp.within(_with(panel, outcomes=panel.outcomes + 5 * lift, features=panel.features + lift))
    np.testing.assert_allclose(a.beta, b.beta, rtol=1e-8)


def test_several_outcomes_at_once_equal_one_by_one(panel: Panel) -> None:
    twice = _with(
        panel, outcomes=np.c_[panel.outcomes, -2 * panel.outcomes], outcome_names=("y", "minus_two_y")
    )
    a, b = mrinterp.within(panel), mrinterp.within(twice)
    np.testing.assert_allclose(b.beta[:, 0], a.beta[:, 0], rtol=1e-10)
    np.testing.assert_allclose(b.beta[:, 1], -2 * a.beta[:, 0], rtol=1e-10)
    np.testing.assert_allclose(b.se[:, 1], 2 * a.se[:, 0], rtol=1e-10)


def test_saving_and_reopening_changes_nothing(panel: Panel, tmp_path) -> None:  # type: ignore[no-untyped-def]
    panel.save(tmp_path / "panel")
    a, b = mrinterp.within(panel), mrinterp.within(Panel.load(tmp_path / "panel"))
    assert a.beta.tobytes() == b.beta.tobytes()
    a.save(tmp_path / "estimates")
    c = mrinterp.Estimates.load(tmp_path / "estimates")
    assert c.to_frame().equals(a.to_frame())


def test_placebo_instruments_are_null() -> None:
    """Doses that edit nothing: marginal z-scores are standard normal, in a factorial with strong company."""
    z = []
    for seed in range(80):
        world = linear_world(seed, families=40, prompts=2, runs=8, copy=False)
        p = world.panel
        rng = np.random.default_rng(seed)
        perturbed = (p.runs["kind"] != "clean").to_numpy()[:, None]
        dummy = rng.integers(0, 2, (len(p.runs), 5)) * perturbed
        # A shift that all perturbed runs share must not reach the placebos either.
        q = mrinterp.from_arrays(
            doses=dummy,
            features=p.features + 3.0 * perturbed,
            outcomes=p.outcomes,
            prompt=p.runs["prompt"],
            family=p.runs["family"],
            clean=~perturbed[:, 0],
            placebo=[f"z{i}" for i in range(5)],
        )
        s = mrinterp.marginal_scan(q)
        z.append((s.beta / s.se).ravel())
    square = np.mean(np.concatenate(z) ** 2)
    # 400 independent placebos on correlated traits: standard error of the mean square below .07.
    assert 0.8 < square < 1.25, square
