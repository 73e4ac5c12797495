"""Perturbations that a corpus holds already: texts of one frame that differ in few words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.checks import checked_count
from mrinterp.core.errors import InputError
from mrinterp.perturbations._perturb import PerturbedInputs

__all__ = ["observed_variants"]

KIND = "observed"
ABSENT = ""


def observed_variants(
    inputs: Sequence[str] | ArrayLike,
    *,
    family: ArrayLike | None = None,
    most: int = 2,
    fewest: int = 5,
    special: Sequence[Any] = (),
) -> PerturbedInputs:
    """Find inputs that are variants of one another, and say which differences they hold: an observed design.

    Parameters
    ----------
    inputs : sequence of str, or array_like (n, T) of int
        Texts, compared word by word, or token numbers of one length. One that comes again is used once.
    family : array_like (n,), optional
        Family of every input, the cluster of all errors, within which frames are looked for; default, a frame is a family.
    most : int
        Words in which an input may differ from the first one of its frame.
    fewest : int
        Families that a difference must be found in, to be an instrument.
    special : sequence
        Words, or tokens, that no difference is made of.

    Returns
    -------
    PerturbedInputs
        Inputs that have a variant, all of kind ``observed``. ``prompt`` is the frame; an instrument is a pair of words
        (``observed:old>new``, old being the commoner one of the corpus), and its dose 1 where the input has the new word in place of
        the frame's own, the commonest there, -1 where the frame has the new word and the input the old one.

    Raises
    ------
    InputError
        For inputs that are neither, families that do not match, or no difference that enough families hold.

    Notes
    -----
    Doses are found, not assigned: whoever wrote the texts chose words together, so that doses are correlated (``marginal_scan(panel).ld``
    is real LD, which estimates have to be given), and what else goes with a choice of words is not balanced between them. Within a
    frame everything that the texts share cancels; *not valid* as a randomized design, and a claim from it should be held
    against edits that are drawn. Frames are found by their first input, in the order given; work grows with inputs times frames.

    Examples
    --------
    >>> from mrinterp.perturbations import observed_variants
    >>> texts = ["the cat saw it", "the cat liked it", "a cow saw them", "a cow liked them", "nothing like these"]
    >>> made = observed_variants(texts, most=1, fewest=2)
    >>> made.prompt.tolist(), made.instruments, made.doses.ravel().tolist()
    ([0, 0, 1, 1], ('observed:saw>liked',), [0.0, 1.0, 0.0, 1.0])
    """
    checked_count(most, "most", unit="words")
    checked_count(fewest, "fewest", unit="families")
    given, words = _as_words(inputs)
    families = None if family is None else np.asarray(family)
    if families is not None and families.shape != (len(given),):
        found = f"shape {families.shape} for {len(given)} inputs"
        raise InputError("family", found, "Give one family per input")
    known, code = np.unique(words, return_inverse=True)
    code = code.reshape(words.shape)
    distinct = np.sort(np.unique(code, axis=0, return_index=True)[1])
    alike = [(words[distinct] != ABSENT).sum(axis=1)]
    alike += [] if families is None else [np.unique(families[distinct], return_inverse=True)[1]]
    frame = _frames(code[distinct], np.stack(alike, axis=1), most)
    rows, frame = distinct[frame >= 0], frame[frame >= 0]
    owner = frame if families is None else families[rows]
    held = np.isin(known, [ABSENT, *map(str, special)])
    pairs = _differences(code[rows], frame, held) if len(rows) else {}
    kept = [pair for pair, (at, _) in pairs.items() if len(np.unique(owner[at])) >= fewest]
    if not kept:
        found_words = (
            f"{len(rows)} of {len(given)} inputs have a variant; no difference is in {fewest} families"
        )
        raise InputError("inputs", found_words, "Give more inputs, or raise most, or lower fewest")
    names = {f"{KIND}:{known[old]}>{known[new]}": (old, new) for old, new in kept}
    order = sorted(names)
    doses = np.zeros((len(rows), len(order)))
    for j, name in enumerate(order):
        at, sign = pairs[names[name]]
        np.add.at(doses[:, j], at, sign)
    kind = np.full(len(rows), KIND, dtype=object)
    return PerturbedInputs(given[rows], doses, tuple(order), frame, owner, kind)


def _as_words(inputs: Any) -> tuple[NDArray[Any], NDArray[np.str_]]:
    """Inputs as given, and their words (n, T), where texts are padded by nothing."""
    array = np.asarray(inputs)
    if array.ndim == 2 and np.issubdtype(array.dtype, np.integer) and len(array):
        return array, array.astype(str)
    if array.ndim != 1 or array.dtype.kind not in "UO" or not all(isinstance(t, str) for t in inputs):
        found = f"{array.dtype} of shape {array.shape}"
        raise InputError("inputs", found, "Give texts, or whole numbers (inputs, tokens)")
    split = [text.split() for text in inputs]
    longest = max(map(len, split), default=0)
    return array, np.array([[*row, *[ABSENT] * (longest - len(row))] for row in split])


def _frames(code: NDArray[np.int_], alike: NDArray[np.int_], most: int) -> NDArray[np.int_]:
    """Frame (n,) of every input, numbered, whose inputs share what ``alike`` (n, k) says; -1 for those without a variant."""
    frame, left, count = np.full(len(code), -1), np.arange(len(code)), 0
    while len(left):
        near = (code[left] != code[left[0]]).sum(axis=1) <= most
        near &= (alike[left] == alike[left[0]]).all(axis=1)
        if near.sum() > 1:
            frame[left[near]] = count
            count += 1
        left = left[~near]
    return frame


def _differences(
    code: NDArray[np.int_], frame: NDArray[np.int_], held: NDArray[np.bool_]
) -> dict[tuple[int, int], tuple[NDArray[np.int_], NDArray[np.float64]]]:
    """Rows that differ from their frame by a pair of words, (old, new), and in which direction."""
    found: dict[tuple[int, int], list[tuple[int, float]]] = {}
    _, first, times = np.unique(code, return_index=True, return_counts=True)
    rank = np.empty(len(held), dtype=int)
    present = np.unique(code)
    rank[present[np.lexsort((first, -times))]] = np.arange(len(present))
    order = np.argsort(frame, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(frame[order])) + 1):
        for place in np.flatnonzero((code[rows] != code[rows[0]]).any(axis=0)):
            here = code[rows, place]
            values, count = np.unique(here, return_counts=True)
            own = values[np.lexsort((rank[values], -count))[0]]
            for row, word in zip(rows[here != own], here[here != own], strict=True):
                if not held[own] and not held[word]:
                    turned = rank[word] < rank[own]
                    pair = (int(word), int(own)) if turned else (int(own), int(word))
                    found.setdefault(pair, []).append((int(row), -1.0 if turned else 1.0))
    return {
        pair: (np.array([row for row, _ in at]), np.array([sign for _, sign in at]))
        for pair, at in found.items()
    }
