"""Pairs for interchange interventions, and the scores that they are judged by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from mrinterp.abstraction._class_scores import ClassScores
from mrinterp.abstraction._interchange_pairs import draw_pairs, held_out_families
from mrinterp.core.errors import InputError
from mrinterp.worlds._hierarchical_equality import equality_task

TASK = equality_task(400)


def test_pairs_are_as_asked() -> None:
    held = held_out_families(TASK.family, 0.25, seed=1)
    assert len(np.unique(TASK.family[held])) == 9
    assert not set(TASK.family[held]) & set(TASK.family[~held])
    base, source = draw_pairs(TASK.model, TASK.settings, "left", 1000, informative=0.8, group=held, seed=2)
    np.testing.assert_array_equal(held[base], held[source])
    assert np.bincount(base, minlength=400).min() == 2
    assert np.bincount(base, minlength=400).max() == 3
    whole = TASK.model.run(TASK.settings)
    own = {k: v[base] for k, v in TASK.settings.items()}
    label = TASK.model.intervene({"left": whole["left"][source]}).run(own)["same"]
    assert np.mean(label != whole["same"][base]) == pytest.approx(0.8, abs=0.04)
    np.testing.assert_array_equal(
        draw_pairs(TASK.model, TASK.settings, "left", 50, seed=1),
        draw_pairs(TASK.model, TASK.settings, "left", 50, seed=1),
    )


def test_scores_of_classes_are_read_from_what_networks_return() -> None:
    mask = torch.ones(2, 3, dtype=torch.long)
    mask[1, 2] = 0
    logits = torch.arange(2 * 3 * 5.0).reshape(2, 3, 5)
    tokens = ClassScores(("yes", "no"), targets=(4, 1))
    np.testing.assert_array_equal(tokens(logits, mask), [[14.0, 11.0], [24.0, 21.0]])
    assert tokens.decode(np.array([[1.0, 2.0], [3.0, 3.0]])).tolist() == [1, 0]
    assert tokens.codes(["no", "yes"]).tolist() == [1, 0]
    one = ClassScores((False, True), score=lambda output, _: output)
    np.testing.assert_array_equal(one(torch.tensor([-1.0, 2.0]), mask), [[0.0, -1.0], [0.0, 2.0]])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ClassScores(("yes",)), "at least two classes"),
        (lambda: ClassScores((1, 1)), "each label once"),
        (lambda: ClassScores((0, "other")), "words alone, or numbers"),
        (lambda: ClassScores(((0, 1), (1, 0))), "words alone, or numbers"),
        (lambda: ClassScores((0, 1)).codes([[0, 1]]), r"values of shape \(2,\)"),
        (lambda: ClassScores((0, 1), targets=(1, 2, 3)), "3 for 2 labels"),
        (lambda: ClassScores((0, 1), targets=(0, 9))(torch.zeros(2, 5), torch.ones(2, 1)), "column 9 of 5"),
        (lambda: ClassScores((0, 1, 2))(torch.zeros(2, 1), torch.ones(2, 1)), "1 scores for 3 labels"),
        (lambda: ClassScores((0, 1)).codes([0, 2]), "2 is not one of the classes"),
    ],
)
def test_classes_that_do_not_fit(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()
