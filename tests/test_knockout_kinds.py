"""Kinds of knockout: known truth on a linear network, identities, refusals, support."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

from mrinterp.core.errors import InputError
from mrinterp.core.knockout_effects import KnockoutEffects
from mrinterp.knockouts.kinds.clamp import Clamp
from mrinterp.knockouts.kinds.interchange import Interchange
from mrinterp.knockouts.kinds.kind import Kind
from mrinterp.knockouts.kinds.mean import Mean
from mrinterp.knockouts.kinds.registry import KINDS
from mrinterp.knockouts.kinds.resample import Resample
from mrinterp.knockouts.knock_out import knock_out
from mrinterp.knockouts.natural import clean_values
from mrinterp.knockouts.site_variation import random_directions, site_variation
from mrinterp.models.directions import Directions
from mrinterp.models.inputs import ModelInputs
from mrinterp.models.outcomes import Sampling
from mrinterp.models.positions import AllTokens, LastToken
from mrinterp.models.units import Units
from tests.linear_stack import WIDTH, LinearStack, known_effects, stack_bench, stack_inputs

EVERY = np.arange(WIDTH)
OPTIONS: dict[str, dict[str, Any]] = {
    "shift": {"size": 0.7},
    "zero": {},
    "mean": {},
    "resample": {"donors": 2, "seed": 4},
    "clamp": {"quantile": 0.8},
    "scale": {"factor": 0.5},
    "steer": {"amount": 0.4, "unit": "feature"},
}
RULES = {"mean over tokens": None, "every token": AllTokens(), "last token": LastToken()}


def other_inputs(bench: Any) -> ModelInputs:
    """Counterfactuals of the same lengths with other words."""
    inputs = bench.inputs
    ids = (inputs.tensors["ids"] + 4) % 9
    return ModelInputs({"ids": ids, "mask": inputs.tensors["mask"]}, inputs.mask)


def options_of(kind: str, bench: Any) -> dict[str, Any]:
    return {"counterfactual": other_inputs(bench)} if kind == "interchange" else OPTIONS[kind]


@pytest.mark.parametrize("rule", ["mean over tokens", "every token"])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_the_known_effect(kind: str, rule: str) -> None:
    """Effect per unit is the weight; R2 is one; the mean effect is the weight times the mean change."""
    bench = stack_bench(16, rule=RULES[rule])
    made = knock_out(bench, kind, allow_off_support=True, **options_of(kind, bench))
    truth = known_effects(bench)
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
    np.testing.assert_allclose(made.per_input, moved[:, :, None] * truth[:, None], atol=1e-12)
    np.testing.assert_allclose(made.mean, made.per_input.mean(axis=1), atol=1e-14)
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
    bench = stack_bench(inputs=inputs, rule=AllTokens())
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
    bench = stack_bench(20, inputs=stack_inputs(20, tokens=4), rule=RULES[rule])
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
    bench = stack_bench(10, rule=RULES[rule])
    for made in (knock_out(bench, "scale", factor=1.0), knock_out(bench, Interchange(bench.inputs))):
        np.testing.assert_array_equal(made.per_input, 0.0)
        assert np.isnan(made.effect).all()
        assert np.isnan(made.r2).all()
        assert not made.measurable.any()
        assert all("nothing to change" in words for words in made.flags)


def constant_feature() -> Any:
    """A bench whose feature 2 is the same on every token of every input."""
    network = LinearStack()
    with torch.no_grad():
        network.layer[1].weight[2] = 0.0
    return stack_bench(12, network)


def test_a_feature_that_never_varies_is_said_to() -> None:
    bench = constant_feature()
    value = float(bench.values[0, 2])
    for kind, options in (("mean", {}), ("resample", {}), ("shift", {}), ("clamp", {"quantile": 0.5})):
        made = knock_out(bench, kind, **options)
        assert "nothing to change" in made.flags[2], kind
        assert np.isnan(made.effect[2]).all()
        assert np.isfinite(made.effect[[0, 1, 3]]).all()
        verdicts = made.equivalence().query("feature == '2'")["verdict"]
        assert set(verdicts) == {"indeterminate"}
    own = knock_out(bench, "clamp", features=[2], value=value)
    np.testing.assert_array_equal(own.per_input, 0.0)
    with pytest.raises(InputError, match=r"feature '2'.*never varies.*allow_off_support=True"):
        knock_out(bench, "clamp", features=[2], value=value + 1)
    zero = knock_out(bench, "zero")
    assert "far outside support" in zero.flags[2]
    np.testing.assert_allclose(zero.effect[2], known_effects(bench)[2], atol=1e-12)


def test_off_support_is_refused_or_flagged_everywhere(tmp_path: Path) -> None:
    bench = stack_bench(16)
    with pytest.raises(InputError, match=r"clamped to 50 is far outside.*allow_off_support=True"):
        knock_out(bench, "clamp", value=50.0)
    made = knock_out(bench, "clamp", value=50.0, allow_off_support=True)
    assert all("outside support, asked for" in words for words in made.flags)
    assert (made.outside_range == 1).all()
    assert made.to_frame()["flags"].str.contains("outside support").all()
    assert "outside support, asked for" in str(made)
    made.save(tmp_path / "clamp")
    assert KnockoutEffects.load(tmp_path / "clamp").flags == made.flags
    for kind, options in (("steer", {"amount": 20.0}), ("scale", {"factor": 30.0}), ("shift", {"size": 9.0})):
        with pytest.raises(InputError, match="far outside"):
            knock_out(bench, kind, **options)
    inside = knock_out(bench, "clamp", quantile=0.5)
    assert (inside.outside_range == 0).all()
    assert not any(inside.flags)


def test_nothing_runs_before_a_refusal() -> None:
    network = LinearStack()
    bench = stack_bench(8, network)
    network.calls = 0
    with pytest.raises(InputError):
        knock_out(bench, "clamp", value=50.0)
    assert network.calls <= 2 * 8


def massive_network() -> LinearStack:
    """Word 0 gives coordinate 1 of the site a value a thousand times the others."""
    network = LinearStack()
    with torch.no_grad():
        network.embed.weight[:, 1] = torch.where(torch.arange(9) == 0, 3000.0, 0.0)
        network.layer[0].weight.copy_(torch.eye(WIDTH))
        network.layer[1].weight.copy_(torch.eye(WIDTH))
    return network


def test_massive_activations_and_a_mean_blind_to_position() -> None:
    inputs = stack_inputs(20, even=True)
    ids = inputs.tensors["ids"].clone()
    ids[ids == 0] = 1
    ids[:, 0] = 0
    inputs = ModelInputs({**inputs.tensors, "ids": ids}, inputs.mask)
    bench = stack_bench(network=massive_network(), inputs=inputs, rule=AllTokens())
    by_position = knock_out(bench, "mean", by="position")
    assert "massive activation at token 0" in by_position.flags[1]
    assert "massive" not in by_position.flags[0]
    assert by_position.outside[0].max() == 0
    blind = knock_out(bench, "mean", by="all")
    np.testing.assert_array_equal(blind.outside[1], 1.0)
    frame = blind.support_frame()
    assert frame.query("feature == '1' and position == 'token 0'")["massive"].item() > 1000
    assert np.abs(blind.typical[1]).max() > 100 * np.abs(by_position.typical[1]).max()


def test_support_of_a_pooled_rule_is_also_checked_at_its_tokens() -> None:
    """Moving the mean moves every token: at a position that hardly varies, out of its range."""
    inputs = stack_inputs(20, even=True)
    ids = inputs.tensors["ids"].clone()
    ids[:, 0] = 3
    inputs = ModelInputs({**inputs.tensors, "ids": ids}, inputs.mask)
    made = knock_out(stack_bench(inputs=inputs), "resample")
    assert (made.outside_range == 0).all()
    np.testing.assert_array_equal(made.outside[:, 0], 1.0)
    assert (made.outside[:, 1:] < 0.6).all()
    assert made.positions[0] == "token 0"


def test_every_example_of_the_batch_is_edited() -> None:
    bench = stack_bench(13, inputs=stack_inputs(13), block=4)
    made = knock_out(bench, "steer", amount=0.3, unit="feature", allow_off_support=True)
    want = np.broadcast_to(0.3 * known_effects(bench)[:, None], made.per_input.shape)
    np.testing.assert_allclose(made.per_input, want, atol=1e-12)
    assert (made.changed == 1).all()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_blocks_and_padding_change_nothing(kind: str) -> None:
    for rule in RULES.values():
        first = stack_bench(inputs=stack_inputs(12), rule=rule)
        a = knock_out(first, kind, allow_off_support=True, **options_of(kind, first))
        for options in ({"block": 2}, {"inputs": stack_inputs(12, padded=3)}):
            bench = stack_bench(**{"inputs": stack_inputs(12), "rule": rule, **options})
            b = knock_out(bench, kind, allow_off_support=True, **options_of(kind, bench))
            for name in ("effect", "se", "mean", "per_input", "outside_range"):
                np.testing.assert_allclose(getattr(b, name), getattr(a, name), atol=1e-12, err_msg=name)


def test_a_killed_run_goes_on_and_gives_the_same_bytes(tmp_path: Path) -> None:
    options = {"block": 2, "inputs": stack_inputs(10)}
    whole = knock_out(stack_bench(**options, folder=tmp_path / "whole"), "resample")
    network = LinearStack()
    bench = stack_bench(**options, network=network, folder=tmp_path / "killed")
    network.calls, network.allowed = 0, 170
    with pytest.raises(KeyboardInterrupt):
        knock_out(bench, "resample")
    network.calls, network.allowed = 0, 10**9
    again = knock_out(bench, "resample")
    assert network.calls < WIDTH * 4 * 10
    for folder, made in (("a", whole), ("b", again)):
        made.save(tmp_path / folder)
    assert KnockoutEffects.digest_of(tmp_path / "a") == KnockoutEffects.digest_of(tmp_path / "b")


def test_features_are_worked_off_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = stack_bench(8)
    whole = knock_out(bench, "resample")
    monkeypatch.setattr("mrinterp.knockouts.knock_out.HELD", 2 * 4 * 8 * 5)
    parts = knock_out(bench, "resample")
    pd.testing.assert_frame_equal(whole.to_frame(), parts.to_frame(), rtol=1e-10)


def test_effects_of_a_curved_network() -> None:
    """The shift sees the slope at the clean value; the least squares of swaps is that of numpy."""
    bench = stack_bench(16, LinearStack(curve=0.8))
    made = knock_out(bench, "shift")
    weight = known_effects(bench)[:, 0]
    last = bench.adapter.submodule("layer.2")
    first = bench.values @ last.weight.detach().numpy()[0] + last.bias.detach().numpy()[0]
    np.testing.assert_allclose(made.per_prompt[:, :, 0], weight[:, None] * (1 + 1.6 * first), atol=1e-10)
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


def test_sampled_outcomes_have_a_noise_floor() -> None:
    noisy = stack_bench(16, sampling=Sampling("normal", 1, 50.0, 0.0, 0))
    made = knock_out(noisy, "shift")
    assert made.noise_floor > 10
    assert not made.measurable.all()
    assert any("not measurable" in words for words in made.flags)


def test_sampled_outcomes_are_drawn_anew_in_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrinterp.knockouts.knock_out.HELD", 16 * 5)
    made = knock_out(stack_bench(16, sampling=Sampling("normal", 1, 50.0, 0.0, 0)), "zero")
    assert min(np.std(made.per_input[0] - made.per_input[f]) for f in range(1, WIDTH)) > 10


@dataclass(frozen=True)
class Negated(Kind):
    """What a user writes to add a kind."""

    name: ClassVar[str] = "negated"

    @property
    def label(self) -> str:
        return "sign turned"

    def targets(self, bench: Any) -> Any:
        return lambda features: -clean_values(bench, features)[:, None]


def test_a_kind_of_your_own_needs_only_its_values() -> None:
    bench = stack_bench(16)
    mine = knock_out(bench, Negated())
    theirs = knock_out(bench, "scale", factor=-1.0, allow_off_support=True)
    np.testing.assert_array_equal(mine.per_input, theirs.per_input)
    assert mine.kind == "negated"
    assert str(mine).startswith("sign turned")


def test_random_directions_lie_in_the_support() -> None:
    bench = stack_bench(30, inputs=stack_inputs(30, even=True))
    view = random_directions(bench, 4, seed=1)
    controls = bench.viewing(view)
    made = knock_out(controls, "shift")
    np.testing.assert_allclose(made.off_support, 0.0, atol=1e-10)
    tokens = bench.viewing(view)
    each = stack_bench(inputs=tokens.inputs, view=view, rule=AllTokens())
    np.testing.assert_allclose(each.values.reshape(-1, 4).std(axis=0), 1.0, rtol=0.05)
    assert made.features == ("random:00", "random:01", "random:02", "random:03")
    again = random_directions(bench, 4, seed=1)
    np.testing.assert_array_equal(controls.values, bench.viewing(again).values)
    with pytest.raises(InputError, match=r"99 directions.*dimensions of the support"):
        random_directions(bench, 99)


def test_off_support_share_of_a_direction_that_never_varies() -> None:
    network = LinearStack()
    with torch.no_grad():
        network.layer[1].weight[2] = 0.0
    read = np.zeros((2, WIDTH))
    read[0, 2], read[1, 0] = 1.0, 1.0
    made = knock_out(stack_bench(20, network, view=Directions(read)), "zero")
    assert made.off_support[0] == pytest.approx(1.0, abs=1e-9)
    assert made.off_support[1] < 0.2
    assert site_variation(stack_bench(20, network)).axes.shape[1] == WIDTH


BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown kind": ("resampel", {}, "resample"),
    "unknown option": ("clamp", {"quantil": 0.5}, "quantile"),
    "no option known": ("zero", {"value": 1}, "It has none"),
    "clamp to nothing": ("clamp", {}, "neither value nor quantile"),
    "clamp to both": ("clamp", {"value": 1.0, "quantile": 0.5}, "Give one of the two"),
    "clamp to too many": ("clamp", {"value": [1.0, 2.0]}, "each of the 6 features"),
    "quantile": ("clamp", {"quantile": 1.5}, "between 0 and 1"),
    "no step": ("shift", {"size": 0.0}, "above zero"),
    "unit": ("steer", {"unit": "sds"}, "One of sd, feature"),
    "infinite factor": ("scale", {"factor": np.inf}, "finite"),
    "no counterfactual": ("interchange", {}, "Give a ModelInputs"),
    "another list": ("interchange", {"counterfactual": stack_inputs(5)}, "5 inputs for 8 prompts"),
    "too many donors": ("resample", {"donors": 7}, "donors=6 or fewer"),
    "no donors": ("resample", {"donors": 0}, "at least one"),
    "unknown feature": ("zero", {"features": ["9"]}, "no such feature"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_input_is_refused_with_the_fix(case: str) -> None:
    kind, options, words = BAD[case]
    with pytest.raises(InputError, match=words):
        knock_out(stack_bench(8), kind, **options)


def test_other_bad_input() -> None:
    with pytest.raises(InputError, match="a donor set of one"):
        knock_out(stack_bench(inputs=stack_inputs(3), family=[0, 1, 1]), "resample", donors=1)
    each = stack_bench(inputs=stack_inputs(8), rule=AllTokens())
    with pytest.raises(InputError, match=r"counterfactual \d+: \d tokens, its prompt has \d"):
        knock_out(each, "interchange", counterfactual=stack_inputs(8, seed=9))
    with pytest.raises(InputError, match="no classes"):
        knock_out(each, "mean", by="class")
    with pytest.raises(InputError, match="One of position"):
        knock_out(each, "mean", by="word")
    with pytest.raises(InputError, match="Give options to the kind itself"):
        knock_out(each, Clamp(quantile=0.5), quantile=0.4)


def test_equivalence_of_the_knockout_itself_and_per_unit() -> None:
    """The mean effect is in outcome units, with an interval and a region of its own."""
    made = knock_out(stack_bench(12), "mean")
    frame = made.equivalence(of="mean")
    np.testing.assert_array_equal(frame["effect"], made.mean.ravel())
    np.testing.assert_allclose(frame["rope"], np.tile(0.02 * made.outcome_sd, len(made.features)))
    lower, upper = made.mean_interval(0.9)
    np.testing.assert_allclose(frame["lower"], lower.ravel())
    wide = made.equivalence(rope=1.01 * np.maximum(np.abs(lower), np.abs(upper)) + 1e-9, of="mean")
    assert set(wide["verdict"]) == {"negligible"}
    assert not frame["effect"].equals(made.equivalence()["effect"])
    with pytest.raises(InputError, match="'effect' or 'mean'"):
        made.equivalence(of="median")


def test_saved_effects_reopen_and_old_ones_are_read(tmp_path: Path) -> None:
    made = knock_out(stack_bench(10, view=Units([1, 4], WIDTH)), "resample")
    made.save(tmp_path / "k")
    again = KnockoutEffects.load(tmp_path / "k")
    pd.testing.assert_frame_equal(made.to_frame(), again.to_frame())
    pd.testing.assert_frame_equal(made.support_frame(), again.support_frame())
    np.testing.assert_array_equal(made.influence, again.influence)
    pd.testing.assert_frame_equal(made.equivalence(), again.equivalence())
    old = ["feature", "outcome", "kind", "effect", "se", "df", "prompts", "families", "read_back_error"]
    old += ["leakage", "off_support", "outside_range"]
    path = tmp_path / "k" / "effects.parquet"
    pd.read_parquet(path)[old].to_parquet(path)
    for name in ("per_input", "weight", "outside", "massive"):
        (tmp_path / "k" / f"{name}.npy").unlink()
    header = tmp_path / "k" / "knockouts.json"
    text = header.read_text().replace('"positions"', '"unread"').replace('"outcome_sd"', '"unread_too"')
    header.write_text(text)
    bare = KnockoutEffects.load(tmp_path / "k")
    np.testing.assert_array_equal(bare.effect, made.effect)
    assert np.isnan(bare.mean).all()
    np.testing.assert_array_equal(bare.effect_df, bare.df)
    with pytest.raises(InputError, match="rope"):
        bare.equivalence()
    with pytest.raises(InputError, match="above zero"):
        bare.equivalence(rope=0.0)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda: knock_out(stack_bench(6), "mean", draws=0), "draws: 0"),
        (lambda: knock_out(stack_bench(6), "mean").equivalence(alpha=2), "alpha: 2"),
        (lambda: stack_bench(6, block=0), "block: 0"),
        (lambda: stack_bench(6).subset(np.arange(0)), "at least one input"),
    ],
)
def test_numbers_that_cannot_be_are_refused(run: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        run()
