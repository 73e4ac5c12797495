"""Heads and subspaces: one contrast per leading principal coordinate, and the whole at once without a sign."""

from __future__ import annotations

import numpy as np
import pytest

from mrinterp.core.errors import InputError
from mrinterp.features._directions import Subspace
from mrinterp.features._units import AttentionHeads, WholeLayer
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._contrast_levels import contrast_levels
from mrinterp.knockouts._designs.rectified_contrast import rectified_contrast
from mrinterp.knockouts._designs.whole_features import knock_out_jointly, leading_coordinates
from mrinterp.knockouts._kinds.resample import Resample
from mrinterp.knockouts._knock_out import knock_out
from tests.linear_stack import WIDTH, known_effects, stack_bench, stack_inputs


def head_bench() -> Bench:
    """Three heads of two coordinates each, five tokens a prompt."""
    return stack_bench(view=AttentionHeads([0, 2], 3, WIDTH), inputs=stack_inputs(60, even=True))


def test_a_head_is_read_by_its_leading_principal_coordinates() -> None:
    bench = head_bench()
    led = leading_coordinates(bench, count=2)
    assert led.view.names == ("head0:pc0", "head0:pc1", "head2:pc0", "head2:pc1")
    for h in range(2):
        own = bench.values[:, 2 * h : 2 * h + 2]
        spread = np.linalg.svd(own - own.mean(axis=0), compute_uv=False) / np.sqrt(len(own))
        np.testing.assert_allclose(led.values[:, 2 * h : 2 * h + 2].std(axis=0), spread, rtol=1e-9)
    assert leading_coordinates(bench, count=1).view.names == ("head0:pc0", "head2:pc0")


def test_a_coordinate_s_contrast_moves_its_head_along_the_coordinate() -> None:
    """Its own quantiles, token by token, times what the network does with that direction; other heads held."""
    led = leading_coordinates(head_bench(), count=1)
    found, levels = knock_out(led, "contrast"), contrast_levels(led)
    rows = led.view._rows.numpy()  # type: ignore[attr-defined]
    slope = rows @ known_effects(led)[[0, 1, 4, 5]]
    width = (levels.high - levels.low)[:, :5].mean(axis=1)
    np.testing.assert_allclose(found.mean, width[:, None] * slope, atol=1e-9)
    assert (found.read_back_error < 1e-9).all()
    made = rectified_contrast(led, families=12, prompts=2)
    assert made.exposures == ("head0:pc0", "head2:pc0")
    assert np.isfinite(made.beta).all()


@pytest.mark.parametrize("kind", ["mean", "resample"])
def test_a_whole_head_is_graded_on_the_size_of_its_changes(kind: str) -> None:
    """All its coordinates at once, token by token: by hand on a linear network."""
    bench = head_bench()
    placed = bench.by_token
    if kind == "mean":
        written = np.broadcast_to(placed.values.mean(axis=0), placed.values.shape)[None]
    else:
        written = np.moveaxis(Resample(donors=3, seed=5).targets(placed)(np.arange(4)), 0, -1)
    moved = (written - placed.values).mean(axis=2)
    effects = known_effects(bench)[[0, 1, 4, 5]]
    found = knock_out_jointly(bench, kind, **({} if kind == "mean" else {"donors": 3, "seed": 5}))
    assert found.features == ("head0", "head2")
    assert found.meta["members"]["head2"] == ["head2:0", "head2:1"]
    for h, own in enumerate((slice(0, 2), slice(2, 4))):
        change = moved[..., own] @ effects[own]
        np.testing.assert_allclose(found.rms_change[h], np.sqrt((change**2).mean(axis=(0, 1))), rtol=1e-9)
    assert np.isnan(found.mean).all()
    assert (found.read_back_error < 1e-9).all()
    graded = found.rms_equivalence(rope_sd=0.02)
    assert (graded["verdict"] == "causal").all()
    scale = np.sqrt(2) if kind == "resample" else 1.0
    np.testing.assert_allclose(graded["rms"], found.rms_change.ravel() / scale)
    assert (found.rms_equivalence(rope_sd=5.0)["verdict"] == "negligible").all()
    assert "nothing is known" not in str(found)


def test_a_subspace_is_one_feature_and_named_sets_are_others() -> None:
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(WIDTH, 3)))[0].T
    bench = stack_bench(view=Subspace(rotation), inputs=stack_inputs(40, even=True))
    assert leading_coordinates(bench, count=9).view.names == tuple(f"subspace:pc{i}" for i in range(3))
    assert knock_out_jointly(bench, "mean").features == ("subspace",)
    layer = stack_bench(view=WholeLayer(WIDTH), inputs=stack_inputs(40, even=True))
    assert knock_out_jointly(layer, "mean", {"pair": ["0", "3"]}).features == ("pair",)


def test_a_contrast_of_several_coordinates_at_once_is_refused() -> None:
    with pytest.raises(InputError, match="leading_coordinates"):
        knock_out_jointly(head_bench(), "contrast")
