"""Whose effect a feature shows: exact sums, the right names, intervals, groups, and what does not apply."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mrinterp
from mrinterp.core.errors import InputError
from mrinterp.diagnostics import borrowed_effects, co_activation_map
from mrinterp.results import BorrowedEffects, NotApplicable
from mrinterp.stats.clustered.borrowed import Layout, borrowed_parts, run_sums

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "diagnostics"))
from borrowed import (
    covariance,
    covered,
    named_rightly,
    simulated_runs,
    simulated_summary,
    true_parts,
)


def _sum(found: BorrowedEffects) -> np.ndarray:
    return found.own + found.borrowed.sum(axis=1) + found.left


@pytest.mark.parametrize("rank", [0, 3])
def test_parts_add_up_and_are_the_regressions_own(rank: int) -> None:
    panel = mrinterp.worlds.linear_world(1, families=20, copy=False).panel
    found = borrowed_effects(panel, rank=rank)
    np.testing.assert_allclose(_sum(found), found.total, rtol=1e-10)
    np.testing.assert_allclose(found.left, 0, atol=1e-12)
    np.testing.assert_allclose(found.own, mrinterp.mr.within(panel, rank=rank).beta, rtol=1e-9)
    np.testing.assert_allclose(found.own_se, mrinterp.mr.within(panel, rank=rank).se, rtol=1e-7)
    change = panel.changes()
    x, y = change.features[:, 1], change.outcomes[:, 0]
    np.testing.assert_allclose(found.total[1, 0], x @ y / (x @ x), rtol=1e-12)


def test_the_jackknife_is_the_one_that_leaves_families_out() -> None:
    panel = simulated_runs(0, 8, 0.8)
    found = borrowed_effects(panel, sources=["x0", "x3"])
    again = []
    for family in range(8):
        kept = panel._take(np.flatnonzero(panel.runs["family"].to_numpy() != family))
        again.append(borrowed_effects(kept, sources=["x0", "x3"]))
    for part in ("total", "own", "borrowed"):
        whole = getattr(found, part)
        spread = np.sqrt(7 / 8 * sum((getattr(a, part) - whole) ** 2 for a in again))
        np.testing.assert_allclose(getattr(found, f"{part}_se"), spread, rtol=1e-8, atol=1e-12)


def test_a_feature_outside_the_sources_is_fitted_beside_them() -> None:
    panel = simulated_runs(1, 12, 0.8)
    found = borrowed_effects(panel, sources=["x0", "x3"])
    change = panel.changes()
    Z = change.features[:, [0, 3, 1]]
    joint = np.linalg.lstsq(Z, change.outcomes[:, 0], rcond=None)[0]
    x = change.features[:, 1]
    np.testing.assert_allclose(found.own[1, 0], joint[2], rtol=1e-9)
    np.testing.assert_allclose(found.borrowed[1, :, 0], joint[:2] * (Z[:, :2].T @ x) / (x @ x), rtol=1e-9)
    assert found.member.tolist() == [0, -1, -1, 1, -1, -1]


def test_impostors_are_named() -> None:
    right = count = 0
    for family in mrinterp.worlds.world_families().values():
        if family.part != "development" or family.trained or family.slow:
            continue
        for seed in range(1):
            world = family.make(seed)
            if world.panel is None or not (world.truth.borrows_from >= 0).any():
                break
            if world.broken & {"direction", "linearity", "exclusion"}:
                break  # a joint regression is wrong there, and so are the parts: see the benchmark's page
            found = borrowed_effects(world.panel)
            assert not isinstance(found, NotApplicable)
            hit, of = named_rightly(found, world.truth)
            right, count = right + hit, count + of
    assert count >= 4
    assert right >= 0.9 * count


def test_copies_are_one_source_and_say_so() -> None:
    found = borrowed_effects(mrinterp.worlds.linear_world(0, families=20).panel)
    assert found.groups == ("any of cause, copy",)
    twin = found["twin", "y"]
    assert twin.source == "any of cause, copy"
    assert "borrowed from any of cause, copy (correlation .8" in str(twin)
    np.testing.assert_allclose(found.own[0], found.own[4])
    assert found.member[0] == found.member[4]
    frame = found.to_frame()
    cause = frame[frame["feature"] == "cause"]
    assert "any of cause, copy" not in set(cause["source"])  # no feature is a source of itself
    assert np.isclose(
        cause.loc[cause["kind"] != "total", "effect"].sum(),
        cause.loc[cause["kind"] == "total", "effect"].sum(),
    )


@pytest.mark.parametrize("kind", ["runs", "summary"])
def test_intervals_cover(kind: str) -> None:
    """24 worlds of some 40 parts each: at least .92 of the 95% intervals hold the true value."""
    hits = counts = 0
    for seed in range(24):
        data = simulated_runs(seed, 20, 0.8) if kind == "runs" else simulated_summary(seed, 60, 0.8, 0.15)
        found = borrowed_effects(data)
        parts = covered(found, 0.8)
        hits += sum(hit for hit, _ in parts.values())
        counts += sum(of for _, of in parts.values())
    assert hits / counts >= 0.92


def test_summary_statistics_without_their_sampling_error() -> None:
    """The plain univariable estimate is attenuated; what it loses is in ``left``, and the parts are right."""
    found = borrowed_effects(simulated_summary(0, 1000, 0.8, 0.5))
    total, own, borrowed = true_parts(covariance(0.8))
    np.testing.assert_allclose(found.own[:, 0], own, atol=0.12)
    np.testing.assert_allclose(found.borrowed[:, :, 0], borrowed, atol=0.12)
    np.testing.assert_allclose(_sum(found), found.total, rtol=1e-10)
    assert found.left[0, 0] == pytest.approx(found.total[0, 0] - total[0], abs=0.1)
    assert found.total[0, 0] < 0.9 * total[0]
    assert found.left_se[0, 0] < 0.05


def test_outcomes_with_weights_of_their_own_keep_their_order() -> None:
    data = simulated_summary(0, 60, 0.8, 0.1)
    rng = np.random.default_rng(0)
    errors = np.stack([data.se_y[0], rng.uniform(0.1, 0.4, 60), 2 * data.se_y[0]])
    effects = np.stack([data.beta_y[0], data.beta_y[0] + 1.0, -data.beta_y[0]])
    three = replace(data, beta_y=effects, se_y=errors, outcomes=("a", "b", "c"))
    found = borrowed_effects(three)
    for o, name in enumerate(three.outcomes):
        alone = borrowed_effects(three.select(outcomes=[name]))
        np.testing.assert_allclose(found.own[:, o], alone.own[:, 0], rtol=1e-9)
        np.testing.assert_allclose(found.borrowed_se[..., o], alone.borrowed_se[..., 0], rtol=1e-9)


def test_effects_from_elsewhere_leave_a_remainder() -> None:
    panel = simulated_runs(2, 20, 0.8)
    joint = mrinterp.mr.within(panel)
    same = borrowed_effects(panel, effects=joint)
    np.testing.assert_allclose(same.left, 0, atol=1e-10)
    half = borrowed_effects(
        panel, effects=replace(joint, beta=joint.beta / 2, ci_lower=None, ci_upper=None, neglog10p=None)
    )
    np.testing.assert_allclose(half.left, same.total / 2, rtol=1e-9)
    assert "left unexplained" in str(half["x1", "y0"])


def test_sources_are_chosen_where_features_are_many() -> None:
    rng = np.random.default_rng(0)
    N, F = 480, 1200
    x = rng.standard_normal((N, F))
    x[:, 8] = x[:, 7] + 0.4 * rng.standard_normal(N)
    x[:, 9] = 2.0 * x[:, 7]
    y = x[:, [7]] - 0.7 * x[:, [100]] + 0.3 * rng.standard_normal((N, 1))
    prompt = np.arange(N) // 4
    panel = mrinterp.from_arrays(doses=x[:, :1], features=x, outcomes=y, prompt=prompt, family=prompt // 4)
    found = borrowed_effects(panel)
    assert isinstance(found, BorrowedEffects)
    assert "x100" in found.sources
    cause = found.sources[found.member[7]]
    assert found["x8", "y0"].source == cause
    assert "cannot be told apart" in found.status[9 if cause == "x7" else 7, 0]
    assert "chosen" in found.meta["chosen"]
    np.testing.assert_allclose(_sum(found), found.total, rtol=1e-9)


def test_own_and_borrowed_that_cannot_be_told_apart_say_so() -> None:
    rng = np.random.default_rng(3)
    N = 120
    a = rng.standard_normal(N)
    x = np.stack([a, a + 0.03 * rng.standard_normal(N)], axis=1)
    y = a[:, None] + rng.standard_normal((N, 1))
    prompt = np.arange(N) // 4
    panel = mrinterp.from_arrays(doses=x[:, :1], features=x, outcomes=y, prompt=prompt, family=prompt)
    assert "cannot be told apart from" in borrowed_effects(panel).status[0, 0]


def test_refusals() -> None:
    panel = simulated_runs(0, 6, 0.5)
    with pytest.raises(InputError, match="sources"):
        borrowed_effects(panel, sources=["nobody"])
    with pytest.raises(InputError, match="data"):
        borrowed_effects(np.zeros((3, 3)))  # type: ignore[arg-type]
    few = simulated_summary(0, 6, 0.5, 0.1)
    assert "instruments" in str(borrowed_effects(few, sources=["x0", "x1", "x2", "x3", "x4"]))
    with pytest.raises(InputError, match="clump"):
        borrowed_effects(replace(few, ld=np.full((6, 6), 0.5) + 0.5 * np.eye(6)))


def test_dead_features_and_flat_outcomes_have_words() -> None:
    panel = simulated_runs(0, 8, 0.5)
    x, y = panel.features.copy(), np.concatenate([panel.outcomes, np.ones_like(panel.outcomes)], axis=1)
    x[:, 2] = 1.0
    found = borrowed_effects(replace(panel, features=x, outcomes=y, outcome_names=("y0", "flat")))
    assert "dead" in found.status[2, 0]
    assert "does not vary" in found.status[0, 1]
    assert "dead" in str(found["x2", "y0"])


def test_the_kernel_keeps_many_outcomes_apart() -> None:
    rng = np.random.default_rng(0)
    Z, X, Y = rng.normal(size=(50, 3)), rng.normal(size=(50, 4)), rng.normal(size=(50, 2))
    code = np.arange(50) % 5
    layout = Layout(np.array([0, 2]), np.full(4, -1), np.zeros(4, bool))
    both = borrowed_parts(
        run_sums(Z, X, Y), [run_sums(Z[code == c], X[code == c], Y[code == c]) for c in range(5)], layout
    )
    for o in range(2):
        y = Y[:, [o]]
        one = borrowed_parts(
            run_sums(Z, X, y), [run_sums(Z[code == c], X[code == c], y[code == c]) for c in range(5)], layout
        )
        np.testing.assert_allclose(both.borrowed_se[..., o], one.borrowed_se[..., 0], rtol=1e-10)


@pytest.mark.parametrize("count", [300, 1800])
def test_the_map_finds_planted_companies(count: int) -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(count) % 12
    middle = rng.standard_normal((12, 60)) * 5
    sign = rng.choice([-1.0, 1.0], count)[:, None]
    beta = sign * middle[truth] + rng.standard_normal((count, 60))
    beta[:20] = rng.standard_normal((20, 60)) * 0.5  # moved by nothing
    data = mrinterp.MRData(
        beta_x=beta, se_x=np.ones_like(beta), beta_y=np.zeros((1, 60)), se_y=np.ones((1, 60)),
        exposures=tuple(f"f{i}" for i in range(count)), outcomes=("y",), instruments=tuple(f"z{j}" for j in range(60)),
    )  # fmt: skip
    found = co_activation_map(data)
    assert (found.cluster[:20] == -1).all()
    assert len(found.leads) == 12
    for k in range(12):
        inside = truth[np.flatnonzero(found.cluster == k)]
        assert len(set(inside.tolist())) == 1
    assert (found.similarity[20:] > 0.9).all()
    again = co_activation_map(data)
    assert (again.cluster == found.cluster).all()


def test_a_map_of_runs_without_instruments() -> None:
    panel = simulated_runs(0, 20, 0.9)
    found = co_activation_map(panel)
    assert found.meta["profile"] == "runs"
    assert "x1" in found.company("x0")
    assert "x4" not in found.company("x0")


def test_by_knockouts_an_echo_borrows_from_a_cause_and_the_board_scores_it() -> None:
    from mrinterp.bench._knockout_methods import default
    from mrinterp.bench._scores import _sources

    world = mrinterp.worlds.world_families()["downstream echo"].make(0)
    answer = default(world, 0)
    assert _sources(world, answer) == 1.0
    echo = world.truth.features.index("echo")
    assert answer.source[echo] == world.truth.borrows_from[echo]
    # The joint fit of the runs gives the echo all that it shows.
    fitted = borrowed_effects(world.panel)
    assert fitted.main_source[echo, 0] == -1
    assert "of which" in fitted.short("echo", "answer")
