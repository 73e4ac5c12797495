"""Worlds whose network is a compiled program: counting, comparing, copying. The truth is the program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.features._directions import Directions
from mrinterp.knockouts._bench import Bench
from mrinterp.outcomes._projection_and_callable import CallableOutcome
from mrinterp.worlds._exhaustive_truth import exhaustive_truth
from mrinterp.worlds._programs import CompiledProgram, Program, Variable
from mrinterp.worlds._world import Part, World, WorldFamily

__all__ = ["PROGRAM_FAMILIES"]

Array = NDArray[np.float64]
Ints = NDArray[np.int_]

TOGETHER = 0.9
"""How often a decoy is the twin of its cause; else it is drawn anew."""
PER_FAMILY = 4


@dataclass(frozen=True, eq=False)
class ProgramTask:
    """A program, sentences for it, and what is studied of it.

    Attributes
    ----------
    program : Program
        What the network computes.
    answer : Variable
        Its output, at the last word.
    ids : ndarray (P, T) of int
        Sentences.
    family : ndarray (P,) of int
        Sentences of one family share the words that play no part.
    classes : tuple of str
        Token class of every place.
    block : int
        The block after which features are read.
    features : tuple of str
        Coordinates of the program's variables that are studied there.
    decoys : dict of str to str
        Those that accompany another one, and which.
    """

    program: Program
    answer: Variable
    ids: Ints
    family: Ints
    classes: tuple[str, ...]
    block: int
    features: tuple[str, ...]
    decoys: dict[str, str]

    def bench(self, seed: int) -> Bench:
        """The compiled program on its sentences, its residual stream rotated by the seed."""
        network = CompiledProgram(self.program, self.answer, seed).eval()
        names = tuple(dict.fromkeys(self.classes))
        classes = torch.tensor([names.index(c) for c in self.classes]).repeat(len(self.ids), 1)
        inputs = ModelInputs({"ids": torch.from_numpy(self.ids)}, torch.ones_like(classes), classes, names)
        view = Directions([network.directions[name] for name in self.features], names=self.features)
        outcome = CallableOutcome("answer", lambda output, _mask: output[:, 0])
        site = f"blocks.{self.block}"
        return Bench(TorchAdapter(network), site, view, inputs, outcome, family=self.family, block=256)


def counting(seed: int, families: int) -> ProgramTask:
    """How often does ``x`` occur, counted up to three? ``y`` occurs as often, nine times in ten.

    Features of even seeds are what single words say, of odd seeds the counts at the last word.
    """
    words, length = ("start", "x", "y", "z", "and", "or", "?"), 10
    program, last = Program(words, length), length - 1
    said, counts = {}, {}
    for word in words[1:-1]:
        weights = [float(w == word) for w in words]
        said[word] = program.function(f"is_{word}", {program.tokens: weights}, [0, 1], [0, 1])
    for word in ("x", "y", "z"):
        share = program.gather(
            f"share_{word}",
            program.place,
            program.place,
            lambda q, k: q == last and k > 0,
            said[word],
        )
        counts[word] = program.function(f"count_{word}", {share: last}, [0, last], [0, last])
        if word == "x":
            program.function("any_x", {share: last}, [0, 1], [0, 1])
            program.function("odd_x", {share: last}, range(5), [0, 1, 0, 1, 0])
    answer = program.function("answer", {counts["x"]: 1}, [0, 3], [0, 3], block=2)
    rng = np.random.default_rng([seed, 11])
    rows = []
    for _ in range(families):
        places, fillers = rng.permutation(np.arange(1, last)), rng.integers(3, 6, length)
        for _ in range(PER_FAMILY):
            x, other = rng.integers(0, 5, 2)
            y = x if rng.random() < TOGETHER else other
            ids = fillers.copy()
            ids[0], ids[last], ids[places[:x]], ids[places[4 : 4 + y]] = 0, 6, 1, 2
            rows.append(ids)
    single = tuple(v.name for v in said.values())
    features = ("count_x", "any_x", "odd_x", "count_y", "count_z") if seed % 2 else single
    decoys = {"any_x": "count_x", "odd_x": "count_x", "count_y": "count_x"} if seed % 2 else {"is_y": "is_x"}
    classes = ("start", *["word"] * (length - 2), "last")
    return _task(program, answer, rows, classes, seed % 2, features, decoys)


def comparing(seed: int, families: int) -> ProgramTask:
    """Is the first number larger than the second? A third is the first, nine times in ten."""
    digits, fillers = tuple(str(d) for d in range(10)), ("and", "but", "so")
    words, length = ("start", *digits, *fillers, "?"), 8
    program, last = Program(words, length), length - 1
    values = [float(w) if w in digits else 0.0 for w in words]
    value = program.function("value", {program.tokens: values}, [0, 9], [0, 9])
    found = {}
    for name, place in (("first", 2), ("second", 4), ("third", 6)):
        found[name] = program.gather(name, program.place, program.place, partial(_both, (last, place)), value)
    difference = {found["first"]: 1, found["second"]: -1}
    program.function("gap", difference, [-9, 0, 9], [9, 0, 9])
    program.function("third_wins", {found["third"]: 1, found["second"]: -1}, [0, 1], [0, 1])
    answer = program.function("answer", difference, [0, 1], [-1, 1], block=2)
    rng = np.random.default_rng([seed, 12])
    rows = []
    for _ in range(families):
        frame = rng.integers(1 + len(digits), 1 + len(digits) + len(fillers), length)
        for _ in range(PER_FAMILY):
            ids = frame.copy()
            first, second, other = 1 + rng.integers(0, len(digits), 3)
            ids[[2, 4, 6]] = first, second, first if rng.random() < TOGETHER else other
            ids[0], ids[last] = 0, len(words) - 1
            rows.append(ids)
    classes = ("start", "filler", "first", "filler", "second", "filler", "third", "last")
    features = ("first", "second", "third", "gap", "third_wins")
    return _task(program, answer, rows, classes, 1, features, {"third": "first", "third_wins": "first"})


def copying(seed: int, families: int) -> ProgramTask:
    """Which letter followed the last one where it stood before? The letter before the last is it too, nine times in ten.

    Features of even seeds are the letter, the one before it and the one before that; of odd seeds what was copied.
    """
    letters, length = tuple("abcdef"), 12
    program, last = Program(("start", *letters), length), length - 1
    tokens, place = program.tokens, program.place
    previous = program.gather("previous", place, place, lambda q, k: k == q - 1, tokens)
    program.gather("two_back", place, place, lambda q, k: k == q - 2, tokens)
    copied = program.gather("copied", tokens, previous, lambda q, k: q == k != "start", tokens, earlier=True)
    program.gather("recent", place, place, lambda q, k: q == last and k == last - 1, tokens, block=1)
    scores = [0.0, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5]
    answer = program.function("answer", {copied: scores}, [-2.5, 2.5], [-2.5, 2.5], block=2)
    rng = np.random.default_rng([seed, 13])
    rows = []
    for _ in range(families):
        asked, stands = 1 + rng.integers(0, len(letters)), rng.integers(1, last - 2)
        others = np.array([k for k in range(1, 1 + len(letters)) if k != asked])
        frame = rng.choice(others, length)
        for _ in range(PER_FAMILY):
            ids, (follows, other) = frame.copy(), rng.choice(others, 2)
            ids[0], ids[stands], ids[stands + 1], ids[last] = 0, asked, follows, asked
            ids[last - 1] = follows if rng.random() < TOGETHER else other
            rows.append(ids)
    names = ("copied", "recent", "previous") if seed % 2 else ("token", "previous", "two_back")
    features = tuple(f"{name}={letter}" for name in names for letter in letters)
    decoys = {f"recent={letter}": f"copied={letter}" for letter in letters} if seed % 2 else {}
    classes = ("start", *["letter"] * (length - 2), "last")
    return _task(program, answer, rows, classes, seed % 2, features, decoys)


def _both(wanted: tuple[int, int], query: int, key: int) -> bool:
    return (query, key) == wanted


def _task(
    program: Program,
    answer: Variable,
    rows: Sequence[Ints],
    classes: tuple[str, ...],
    block: int,
    features: tuple[str, ...],
    decoys: dict[str, str],
) -> ProgramTask:
    family = np.repeat(np.arange(len(rows) // PER_FAMILY), PER_FAMILY)
    return ProgramTask(program, answer, np.stack(rows), family, classes, block, features, decoys)


def _family(name: str, part: Part, make: Callable[[int, int], ProgramTask], about: str) -> WorldFamily:
    def draw(seed: int, small: bool) -> World:
        task = make(seed, 24 if small else 160)
        bench = task.bench(seed)
        truth = exhaustive_truth(bench, task.decoys)
        return World(name, f"after block {task.block}, seed {seed}", seed, truth, bench=bench)

    return WorldFamily(name, part, about, draw)


PROGRAM_FAMILIES = (
    _family(
        "counting program",
        "development",
        counting,
        "A transformer compiled from a program that counts x up to three: what makes the count is causal, while y comes as "
        "often, and whether x occurs at all and whether its count is odd follow from the same words and are read by nothing.",
    ),
    _family(
        "comparing program",
        "evaluation",
        comparing,
        "A transformer compiled from a program that says whether the first of three numbers is larger than the second: the "
        "third is the first nine times in ten and plays no part, the gap between the two is computed and not read.",
    ),
    _family(
        "copying program",
        "evaluation",
        copying,
        "A transformer compiled from a program that copies the letter which followed the last one before: the letter just "
        "before the end is the same nine times in ten and is not looked at.",
    ),
)
