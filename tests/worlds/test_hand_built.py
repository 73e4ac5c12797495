"""Hand-built networks: the formula's truth is what editing by hand does, and what knockouts say."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from mrinterp import knock_out
from mrinterp.knockouts import Resample
from mrinterp.mr import within
from mrinterp.worlds import World, world_families
from mrinterp.worlds._codes import CODE_FAMILIES
from mrinterp.worlds._company import COMPANY_FAMILIES
from mrinterp.worlds._switches import SWITCH_FAMILIES

NETWORKS = [
    f.name for f in (*COMPANY_FAMILIES, *SWITCH_FAMILIES, *CODE_FAMILIES) if f.name != "mediators (runs)"
]
DEVELOPMENT = [n for n in NETWORKS if world_families()[n].part == "development"]
LINEAR = ["twins", "null (network)", "one position"]
"""Worlds in which the within regression has all of the cut, and no two features alike."""


@cache
def made(name: str) -> World:
    return world_families()[name].make(0)


def answers(world: World, values: np.ndarray, held: bool = False) -> np.ndarray:
    """Answers (P,) where a forward hook of the test sets all readings, (P, F) or (P, T, F); with ``held`` the layer after it
    is kept as it was."""
    bench = world.bench.by_token
    module, at, kept = bench.adapter.module, bench.inputs.at(bench.position), {}
    new = torch.from_numpy(values.reshape(len(values), -1))
    with torch.no_grad():
        if held:
            keep = module.hidden.register_forward_hook(lambda _m, _i, h: kept.update(h=h))
            module(**bench.inputs.tensors)
            keep.remove()
        hooks = [
            module.get_submodule(bench.site).register_forward_hook(
                lambda _m, _i, h: bench.view.write(h, new, at)
            )
        ]
        if held:
            hooks.append(module.hidden.register_forward_hook(lambda _m, _i, _h: kept["h"]))
        found = module(**bench.inputs.tensors)[:, 0].numpy()
    for hook in hooks:
        hook.remove()
    return found


def edited(
    world: World, f: int, to: float | np.ndarray | None = None, by: float = 0.0, **held: bool
) -> np.ndarray:
    """Answers where feature f is set to a value, or moved ``by`` so much, at every token."""
    values = world.bench.by_token.values.copy()
    values[..., f] = values[..., f] + by if to is None else to
    return answers(world, values, **held)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_truth_is_what_hooks_by_hand_do(name):
    world = made(name)
    clean, truth = world.bench.clean[:, 0], world.truth
    sd, placed = world.bench.values.std(axis=0), world.bench.by_token.values
    np.testing.assert_allclose(truth.feature_sd, sd, rtol=1e-9)
    for f, step in enumerate(sd):
        by_hand = {
            "zero": edited(world, f, 0.0) - clean,
            "mean": edited(world, f, placed[..., f].mean(axis=0)) - clean,
            "shift": (edited(world, f, by=step) - edited(world, f, by=-step)) / 2,
            "slope": (edited(world, f, by=1e-5 * step) - edited(world, f, by=-1e-5 * step)) / 2e-5,
        }
        for kind, change in by_hand.items():
            assert change.mean() == pytest.approx(truth.effects[kind][f, 0], abs=1e-8), (
                kind,
                truth.features[f],
            )


@pytest.mark.parametrize("name", NETWORKS)
def test_knockouts_are_the_truth(name):
    """Contrasts everywhere; what the hooks have shown of the other kinds again where inputs have tokens."""
    world = made(name)
    for kind in ("contrast", "mean", "zero", "shift") if world.bench.position else ("contrast", "zero"):
        bench = world.bench if kind == "shift" else world.bench.by_token
        found = knock_out(bench, kind, draws=2, allow_off_support=True)
        np.testing.assert_allclose(found.mean, world.truth.effects[kind], atol=1e-6, err_msg=kind)


def test_a_labels_knockouts_are_the_truth_and_it_has_no_slope():
    world = made("label")
    assert set(np.unique(world.bench.clean)) == {0.0, 1.0}
    for kind in ("contrast", "zero", "shift"):
        found = knock_out(world.bench, kind, draws=2, allow_off_support=True)
        np.testing.assert_allclose(found.mean, world.truth.effects[kind], atol=1e-9, err_msg=kind)
    assert "slope" not in world.truth.effects


@pytest.mark.parametrize("name", ["drawn answer", "judged grade"])
def test_of_drawn_outcomes_the_truth_is_what_is_expected(name):
    """Every prompt twenty times over: the draws of its copies differ, their mean is the formula's within its error."""
    world = made(name)
    rows = np.repeat(np.arange(world.bench.prompts), 20)
    found = knock_out(world.bench.subset(rows), "contrast", draws=2)
    change = found.change_by_input[:, :, 0]
    truth = world.truth.effects["contrast"][:, 0]
    error = change.std(axis=1) / np.sqrt(change.shape[1])
    assert (np.abs(change.mean(axis=1) - truth) < 4.5 * error + 1e-9).all()
    assert world.truth.causal[:, 0].tolist() == [True, False, True, False, False]
    assert np.ptp(world.bench.subset(rows[:20]).clean) > 0


@pytest.mark.parametrize("name", ["twins", "gate", "one position"])
def test_resampling_from_every_donor_is_the_truth(name):
    world = made(name)
    bench, which = world.bench.by_token, [0, 3]
    donors = int((bench.family != bench.family[0]).sum())
    found = knock_out(bench, Resample(donors=donors), which, draws=2)
    np.testing.assert_allclose(found.mean, world.truth.effects["resample"][which], atol=1e-6)
    np.testing.assert_allclose(found.rms_change, world.truth.effects["resample rms"][which], atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_panels_are_runs_of_the_same_network(name):
    world = made(name)
    bench, clean = world.bench, world.panel.clean()
    np.testing.assert_array_equal(clean.features, bench.values)
    np.testing.assert_array_equal(clean.outcomes, bench.clean)
    moved = world.panel.changes()
    assert (moved.features.std(axis=0) > 0.2 * world.truth.feature_sd).all()
    assert (moved.doses.std(axis=0) > 0).all()


@pytest.mark.parametrize("name", LINEAR)
def test_the_within_regression_finds_the_slopes_where_all_that_doses_move_is_listed(name):
    world = made(name)
    found, sd = within(world.panel), world.truth.feature_sd[:, None]
    off = found.beta * sd - world.truth.effects["slope"]
    assert np.abs(off / (found.se * sd)).max() < 4
    assert np.abs(off).max() < 0.1


def test_copies_hold_the_same_value_and_share_a_group():
    world = made("copies")
    cause, copy = (world.truth.features.index(n) for n in ("cause", "copy"))
    np.testing.assert_allclose(world.panel.features[:, cause], world.panel.features[:, copy], atol=1e-12)
    assert world.truth.group[cause] == world.truth.group[copy]
    assert world.truth.causal[[cause, copy]].all()


def test_an_echo_follows_the_answer_and_nothing_reads_it():
    world = made("downstream echo")
    echo = world.truth.features.index("echo")
    change = world.panel.changes()
    assert np.corrcoef(change.features[:, echo], change.outcomes[:, 0])[0, 1] > 0.9
    for size in (1e-3, 1.0, 1e6):
        moved = edited(world, echo, by=size)
        np.testing.assert_array_equal(moved, edited(world, echo))


def test_a_left_out_cause_is_what_its_impostor_moves_with():
    world = made("left-out cause")
    names, change = world.truth.features, world.panel.changes()
    known = np.column_stack([change.features[:, names.index("cause")], change.bypass])
    left = change.outcomes[:, 0] - known @ np.linalg.lstsq(known, change.outcomes[:, 0], rcond=None)[0]
    assert abs(np.corrcoef(left, change.features[:, names.index("impostor")])[0, 1]) > 0.7
    assert not world.truth.causal[names.index("impostor")].any()


def test_direct_effects_are_those_with_the_later_layer_held():
    world = made("mediators")
    for f in range(len(world.truth.features)):
        step = world.truth.feature_sd[f]
        up, down = (edited(world, f, by=s * step, held=True) for s in (1, -1))
        assert (up - down).mean() / 2 == pytest.approx(world.truth.effects["direct"][f, 0], abs=1e-9)


def test_the_mediator_carries_what_goes_through_it():
    """A regression of the outcome on all features and the bypass has the direct effects."""
    world = made("mediators (runs)")
    change = world.panel.changes()
    known = np.column_stack([change.features, change.bypass])
    found = np.linalg.lstsq(known, change.outcomes, rcond=None)[0]
    np.testing.assert_allclose(found[:6], world.truth.effects["direct"], atol=0.1)


@pytest.mark.parametrize(
    ("name", "pair"), [("redundant pair", ("first", "second")), ("compensating pair", ("main", "backup"))]
)
def test_taking_one_of_a_pair_away_does_little_and_both_much(name, pair):
    world = made(name)
    both = [world.truth.features.index(n) for n in pair]
    values = world.bench.values.copy()
    values[:, both] = 0
    change = answers(world, values) - world.bench.clean[:, 0]
    assert abs(change.mean()) > 1.5 * np.abs(world.truth.effects["zero"][both]).sum()
