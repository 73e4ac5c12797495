"""Perturbations of token arrays: substitution, deletion, masking, swaps, resampling, paraphrases; whole numbers stay so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError

__all__ = [
    "Paraphrases",
    "TokenDeletion",
    "TokenMasking",
    "TokenResampling",
    "TokenSubstitution",
    "TokenSwap",
]

Array = NDArray[np.float64]
Tokens = NDArray[np.int_]

NEAREST = 20
"""Tokens of the vocabulary, the nearest by frequency, that one is drawn from."""


@dataclass(frozen=True)
class TokenEdit:
    """What edits of single tokens share: how many are edited, and which never are."""

    probability: float = 0.2
    special: tuple[int, ...] = ()
    pad_id: int | None = None

    whole_numbers = True

    def instruments(self, shape: tuple[int, ...]) -> list[str]:
        """One per column, by its number."""
        self._check(shape)
        return [f"token{t}" for t in range(shape[0])]

    def _check(self, shape: tuple[int, ...]) -> None:
        name = type(self).__name__
        if len(shape) != 1:
            raise InputError("token array", f"one input of shape {shape}", "Give (inputs, tokens)")
        if not 0 < self.probability <= 1:
            found = f"{self.probability:g}"
            raise InputError(f"{name}.probability", found, "Give a number above 0, at most 1")

    def own(self, inputs: Tokens) -> NDArray[np.bool_]:
        """Tokens (n, T) that are an input's own: all but those that it is padded with."""
        return np.ones(inputs.shape, dtype=bool) if self.pad_id is None else inputs != self.pad_id

    def editable(self, inputs: Tokens) -> NDArray[np.bool_]:
        """Tokens (n, T) that edits may touch: own ones, no special ones, of columns that hold more than one token."""
        own = self.own(inputs)
        several = [len(np.unique(column[mine])) > 1 for column, mine in zip(inputs.T, own.T, strict=True)]
        return np.asarray(own & ~np.isin(inputs, self.special) & np.array(several))

    def hit(self, rng: np.random.Generator, able: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Some of the tokens (n, T) that can be edited, drawn at random: at least one where there are any."""
        drawn = rng.random(able.shape)
        least = np.where(able, drawn, np.inf).min(axis=1, initial=np.inf)
        return np.asarray(able & ((drawn < self.probability) | (drawn == least[:, None])))


@dataclass(frozen=True)
class TokenSubstitution(TokenEdit):
    """Tokens exchanged for others: of a list, or of the vocabulary, about as frequent as they are.

    Parameters
    ----------
    probability : float
        Chance of every token to be exchanged; at least one is.
    special : tuple of int
        Tokens that are never edited nor put in place of others; columns that hold one token in all rows are not either.
    pad_id : int, optional
        The token that inputs are padded with.
    words : mapping of int to sequence of int
        For every token that may be exchanged, those that may take its place: an instrument is then a pair of tokens
        (``5>9``). Empty: of ``vocabulary``, and an instrument is a place (``token3``).
    vocabulary : sequence of int
        Tokens in the order of their frequency; default those of the inputs.
    kind : str
        Name of this kind of perturbation in a design.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.perturbations import TokenSubstitution, perturb
    >>> prompts = np.array([[0, 3, 5], [0, 4, 6], [0, 3, 6]])  # every text begins with token 0
    >>> made = perturb(prompts, [TokenSubstitution(words={3: [4, 7]})], runs_per_input=2, placebos=0)
    >>> made.instruments, made.inputs.dtype.kind, sorted(set(made.inputs[3:, 1].tolist()) - {4, 7})
    (('substitution:3>4', 'substitution:3>7'), 'i', [])
    """

    words: Mapping[int, Sequence[int]] = field(default_factory=dict)
    vocabulary: tuple[int, ...] = ()
    kind: str = "substitution"

    def instruments(self, shape: tuple[int, ...]) -> list[str]:
        """One per pair of tokens, or per column."""
        self._check(shape)
        pairs = [f"{old}>{new}" for old, others in self.words.items() for new in others if new != old]
        return pairs if self.words else [f"token{t}" for t in range(shape[0])]

    def draw(self, rng: np.random.Generator, inputs: Tokens, clean: Tokens) -> tuple[Tokens, Array]:
        """Edited rows, and what was done to each."""
        able = self.editable(inputs)
        if not self.words:
            order = self._order(inputs, able)
            able &= np.isin(inputs, order)
            hit = self.hit(rng, able[clean])
            made = inputs[clean].copy()
            made[hit] = _near(rng, made[hit], order)
            return made, hit.astype(float)
        choices = {old: [new for new in others if new != old] for old, others in self.words.items()}
        # What a list names may be edited wherever it stands.
        able = self.own(inputs) & ~np.isin(inputs, self.special)
        able &= np.isin(inputs, [old for old, others in choices.items() if others])
        hit, made = self.hit(rng, able[clean]), inputs[clean].copy()
        doses, start = np.zeros((len(clean), sum(map(len, choices.values())))), 0
        for old, others in choices.items():
            row, column = np.nonzero(hit & (inputs[clean] == old))
            drawn = rng.integers(0, max(len(others), 1), len(row))
            if len(row):
                made[row, column] = np.asarray(others)[drawn]
                doses[row, start + drawn] = 1.0
            start += len(others)
        return made, doses

    def _order(self, inputs: Tokens, able: NDArray[np.bool_]) -> Tokens:
        """Tokens by frequency, the commonest first."""
        if self.vocabulary:
            order = np.asarray([v for v in self.vocabulary if v not in (*self.special, self.pad_id)])
        else:
            tokens, counts = np.unique(inputs[able], return_counts=True)
            order = tokens[np.argsort(-counts, kind="stable")]
        if len(order) < 2:
            found = f"{len(order)} tokens to draw from"
            raise InputError("TokenSubstitution", found, "Give words or a vocabulary")
        return order


@dataclass(frozen=True)
class TokenDeletion(TokenEdit):
    """Tokens left out, the rest moved up; the first and the last token of an input stay.

    Parameters
    ----------
    probability : float
        Chance of every token to be left out; at least one is.
    special : tuple of int
        Tokens that are never edited.
    pad_id : int
        The token that inputs are padded with at their end, as the edited ones are too: needed.
    kind : str
        Name of this kind of perturbation in a design.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.perturbations import TokenDeletion, perturb
    >>> prompts = np.array([[1, 3, 5, 9], [2, 4, 5, 8]])
    >>> perturb(prompts, [TokenDeletion(pad_id=0)], runs_per_input=1, placebos=0).inputs[2:].tolist()
    [[1, 5, 9, 0], [2, 5, 8, 0]]
    """

    kind: str = "deletion"

    def draw(self, rng: np.random.Generator, inputs: Tokens, clean: Tokens) -> tuple[Tokens, Array]:
        """Shortened rows, and which tokens are gone."""
        if self.pad_id is None:
            found = "no pad_id, and inputs become shorter"
            raise InputError("TokenDeletion.pad_id", found, "Give the token that inputs are padded with")
        own, able = self.own(inputs), self.editable(inputs)
        before, after = own.cumsum(axis=1) > 1, own[:, ::-1].cumsum(axis=1)[:, ::-1] > 1
        hit = self.hit(rng, (able & before & after)[clean])
        # Tokens that stay keep their order and come first.
        order = np.argsort(hit, axis=1, kind="stable")
        made = np.take_along_axis(np.where(hit, self.pad_id, inputs[clean]), order, axis=1)
        return made, hit.astype(float)


@dataclass(frozen=True)
class TokenMasking(TokenEdit):
    """Tokens that become the mask token.

    Parameters
    ----------
    probability : float
        Chance of every token to be masked; at least one is.
    special : tuple of int
        Tokens that are never edited.
    pad_id : int, optional
        The token that inputs are padded with.
    mask_id : int
        The mask token: needed.
    kind : str
        Name of this kind of perturbation in a design.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.perturbations import TokenMasking, perturb
    >>> prompts = np.array([[0, 3, 5], [0, 4, 6]])
    >>> perturb(prompts, [TokenMasking(1.0, mask_id=99)], runs_per_input=1, placebos=0).inputs[2:].tolist()
    [[0, 99, 99], [0, 99, 99]]
    """

    mask_id: int | None = None
    kind: str = "masking"

    def draw(self, rng: np.random.Generator, inputs: Tokens, clean: Tokens) -> tuple[Tokens, Array]:
        """Masked rows, and which tokens are masked."""
        if self.mask_id is None:
            raise InputError("TokenMasking.mask_id", "missing", "Give the mask token, or choose another kind")
        hit = self.hit(rng, (self.editable(inputs) & (inputs != self.mask_id))[clean])
        return np.where(hit, self.mask_id, inputs[clean]), hit.astype(float)


@dataclass(frozen=True)
class TokenSwap(TokenEdit):
    """Neighboring tokens that change places; no token is in two swaps of one run.

    Parameters
    ----------
    probability : float
        Chance of every pair of neighbors that differ; at least one is swapped.
    special : tuple of int
        Tokens that are never moved.
    pad_id : int, optional
        The token that inputs are padded with.
    kind : str
        Name of this kind of perturbation in a design.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.perturbations import TokenSwap, perturb
    >>> prompts = np.array([[0, 3, 5], [0, 4, 6]])
    >>> made = perturb(prompts, [TokenSwap()], runs_per_input=1, placebos=0)
    >>> made.inputs[2:].tolist(), made.columns()["instruments"]
    ([[0, 5, 3], [0, 6, 4]], ['swap:token1~token2'])
    """

    kind: str = "swap"

    def instruments(self, shape: tuple[int, ...]) -> list[str]:
        """One per pair of neighboring columns."""
        self._check(shape)
        return [f"token{t}~token{t + 1}" for t in range(shape[0] - 1)]

    def draw(self, rng: np.random.Generator, inputs: Tokens, clean: Tokens) -> tuple[Tokens, Array]:
        """Rows with neighbors swapped, and which pairs."""
        able = self.editable(inputs)
        pairs = able[:, :-1] & able[:, 1:] & (inputs[:, :-1] != inputs[:, 1:])
        hit, made = self.hit(rng, pairs[clean]), inputs[clean].copy()
        for t in range(hit.shape[1]):
            if t:
                hit[:, t] &= ~hit[:, t - 1]
            rows = hit[:, t]
            made[rows, t], made[rows, t + 1] = inputs[clean][rows, t + 1], inputs[clean][rows, t]
        return made, hit.astype(float)


@dataclass(frozen=True)
class TokenResampling(TokenEdit):
    """Tokens that take the value of another input at the same place: one that differs, each as often as it stands there.

    Parameters
    ----------
    probability : float
        Chance of every token to be resampled; at least one is.
    special : tuple of int
        Tokens that are never edited nor put in place of others.
    pad_id : int, optional
        The token that inputs are padded with.
    kind : str
        Name of this kind of perturbation in a design.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.perturbations import TokenResampling, perturb
    >>> prompts = np.array([[0, 3, 5], [0, 4, 6]])
    >>> perturb(prompts, [TokenResampling(1.0)], runs_per_input=1, placebos=0).inputs[2:].tolist()
    [[0, 4, 6], [0, 3, 5]]
    """

    kind: str = "resampling"

    def draw(self, rng: np.random.Generator, inputs: Tokens, clean: Tokens) -> tuple[Tokens, Array]:
        """Rows with tokens of other inputs, and which places."""
        able = self.editable(inputs)
        able &= [len(np.unique(column[mine])) > 1 for column, mine in zip(inputs.T, able.T, strict=True)]
        hit, made = self.hit(rng, able[clean]), inputs[clean].copy()
        for t in np.flatnonzero(hit.any(axis=0)):
            there, rows = inputs[able[:, t], t], np.flatnonzero(hit[:, t])
            same = np.ones(len(rows), dtype=bool)
            drawn = made[rows, t].copy()
            while same.any():  # some token there is another one
                drawn[same] = there[rng.integers(0, len(there), int(same.sum()))]
                same = drawn == made[rows, t]
            made[rows, t] = drawn
        return made, hit.astype(float)


@dataclass(frozen=True, eq=False)
class Paraphrases:
    """The whole input worded anew, as a list says: each wording of an input at most once.

    Parameters
    ----------
    wordings : sequence of sequences of token rows
        For every input its other wordings: none, or several; shorter ones are padded.
    pad_id : int, optional
        The token that inputs are padded with; needed where a wording is shorter than its input's row.
    kind : str
        Name of this kind of perturbation in a design.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.perturbations import Paraphrases, perturb
    >>> prompts = np.array([[1, 3, 5], [1, 4, 6]])
    >>> others = Paraphrases([[[1, 5, 3], [1, 3]], [[1, 6, 4]]], pad_id=0)
    >>> made = perturb(prompts, [others], runs_per_input=2, placebos=0)
    >>> len(made.inputs), made.instruments  # the second input has one other wording
    (5, ('paraphrase:0', 'paraphrase:1'))
    """

    wordings: Sequence[Sequence[Sequence[int]]]
    pad_id: int | None = None
    kind: str = "paraphrase"

    whole_numbers = True

    def instruments(self, shape: tuple[int, ...]) -> list[str]:
        """One per number in the lists."""
        most = max((len(each) for each in self.wordings), default=0)
        if not most:
            raise InputError("Paraphrases.wordings", "none", "Give at least one input another wording")
        for i, each in enumerate(self.wordings):
            for row in each:
                if len(row) > shape[0] or (len(row) < shape[0] and self.pad_id is None):
                    found = f"{len(row)} tokens; inputs have {shape[0]}"
                    fix = "Give pad_id" if len(row) < shape[0] else "Pad the inputs to the longest"
                    raise InputError(f"Paraphrases.wordings, input {i}", found, fix)
        return [str(i) for i in range(most)]

    def draw(self, rng: np.random.Generator, inputs: Tokens, clean: Tokens) -> tuple[Tokens, Array]:
        """Other wordings, and which of the list."""
        if len(self.wordings) != len(inputs):
            found = f"{len(self.wordings)} lists for {len(inputs)} inputs"
            raise InputError("Paraphrases.wordings", found, "Give one list (which may be empty) per input")
        made = inputs[clean].copy()
        doses = np.zeros((len(clean), max(map(len, self.wordings))))
        for i, each in enumerate(self.wordings):
            runs = np.flatnonzero(clean == i)
            order = rng.permutation(len(each))[: len(runs)]
            for run, number in zip(runs, order, strict=False):
                made[run] = self.pad_id if self.pad_id is not None else 0
                made[run, : len(each[number])] = each[number]
                doses[run, number] = 1.0
        return made, doses


def _near(rng: np.random.Generator, tokens: Tokens, order: Tokens) -> Tokens:
    """For every token one of those nearest to it in the order, never itself."""
    place: Any = np.empty(int(max(order.max(), tokens.max(initial=0))) + 1, dtype=int)
    place[order] = np.arange(len(order))
    rank, count = place[tokens], min(NEAREST, len(order) - 1)
    start = np.clip(rank - count // 2, 0, len(order) - 1 - count)
    drawn = start + rng.integers(0, count, len(tokens))
    return np.asarray(order[drawn + (drawn >= rank)])
