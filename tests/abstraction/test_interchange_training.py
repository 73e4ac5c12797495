"""Interchange-intervention training plants a variable where asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mrinterp.abstraction._aligned_variable import AlignedVariable
from mrinterp.abstraction._interchange_accuracy import interchange_accuracy
from mrinterp.abstraction._interchange_pairs import draw_pairs
from mrinterp.abstraction._interchange_training import train_with_interchange
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.features._directions import Subspace
from mrinterp.worlds._hierarchical_equality import equality_task, plain_network
from tests.abstraction.searched_alignment import BOTH, TASK


def test_training_plants_a_variable_where_asked() -> None:
    task = equality_task(400, symbols=3)
    network = plain_network(3, 24)
    rows = np.linalg.qr(np.random.default_rng(0).standard_normal((24, 4)))[0].T
    plants = [AlignedVariable(v, "3", Subspace(r)) for v, r in zip(BOTH, (rows[:2], rows[2:]), strict=True)]
    base, source = draw_pairs(task.model, task.settings, "left", 300)

    def train(alignment: list[AlignedVariable], steps: int) -> Any:
        return train_with_interchange(network, task, alignment, steps=steps, rate=0.01)

    def accuracy(alignment: list[AlignedVariable]) -> tuple[float, Any]:
        trained = train(alignment, 400)
        assert trained.task_accuracy > 0.98
        return interchange_accuracy(trained.adapter, task, plants[0], base, source).accuracy, trained

    before = TorchAdapter(network).hash
    planted, first = accuracy(plants)
    plain, alone = accuracy([])
    assert planted > 0.95
    assert plain < 0.7
    assert TorchAdapter(network).hash == before != first.adapter.hash
    assert train(plants, 9).adapter.hash == train(plants, 9).adapter.hash
    assert first.losses.shape == (400, 3)
    assert "left, right planted" in str(first)
    assert "task alone" in str(alone)


def test_training_refuses_what_does_not_fit() -> None:
    plant = AlignedVariable("left", "3", Subspace(np.eye(32)[:1]))

    def train(alignment: Any = (plant,), **options: Any) -> Any:
        return train_with_interchange(plain_network(), TASK, alignment, **options)

    with pytest.raises(InputError, match="steps: 0"):
        train(steps=0)
    with pytest.raises(InputError, match="site '9'"):
        train([AlignedVariable("left", "9", plant.view)])
    with pytest.raises(InputError, match="'lef'"):
        train([AlignedVariable("lef", "3", plant.view)])
    with pytest.raises(InputError, match="'left' is given twice"):
        train([plant, plant])
