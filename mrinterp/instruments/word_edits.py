"""Edits of single words of a text, or tokens of an array: substitution, deletion, masking, swaps, resampling."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from mrinterp.core.errors import InputError
from mrinterp.core.plan import Plan
from mrinterp.core.plan_inputs import EDITS

__all__ = [
    "NetworkFacts",
    "Words",
    "edit_instruments",
    "edited_runs",
    "edits_of",
    "text_words",
]

WORD = re.compile(r"\w+(?:['’-]\w+)*")

NEAREST = 20
"""Words of the vocabulary, the nearest by frequency, that one is drawn from."""

EDIT_STREAM = 6
"""Stream of the seed that edits are drawn from (with the kind's and the split's number): see `noise_directions`."""


class NetworkFacts(Protocol):
    """What designs ask of a network: a `StudyNetwork` answers."""

    @property
    def mask_token(self) -> str | None:
        """What the tokenizer writes for a masked word; None where it has no such token."""
        ...

    def one_token_words(self) -> list[str]:
        """Words of the vocabulary that are one token each, in the order of their numbers; no special tokens."""
        ...

    def noise_places(self, one: Mapping[str, Any]) -> tuple[int, int]:
        """Places (1 where there is no such axis) and width of the activation that noise is added to, on one input."""
        ...


@dataclass(frozen=True)
class Words:
    """One prompt as words.

    Parameters
    ----------
    words : tuple
        Texts or token numbers.
    place : tuple of str or None
        What each word's place is called; None for words that are never edited.
    slot : tuple of bool
        Whether each is the filler of a slot, which is neither deleted nor exchanged for a word of the vocabulary.
    gaps : tuple of str
        For texts: what stands before each word, and after the last one.
    """

    words: tuple[Any, ...]
    place: tuple[str | None, ...]
    slot: tuple[bool, ...]
    gaps: tuple[str, ...] = ()

    def text(self, edited: Edited) -> tuple[str, dict[str, tuple[int, int]]]:
        """The edited text, and the characters (start, end) of every word's place by its name."""
        out, spans = "", {}
        kept = sorted(origin for _, origin in edited.words)
        for (word, origin), gap in zip(edited.words, kept, strict=True):
            out += self.gaps[gap]
            if self.place[origin] is not None:
                spans[str(self.place[origin])] = (len(out), len(out) + len(word))
            out += word
        return out + self.gaps[-1], spans


@dataclass(frozen=True)
class Edited:
    """An edited prompt: its words with the number of the word whose place each has, and what was done."""

    words: tuple[tuple[Any, int], ...]
    instruments: tuple[str, ...]


def text_words(text: str, spans: Mapping[str, tuple[int, int]]) -> Words:
    """A text as words; the filler of a slot (characters start to end) is one word, by the slot's name."""
    pieces = [(a, b, slot) for slot, (a, b) in spans.items()]
    inside = [(a, b) for a, b, _ in pieces]
    pieces += [
        (m.start(), m.end(), "")
        for m in WORD.finditer(text)
        if not any(a < m.end() and m.start() < b for a, b in inside)
    ]
    pieces.sort()
    number, place, gaps, end = 0, [], [], 0
    for a, b, slot in pieces:
        number += not slot
        place.append(slot or f"word{number}")
        gaps.append(text[end:a])
        end = b
    words, fills = tuple(text[a:b] for a, b, _ in pieces), tuple(bool(p[2]) for p in pieces)
    return Words(words, tuple(place), fills, (*gaps, text[end:]))


def edits_of(plan: Plan) -> tuple[str, ...]:
    """Kinds of edit that a plan asks for."""
    return tuple(k for k in EDITS if getattr(plan.instruments, k).runs_per_prompt)


def edited_runs(
    plan: Plan,
    prompts: Sequence[Words],
    split: int,
    facts: Callable[[], NetworkFacts] | None,
    vocabulary: Sequence[Any] = (),
    mask: Any = None,
) -> Iterator[tuple[int, str, Edited]]:
    """Edited runs of one split's prompts: the prompt's number, the kind of edit, and the edited words.

    Parameters
    ----------
    split : int
        Number of the split, which has its own stream of random numbers.
    facts : callable, optional
        Opens the network, for texts.
    vocabulary, mask : sequence, object
        For token arrays: tokens by frequency, and the mask token.

    Raises
    ------
    InputError
        For masking without a mask token, or a kind of edit that no prompt of the split has a word for.
    """
    for kind in edits_of(plan):
        section = getattr(plan.instruments, kind)
        rng = np.random.default_rng([plan.seed, EDIT_STREAM, EDITS.index(kind), split])
        make = _editor(kind, plan, prompts, facts, vocabulary, mask)
        found = 0
        for number, words in enumerate(prompts):
            places: Places = _InTurn() if section.saturation else partial(_hit, section.probability)
            for _ in range(section.runs_per_prompt):
                edited = make(words, places, rng)
                if edited is None:  # no word of this prompt can be edited so, or none any more
                    break
                found += 1
                yield number, kind, edited
        if not found:
            raise InputError(
                f"instruments.{kind}",
                "no prompt has a word that it could edit",
                "Give words that the prompts hold" if kind == "substitution" else "Leave this kind out",
            )


def edit_instruments(names: Sequence[str]) -> list[tuple[str, str, str, str, str, bool]]:
    """Rows of the table of instruments for the names of what was done, in an order that does not depend on the runs."""
    rows = []
    for name in sorted(set(names), key=_natural):
        kind, _, rest = name.partition(":")
        locus, _, allele = rest.partition(">")
        unit = f"{allele!r} instead of {locus!r}" if allele else SAYS.get(kind, kind)
        rows.append((name, kind, locus, allele or kind, unit, False))
    return rows


SAYS = {
    "substitution": "another word of the vocabulary",
    "deletion": "left out",
    "masking": "masked",
    "swap": "the two change places",
    "resampling": "as another prompt has it",
}


def _natural(name: str) -> tuple[Any, ...]:
    kind = name.partition(":")[0]
    parts = re.split(r"(\d+)", name)
    order = EDITS.index(kind) if kind in EDITS else len(EDITS)
    return (order, [(int(p), "") if p.isdigit() else (-1, p) for p in parts])


Places = Callable[[list[int], np.random.Generator], list[int]]
"""Chooses those of the places that can be edited which one run edits."""
Editor = Callable[[Words, Places, np.random.Generator], Edited | None]


@dataclass(frozen=True)
class Others:
    """What may take the place of words: whether there is anything for word i of a prompt, and a draw of it."""

    able: Callable[[Words, int], bool]
    drawn: Callable[[Words, int, np.random.Generator], Any]


def _editor(
    kind: str,
    plan: Plan,
    prompts: Sequence[Words],
    facts: Callable[[], NetworkFacts] | None,
    vocabulary: Sequence[Any],
    mask: Any,
) -> Editor:
    """What makes one edited run of a prompt."""
    if kind in ("deletion", "swap"):
        return _deleted if kind == "deletion" else _swapped
    if kind == "masking":
        others = _masked(plan, facts, mask)
    elif kind == "substitution":
        others = _alternatives(plan, facts, vocabulary)
    else:
        others = _at_the_same_place(prompts)
    named = kind == "substitution" and bool(plan.instruments.substitution.words)

    def edit(words: Words, places: Places, rng: np.random.Generator) -> Edited | None:
        able = [i for i, p in enumerate(words.place) if p is not None and others.able(words, i)]
        new, done = list(words.words), []
        for i in places(able, rng):
            new[i] = others.drawn(words, i, rng)
            done.append(f"{kind}:" + (f"{words.words[i]}>{new[i]}" if named else str(words.place[i])))
        return Edited(tuple(zip(new, range(len(new)), strict=True)), tuple(done)) if done else None

    return edit


def _hit(probability: float, places: list[int], rng: np.random.Generator) -> list[int]:
    """Places drawn at random, at least one where there are any."""
    if not places:
        return []
    hit = rng.random(len(places)) < probability
    if not hit.any():
        hit[rng.integers(len(places))] = True
    return [p for p, h in zip(places, hit, strict=True) if h]


class _InTurn:
    """One place of a prompt at a time, from one drawn at random on; none once each had its turn."""

    def __init__(self) -> None:
        self.left: list[int] | None = None

    def __call__(self, places: list[int], rng: np.random.Generator) -> list[int]:
        if self.left is None:
            begin = int(rng.integers(len(places))) if places else 0
            self.left = [*places[begin:], *places[:begin]]
        return [self.left.pop(0)] if self.left else []


def _deleted(words: Words, places: Places, rng: np.random.Generator) -> Edited | None:
    """Without some words; slots and the first and the last word stay, since token classes are told by them."""
    inner = range(1, len(words.words) - 1)
    able = [i for i in inner if words.place[i] is not None and not words.slot[i]]
    gone = set(places(able, rng))
    left = tuple((w, i) for i, w in enumerate(words.words) if i not in gone)
    return Edited(left, tuple(f"deletion:{words.place[i]}" for i in sorted(gone))) if gone else None


def _swapped(words: Words, places: Places, rng: np.random.Generator) -> Edited | None:
    """With neighbors in each other's place."""
    able = [
        i
        for i in range(len(words.words) - 1)
        if None not in words.place[i : i + 2] and words.words[i] != words.words[i + 1]
    ]
    order, done, last = list(range(len(words.words))), [], -2
    for i in places(able, rng):
        if i > last + 1:  # pairs do not share a word
            order[i], order[i + 1], last = order[i + 1], order[i], i
            done.append(f"swap:{words.place[i]}~{words.place[i + 1]}")
    return Edited(tuple((words.words[o], o) for o in order), tuple(done)) if done else None


def _masked(plan: Plan, facts: Callable[[], NetworkFacts] | None, mask: Any) -> Others:
    token = mask if mask is not None or facts is None else facts().mask_token
    if token is None:
        found = "the tokenizer has no mask token" if plan.inputs is None else "inputs.mask_id is not given"
        raise InputError(
            "instruments.masking", found, "Leave masking out, or choose deletion or substitution"
        )
    return Others(lambda words, i: bool(words.words[i] != token), lambda words, i, rng: token)


def _alternatives(plan: Plan, facts: Callable[[], NetworkFacts] | None, vocabulary: Sequence[Any]) -> Others:
    """Of the plan's own list, or words of the vocabulary like the one that is exchanged."""
    given = plan.instruments.substitution.words
    known: dict[Any, Sequence[Any]] = {}
    if given and plan.inputs is not None:
        known = {_number(w): tuple(map(_number, others)) for w, others in given.items()}
    elif given:
        known = dict(given)
    elif facts is not None and not vocabulary:
        vocabulary = facts().one_token_words()
    rank = {w: r for r, w in enumerate(vocabulary)}

    def choices(words: Words, i: int) -> Sequence[Any]:
        word = words.words[i]
        if not given and word in rank and word not in known:
            known[word] = _like(word, vocabulary, rank[word])
        # A text's first word has no space before it, by which many tokenizers make other tokens of it.
        if not given and (words.slot[i] or (i == 0 and words.gaps)):
            return ()
        return [o for o in known.get(word, ()) if o != word]

    def drawn(words: Words, i: int, rng: np.random.Generator) -> Any:
        found = choices(words, i)
        return found[int(rng.integers(len(found)))]

    return Others(lambda words, i: bool(choices(words, i)), drawn)


def _number(text: str) -> int:
    if not text.isdigit():
        raise InputError(
            "instruments.substitution.words", f"{text!r}", "Give token numbers, as the inputs have them"
        )
    return int(text)


def _like(word: Any, vocabulary: Sequence[Any], rank: int) -> Sequence[Any]:
    """Words nearest in frequency to one, of about its length and with its kind of first letter."""

    def alike(other: Any) -> bool:
        if not isinstance(word, str):
            return True
        same = other[:1].isupper() == word[:1].isupper() and other.lower() != word.lower()
        return same and abs(len(other) - len(word)) <= 1

    found: list[Any] = []
    for step in range(1, len(vocabulary)):
        near = [vocabulary[r] for r in (rank - step, rank + step) if 0 <= r < len(vocabulary)]
        found += [w for w in near if alike(w)]
        if len(found) >= NEAREST:
            break
    return found[:NEAREST]


def _at_the_same_place(prompts: Sequence[Words]) -> Others:
    """The words that other prompts have at the same place, each as often as it stands there."""
    there: dict[str, list[Any]] = {}
    for words in prompts:
        for place, word in zip(words.place, words.words, strict=True):
            if place is not None:
                there.setdefault(place, []).append(word)
    several = {place: len(set(found)) > 1 for place, found in there.items()}

    def drawn(words: Words, i: int, rng: np.random.Generator) -> Any:
        found = there[str(words.place[i])]
        while True:  # some word there is another one
            word = found[int(rng.integers(len(found)))]
            if word != words.words[i]:
                return word

    return Others(lambda words, i: several[str(words.place[i])], drawn)
