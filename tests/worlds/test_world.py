"""Worlds in one shape: the truth fits what methods are given, and a seed is a world."""

from __future__ import annotations

import numpy as np
import pytest

from mrinterp.core.errors import InputError
from mrinterp.worlds import Truth, World, world_families

CAUSAL = np.array([[True], [False], [False]])
NAMES = ("a", "b", "c")


QUICK = [f for f in world_families().values() if not f.slow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where networks are kept that several tests train."""
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="class")
def world(family, folder):
    """A family's first world."""
    return family.make(0, folder=folder)


@pytest.mark.parametrize("family", QUICK, ids=lambda f: f.name, scope="class")
class TestEveryFamily:
    def test_the_truth_is_whole(self, family, world):
        truth = world.truth
        assert truth.causal.any() or "null" in family.about
        assert truth.effects
        for kind, effect in truth.effects.items():
            assert np.isfinite(effect).all(), kind
        borrowed = truth.borrows_from[truth.borrows_from >= 0]
        assert truth.causal[borrowed].any(axis=1).all(), "an impostor borrows from a cause"
        assert not truth.causal[truth.borrows_from >= 0].any(), "an impostor is no cause"
        assert world.family == family.name

    def test_a_seed_is_a_world_and_another_seed_another(self, family, world, folder):
        first, again, other = world, *(family.make(seed, folder=folder) for seed in (0, 1))
        kind = next(iter(first.truth.effects))
        assert np.array_equal(first.truth.effects[kind], again.truth.effects[kind])
        assert first.name == again.name != other.name


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"causal": CAUSAL[:2]}, "causal"),
        ({"rope": np.zeros(2)}, "rope"),
        ({"effects": {"contrast": np.zeros((3, 2))}}, "effects['contrast']"),
        ({"borrows_from": np.array([-1, 1, -1])}, "borrows_from[1]"),
        ({"group": np.array([0, 0, 1])}, "group 0"),
    ],
)
def test_a_truth_that_does_not_fit_is_refused_by_name(changes, said):
    with pytest.raises(InputError) as refusal:
        Truth(**{"features": NAMES, "outcomes": ("y",), "causal": CAUSAL, **changes})
    assert said in str(refusal.value)


def test_a_world_without_anything_to_work_on_is_refused():
    with pytest.raises(InputError, match="neither panel"):
        World("none", "seed 0", 0, Truth(NAMES, ("y",), CAUSAL))


def test_features_of_a_world_are_those_of_its_truth():
    panel = world_families()["linear network"].make(0).panel
    with pytest.raises(InputError, match="panel"):
        World("linear network", "seed 0", 0, Truth(NAMES, ("y",), CAUSAL), panel=panel)
