"""Images and tables end to end: perturbed, run, read, estimated, knocked out; effects known in advance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import mrinterp
from mrinterp.core.errors import InputError
from mrinterp.features._feature_view import ChannelMap
from mrinterp.features._units import Units
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.models._array_network import array_network
from mrinterp.outcomes._logit_outcomes import Logit
from mrinterp.perturbations._columns import ColumnNoise, ColumnResampling
from mrinterp.perturbations._images import Occlusion, PixelNoise
from mrinterp.perturbations._perturb import perturb
from mrinterp.scan._read_arrays import read_arrays
from tests.inputs.input_nets import ImageNetwork, TableNetwork


def _case(kind: str) -> Any:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    if kind == "table":
        made = perturb(rng.standard_normal((60, 6)), [ColumnNoise(0.5), ColumnResampling(0.3)], 6, seed=1)
        return TableNetwork().eval().requires_grad_(False), made, "noise", lambda v: v
    made = perturb(rng.random((60, 1, 6, 6)), [PixelNoise(0.3, 16), Occlusion(3, 0.3)], 6, seed=1)
    return ImageNetwork().eval().requires_grad_(False), made, "pixel_noise", ChannelMap


@pytest.mark.parametrize("kind", ["table", "image"])
def test_effects_are_the_readout_weights_and_knockouts_agree(kind: str) -> None:
    net, made, noise, channels = _case(kind)
    network = array_network(net, "hidden", made.inputs, Logit(1))
    view = Units([3, 1], network.width)
    learn = made.family < 15
    read = read_arrays(network, view, clean=made.prompt, learn=learn)
    rows = np.flatnonzero(np.isin(made.kind, ["clean", noise]) & ~learn & (made.family < 45))
    panel = mrinterp.from_arrays(**made.columns(rows), **read.columns(rows))
    truth = net.out.weight[1, [3, 1]].numpy()
    np.testing.assert_allclose(mrinterp.mr.within(panel).beta[:, 0], truth, rtol=1e-4)
    held = np.flatnonzero((made.kind == "clean") & (made.family >= 45))
    bench = Bench(
        network.adapter,
        "hidden",
        channels(view),
        network.inputs.take(held),
        Logit(1),
        position=network.position,
    )
    np.testing.assert_allclose(knock_out(bench, "shift").effect[:, 0], truth, rtol=1e-3)


def test_bypass_does_not_move_with_the_features_and_blocks_change_nothing() -> None:
    net, made, _, _ = _case("image")
    network = array_network(net, "hidden", made.inputs, Logit(1))
    view = Units([3, 1], 4)
    read = read_arrays(network, view, clean=made.prompt)
    again = read_arrays(network, view, clean=made.prompt, block=31)
    for name in ("features", "outcomes"):
        np.testing.assert_allclose(getattr(read, name), getattr(again, name), atol=1e-6)
    assert read.bypass.shape[1] > 2
    before, after = network.run(), network.run(shift=np.tile([0.0, 1, 0, 2], (len(made.inputs), 1)))
    np.testing.assert_allclose(after.parts["position"], before.parts["position"], atol=1e-5)
    np.testing.assert_allclose(
        after.mean - before.mean, np.tile([0.0, 1, 0, 2], (len(made.inputs), 1)), atol=1e-5
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"site": "hiden"}, "Did you mean 'hidden"),
        ({"inputs": np.full((3, 6), np.nan)}, "inputs, row 0: a value that is not finite"),
        ({"network": TableNetwork().train()}, "training mode"),
    ],
)
def test_bad_input_is_refused(arguments: dict[str, Any], message: str) -> None:
    given = {
        "network": TableNetwork().eval(),
        "site": "hidden",
        "inputs": np.zeros((3, 6)),
        "outcome": Logit(0),
    }
    with pytest.raises(InputError, match=message):
        array_network(**{**given, **arguments})


def test_clean_rows_must_match() -> None:
    network = array_network(TableNetwork().eval(), "hidden", np.zeros((3, 6)), Logit(0))
    with pytest.raises(InputError, match="one row number per run"):
        read_arrays(network, Units([0], 5), clean=[0, 1])
    with pytest.raises(InputError, match="unit 9: the site has 5 units"):
        Units([9], network.width)
