"""The driver of all kinds: blocks, restarts, noise, equivalence, and effects that are saved and reopened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.features._units import Units, WholeLayer
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._kinds.registry import KINDS
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.outcomes._logit_outcomes import LogitDifference
from mrinterp.outcomes._outcome import Sampling
from mrinterp.positions import AllTokens
from mrinterp.results._knockout_effects import KnockoutEffects
from tests.knockouts.kind_options import RULES, options_of
from tests.linear_stack import WIDTH, FirstTwo, LinearStack, known_effects, stack_bench, stack_inputs
from tests.tiny import tiny_decoder


def test_every_example_of_the_batch_is_edited() -> None:
    bench = stack_bench(13, inputs=stack_inputs(13), block=4)
    made = knock_out(bench, "steer", amount=0.3, unit="feature", allow_off_support=True)
    want = np.broadcast_to(0.3 * known_effects(bench)[:, None], made.change_by_input.shape)
    np.testing.assert_allclose(made.change_by_input, want, atol=1e-12)
    assert (made.share_changed == 1).all()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_blocks_and_padding_change_nothing(kind: str) -> None:
    for rule in RULES.values():
        first = stack_bench(inputs=stack_inputs(12), position=rule)
        a = knock_out(first, kind, allow_off_support=True, **options_of(kind, first))
        for options in ({"block": 2}, {"inputs": stack_inputs(12, padded=3)}):
            bench = stack_bench(**{"inputs": stack_inputs(12), "position": rule, **options})
            b = knock_out(bench, kind, allow_off_support=True, **options_of(kind, bench))
            for name in ("effect", "se", "mean", "change_by_input", "outside_range"):
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
    monkeypatch.setattr("mrinterp.knockouts._knock_out.HELD", 2 * 4 * 8 * 5)
    parts = knock_out(bench, "resample")
    pd.testing.assert_frame_equal(whole.to_frame(), parts.to_frame(), rtol=1e-10)


def test_sampled_outcomes_have_a_noise_floor() -> None:
    noisy = stack_bench(16, sampling=Sampling("normal", 1, 50.0, 0.0, 0))
    made = knock_out(noisy, "shift")
    assert (made.noise_floor > 10).all()
    assert not made.measurable.all()
    assert any("not measurable" in words for words in made.flags)


def test_a_sampled_outcome_is_measurable_where_its_errors_say_so() -> None:
    """A yes or no changes by one or not at all, so that no single change is above the noise; the mean is."""
    judge = Sampling("bernoulli", 1, 0.1, 0.0, 0)
    made = knock_out(stack_bench(400, sampling=judge, family=np.arange(400) // 4), "shift", size=2.0)
    lower, upper = made.interval()
    assert made.noise_floor[0] == 1
    assert (made.rms_change[:, 0] < 1).all()
    apart = (lower > 0) | (upper < 0)
    assert apart[:, 0].any()
    assert made.measurable[apart].all()
    assert not made.measurable[~apart & (np.abs(made.mean) < 1.9 * made.mean_se)].any()
    assert np.isnan(made.share_changed).all()
    assert not made.flags[int(apart.any(axis=1).argmax())]


class Scaled:
    """Two outcomes of the same output, one of them a million times as large."""

    names = ("small", "large")

    def __call__(self, output: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return output[:, :1] * torch.tensor([1.0, 1e6])


def test_every_outcome_has_a_noise_floor_of_its_own() -> None:
    network = LinearStack().eval()  # single precision: rounding is a floor that can be seen
    bench = Bench(TorchAdapter(network), "layer.1", WholeLayer(WIDTH), stack_inputs(16), Scaled())
    made = knock_out(bench, "mean")
    np.testing.assert_allclose(made.noise_floor[1] / made.noise_floor[0], 1e6, rtol=0.2)
    assert made.measurable.all()
    np.testing.assert_allclose(made.floor_per_unit, made.noise_floor / made.moved_by[:, None])
    assert made.to_frame()["share_changed"].min() > 0.5


def test_half_precision_has_a_floor_of_its_own_rounding() -> None:
    network = LinearStack().half().eval()
    bench = Bench(TorchAdapter(network), "layer.1", WholeLayer(WIDTH), stack_inputs(32), FirstTwo())
    assert knock_out(bench, "shift").measurable.any(axis=1).all()
    tiny = knock_out(bench, "shift", size=1e-3)  # less than a step of what the site can hold
    assert not tiny.measurable.any()
    assert all("not measurable" in words or "nothing to change" in words for words in tiny.flags)


def test_shards_of_another_network_outcome_or_view_are_not_taken(tmp_path: Path) -> None:
    """Zeros are the same values to write whatever the network: only the bench's digest tells them apart."""
    first = knock_out(stack_bench(8, folder=tmp_path), "zero")
    kept = len(list(tmp_path.iterdir()))
    for options in (
        {"network": LinearStack(curve=2.0)},
        {"network": LinearStack(seed=3)},
        {"inputs": stack_inputs(8, seed=5)},
        {"view": WholeLayer(WIDTH), "position": AllTokens()},
    ):
        again = knock_out(stack_bench(8, **options, folder=tmp_path), "zero")
        alone = knock_out(stack_bench(8, **options), "zero")
        np.testing.assert_array_equal(again.change_by_input, alone.change_by_input)
        assert not np.array_equal(again.change_by_input, first.change_by_input)
    assert len(list(tmp_path.iterdir())) == kept + 4
    network = LinearStack()
    bench = stack_bench(8, network, folder=tmp_path)
    network.calls = 0
    np.testing.assert_array_equal(knock_out(bench, "zero").change_by_input, first.change_by_input)
    assert network.calls < WIDTH * 8, "the first bench's shards are found again"


def test_constant_features_and_single_prompts_are_not_said_to_be_badly_written() -> None:
    single = knock_out(stack_bench(1), "zero")
    assert not any("read back" in words for words in single.flags)
    assert "no interval: all change comes from one family" in str(single)
    assert "nan" not in str(single)
    assert set(single.equivalence(rope=1.0)["reason"]) == {"no interval: all change comes from one family"}


def test_sampled_outcomes_are_drawn_anew_in_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrinterp.knockouts._knock_out.HELD", 16 * 5)
    made = knock_out(stack_bench(16, sampling=Sampling("normal", 1, 50.0, 0.0, 0)), "zero")
    assert min(np.std(made.change_by_input[0] - made.change_by_input[f]) for f in range(1, WIDTH)) > 10


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
    pd.read_parquet(path).rename(columns={"inputs": "prompts"})[old].to_parquet(path)
    for name in ("change_by_input", "weight", "outside", "massive_activation", "outcome_sd", "noise_floor"):
        (tmp_path / "k" / f"{name}.npy").unlink()
    (tmp_path / "k" / "effect_by_input.npy").rename(tmp_path / "k" / "per_prompt.npy")
    (tmp_path / "k" / "inputs.parquet").rename(tmp_path / "k" / "prompts.parquet")
    (tmp_path / "k" / "SHA256SUMS").unlink()
    header = tmp_path / "k" / "knockouts.json"
    text = header.read_text().replace('"positions"', '"unread"')
    header.write_text(text.replace("{", '{"noise_floor": [0.0, null],', 1))
    bare = KnockoutEffects.load(tmp_path / "k")
    np.testing.assert_array_equal(bare.effect, made.effect)
    np.testing.assert_array_equal(bare.effect_by_input, made.effect_by_input)
    np.testing.assert_array_equal(bare.noise_floor, [0.0, np.nan])
    assert np.isnan(bare.mean).all()
    np.testing.assert_array_equal(bare.effect_df, bare.df)
    with pytest.raises(InputError, match="rope"):
        bare.equivalence()
    with pytest.raises(InputError, match="above zero"):
        bare.equivalence(rope=0.0)


def test_half_precision_is_tried_where_the_outcome_hides_it() -> None:
    """A network in bfloat16 whose outcome is computed in single precision: its rounding is not the outcome's."""

    def effects(dtype: torch.dtype, size: float) -> KnockoutEffects:
        ids = torch.randint(1, 20, (24, 8), generator=torch.Generator().manual_seed(0))
        inputs = ModelInputs({"input_ids": ids}, torch.ones_like(ids))
        adapter = TorchAdapter(tiny_decoder(dtype=dtype))
        bench = Bench(adapter, "transformer.h.0", Units(range(5), 24), inputs, LogitDifference(3, 5))
        return knock_out(bench, "shift", size=size, draws=20)

    tiny, true = effects(torch.bfloat16, 0.01), effects(torch.float64, 0.01)
    assert (tiny.rms_change > 2 * true.rms_change).any(), "it is rounding that moves the outcome"
    assert not tiny.measurable.any()
    whole = effects(torch.bfloat16, 1.0)
    assert whole.measurable.all()
