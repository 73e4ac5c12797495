"""What every kind of knockout writes, and the effects that follow: known truth on a linear network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.errors import InputError
from mrinterp.knockouts._clean_values import clean_values
from mrinterp.knockouts._kinds.interchange import Interchange
from mrinterp.knockouts._kinds.kind import Kind
from mrinterp.knockouts._kinds.mean import Mean
from mrinterp.knockouts._kinds.registry import KINDS
from mrinterp.knockouts._kinds.resample import Resample
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.positions import AllTokens
from tests.knockouts.kind_options import EVERY, OPTIONS, RULES, options_of
from tests.linear_stack import LinearStack, known_effects, stack_bench, stack_inputs


@pytest.mark.parametrize("rule", ["mean over tokens", "every token"])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_the_known_effect(kind: str, rule: str) -> None:
    """Effect per unit is the weight; R2 is one; the mean effect is the weight times the mean change."""
    bench = stack_bench(16, position=RULES[rule])
    made = knock_out(bench, kind, allow_off_support=True, **options_of(kind, bench))
    truth = known_effects(bench)
    bench = bench.by_token if KINDS[kind].each_token else bench
    np.testing.assert_allclose(made.effect, truth, atol=1e-12)
    np.testing.assert_allclose(made.r2, 1.0, atol=1e-12)
    target = KINDS[kind](**options_of(kind, bench)).targets(bench)(EVERY)
    clean = np.moveaxis(bench.values, -1, 0)[:, None]
    change = np.where(np.isnan(target), 0.0, target - clean)
    if bench.each:
        own = bench.inputs.mask.numpy().astype(bool)
        change = np.where(own, change, 0.0).sum(axis=-1) / own.sum(axis=1)
    sign = np.array(KINDS[kind](**options_of(kind, bench)).signs)
    moved = (sign[None, :, None] * change).mean(axis=1)
    np.testing.assert_allclose(made.change_by_input, moved[:, :, None] * truth[:, None], atol=1e-12)
    np.testing.assert_allclose(made.mean, made.change_by_input.mean(axis=1), atol=1e-14)
    np.testing.assert_allclose(made.moved_by, np.sqrt((change**2).mean(axis=(1, 2))), atol=1e-12)
    assert made.read_back_error.max() < 1e-12
    assert made.leakage.max() < 1e-12
    assert made.measurable.all()


def test_targets_are_what_each_kind_says() -> None:
    bench = stack_bench(16)
    values = bench.values.T
    expected = {
        "zero": np.zeros_like(values),
        "mean": np.repeat(values.mean(axis=1, keepdims=True), 16, axis=1),
        "clamp": np.repeat(np.quantile(values, 0.8, axis=1)[:, None], 16, axis=1),
        "scale": 0.5 * values,
        "steer": values + 0.4,
    }
    for kind, want in expected.items():
        np.testing.assert_allclose(KINDS[kind](**OPTIONS[kind]).targets(bench)(EVERY)[:, 0], want, atol=1e-14)
    step = 0.7 * values.std(axis=1)[:, None]
    shift = KINDS["shift"](size=0.7).targets(bench)(EVERY)
    np.testing.assert_allclose(shift, np.stack([values + step, values - step], axis=1), atol=1e-14)


@pytest.mark.parametrize("by", ["position", "class", "all"])
def test_means_are_taken_over_tokens_at_the_same_place(by: str) -> None:
    inputs = stack_inputs(12)
    classes = torch.where(inputs.mask.bool(), torch.tensor([0, 1, 1, 0, 2]), -1)
    inputs = ModelInputs(inputs.tensors, inputs.mask, classes, ("start", "middle", "end"))
    bench = stack_bench(inputs=inputs, position=AllTokens())
    target = Mean(by).targets(bench)(EVERY)[:, 0]
    own = inputs.mask.numpy().astype(bool)
    place = {"position": np.tile(np.arange(5), (12, 1)), "class": classes.numpy(), "all": np.zeros((12, 5))}[
        by
    ]
    for p, t in np.argwhere(own):
        alike = own & (place == place[p, t])
        np.testing.assert_allclose(target[:, p, t], bench.values[alike].mean(axis=0), atol=1e-12)
    assert np.isnan(target[:, ~own]).all()


@pytest.mark.parametrize("rule", ["mean over tokens", "every token"])
def test_donors_are_of_other_families_and_differ(rule: str) -> None:
    bench = stack_bench(20, inputs=stack_inputs(20, tokens=4), position=RULES[rule])
    target = Resample(donors=3, seed=2).targets(bench)(EVERY)
    length = bench.inputs.mask.sum(1).numpy()
    for p in range(20):
        taken = []
        for s in range(3):
            if bench.each:
                here = target[:, s, p, : length[p]]
                same = [q for q in range(20) if length[q] >= length[p]]
                donor = [q for q in same if np.array_equal(here, bench.values[q, : length[p]].T)]
                assert np.isnan(target[:, s, p, length[p] :]).all()
            else:
                donor = [q for q in range(20) if np.array_equal(target[:, s, p], bench.values[q])]
            assert donor
            assert any(bench.family[q] != bench.family[p] for q in donor)
            taken += donor
        assert len(set(taken)) >= 3
    np.testing.assert_array_equal(target, Resample(donors=3, seed=2).targets(bench)(EVERY))
    assert not np.array_equal(target, Resample(donors=3, seed=3).targets(bench)(EVERY), equal_nan=True)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_knockouts_to_the_own_value_change_nothing(rule: str) -> None:
    bench = stack_bench(10, position=RULES[rule])
    for made in (knock_out(bench, "scale", factor=1.0), knock_out(bench, Interchange(bench.inputs))):
        np.testing.assert_array_equal(made.change_by_input, 0.0)
        assert np.isnan(made.effect).all()
        assert np.isnan(made.r2).all()
        assert not made.measurable.any()
        assert all("nothing to change" in words for words in made.flags)


def test_effects_of_a_curved_network() -> None:
    """The shift sees the slope at the clean value; the least squares of swaps is that of numpy."""
    bench = stack_bench(16, LinearStack(curve=0.8))
    made = knock_out(bench, "shift")
    weight = known_effects(bench)[:, 0]
    last = bench.adapter.submodule("layer.2")
    first = bench.values @ last.weight.detach().numpy()[0] + last.bias.detach().numpy()[0]
    np.testing.assert_allclose(made.effect_by_input[:, :, 0], weight[:, None] * (1 + 1.6 * first), atol=1e-10)
    np.testing.assert_allclose(made.effect[:, 0], weight * (1 + 1.6 * first).mean(), atol=1e-10)
    swapped = knock_out(bench, "resample", donors=4)
    amount = Resample(donors=4).targets(bench)(EVERY) - bench.values.T[:, None]
    moved = amount * weight[:, None, None]
    change = moved + 0.8 * (2 * first * moved + moved**2)
    for f in EVERY:
        x, y = amount[f].ravel(), change[f].ravel()
        slope = np.linalg.lstsq(x[:, None], y, rcond=None)[0][0]
        assert swapped.effect[f, 0] == pytest.approx(slope, rel=1e-9)
        assert swapped.r2[f, 0] == pytest.approx(1 - ((y - slope * x) ** 2).sum() / (y**2).sum(), rel=1e-9)


@dataclass(frozen=True)
class Negated(Kind):
    """What a user writes to add a kind."""

    name: ClassVar[str] = "negated"

    @property
    def label(self) -> str:
        return "sign turned"

    def targets(self, bench: Any) -> Any:
        return lambda features: -clean_values(bench, features)[:, None]


@dataclass(frozen=True)
class Flat(Negated):
    """One that forgets the axis of swaps."""

    name: ClassVar[str] = "flat"

    def targets(self, bench: Any) -> Any:
        return lambda features: -clean_values(bench, features)


def test_a_kind_of_your_own_needs_only_its_values() -> None:
    bench = stack_bench(16)
    mine = knock_out(bench, Negated())
    theirs = knock_out(bench, "scale", factor=-1.0, allow_off_support=True)
    np.testing.assert_array_equal(mine.change_by_input, theirs.change_by_input)
    assert mine.kind == "negated"
    with pytest.raises(InputError, match=r"'flat': targets: shape \(6, 16\).*Give \(6, 1, 16\)"):
        knock_out(bench, Flat())
    assert str(mine).startswith("sign turned")
