"""Support of what a knockout writes: constant features, far values, massive activations, random directions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.errors import InputError
from mrinterp.features._directions import Directions
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.knockouts._site_variation import random_directions, site_variation
from mrinterp.positions import AllTokens
from mrinterp.results._knockout_effects import KnockoutEffects
from tests.linear_stack import WIDTH, LinearStack, known_effects, stack_bench, stack_inputs


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
    np.testing.assert_array_equal(own.change_by_input, 0.0)
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
    bench = stack_bench(network=massive_network(), inputs=inputs, position=AllTokens())
    by_position = knock_out(bench, "mean", by="position")
    assert "massive activation at token 0" in by_position.flags[1]
    assert "massive" not in by_position.flags[0]
    assert by_position.outside[0].max() == 0
    blind = knock_out(bench, "mean", by="all")
    np.testing.assert_array_equal(blind.outside[1], 1.0)
    frame = blind.support_frame()
    assert frame.query("feature == '1' and position == 'token 0'")["massive_activation"].item() > 1000
    assert np.abs(blind.rms_change[1]).max() > 100 * np.abs(by_position.rms_change[1]).max()


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


def test_random_directions_lie_in_the_support() -> None:
    bench = stack_bench(30, inputs=stack_inputs(30, even=True))
    view = random_directions(bench, 4, seed=1)
    controls = bench.viewing(view)
    made = knock_out(controls, "shift")
    np.testing.assert_allclose(made.off_support, 0.0, atol=1e-10)
    tokens = bench.viewing(view)
    each = stack_bench(inputs=tokens.inputs, view=view, position=AllTokens())
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
