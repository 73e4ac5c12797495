"""Attribution methods: exact where the network is linear, complete where it is smooth, blind behind gates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.attribution._all_methods import all_methods
from mrinterp.attribution._correlation import correlation
from mrinterp.attribution._gradient import (
    attribution_patching,
    gradient,
    gradient_times_activation,
)
from mrinterp.attribution._integrated_gradients import integrated_gradients
from mrinterp.features._directions import Directions
from mrinterp.knockouts._bench import Bench
from mrinterp.outcomes._projection_and_callable import CallableOutcome
from mrinterp.results._estimates import Estimates
from mrinterp.worlds._gated import gated_world
from tests.attribution.attribution_bench import (
    BENT,
    FAMILY,
    GRADIENT,
    RULES,
    WIDTH,
    Stack,
    bench_of,
    inputs,
    linear,
    moved_alone,
    views,
)


@pytest.mark.parametrize("view", sorted(views()))
@pytest.mark.parametrize("rule", sorted(RULES))
class TestEveryViewAtEveryPosition:
    def test_gradient_is_the_limit_of_small_knockouts(self, view: str, rule: str) -> None:
        bench = bench_of(view, rule)
        assert bench.resumes
        size = 1e-5
        up, down = (moved_alone(bench, np.full(bench.values.shape, s)) for s in (size, -size))
        slope = ((up - down) / (2 * size)).mean(axis=1)
        np.testing.assert_allclose(gradient(bench).beta, slope, rtol=2e-6, atol=1e-8)

    def test_integrated_gradients_alone_are_the_knockout(self, view: str, rule: str) -> None:
        bench = bench_of(view, rule)
        found = integrated_gradients(bench, target="zero", steps=16, together=False)
        truth = moved_alone(bench, -bench.values).mean(axis=1)
        np.testing.assert_allclose(found.details["change"], truth, rtol=1e-5, atol=1e-7)

    def test_shares_sum_to_the_change_of_all(self, view: str, rule: str) -> None:
        bench = bench_of(view, rule)
        for target in ("zero", "mean", inputs(7)):
            found = integrated_gradients(bench, target=target, steps=40)
            assert found.meta["completeness_error"] < 1e-9
        coarse = integrated_gradients(bench, target="zero", steps=1).meta["completeness_error"]
        assert coarse > 1e-4, "one step must not look complete on a bent network"

    def test_first_order_is_exact_on_a_linear_network(self, view: str, rule: str) -> None:
        bench = bench_of(view, rule, bend=False, outcome=CallableOutcome("linear", linear))
        counterfactual = inputs(5)
        moved = bench.read(counterfactual) - bench.values
        if rule == "all":
            moved = moved * bench.inputs.mask.numpy()[:, :, None]
        truth = moved_alone(bench, moved).mean(axis=1)
        found = attribution_patching(bench, target=counterfactual)
        np.testing.assert_allclose(found.details["change"], truth, rtol=1e-6, atol=1e-8)
        zero = gradient_times_activation(bench)
        np.testing.assert_allclose(
            zero.details["change"], moved_alone(bench, -bench.values).mean(axis=1), rtol=1e-6, atol=1e-8
        )
        if rule != "all":
            swaps = -bench.values.T[..., None]
            per_unit = (moved_alone(bench, -bench.values) * swaps).sum(1) / (swaps**2).sum(1)
            for e in (zero, integrated_gradients(bench, target="zero", steps=2)):
                np.testing.assert_allclose(e.beta, per_unit, rtol=1e-6)


def test_block_size_changes_nothing() -> None:
    one, two = (all_methods(bench_of("latents", "all", block=b), target="zero") for b in (3, 16))
    for name, e in one.items():
        assert isinstance(e, Estimates)
        np.testing.assert_allclose(e.beta, two[name].beta, rtol=1e-9, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(e.se, two[name].se, rtol=1e-9, atol=1e-12, err_msg=name)


def test_resuming_changes_nothing() -> None:
    resumed, whole = bench_of("directions"), bench_of("directions")
    whole._start = None
    np.testing.assert_array_equal(gradient(resumed).beta, gradient(whole).beta)


def test_units_rescale_and_signs_turn() -> None:
    read = np.random.default_rng(1).standard_normal((2, WIDTH))
    one, two = (
        Bench(TorchAdapter(Stack().eval()), "layers.1", Directions(r), inputs(), BENT, family=FAMILY)
        for r in (read, read * np.array([[1e-6], [-4.0]]))
    )
    ours, theirs = all_methods(one), all_methods(two)
    # Ridge on standardized features: rescaling changes no prediction either.
    for name, e in ours.items():
        scale = np.array([[1e-6], [-4.0]])
        np.testing.assert_allclose(theirs[name].beta * scale, e.beta, rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(theirs[name].se * np.abs(scale), e.se, rtol=1e-5, err_msg=name)


class TestBehindGates:
    @pytest.fixture(scope="class")
    def held(self) -> tuple[Bench, Any, dict[str, Any]]:
        world = gated_world()
        bench = Bench(world.adapter, world.site, world.view, world.inputs, world.outcome, family=world.family)
        zero = moved_alone(bench, -bench.values).mean(axis=1)[:, 0]
        np.testing.assert_allclose(zero, world.zero_change, rtol=1e-9, atol=1e-12)
        return bench, zero, all_methods(bench, target="zero")

    @pytest.mark.parametrize("method", GRADIENT[:3])
    @pytest.mark.parametrize("feature", ["saturated", "threshold"])
    def test_gradients_see_nothing_where_the_knockout_is_large(
        self, held: Any, method: str, feature: str
    ) -> None:
        bench, zero, found = held
        cell = found[method][feature, "output"]
        assert cell.beta == 0.0
        assert "only a knockout tells" in cell.status
        assert zero[bench.view.names.index(feature)] == pytest.approx(-1.0)

    def test_integrated_gradients_see_the_clamp_and_miss_the_step(self, held: Any) -> None:
        bench, zero, _ = held
        found = integrated_gradients(bench, target="zero", steps=200)
        change = found.details["change"][:, 0]
        assert change[2] == pytest.approx(-1.0, rel=0.02)
        assert change[3] == 0.0
        assert found.meta["completeness_error"] == pytest.approx(1.0, rel=0.05), "the step is missing"

    def test_the_silent_companion_correlates_and_does_nothing(self, held: Any) -> None:
        bench, zero, found = held
        cell = found["correlation"]["silent", "output"]
        assert cell.details["correlation"] > 0.9
        assert cell.ci_lower > 0.5
        assert zero[1] == 0.0
        for method in GRADIENT:
            assert found[method]["silent", "output"].beta == 0.0

    def test_the_cause_is_found_by_all(self, held: Any) -> None:
        for method, e in held[2].items():
            assert e["linear", "output"].beta == pytest.approx(1.0, rel=0.1), method

    def test_the_probe_reads_well_on_families_held_out(self, held: Any) -> None:
        probe = held[2]["linear_probe"]
        assert probe.details["held_out"][0, 0] > 0.99


def test_a_value_per_token_is_averaged_over_own_tokens() -> None:
    bench = bench_of("directions", "all")
    own = bench.inputs.mask.numpy()
    x = (bench.values * own[:, :, None]).sum(1) / own.sum(1)[:, None]
    fit = stats.linregress(x[:, 2], bench.clean[:, 1])
    assert correlation(bench).beta[2, 1] == pytest.approx(fit.slope)


def test_estimates_print_and_are_kept(tmp_path: Any) -> None:
    for name, e in all_methods(bench_of("latents"), target=np.array([0.5, 0.0, 1.0])).items():
        assert e.method == name
        assert e.assumes
        assert "one unit more of latent8 changes square" in str(e["latent8", "square"])
        e.save(tmp_path / name)
        again = Estimates.load(tmp_path / name)
        np.testing.assert_allclose(again.beta, e.beta)
    assert replace(e, label="x").label == "x"
