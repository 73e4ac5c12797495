"""Compiled programs: the network computes what the program says, knocked out or not, and the program what its words say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrinterp import InputError
from mrinterp.knockouts import Contrast, Resample, Zero
from mrinterp.worlds import CompiledProgram, Program, exhaustive_truth
from mrinterp.worlds._program_worlds import comparing, copying, counting

TASKS = {"counting": counting, "comparing": comparing, "copying": copying}


def _by_hand(name, words):
    """The answer, in a line of Python."""
    if name == "counting":
        return min(words.count("x"), 3)
    if name == "comparing":
        return 1 if int(words[2]) > int(words[4]) else -1
    before = words.index(words[-1])
    return "abcdef".index(words[before + 1]) - 2.5


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", TASKS)
class TestPrograms:
    def test_network_and_program_give_the_answer_of_the_words(self, name, seed):
        task = TASKS[name](seed, 40)
        wanted = [_by_hand(name, [task.program.vocabulary[w] for w in row]) for row in task.ids]
        interpreted = task.program.run(task.ids)[task.answer.name][:, -1, 0]
        np.testing.assert_allclose(interpreted, wanted, rtol=0, atol=1e-12)
        np.testing.assert_allclose(task.bench(seed).clean[:, 0], wanted, rtol=0, atol=1e-12)
        assert len(set(wanted)) > 1

    def test_features_read_are_the_variables(self, name, seed):
        task = TASKS[name](seed, 6)
        state = task.program.run(task.ids)
        at = {n: state[v.name][..., k] for v in task.program.lines for k, n in enumerate(v.coordinates)}
        values = task.bench(seed).by_token.values
        np.testing.assert_allclose(values, np.stack([at[n] for n in task.features], axis=-1), atol=1e-12)

    def test_every_knockout_does_what_the_interpreter_says(self, name, seed):
        task = TASKS[name](seed, 12)
        bench = task.bench(seed).by_token
        numbers = np.arange(bench.features)
        for kind in (Contrast(), Resample(donors=1), Zero()):
            values = kind.learned(bench).targets(bench)(numbers)
            swaps = values.shape[1]
            edited = bench.sweep(
                np.repeat(numbers, swaps)[:, None], values.reshape(-1, 1, *values.shape[2:]), "test"
            )
            outcome = edited.outcome.reshape(bench.features, swaps, bench.prompts)
            for f, s in np.ndindex(bench.features, swaps):
                state = task.program.run(task.ids, {task.features[f]: values[f, s]}, task.block)
                np.testing.assert_allclose(outcome[f, s], state["answer"][:, -1, 0], rtol=0, atol=1e-9)


def test_any_sentence_is_computed_exactly():
    task, rng = copying(3, 4), np.random.default_rng(0)
    ids = np.column_stack([np.zeros(300, dtype=int), rng.integers(1, 7, (300, 11))])
    network = CompiledProgram(task.program, task.answer, 7)
    found = network(torch.from_numpy(ids))[:, 0].numpy()
    np.testing.assert_allclose(found, task.program.run(ids)["answer"][:, -1, 0], rtol=0, atol=1e-12)


def test_what_is_named_as_cause_is_the_programs():
    for make, seed, causes in (
        (counting, 0, {"is_x"}),
        (counting, 1, {"count_x"}),
        (comparing, 0, {"first", "second"}),
        (copying, 1, {f"copied={k}" for k in "abcdef"}),
    ):
        task = make(seed, 24)
        truth = exhaustive_truth(task.bench(seed), task.decoys)
        assert {n for n, c in zip(truth.features, truth.causal[:, 0], strict=True) if c} == causes


def test_lines_that_cannot_be_are_refused():
    program = Program(("start", "a"), 3)
    program.function("one", {program.tokens: [0, 1]}, [0, 1], [0, 1])
    with pytest.raises(InputError, match="twice"):
        program.function("one", {program.tokens: [0, 1]}, [0, 1], [0, 1])
    with pytest.raises(InputError, match="knots"):
        program.function("two", {program.tokens: [0, 1]}, [1, 0], [0, 1])
