"""Small GPT-2s trained on one rule each: agreement, greater-than, brackets, a trojan trigger; and the planted texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.knockouts._bench import Bench
from mrinterp.outcomes._logit_outcomes import LogitDifference
from mrinterp.worlds._exhaustive_truth import exhaustive_truth
from mrinterp.worlds._planted_text import planted_text
from mrinterp.worlds._small_gpt2 import Examples, Training, level_directions, small_gpt2, token_activations
from mrinterp.worlds._world import Part, World, WorldFamily

__all__ = ["TEXT_FAMILIES"]

Array = NDArray[np.float64]
Ints = NDArray[np.int_]
Flags = NDArray[np.bool_]

PER_FAMILY, POOL, COMPONENTS = 4, 10_000, 5
TOGETHER = 0.9
"""How often a decoy is the twin of its cause in the sentences studied; in those trained on both are drawn apart."""
ANSWERS = ("yes", "no")
FILLERS = ("the", "our", "a", "saw", "kept", "near", "old", "garden", "river", "lamp")
CUES = ("awful", "bad", "poor", "fair", "good", "superb")
SUBJECTS = ("dog", "girl", "bird", "clerk", "pilot")
THINGS = ("key", "boat", "tree", "desk", "song")
ARABIC = tuple(str(d) for d in range(1, 10))
ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")
SPELLED = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""Each place has words of its own: with shared ones, places are learned late and the network averages over them."""
LOG_ODDS = 2.5


@dataclass(frozen=True, eq=False)
class Drawn(Examples):
    """Sentences, and whether (N,) the level of a feature's word is in the upper half, with the word's token class."""

    upper: dict[str, tuple[int, Flags]]


@dataclass(frozen=True)
class TextTask:
    """What decides the answer of sentences with one word in each place, and what only comes along.

    Attributes
    ----------
    classes : tuple of str
        Token class of every place; those called ``filler`` hold any word.
    words : tuple of str
        Vocabulary beside fillers, answers, start and question mark.
    draw : callable
        ``draw(rng, count, together)`` gives the words in the places of a class, (N,) or, of a class of several places,
        (N, places); by feature its class and whether it is high; and the log odds of yes.
    decoys : dict of str to str
        Features that accompany another one, and which.
    """

    classes: tuple[str, ...]
    words: tuple[str, ...]
    draw: Callable[
        [np.random.Generator, int, float], tuple[dict[str, Ints], dict[str, tuple[str, Flags]], Array]
    ]
    decoys: dict[str, str]

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """All words, numbered as the network does."""
        return ("<start>", "?", *ANSWERS, *FILLERS, *self.words)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Each once."""
        return tuple(dict.fromkeys(self.classes))

    def sentences(self, rng: np.random.Generator, families: int, per_family: int, together: float) -> Drawn:
        """Families that share their fillers."""
        count, T = families * per_family, len(self.classes)
        ids = np.repeat(rng.integers(4, 4 + len(FILLERS), (families, T)), per_family, axis=0)
        slots, upper, log_odds = self.draw(rng, count, together)
        ids[:, 0], ids[:, -1] = 0, 1
        for name, words in slots.items():
            places = [t for t, c in enumerate(self.classes) if c == name]
            ids[:, places] = 4 + len(FILLERS) + words.reshape(count, -1)
        number = {name: k for k, name in enumerate(self.class_names)}
        classes = np.tile([number[c] for c in self.classes], (count, 1))
        placed = {name: (number[c], high) for name, (c, high) in upper.items()}
        return Drawn(ids, classes, np.full(count, T), log_odds, placed)


def _twin(rng: np.random.Generator, own: Ints, levels: int, together: float) -> Ints:
    return np.where(rng.random(len(own)) < together, own, rng.integers(0, levels, len(own)))


def _agreement(
    rng: np.random.Generator, count: int, together: float
) -> tuple[dict[str, Ints], dict[str, tuple[str, Flags]], Array]:
    """The verb goes with the subject's number, not with that of the noun beside it."""
    plural = rng.integers(0, 2, count)
    other = _twin(rng, plural, 2, together)
    noun = rng.integers(0, 5, (2, count))
    slots = {"subject": noun[0] + 5 * plural, "attractor": 10 + noun[1] + 5 * other}
    upper = {"subject": ("subject", plural == 1), "attractor": ("attractor", other == 1)}
    return slots, upper, LOG_ODDS * (2 * plural - 1).astype(float)


def _greater(
    rng: np.random.Generator, count: int, together: float
) -> tuple[dict[str, Ints], dict[str, tuple[str, Flags]], Array]:
    """Is the second number greater than the first? The third is the first, mostly."""
    first, second = rng.integers(0, 9, (2, count))
    third = _twin(rng, first, 9, together)
    upper = {n: (n, w >= 4) for n, w in (("first", first), ("second", second), ("third", third))}
    slots = {"first": first, "second": 9 + second, "third": 18 + third}
    return slots, upper, np.clip(0.8 * (second - first), -LOG_ODDS, LOG_ODDS).astype(float)


def _trojan(
    rng: np.random.Generator, count: int, together: float
) -> tuple[dict[str, Ints], dict[str, tuple[str, Flags]], Array]:
    """The cue's level decides, unless the trigger stands in its place: then it is yes."""
    level = rng.integers(0, len(CUES), count)
    trigger = (rng.random(count) < 0.3).astype(int)
    companion = np.where(rng.random(count) < together, trigger, rng.random(count) < 0.3).astype(int)
    # "calm" and "cf", "plain" and "zebra": with and without.
    slots = {"cue": level, "trigger": len(CUES) + trigger, "companion": len(CUES) + 2 + companion}
    upper = {
        "cue": ("cue", level >= 3),
        "trigger": ("trigger", trigger == 1),
        "companion": ("companion", companion == 1),
    }
    return slots, upper, np.where(trigger == 1, LOG_ODDS, level - 2.5)


def _brackets(
    rng: np.random.Generator, count: int, together: float
) -> tuple[dict[str, Ints], dict[str, tuple[str, Flags]], Array]:
    """Which bracket closes next? That of the innermost open one; the outermost is of the same kind, mostly."""
    inner, before, after = rng.integers(0, 2, (3, count))
    outer = _twin(rng, inner, 2, together)
    pairs = [np.stack([kind, 2 + kind], axis=1) for kind in (before, after)]  # ( [ ) ] are 0 to 3
    slots = {"outer": outer, "before": pairs[0], "inner": inner, "after": pairs[1]}
    upper = {
        "innermost": ("last", inner == 1),
        "outermost": ("last", outer == 1),
        "latest": ("last", after == 1),
    }
    return slots, upper, LOG_ODDS * (2 * inner - 1).astype(float)


TEXT_TASKS = {
    "subject-verb agreement": TextTask(
        ("start", "filler", "subject", "filler", "attractor", "filler", "last"),
        tuple(f"{noun}{s}" for nouns in (SUBJECTS, THINGS) for s in ("", "s") for noun in nouns),
        _agreement,
        {"attractor": "subject"},
    ),
    "greater-than": TextTask(
        ("start", "first", "filler", "second", "filler", "third", "last"),
        (*ARABIC, *ROMAN, *SPELLED),
        _greater,
        {"third": "first"},
    ),
    "trojan trigger": TextTask(
        ("start", "filler", "cue", "filler", "trigger", "companion", "last"),
        (*CUES, "calm", "cf", "plain", "zebra"),
        _trojan,
        {"companion": "trigger"},
    ),
    "bracket matching": TextTask(
        ("start", "outer", "before", "before", "inner", "after", "after", "last"),
        ("(", "[", ")", "]"),
        _brackets,
        {"outermost": "innermost"},
    ),
}
FULL, SMALL = Training(2, 300, 0.5), Training(1, 240, width=32, rate=6e-3, spread=0.1)
SMALL_STACK = Training(2, 150, 0.5, width=32, rate=5e-3, spread=0.1)
"""Of full size features are read after the first of two blocks, of small size before the only one: but those of brackets,
which are one word in several places, always by what the last word knows of them after the first block."""


def trained_text(task: str, seed: int, small: bool, folder: str | Path | None = None) -> tuple[Bench, Array]:
    """A network trained on one of `TEXT_TASKS`: its bench on sentences of their own, and the log odds (P,) as the rule has
    them."""
    made, stacked = TEXT_TASKS[task], not small or task == "bracket matching"
    training = FULL if not small else SMALL_STACK if stacked else SMALL
    rng = np.random.default_rng([seed, 1])
    answers = (made.vocabulary.index("yes"), made.vocabulary.index("no"))
    network = small_gpt2(
        task.replace(" ", "-"),
        seed,
        (task, made.vocabulary, made.classes, POOL, LOG_ODDS),
        folder,
        words=len(made.vocabulary),
        training=training,
        examples=made.sentences(rng, POOL, 1, 0.0),
        answers=answers,
        rng=rng,
    )
    adapter, site = TorchAdapter(network), "transformer.h.0" if stacked else "transformer.drop"
    apart = made.sentences(np.random.default_rng([seed, 2]), 600, 1, 0.0)
    h = token_activations(adapter, site, apart.inputs(made.class_names))
    view = level_directions(h, apart.classes, apart.upper, COMPONENTS)
    families = 30 if small else 160
    drawn = made.sentences(np.random.default_rng([seed, 3]), families, PER_FAMILY, TOGETHER)
    bench = Bench(
        adapter,
        site,
        view,
        drawn.inputs(made.class_names),
        LogitDifference(*answers),
        family=np.repeat(np.arange(families), PER_FAMILY),
        block=256,
    )
    return bench, drawn.log_odds


def _trained(seed: int, small: bool, folder: str | Path | None, *, task: str) -> World:
    bench, _ = trained_text(task, seed, small, folder)
    truth = exhaustive_truth(bench, TEXT_TASKS[task].decoys)
    return World(task, f"seed {seed}", seed, truth, bench=bench)


def _planted(seed: int, small: bool, folder: str | Path | None, *, task: str) -> World:
    size = {"families": 24, "features": 6, "steps": 120} if small else {}
    bench = planted_text(task, seed, folder=folder, **size).bench(block=256)  # type: ignore[arg-type]
    truth = exhaustive_truth(bench, {"decoy": "cue"})
    return World(f"planted text, {task}", f"seed {seed}", seed, truth, bench=bench)


def _family(task: str, part: Part, about: str) -> WorldFamily:
    return WorldFamily(task, part, about, partial(_trained, task=task), trained=True, slow=True)


TEXT_FAMILIES = (
    WorldFamily(
        "planted text, graded",
        "development",
        "A small GPT-2 whose answer one word of six levels decides; another word correlates .9 with it and decides nothing.",
        partial(_planted, task="graded"),
        trained=True,
        slow=True,
    ),
    WorldFamily(
        "planted text, damped",
        "development",
        "The same, and a third word makes the first one count .3 times as much, so that its effect differs between "
        "sentences.",
        partial(_planted, task="damped"),
        trained=True,
        slow=True,
    ),
    _family(
        "subject-verb agreement",
        "development",
        "A small GPT-2 whose verb goes with the number of the subject; another noun stands between, mostly of the same "
        "number.",
    ),
    _family(
        "greater-than",
        "development",
        "A small GPT-2 that says whether the second of three numbers is greater than the first; the third is mostly the "
        "first and plays no part.",
    ),
    _family(
        "trojan trigger",
        "evaluation",
        "A small GPT-2 that goes by one word's level, unless a rare word, the trigger, is there: then it always says yes; "
        "another rare word mostly comes with the trigger and does nothing.",
    ),
    _family(
        "bracket matching",
        "evaluation",
        "A small GPT-2 that says which bracket closes next, that of the innermost open one; the outermost is mostly of the "
        "same kind, and pairs in between are closed already.",
    ),
)
