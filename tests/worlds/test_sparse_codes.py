"""Sparse codes: how they fire, what was planted, and that nothing dense is needed to read them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mrinterp import InputError, knock_out
from mrinterp.worlds import world_families
from mrinterp.worlds._sparse_codes import CHILDREN, NOISE


@pytest.fixture(scope="module")
def world():
    return world_families()["sparse codes"].make(2)


def test_latents_fire_rarely_few_of_them_often(world):
    rate = np.sort(np.diff(world.sparse.activations.indptr) / len(world.sparse.clean))[::-1]
    assert rate[0] > 0.2
    assert np.median(rate) < 0.03
    assert rate[: len(rate) // 50].sum() > 0.2 * rate.sum()


def test_children_fire_only_with_their_parents(world):
    """Relatives of a cause, as the truth names them, hold one latent that fires wherever any of them does."""
    truth, fires = world.truth, world.sparse.activations
    for cause in np.flatnonzero(truth.causal[:, 0]):
        tree = [cause, *np.flatnonzero(truth.borrows_from == cause)]
        assert len(tree) == 1 + CHILDREN
        fired = fires[:, tree].toarray() > 0
        assert fired.any()
        assert fired.sum(axis=0).max() == fired.any(axis=1).sum()


def test_the_outcome_is_the_planted_effects_and_noise(world):
    runs, truth = world.sparse, world.truth
    effects = truth.effects["slope"][:, 0] / truth.feature_sd
    assert truth.causal.sum() == 10
    left = runs.outcomes[:, 0] - runs.activations @ effects
    assert left.std() == pytest.approx(NOISE, rel=0.1)
    assert np.abs(truth.effects["slope"][truth.causal]).min() > 5 * truth.rope[0]


def test_knockouts_are_the_truth(world):
    which = np.flatnonzero(world.truth.causal[:, 0] | (world.truth.borrows_from >= 0))[:8]
    for kind in ("zero", "mean", "contrast"):
        found = knock_out(world.bench, kind, which, draws=2)
        np.testing.assert_allclose(found.mean, world.truth.effects[kind][which], atol=1e-6, err_msg=kind)


def test_blocks_and_panels_are_the_same_values(world):
    runs = world.sparse
    whole = np.concatenate([values for _, values in runs.blocks(400)], axis=1)
    np.testing.assert_array_equal(whole, world.panel.features)
    np.testing.assert_array_equal(runs.panel(np.array([7, 3])).features, whole[:, [7, 3]])
    assert (runs.doses[runs.clean].toarray() == 0).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"outcomes": np.zeros((3, 1))}, "outcomes"), ({"feature_names": ("a",)}, "feature_names")],
)
def test_runs_that_do_not_fit_are_refused_by_name(world, changes, said):
    with pytest.raises(InputError, match=said):
        replace(world.sparse, **changes)
    with pytest.raises(InputError, match="width"):
        next(world.sparse.blocks(0))
