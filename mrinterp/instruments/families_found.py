"""Families of prompts that nobody named: templates found by the words that prompts share; what a number of families buys."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import csr_matrix
from scipy.spatial.distance import squareform

from mrinterp.core.plan import FEWEST_FAMILIES, MIN_FAMILIES

__all__ = ["FOUND", "each_its_own", "families_in_words", "found_families"]

FOUND = "found"
"""How found families are named: ``found001`` and so on, in the order in which they come."""

SHARED = 0.6
"""Share of the longer prompt's words that two prompts of one template have in common on average. Three in five tells apart
templates of indirect object identification that share half of their words (tests/core/test_prompt_tables.py); of sentences written
one by one few share so much. Joining too much makes intervals wider, too little makes them too narrow."""

AT_ONCE = 4000
"""Distinct prompts that are compared each with each; further ones join the templates of these, or come in the next round."""
Rows = NDArray[np.int_]
_WORD = re.compile(r"\w+|[^\w\s]")


def found_families(texts: Sequence[str]) -> tuple[list[str], str]:
    """The template of every prompt: those of one template share at least three words in five on average.

    Parameters
    ----------
    texts : sequence of str
        P prompts.

    Returns
    -------
    list of str
        P names.
    str
        What was found, in words.

    Notes
    -----
    Average linkage on the share of words in common, whatever their order. Not valid as a proof that prompts of different
    families are independent: a topic that two templates share is not seen.
    """
    distinct = list(dict.fromkeys(texts))
    words = [[w.casefold() for w in _WORD.findall(text)] for text in distinct]
    group = _alike(words)
    number = {g: i for i, g in enumerate(dict.fromkeys(group), 1)}
    family = {text: f"{FOUND}{number[g]:03d}" for text, g in zip(distinct, group, strict=True)}
    return [family[text] for text in texts], _what_was_found(family)


def each_its_own(texts: Sequence[str]) -> list[str]:
    """Every distinct prompt a family of its own, named by its number."""
    number = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    return [f"prompt{number[text]:05d}" for text in texts]


def families_in_words(count: int, by_contrasts: bool = True) -> str:
    """What so many families allow, in one sentence.

    Parameters
    ----------
    count : int
        Families in all.
    by_contrasts : bool
        Whether claims may rest on contrasts; else they rest on instruments.
    """
    each, many = FEWEST_FAMILIES, 4 * MIN_FAMILIES
    sized = f"{count:,} families, the sample size of every error"
    if count >= many:
        return f"{count:,} families: enough for claims of any grade."
    if not by_contrasts:
        so = "too few: claims on instruments need them all"
    elif count >= MIN_FAMILIES:
        so = "a small study: claims on contrasts, grade C at most; estimates by instruments are not for inference"
    else:
        so = "too few for any claim"
    scale = (
        f"{each} in each split and {MIN_FAMILIES} in all carry a claim (grade C at most), {many} also estimates by"
        " instruments and better grades"
    )
    return f"{sized}: {so} ({scale})."


def _alike(words: Sequence[Sequence[str]]) -> list[int]:
    """Number of each prompt's template: rounds of `AT_ONCE`, whose templates further prompts join where they are alike."""
    held, length = _occurrences(words), np.array([max(len(w), 1) for w in words])
    group, left, made = np.full(len(words), -1), np.arange(len(words)), 0

    def shared(some: Rows, others: Rows) -> NDArray[np.float64]:
        common = np.asarray((held[some] @ held[others].T).toarray(), dtype=float)
        return common / np.maximum(length[some][:, None], length[others])

    while len(left):
        first, rest = left[:AT_ONCE], left[AT_ONCE:]
        own = np.ones(1, dtype=int)
        if len(first) > 1:
            apart = squareform(1.0 - shared(first, first), checks=False)
            own = fcluster(linkage(apart, "average"), 1.0 - SHARED + 1e-9, "distance")
        group[first] = made + own
        member = np.eye(own.max())[own - 1]
        member /= member.sum(axis=0)
        kept = [np.zeros(0, dtype=int)]
        for block in np.array_split(rest, max(1, len(rest) // 512)):
            mean = shared(block, first) @ member
            joins = mean.max(axis=1) >= SHARED
            group[block[joins]] = made + 1 + mean.argmax(axis=1)[joins]
            kept.append(block[~joins])
        left, made = np.concatenate(kept), made + int(own.max())
    return [int(g) for g in group]


def _occurrences(words: Sequence[Sequence[str]]) -> csr_matrix:
    """Which prompt holds which word for the first, second ... time (P, W): products count words in common, order aside."""
    columns: dict[tuple[str, int], int] = {}
    rows: list[int] = []
    places: list[int] = []
    for i, own in enumerate(words):
        seen: Counter[str] = Counter()
        for word in own:
            seen[word] += 1
            rows.append(i)
            places.append(columns.setdefault((word, seen[word]), len(columns)))
    ones: NDArray[np.float32] = np.ones(len(rows), dtype=np.float32)
    return csr_matrix((ones, (rows, places)), shape=(len(words), max(len(columns), 1)))


def _what_was_found(family: dict[str, str]) -> str:
    """How many templates, how large, and one of them to look at."""
    sizes = Counter(family.values())
    alone = sum(1 for n in sizes.values() if n == 1)
    largest, size = sizes.most_common(1)[0]
    of = next(text for text, name in family.items() if name == largest)
    shown = of if len(of) <= 60 else f"{of[:57]}..."
    rest = f", {alone:,} prompts are like no other" if alone else ""
    return (
        f"no column names families: {len(sizes):,} template{'s' * (len(sizes) > 1)} found among {len(family):,} distinct prompts (prompts of one"
        f" template share at least three words in five on average); the largest holds {size:,}, such as {shown!r}{rest}"
    )
