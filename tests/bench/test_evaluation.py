"""Evaluation families: committed by a hash, refused when they differ, logged before they are run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mrinterp.bench import commitment, run_bench
from mrinterp.bench._evaluation import LOG, checked_commitment, evaluation_log, evaluation_seeds
from mrinterp.core.errors import InputError
from mrinterp.core.storage import read_json
from mrinterp.worlds import WorldFamily, world_families
from mrinterp.worlds import _families as families_module

COMMITTED = Path(__file__).parents[2] / "benchmarks" / "evaluation_commitment.json"


def test_the_committed_recipes_are_those_of_the_source():
    """Before the evaluation is run: python benchmarks/truth/commit_evaluation.py. After it: never."""
    checked_commitment(COMMITTED)


def test_the_evaluation_was_run_once_on_what_was_committed():
    committed, log = read_json(COMMITTED), evaluation_log(COMMITTED)
    assert {e["commitment"] for e in log} == {committed["commitment"]}
    assert sorted(f for e in log for f in e["families"]) == sorted(committed["families"])


def test_seeds_follow_from_the_hash_and_the_family():
    first = evaluation_seeds("ab" * 32, "a", 3)
    assert first == evaluation_seeds("ab" * 32, "a", 4)[:3]
    assert not set(first) & set(evaluation_seeds("cd" * 32, "a", 3))
    assert not set(first) & set(evaluation_seeds("ab" * 32, "b", 3))


@pytest.fixture
def hidden(monkeypatch):
    from tests.bench.test_bench import gated

    def with_recipe(draw):
        added = WorldFamily("hidden", "evaluation", "Nobody has looked.", draw)
        monkeypatch.setattr(families_module, "FAMILIES", (world_families()["linear network"], added))

    with_recipe(gated)
    return with_recipe


def test_a_run_is_logged_before_it_begins_and_shown_on_the_board(hidden, tmp_path):
    path = tmp_path / "commitment.json"
    made = commitment(path)
    board = run_bench(["gradient"], seeds=1, out=tmp_path / "out", evaluation=path)
    assert list(board.families["family"]) == ["hidden"]
    (entry,) = evaluation_log(path)
    assert (entry["commitment"], entry["methods"]) == (made["commitment"], ["gradient"])
    assert board.log[0]["when"] == entry["when"]
    seed = evaluation_seeds(made["commitment"], "hidden", 1)[0]
    assert list((tmp_path / "out").rglob(f"seed_{seed}/gradient.json"))
    run_bench(["gradient"], seeds=1, out=tmp_path / "out", evaluation=path)
    assert len((tmp_path / LOG).read_text().splitlines()) == 2, (
        "every run is a line, also one that found all done"
    )


def test_worlds_that_changed_are_refused(hidden, tmp_path):
    path = tmp_path / "commitment.json"
    commitment(path)
    hidden(world_families()["linear network"].draw)
    with pytest.raises(InputError, match="changed"):
        run_bench(["gradient"], seeds=1, out=tmp_path, evaluation=path)
    assert evaluation_log(path) == []


def test_after_a_run_there_is_no_other_commitment(hidden, tmp_path):
    path = tmp_path / "commitment.json"
    commitment(path)
    (tmp_path / LOG).write_text(json.dumps({"commitment": "another", "when": "2026-01-01"}) + "\n")
    with pytest.raises(InputError, match="was run on"):
        commitment(path)


def test_development_families_are_not_run_as_evaluation(hidden, tmp_path):
    path = tmp_path / "commitment.json"
    commitment(path)
    with pytest.raises(InputError, match="linear network"):
        run_bench(["gradient"], "linear network", seeds=1, out=tmp_path, evaluation=path)
    assert np.size(evaluation_log(path)) == 0
