"""Kinds side by side: they agree where the network is linear, differ where it is curved, and are never pooled."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mrinterp.core.errors import InputError
from mrinterp.knockouts._kinds.compare_kinds import compare_kinds
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.plots._study.kinds_side_by_side import kinds_side_by_side
from mrinterp.plots._style import save
from mrinterp.results._kind_comparison import KindComparison
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.stats.clustered.swap_effects import SwapEffects, swap_effects
from tests.linear_stack import LinearStack, stack_bench, stack_inputs


def kinds(curve: float, prompts: int = 40) -> list[KnockoutEffects]:
    bench = stack_bench(prompts, LinearStack(curve=curve))
    done = [knock_out(bench, kind) for kind in ("shift", "mean", "resample")]
    return [*done, knock_out(bench, "steer", amount=2.0, allow_off_support=True)]


def test_kinds_agree_on_a_linear_network() -> None:
    made = compare_kinds(kinds(0.0))
    np.testing.assert_array_equal(made.q_neglog10p, 0.0)
    np.testing.assert_array_equal(made.i2, 0.0)
    assert made.paired
    assert made.families == 20


def test_kinds_differ_on_a_curved_network() -> None:
    """A step of two sd to one side is not the slope at the clean value; the untouched outcome agrees."""
    made = compare_kinds(kinds(3.0))
    assert (made.q_neglog10p[:, 0] > 3).all()
    assert (made.i2[:, 0] > 0.5).all()
    np.testing.assert_array_equal(made.q_neglog10p[:, 1], 0.0)
    assert "not pooled" in str(made)
    assert "pooled" not in " ".join(made.to_frame().columns)


def test_covariance_has_the_errors_on_its_diagonal() -> None:
    done = kinds(3.0)
    made = compare_kinds(done)
    np.testing.assert_allclose(
        np.sqrt(np.einsum("fokk->kfo", made.covariance)), made.se, rtol=1e-9, atol=1e-12
    )
    each = [np.linalg.eigvalsh(made.covariance[f, 0]) for f in range(6)]
    assert min(e[0] for e in each) > -1e-12 * max(e[-1] for e in each)


def test_other_families_are_compared_as_independent() -> None:
    whole = stack_bench(40, LinearStack(curve=3.0))
    halves = [whole.subset(np.arange(a, a + 20)) for a in (0, 20)]
    done = [knock_out(bench, "shift") for bench in halves]
    made = compare_kinds(done)
    assert not made.paired
    gap = done[0].effect - done[1].effect
    np.testing.assert_allclose(made.q[:, 0], (gap**2 / (done[0].se ** 2 + done[1].se ** 2))[:, 0], rtol=1e-9)
    with pytest.raises(InputError, match="share 5 families"):
        compare_kinds([done[0], knock_out(whole.subset(np.arange(10, 30)), "shift")])


def test_a_kind_that_moved_nothing_is_left_out_and_counted() -> None:
    done = [*kinds(3.0), knock_out(stack_bench(40, LinearStack(curve=3.0)), "scale", factor=1.0)]
    made = compare_kinds(done)
    np.testing.assert_array_equal(made.compared, 4)
    np.testing.assert_allclose(made.q, compare_kinds(done[:-1]).q)
    assert "nothing to change" in made.flags[4, 0]
    assert np.isnan(made.effect[4]).all()


def test_bad_comparisons_are_refused() -> None:
    done = kinds(0.0)
    with pytest.raises(InputError, match="at least two"):
        compare_kinds(done[:1])
    fewer = knock_out(stack_bench(40), "shift", features=[0, 1])
    with pytest.raises(InputError, match="like with like"):
        compare_kinds([done[0], fewer])


def test_comparison_is_saved_and_shown(tmp_path: Path) -> None:
    made = compare_kinds(kinds(3.0))
    made.save(tmp_path / "kinds")
    again = KindComparison.load(tmp_path / "kinds")
    pd.testing.assert_frame_equal(made.to_frame(), again.to_frame())
    frame = made.to_frame()
    assert len(frame) == 4 * 6 * 2
    row = frame[(frame["kind"] == "mean") & (frame["feature"] == "3") & (frame["outcome"] == "second")].iloc[
        0
    ]
    assert row["effect"] == made.effect[1, 3, 1]
    assert row["q"] == made.q[3, 1]
    ax = kinds_side_by_side(again, "first", most=4)
    shown = [label.get_text() for label in ax.get_yticklabels()]
    order = np.argsort(-np.abs(made.effect[:, :, 0]).max(axis=0))
    assert shown == [made.features[f] for f in order[:4]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(made.kinds)
    assert save(ax, tmp_path / "kinds.svg").stat().st_size > 5000
    with pytest.raises(InputError, match="'first'"):
        kinds_side_by_side(made, "frist")


@pytest.mark.parametrize("families", [5, 10, 30])
def test_equality_is_refused_no_more_often_than_it_may_be(families: int) -> None:
    """Kinds on shared inputs, families of 1 to 16 inputs and slopes of their own: 1500 features, all equal."""
    rng, cells = np.random.default_rng(families), 1500
    sizes = np.maximum(1, np.round(np.exp(np.linspace(0, np.log(16), families)))).astype(int)
    family = np.repeat(np.arange(families), sizes)
    P = len(family)
    slope = 0.7 + np.repeat(0.3 * rng.standard_normal((cells, families)), sizes, axis=1)
    x = rng.standard_normal((cells, P))
    steps = {
        "shift": np.stack([np.ones((cells, P)), -np.ones((cells, P))], axis=1),
        "mean": -x[:, None],
        "resample": np.stack([x[:, rng.permutation(P)] - x for _ in range(2)], axis=1),
    }
    done = []
    for kind, amount in steps.items():
        change = slope[:, None] * amount + rng.standard_normal(amount.shape) * np.abs(amount)
        done.append(effects_of_swaps(kind, amount, change[..., None], family))
    evidence = compare_kinds(done).q_neglog10p
    assert (evidence > -np.log10(0.05)).mean() <= 0.065
    if families >= 30:
        assert (evidence > -np.log10(0.05)).mean() >= 0.025


def effects_of_swaps(
    kind: str, amount: np.ndarray, change: np.ndarray, family: np.ndarray
) -> KnockoutEffects:
    """Effects as `knock_out` makes them, of swaps that are simply given."""
    F, signs = len(amount), (1.0, -1.0) if kind == "shift" else (1.0,) * amount.shape[1]
    made = swap_effects(amount, change, family, signs, draws=2)
    zero, names = np.zeros(F), tuple(f"f{f}" for f in range(F))
    prompts = pd.DataFrame({"prompt": np.arange(len(family)), "family": family})
    checks = dict.fromkeys(("read_back_error", "leakage", "off_support", "outside_range"), zero)
    numbers = {f.name: getattr(made, f.name) for f in fields(SwapEffects)}
    return KnockoutEffects(
        kind=kind,
        label=kind,
        features=names,
        outcomes=("y",),
        df=len(np.unique(family)) - 1.0,
        inputs=prompts,
        noise_floor=np.zeros(1),
        **checks,
        **numbers,
    )


def test_more_kinds_than_families_can_tell_apart_are_said_not_to_be_tested() -> None:
    bench = stack_bench(6, LinearStack(curve=1.0))
    made = compare_kinds([knock_out(bench, "clamp", quantile=q) for q in (0.1, 0.3, 0.5, 0.7)])
    assert "not tested: too few families for so many kinds" in str(made)
    assert np.isfinite(made.effect[:, :, 0]).all()


def test_names_of_a_mapping_are_kept() -> None:
    bench = stack_bench(20)
    named = {"low": knock_out(bench, "clamp", quantile=0.1), "high": knock_out(bench, "clamp", quantile=0.9)}
    assert compare_kinds(named).kinds == ("low", "high")


def test_two_of_a_kind_are_told_apart() -> None:
    bench = stack_bench(inputs=stack_inputs(20))
    made = compare_kinds([knock_out(bench, "shift", size=0.5), knock_out(bench, "shift", size=1.0)])
    assert len(set(made.kinds)) == 2
    assert "0.5" in made.kinds[0]
