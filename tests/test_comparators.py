"""Cheap comparators: exact where the network is linear, complete where it is smooth, blind behind gates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from mrinterp.core.check import NotApplicable
from mrinterp.core.errors import InputError
from mrinterp.core.estimates import Estimates
from mrinterp.knockouts.bench import Bench
from mrinterp.knockouts.comparators.comparators import comparators
from mrinterp.knockouts.comparators.correlation import correlation
from mrinterp.knockouts.comparators.gradient import (
    attribution_patching,
    gradient,
    gradient_times_activation,
)
from mrinterp.knockouts.comparators.integrated_gradients import integrated_gradients
from mrinterp.knockouts.comparators.linear_probe import linear_probe
from mrinterp.models.directions import Directions
from mrinterp.models.inputs import ModelInputs
from mrinterp.models.latents import Latents
from mrinterp.models.other_outcomes import CallableOutcome
from mrinterp.models.outcome_set import OutcomeSet
from mrinterp.models.outcomes import Sampling
from mrinterp.models.positions import AllTokens, LastToken, MeanOfTokens, TokenClass, TokenIndex
from mrinterp.models.sae import SparseAutoencoder
from mrinterp.models.torch_module import TorchAdapter
from mrinterp.models.units import Units
from mrinterp.worlds.gated import gated_world
from tests.given_bench import given_bench

WIDTH, TOKENS, PROMPTS = 6, 4, 11
GRADIENT = ("gradient", "gradient_times_activation", "attribution_patching", "integrated_gradients")


class Mix(torch.nn.Module):
    """A layer that mixes tokens and bends (or not)."""

    def __init__(self, bend: bool) -> None:
        super().__init__()
        self.own, self.other = torch.nn.Linear(WIDTH, WIDTH), torch.nn.Linear(WIDTH, WIDTH)
        self.bend = bend

    def forward(self, h: Any) -> Any:
        mixed = self.own(h) + self.other(h.mean(1, keepdim=True))
        return h + (torch.tanh(mixed) if self.bend else mixed)


class Stack(torch.nn.Module):
    """Three layers in a list, so that edited runs are resumed; the output is one vector per token."""

    def __init__(self, bend: bool = True) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = torch.nn.ModuleList(Mix(bend) for _ in range(3))
        self.double()

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x


def _inputs(seed: int = 0) -> ModelInputs:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(PROMPTS, TOKENS, WIDTH, generator=g, dtype=torch.float64)
    mask = torch.ones(PROMPTS, TOKENS, dtype=torch.long)
    mask[::3, -1] = 0
    return ModelInputs({"x": x}, mask, torch.where(mask > 0, torch.arange(TOKENS) % 2, -1), ("even", "odd"))


def _square(output: Any, mask: Any) -> Any:
    return (output[..., 0] * mask).sum(1) + 0.3 * (output[..., 1] * output[..., 2] * mask).sum(1)


def _linear(output: Any, mask: Any) -> Any:
    return (output[..., 0] * mask).sum(1)


BENT = OutcomeSet([CallableOutcome("square", _square), CallableOutcome("linear", _linear)])
FAMILY = np.arange(PROMPTS) // 2


def _views() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    weights = {
        "W_enc": torch.from_numpy(rng.standard_normal((WIDTH, 9))),
        "W_dec": torch.from_numpy(rng.standard_normal((9, WIDTH))),
        "b_enc": torch.zeros(9, dtype=torch.float64),
        "b_dec": torch.zeros(WIDTH, dtype=torch.float64),
    }
    return {
        "units": Units([4, 0, 2], WIDTH),
        "directions": Directions(rng.standard_normal((3, WIDTH)), center=rng.standard_normal(WIDTH)),
        "latents": Latents(SparseAutoencoder("standard", weights), WIDTH, [8, 1, 5]),
    }


RULES = {
    "mean": MeanOfTokens(),
    "last": LastToken(),
    "index": TokenIndex(1),
    "class": TokenClass(1),
    "all": AllTokens(),
}


def _bench(view: str = "units", rule: str = "mean", bend: bool = True, **changes: Any) -> Bench:
    options: dict[str, Any] = {"rule": RULES[rule], "family": FAMILY, "block": 4, **changes}
    outcome = options.pop("outcome", BENT)
    return Bench(TorchAdapter(Stack(bend).eval()), "layers.1", _views()[view], _inputs(), outcome, **options)


def _moved_alone(bench: Bench, moved: np.ndarray) -> np.ndarray:
    """Outcome changes (F, P, O) when each feature alone is moved: the knockouts themselves."""
    F = bench.features
    values = np.moveaxis(bench.values + moved, -1, 0)[:, None]
    return bench.sweep(np.arange(F)[:, None], values, "alone").outcome - bench.clean


@pytest.mark.parametrize("view", sorted(_views()))
@pytest.mark.parametrize("rule", sorted(RULES))
class TestEveryViewAtEveryPosition:
    def test_gradient_is_the_limit_of_small_knockouts(self, view: str, rule: str) -> None:
        bench = _bench(view, rule)
        assert bench.resumes
        size = 1e-5
        up, down = (_moved_alone(bench, np.full(bench.values.shape, s)) for s in (size, -size))
        slope = ((up - down) / (2 * size)).mean(axis=1)
        np.testing.assert_allclose(gradient(bench).beta, slope, rtol=2e-6, atol=1e-8)

    def test_integrated_gradients_alone_are_the_knockout(self, view: str, rule: str) -> None:
        bench = _bench(view, rule)
        found = integrated_gradients(bench, "zero", steps=16, together=False)
        truth = _moved_alone(bench, -bench.values).mean(axis=1)
        np.testing.assert_allclose(found.details["change"], truth, rtol=1e-5, atol=1e-7)

    def test_shares_sum_to_the_change_of_all(self, view: str, rule: str) -> None:
        bench = _bench(view, rule)
        for target in ("zero", "mean", _inputs(7)):
            found = integrated_gradients(bench, target, steps=40)
            assert found.meta["completeness_error"] < 1e-9
        coarse = integrated_gradients(bench, "zero", steps=1).meta["completeness_error"]
        assert coarse > 1e-4, "one step must not look complete on a bent network"

    def test_first_order_is_exact_on_a_linear_network(self, view: str, rule: str) -> None:
        bench = _bench(view, rule, bend=False, outcome=CallableOutcome("linear", _linear))
        counterfactual = _inputs(5)
        moved = bench.read(counterfactual) - bench.values
        if rule == "all":
            moved = moved * bench.inputs.mask.numpy()[:, :, None]
        truth = _moved_alone(bench, moved).mean(axis=1)
        found = attribution_patching(bench, counterfactual)
        np.testing.assert_allclose(found.details["change"], truth, rtol=1e-6, atol=1e-8)
        zero = gradient_times_activation(bench)
        np.testing.assert_allclose(
            zero.details["change"], _moved_alone(bench, -bench.values).mean(axis=1), rtol=1e-6, atol=1e-8
        )
        if rule != "all":
            swaps = -bench.values.T[..., None]
            per_unit = (_moved_alone(bench, -bench.values) * swaps).sum(1) / (swaps**2).sum(1)
            for e in (zero, integrated_gradients(bench, "zero", 2)):
                np.testing.assert_allclose(e.beta, per_unit, rtol=1e-6)


def test_block_size_changes_nothing() -> None:
    one, two = (comparators(_bench("latents", "all", block=b), "zero") for b in (3, 16))
    for name, e in one.items():
        assert isinstance(e, Estimates)
        np.testing.assert_allclose(e.beta, two[name].beta, rtol=1e-9, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(e.se, two[name].se, rtol=1e-9, atol=1e-12, err_msg=name)


def test_resuming_changes_nothing() -> None:
    resumed, whole = _bench("directions"), _bench("directions")
    whole._start = None
    np.testing.assert_array_equal(gradient(resumed).beta, gradient(whole).beta)


def test_units_rescale_and_signs_turn() -> None:
    read = np.random.default_rng(1).standard_normal((2, WIDTH))
    one, two = (
        Bench(TorchAdapter(Stack().eval()), "layers.1", Directions(r), _inputs(), BENT, family=FAMILY)
        for r in (read, read * np.array([[1e-6], [-4.0]]))
    )
    ours, theirs = comparators(one), comparators(two)
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
        zero = _moved_alone(bench, -bench.values).mean(axis=1)[:, 0]
        np.testing.assert_allclose(zero, world.zero_change, rtol=1e-9, atol=1e-12)
        return bench, zero, comparators(bench, "zero")

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
        found = integrated_gradients(bench, "zero", steps=200)
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
    bench = _bench("directions", "all")
    own = bench.inputs.mask.numpy()
    x = (bench.values * own[:, :, None]).sum(1) / own.sum(1)[:, None]
    fit = stats.linregress(x[:, 2], bench.clean[:, 1])
    assert correlation(bench).beta[2, 1] == pytest.approx(fit.slope)


class TestWhereItDoesNotApply:
    def test_a_sampled_outcome_has_no_gradient(self) -> None:
        found = comparators(_bench(sampling=Sampling("normal", 4, 0.1, 0.0, 0)))
        for name in GRADIENT:
            assert isinstance(found[name], NotApplicable)
            assert "sampled" in found[name].reason
        assert isinstance(
            integrated_gradients(_bench(sampling=Sampling("normal", 4, 0.1, 0.0, 0)), together=False),
            NotApplicable,
        )
        assert np.isfinite(found["correlation"].beta).all()
        assert np.isfinite(found["linear_probe"].beta).all()

    @pytest.mark.parametrize(
        "function",
        [
            lambda out, _m: (out.sum((1, 2)) > 0).double(),
            lambda out, _m: out[:, 0].argmax(-1),
            lambda out, _m: out.sum((1, 2)).numpy(),
        ],
        ids=["comparison", "label", "outside torch"],
    )
    def test_a_discrete_outcome_has_no_gradient(self, function: Any) -> None:
        found = comparators(_bench(outcome=CallableOutcome("label", function)))
        for name in GRADIENT:
            assert isinstance(found[name], NotApplicable), name
            assert "label" in found[name].reason
        assert isinstance(found["correlation"], Estimates)

    def test_an_outcome_among_others_that_is_discrete_is_called_flat(self) -> None:
        both = OutcomeSet(
            [
                CallableOutcome("smooth", _square),
                CallableOutcome("step", lambda o, _m: (o.sum((1, 2)) > 0) * 1.0),
            ]
        )
        found = gradient(_bench(outcome=both))
        assert (found.status[:, 0] == "ok").all()
        assert all("only a knockout tells" in s for s in found.status[:, 1])

    def test_a_feature_that_never_varies_is_told(self) -> None:
        x = np.random.default_rng(0).standard_normal((12, 3))
        x[:, 1] = 0.25
        found = comparators(given_bench(x, x[:, 0] ** 2, np.repeat(np.arange(6), 2)))
        for name in ("correlation", "linear_probe"):
            assert np.isnan(found[name].beta[1, 0])
            assert "does not vary" in found[name].status[1, 0]
            assert np.isfinite(found[name].beta[[0, 2], 0]).all()
        assert np.isnan(found["attribution_patching"].beta[1, 0])
        assert "equals the clean one" in found["attribution_patching"].status[1, 0]

    def test_no_feature_varies(self) -> None:
        y = np.random.default_rng(0).standard_normal(12)
        found = comparators(given_bench(np.ones((12, 2)), y, np.repeat(np.arange(6), 2)))
        for name in ("correlation", "linear_probe"):
            assert np.isnan(found[name].beta).all()
            assert all("does not vary" in s for s in found[name].status.ravel())

    def test_one_family_has_no_error(self) -> None:
        found = comparators(_bench(family=np.zeros(PROMPTS)))
        for name, e in found.items():
            if name != "linear_probe":
                assert np.isfinite(e.beta).all(), name
            assert np.isnan(e.se).all(), name
            assert all("famil" in s for s in e.status.ravel()), name

    def test_a_class_in_too_few_families(self) -> None:
        x = np.random.default_rng(0).standard_normal((24, 2))
        y = np.zeros(24)
        y[0] = 1.0
        found = linear_probe(given_bench(x, y, np.repeat(np.arange(12), 2)))
        assert "too few families" in found.status[0, 0]
        assert np.isnan(found.beta).all()


class TestBadInput:
    def test_counterfactuals_of_another_length(self) -> None:
        with pytest.raises(InputError, match=f"5 for {PROMPTS} prompts"):
            attribution_patching(_bench(), _inputs().take(np.arange(5)))

    @pytest.mark.parametrize(
        "target", ["median", np.zeros(7), np.full(3, np.nan)], ids=["word", "shape", "nan"]
    )
    def test_targets(self, target: Any) -> None:
        with pytest.raises(InputError, match="target"):
            integrated_gradients(_bench(), target)

    def test_counts(self) -> None:
        with pytest.raises(InputError, match="steps"):
            integrated_gradients(_bench(), steps=0)


def test_estimates_print_and_are_kept(tmp_path: Any) -> None:
    for name, e in comparators(_bench("latents"), np.array([0.5, 0.0, 1.0])).items():
        assert e.method == name
        assert e.assumes
        assert "one unit more of latent8 changes square" in str(e["latent8", "square"])
        e.save(tmp_path / name)
        again = Estimates.load(tmp_path / name)
        np.testing.assert_allclose(again.beta, e.beta)
    assert replace(e, label="x").label == "x"
