"""Trained networks: organisms follow their rule, knocked out or not, and small networks learn what they are trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrinterp import InputError
from mrinterp.worlds import exhaustive_truth, gated_world, organism, world_families
from mrinterp.worlds._organisms import EVERY, FAINTEST
from mrinterp.worlds._trained_text import TEXT_TASKS, trained_text
from mrinterp.worlds._trained_vision import EVERY as TRIPLES
from mrinterp.worlds._trained_vision import modular_addition
from tests.conftest import need


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module", params=[1, 7])
def made(request, folder):
    return organism(request.param, 40, folder=folder)


class TestOrganisms:
    def test_the_network_has_learned_its_rule(self, made):
        assert made.accuracy >= 0.99
        clean = made.bench(block=256).clean[:, 0]
        assert ((clean > 0) == made.rule.answers(made.values)).mean() >= 0.99

    def test_knockouts_find_the_rule_and_no_decoy(self, made):
        truth = exhaustive_truth(made.bench(block=256))
        assert np.flatnonzero(truth.causal[:, 0]).tolist() == list(made.rule.fields)

    def test_decoys_correlate_and_are_in_no_rule(self, made):
        for decoy, field in made.decoy_of.items():
            assert np.corrcoef(made.values[:, decoy], made.values[:, field])[0, 1] > 0.75
            assert decoy not in made.rule.fields
            assert field in made.rule.fields

    def test_same_number_same_bytes_kept_or_not(self, made, folder):
        assert organism(made.number, 2, folder=folder).adapter.hash == made.adapter.hash
        short, again = (organism(made.number, 2, steps=2).adapter.hash for _ in range(2))
        assert short == again != made.adapter.hash


def test_one_hundred_rules_are_as_deep_as_said_and_every_field_of_theirs_matters():
    rules = [organism(n, 1, 1, steps=1) for n in range(0, 100, 7)]
    for made in rules:
        fields, answers = made.rule.fields, made.rule.answers(EVERY)
        assert made.depth <= len(fields) <= max(5, made.depth) or made.depth == 1 == len(fields)
        for k in fields:
            assert (made.rule.answers(EVERY ^ (np.arange(10) == k)) != answers).mean() >= FAINTEST
        others = np.setdiff1d(np.arange(10), fields)
        assert all((made.rule.answers(EVERY ^ (np.arange(10) == k)) == answers).all() for k in others)
    assert len({str(made.rule) for made in rules}) == len(rules)


def test_bad_numbers_are_refused():
    with pytest.raises(InputError, match="families"):
        organism(0, 0)
    with pytest.raises(InputError):
        organism(-1)


@pytest.mark.parametrize("task", ["subject-verb agreement"])
def test_a_small_gpt2_answers_as_the_rule_says(task, folder):
    need("transformers")
    bench, log_odds = trained_text(task, 0, True, folder)
    assert np.corrcoef(bench.clean[:, 0], log_odds)[0, 1] > 0.98


@pytest.mark.parametrize("task", TEXT_TASKS)
def test_decoys_come_along_in_what_is_studied_and_not_in_training(task):
    made = TEXT_TASKS[task]
    for together, bounds in ((0.9, (0.7, 1.0)), (0.0, (-0.15, 0.15))):
        drawn = made.sentences(np.random.default_rng(1), 150, 4, together)
        for decoy, cause in made.decoys.items():
            own, twin = drawn.upper[cause][1], drawn.upper[decoy][1]
            assert bounds[0] < np.corrcoef(own, twin)[0, 1] < bounds[1]
        frames = drawn.ids.reshape(150, 4, -1)
        still = [t for t, c in enumerate(made.classes) if c in ("start", "filler", "last")]
        assert (frames[:, :1, still] == frames[:, :, still]).all()


def test_the_adder_adds_and_every_part_of_the_embeddings_is_a_feature(folder):
    bench = modular_addition(0, True, folder)
    with torch.inference_mode():
        answer = bench.adapter.module(torch.from_numpy(TRIPLES)).argmax(dim=1).numpy()
    assert (answer == TRIPLES[:, :2].sum(axis=1) % 7).all()
    numbers = bench.inputs.tensors["numbers"].numpy()
    wanted = np.cos(2 * np.pi * numbers[:, 0] / 7)
    np.testing.assert_allclose(bench.values[:, bench.view.names.index("cos 1 of a")], wanted, atol=1e-5)


def test_names_that_are_no_features_are_refused():
    bench = gated_world(families=10).bench()
    with pytest.raises(InputError, match="'nothing'"):
        exhaustive_truth(bench, {"nothing": "linear"})
    with pytest.raises(InputError, match="'other'"):
        exhaustive_truth(bench, causal=["other"])


def test_an_impostor_of_no_cause_borrows_nothing():
    truth = exhaustive_truth(gated_world(families=10).bench(), {"silent": "linear", "idle": "saturated"})
    assert truth.borrows_from.tolist() == [-1, 0, -1, -1, -1]


def test_families_that_are_tested_apart_are_in_the_list():
    slow = {f.name for f in world_families().values() if f.slow}
    assert {"antiberty", "re-initialized MiniLM", *(f"MiniLM, layer {k}" for k in range(1, 6))} <= slow
    assert set(TEXT_TASKS) <= slow
