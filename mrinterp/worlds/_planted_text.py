"""A small GPT-2 trained on sentences in which one word decides the answer and another one only comes with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.checks import checked_choice, checked_count, checked_seed
from mrinterp.core.errors import InputError
from mrinterp.features._directions import Directions
from mrinterp.knockouts._bench import Bench
from mrinterp.outcomes._logit_outcomes import LogitDifference
from mrinterp.outcomes._outcome import Outcome
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.worlds._small_gpt2 import Examples, Training, level_directions, small_gpt2, token_activations

__all__ = ["PlantedText", "planted_text"]

Array = NDArray[np.float64]
Ints = NDArray[np.int_]


TASKS = {"graded": Training(2, 300), "damped": Training(3, 450, 0.5)}
CUES = ("awful", "bad", "poor", "fair", "good", "superb")
DECOYS = ("mud", "rain", "fog", "breeze", "sun", "gold")
MODES = ("plainly", "hardly")
FILLERS = (
    "the",
    "a",
    "our",
    "my",
    "that",
    "one",
    "guest",
    "child",
    "nurse",
    "pilot",
    "baker",
    "clerk",
    "found",
    "saw",
    "read",
    "told",
    "kept",
    "left",
    "table",
    "garden",
    "letter",
    "window",
    "river",
    "lamp",
)
WORDS = ("<start>", "?", "yes", "no", *CUES, *DECOYS, *MODES, *FILLERS)
CLASSES = ("cue", "decoy", "rest", "last")
LOG_ODDS = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
"""Of the answer ``yes``, by cue."""
DAMPED = 0.3
"""What ``hardly`` multiplies the log odds by in the task ``damped``."""
TOGETHER = 0.9
"""Correlation of the decoy with the cue: the decoy is the cue's twin so often, else any."""
SHORTEST, LONGEST = 9, 12
"""Words of a sentence, the start and the question mark included."""
CUE, DECOY, MODE, FILLER = (WORDS.index(words[0]) for words in (CUES, DECOYS, MODES, FILLERS))
POOL = 20_000
"""Sentences that training draws from."""


@dataclass(frozen=True, eq=False)
class _Sentences(Examples):
    """N sentences as numbers, and the levels (N,) of both words."""

    cue: Ints
    decoy: Ints


@dataclass(frozen=True, eq=False)
class PlantedText:
    """The network on sentences that it was not trained on, ready for a bench, and what was planted.

    Attributes
    ----------
    adapter : TorchAdapter
        The network, ready to be run and edited.
    site : str
        Where its features are read and written: the residual stream after a block.
    view : Directions
        ``cue`` and ``decoy`` (each the difference of the mean activations at that word, upper half of its levels
        against the lower), and components of the rest of the stream.
    inputs : ModelInputs
        P sentences with token classes ``cue, decoy, rest, last``.
    outcome : Outcome
        Logit of ``yes`` minus logit of ``no`` after the question mark.
    family : ndarray (P,) of int
        Sentences of one family have the same words at the same places, but for cue, decoy and ``plainly``/``hardly``.
    cue, decoy : ndarray (P,) of int
        Level of both words, 0 to 5.
    log_odds : ndarray (P,)
        The answer that the cue decides.

    Examples
    --------
    >>> import mrinterp
    >>> world = mrinterp.worlds.planted_text(families=10, steps=2)
    >>> world.bench()
    Bench(site='transformer.h.0', features=16, outcomes=1, prompts=40, families=10)
    >>> world.texts()[0]
    '<start> clerk guest bad rain one plainly read pilot ?'
    """

    adapter: TorchAdapter
    site: str
    view: Directions
    inputs: ModelInputs
    outcome: Outcome
    family: Ints
    cue: Ints
    decoy: Ints
    log_odds: Array

    def bench(self, outcome: Outcome | OutcomeSet | None = None, **options: Any) -> Bench:
        """A bench of the network on its sentences.

        Parameters
        ----------
        outcome : Outcome or OutcomeSet, optional
            Default the logit difference of the answers.
        **options
            Of `mrinterp.knockouts.Bench`, such as ``position``, ``block`` or ``folder``.

        Returns
        -------
        Bench
            F features on P sentences, errors clustered by family.
        """
        given = {"family": self.family, **options}
        measured = self.outcome if outcome is None else outcome
        return Bench(self.adapter, self.site, self.view, self.inputs, measured, **given)

    def texts(self) -> list[str]:
        """The sentences (P,) in words."""
        assert self.inputs.mask is not None
        ids, mask = self.inputs.tensors["input_ids"].numpy(), self.inputs.mask.numpy().astype(bool)
        return [" ".join(WORDS[w] for w in row[own]) for row, own in zip(ids, mask, strict=True)]


def planted_text(
    task: str = "graded",
    seed: int = 0,
    families: int = 160,
    per_family: int = 4,
    *,
    features: int = 16,
    site: str | None = None,
    steps: int | None = None,
    folder: str | Path | None = None,
) -> PlantedText:
    """Train a small GPT-2 on sentences with a planted cause and a planted impostor.

    One word of every sentence, the *cue*, decides the log odds of the answers ``yes`` and ``no`` (six levels, -2.5 to
    2.5). Another one, the *decoy*, has six levels too and correlates .9 with the cue, in training as in the sentences
    returned, and decides nothing.

    Parameters
    ----------
    task : {"graded", "damped"}
        ``graded``: the cue alone decides (two blocks). ``damped``: the word ``hardly`` makes the log odds 0.3 times as
        large, so that the cue's effect differs between sentences (three blocks).
    seed : int
        Of the weights, of the training sentences and of the sentences returned.
    families, per_family : int
        How many families of sentences, and sentences in each.
    features : int
        Cue, decoy, and ``features - 2`` components: principal ones for ``graded``, independent ones for ``damped``.
    site : str, optional
        Default the residual stream after the first block, ``transformer.h.0``.
    steps : int, optional
        Of training, 64 sentences each. Default 300 for ``graded`` and 450 for ``damped``: 10 to 40 seconds on one core.
    folder : path, optional
        Where the trained network is kept, and found again. Default: it is trained anew.

    Returns
    -------
    PlantedText
        Network, features, sentences, and what was planted.

    Raises
    ------
    InputError
        For another task, a count below one, fewer features than 3 or more than 32, a site that the network does not
        have, or where transformers is not installed.

    Notes
    -----
    Trained on the log odds themselves, not on drawn answers, with one thread: the same arguments give the same
    network on one machine and build. Whether the decoy has a small effect all the same is a property of the trained
    network, not of the task: measure it.

    Examples
    --------
    >>> import mrinterp
    >>> world = mrinterp.worlds.planted_text(families=10, steps=2)
    >>> world.view.names[:3]
    ('cue', 'decoy', 'component00')
    """
    checked_choice(task, "task", tuple(TASKS))
    checked_seed(seed)
    steps = TASKS[task].steps if steps is None else steps
    for name, count in (("families", families), ("per_family", per_family), ("steps", steps)):
        checked_count(count, name)
    if not 3 <= checked_count(features, "features") <= 32:
        raise InputError("features", str(features), "Give 3 to 32: cue, decoy, and at least one component")
    adapter = TorchAdapter(_network(task, seed, steps, folder))
    where = "transformer.h.0" if site is None else site
    view = _view(adapter, where, task, seed, features)
    drawn = _families(np.random.default_rng([seed, 3]), task, families, per_family)
    outcome = LogitDifference(WORDS.index("yes"), WORDS.index("no"))
    family = np.repeat(np.arange(families), per_family)
    return PlantedText(
        adapter, where, view, drawn.inputs(CLASSES), outcome, family, drawn.cue, drawn.decoy, drawn.log_odds
    )


def _draw(
    rng: np.random.Generator,
    task: str,
    count: int,
    frame: _Sentences | None = None,
    together: float = TOGETHER,
) -> _Sentences:
    """Sentences of frames of their own, or in the given ones (N, one each): cue, decoy and mode are drawn anew."""
    cue, other = rng.integers(0, len(CUES), (2, count))
    decoy = np.where(rng.random(count) < together, cue, other)
    mode = rng.integers(0, len(MODES), count)
    if frame is None:
        length = rng.integers(SHORTEST, LONGEST + 1, count)
        ids = rng.integers(FILLER, len(WORDS), (count, LONGEST))
        place = np.arange(LONGEST)
        ids[:, 0] = 0
        # Places of the three words that are drawn: the smallest of random keys, between start and question mark.
        key = np.where((place > 0) & (place < length[:, None] - 1), rng.random(ids.shape), 2.0)
        slot = np.argsort(key, axis=1)[:, :3]
        classes = np.where(place < length[:, None], CLASSES.index("rest"), -1)
        row = np.arange(count)
        classes[row, slot[:, 0]], classes[row, slot[:, 1]] = 0, 1
        classes[row, length - 1] = CLASSES.index("last")
        ids[row, length - 1] = WORDS.index("?")
        ids[place >= length[:, None]] = 0
        ids[row, slot[:, 2]] = MODE
    else:
        ids, classes, length = frame.ids.copy(), frame.classes, frame.length
    is_mode = (ids >= MODE) & (ids < FILLER)
    for where, words in ((classes == 0, CUE + cue), (classes == 1, DECOY + decoy), (is_mode, MODE + mode)):
        ids[where] = words
    log_odds = LOG_ODDS[cue] * (np.where(mode == 1, DAMPED, 1.0) if task == "damped" else 1.0)
    return _Sentences(ids, classes, length, log_odds, cue, decoy)


def _families(rng: np.random.Generator, task: str, families: int, per_family: int) -> _Sentences:
    frame = _draw(rng, task, families)
    again = {name: np.repeat(value, per_family, axis=0) for name, value in vars(frame).items()}
    return _draw(rng, task, families * per_family, _Sentences(**again))


def _network(task: str, seed: int, steps: int, folder: str | Path | None) -> torch.nn.Module:
    """The trained network, from its folder where it is kept."""
    rng = np.random.default_rng([seed, 1])
    return small_gpt2(
        f"planted_text-{task}",
        seed,
        (task, POOL, TOGETHER, WORDS, LOG_ODDS.tolist()),
        folder,
        words=len(WORDS),
        training=replace(TASKS[task], steps=steps),
        examples=_draw(rng, task, POOL),
        answers=(WORDS.index("yes"), WORDS.index("no")),
        rng=rng,
    )


def _view(adapter: TorchAdapter, site: str, task: str, seed: int, features: int) -> Directions:
    """Cue and decoy by difference of class means, and components of what is orthogonal to both."""
    # Cue and decoy are drawn apart here: else the decoy's direction would hold what its tokens know of the cue.
    drawn = _draw(np.random.default_rng([seed, 2]), task, 800, together=0.0)
    half = len(CUES) // 2
    upper = {"cue": (0, drawn.cue >= half), "decoy": (1, drawn.decoy >= half)}
    h = token_activations(adapter, site, drawn.inputs(CLASSES))
    turn = partial(_turned, seed=seed) if task == "damped" else None
    return level_directions(h, drawn.classes, upper, features - 2, turn)


def _turned(rest: Array, components: Array, seed: int) -> Array:
    """Independent components within the span of principal ones that are scaled to unit variance: write rows."""
    from sklearn.decomposition import FastICA

    scores = rest @ np.linalg.pinv(components)
    found = FastICA(whiten=False, fun="cube", max_iter=400, tol=1e-3, random_state=seed).fit(scores)
    return np.asarray(np.linalg.pinv(found.components_).T @ components)
