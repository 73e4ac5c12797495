"""A compiler of small programs over words into the weights of a transformer, and their interpreter.

A program is a list of variables, one value per word of a sentence. A word can *gather* another variable from the words that
match it (an attention head) and take a piecewise linear *function* of a sum of its own variables (rectified units). The idea
of such programs: Weiss, Goldberg & Yahav 2021, arXiv:2106.06981.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.errors import InputError

__all__ = ["CompiledProgram", "Program", "Variable"]

Array = NDArray[np.float64]
Ints = NDArray[np.int_]

SHARP = 200.0
"""Score of a match; words that do not match get none, and the first word half of it, so that it is what is found where
nothing matches. What is left for others is exp(-100)."""


@dataclass(frozen=True)
class Variable:
    """A variable of a program: a number per word, or one of several labels as a one-hot code.

    Attributes
    ----------
    name : str
        Such as ``"previous"``.
    labels : tuple
        Of the code; a number has one, ``None``.
    block : int
        After which block of the network it is there; -1: from the start.

    Examples
    --------
    >>> from mrinterp.worlds import Program
    >>> Program(("start", "a"), 3).tokens.coordinates
    ('token=start', 'token=a')
    """

    name: str
    labels: tuple[Any, ...]
    block: int

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Names of its coordinates, such as ``previous=a``; the variable's own of a number."""
        return tuple(self.name if label is None else f"{self.name}={label}" for label in self.labels)


@dataclass(frozen=True)
class _Gather:
    query: Variable
    key: Variable
    value: Variable
    match: Array
    earlier: bool


@dataclass(frozen=True)
class _Function:
    terms: tuple[tuple[Variable, Array], ...]
    knots: Array
    heights: Array


@dataclass
class Program:
    """A program over sentences of one length, written line by line.

    Parameters
    ----------
    vocabulary : tuple of str
        Its words; every sentence begins with the first one.
    length : int
        Words of a sentence.

    Attributes
    ----------
    tokens, place : Variable
        The word itself, and its number in the sentence: what a program begins with.

    Examples
    --------
    Is the word before this one a ``b``?

    >>> import numpy as np
    >>> from mrinterp.worlds import Program
    >>> program = Program(("start", "a", "b"), 4)
    >>> before = program.gather("before", program.place, program.place, lambda q, k: k == q - 1, program.tokens)
    >>> is_b = program.function("is_b", {before: [0, 0, 1]}, [0, 1], [0, 1])
    >>> program.run(np.array([[0, 2, 2, 1]]))["is_b"][0, :, 0].round(9).tolist()
    [0.0, 0.0, 1.0, 1.0]
    """

    vocabulary: tuple[str, ...]
    length: int
    lines: dict[Variable, _Gather | _Function | None] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.tokens = Variable("token", self.vocabulary, -1)
        self.place = Variable("place", tuple(range(self.length)), -1)
        self.lines |= {self.tokens: None, self.place: None}

    def gather(
        self,
        name: str,
        query: Variable,
        key: Variable,
        where: Callable[[Any, Any], bool],
        value: Variable,
        *,
        earlier: bool = False,
        block: int = 0,
    ) -> Variable:
        """The mean of a variable over the words that match: one attention head.

        Parameters
        ----------
        name : str
            Of the new variable.
        query, key : Variable
            Coded ones: what this word, and what the other words are asked for.
        where : callable
            ``where(q, k)`` says which labels match. Where no word matches, the first word is taken.
        value : Variable
            What is gathered.
        earlier : bool
            Whether only words up to this one count.
        block : int
            The earliest block that may do it.

        Returns
        -------
        Variable
            Of the kind of ``value``.
        """
        match = np.array([[float(where(q, k)) for k in key.labels] for q in query.labels])
        made = Variable(name, value.labels, max(block, *(v.block + 1 for v in (query, key, value))))
        return self._add(made, _Gather(query, key, value, match, earlier))

    def function(
        self,
        name: str,
        terms: Mapping[Variable, ArrayLike],
        knots: ArrayLike,
        heights: ArrayLike,
        block: int = 0,
    ) -> Variable:
        """A piecewise linear function of a weighted sum of variables: rectified units.

        Parameters
        ----------
        name : str
            Of the new variable, a number.
        terms : mapping of Variable to weights
            One weight per coordinate.
        knots, heights : array (m,)
            The function goes through these points, straight between them and flat beyond.
        block : int
            The earliest block that may do it.

        Returns
        -------
        Variable
            A number.
        """
        given = tuple((v, np.atleast_1d(np.asarray(w, dtype=float))) for v, w in terms.items())
        x, y = np.asarray(knots, dtype=float), np.asarray(heights, dtype=float)
        if x.shape != y.shape or x.ndim != 1 or len(x) < 2 or (np.diff(x) <= 0).any():
            raise InputError("knots, heights", f"{x} and {y}", "Give as many heights as knots, knots rising")
        # What attention has gathered can be used by the same block's units; what its units make cannot.
        ready = [v.block + isinstance(self.lines[v], _Function) for v, _ in given]
        return self._add(Variable(name, (None,), max(block, *ready)), _Function(given, x, y))

    def _add(self, made: Variable, line: _Gather | _Function) -> Variable:
        if made.name in {v.name for v in self.lines}:
            raise InputError("name", f"{made.name!r} twice", "Give every variable a name of its own")
        self.lines[made] = line
        return made

    @property
    def blocks(self) -> int:
        """Blocks of the network."""
        return 1 + max(v.block for v in self.lines)

    def run(self, ids: Ints, written: Mapping[str, Array] | None = None, after: int = -1) -> dict[str, Array]:
        """Interpret the program.

        Parameters
        ----------
        ids : ndarray (N, T) of int
            Sentences, as numbers of words.
        written : mapping of str to ndarray (N, T), optional
            By name of a coordinate, such as ``"previous=a"``: values that it is set to; nan leaves it.
        after : int
            The block after which that is done.

        Returns
        -------
        dict of str to ndarray (N, T, W)
            Every variable by its name, as it is in the end.
        """
        N = len(ids)
        state = {
            "token": np.eye(len(self.vocabulary))[ids],
            "place": np.repeat(np.eye(self.length)[None], N, axis=0),
        }
        order = sorted((v for v, line in self.lines.items() if line is not None), key=lambda v: v.block)
        for made in [v for v in order if v.block <= after]:
            state[made.name] = self._line(made, state)
        for made in self.lines:
            for k, name in enumerate(made.coordinates):
                if written is not None and name in written:
                    value = written[name]
                    state[made.name][..., k] = np.where(np.isnan(value), state[made.name][..., k], value)
        for made in [v for v in order if v.block > after]:
            state[made.name] = self._line(made, state)
        return state

    def _line(self, made: Variable, state: Mapping[str, Array]) -> Array:
        line = self.lines[made]
        if isinstance(line, _Gather):
            scores = SHARP * state[line.query.name] @ line.match @ state[line.key.name].transpose(0, 2, 1)
            scores[..., 0] += SHARP / 2
            if line.earlier:
                scores = np.where(np.tri(self.length, dtype=bool), scores, -np.inf)
            share = np.exp(scores - scores.max(axis=-1, keepdims=True))
            return np.asarray(share / share.sum(axis=-1, keepdims=True) @ state[line.value.name])
        assert line is not None
        x = np.sum([state[v.name] @ w for v, w in line.terms], axis=0)
        return np.asarray(np.interp(x, line.knots, line.heights))[..., None]


class CompiledProgram(torch.nn.Module):
    """The transformer whose weights are a program: float64, its residual stream rotated.

    Parameters
    ----------
    program : Program
        What it computes.
    answer : Variable
        A number; its value at the last word is the network's output.
    seed : int
        Of the rotation.

    Attributes
    ----------
    directions : dict of str to ndarray (width,)
        Where each coordinate of each variable lies in the residual stream, by name.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.worlds import CompiledProgram, Program
    >>> program = Program(("start", "a", "b"), 3)
    >>> is_b = program.function("is_b", {program.tokens: [0, 0, 1]}, [0, 1], [0, 1])
    >>> CompiledProgram(program, is_b)(torch.tensor([[0, 1, 2]])).round(decimals=9).tolist()
    [[1.0]]
    """

    token_rows: torch.Tensor
    place_rows: torch.Tensor
    answer: torch.Tensor

    def __init__(self, program: Program, answer: Variable, seed: int = 0) -> None:
        super().__init__()
        names = [name for v in program.lines for name in v.coordinates]
        rotation = np.linalg.qr(np.random.default_rng([seed, 5]).standard_normal((len(names),) * 2))[0]
        self.directions = dict(zip(names, rotation, strict=True))
        rows = {v: np.stack([self.directions[name] for name in v.coordinates]) for v in program.lines}
        for name, value in (
            ("token_rows", rows[program.tokens]),
            ("place_rows", rows[program.place]),
            ("answer", rows[answer][0]),
        ):
            self.register_buffer(name, torch.from_numpy(value.copy()))
        self.blocks = torch.nn.ModuleList(
            _Block({v: line for v, line in program.lines.items() if v.block == b}, rows)
            for b in range(program.blocks)
        )

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Outputs (runs, 1) of sentences (runs, T) of numbers of words."""
        h = self.token_rows[ids] + self.place_rows
        for block in self.blocks:
            h = block(h)
        return (h[:, -1] @ self.answer).unsqueeze(-1)


class _Block(torch.nn.Module):
    """Attention heads, then rectified units, each adding to the stream."""

    def __init__(self, lines: Mapping[Variable, Any], rows: Mapping[Variable, Array]) -> None:
        super().__init__()
        heads = [(v, line) for v, line in lines.items() if isinstance(line, _Gather)]
        self.heads = torch.nn.ModuleList(_Head(line, rows, rows[made]) for made, line in heads)
        functions = [(v, line) for v, line in lines.items() if isinstance(line, _Function)]
        self.units = torch.nn.ModuleList(_Units(line, rows, rows[made]) for made, line in functions)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        for part in (self.heads, self.units):
            h = h + sum((p(h) for p in part), torch.zeros_like(h))
        return h


class _Head(torch.nn.Module):
    query: torch.Tensor
    key: torch.Tensor
    copy: torch.Tensor

    def __init__(self, line: _Gather, rows: Mapping[Variable, Array], out: Array) -> None:
        super().__init__()
        self.earlier = line.earlier
        given = {
            "query": SHARP * rows[line.query].T @ line.match,
            "key": rows[line.key].T,
            "copy": rows[line.value].T @ out,
        }
        for name, value in given.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value)))

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        scores = (h @ self.query) @ (h @ self.key).transpose(1, 2)
        words = torch.arange(h.shape[1])
        scores = scores + SHARP / 2 * (words == 0)
        if self.earlier:
            scores = scores.masked_fill(words > words[:, None], -torch.inf)
        return scores.softmax(-1) @ h @ self.copy


class _Units(torch.nn.Module):
    read: torch.Tensor
    knots: torch.Tensor
    turns: torch.Tensor
    write: torch.Tensor

    def __init__(self, line: _Function, rows: Mapping[Variable, Array], out: Array) -> None:
        super().__init__()
        slopes = np.diff(line.heights) / np.diff(line.knots)
        given = {
            "read": sum(rows[v].T @ w for v, w in line.terms),
            "knots": line.knots,
            # From flat before the first knot to flat after the last.
            "turns": np.diff(slopes, prepend=0.0, append=0.0),
            "write": out[0],
        }
        for name, value in given.items():
            self.register_buffer(name, torch.from_numpy(np.array(value)))
        self.start = float(line.heights[0])

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu((h @ self.read).unsqueeze(-1) - self.knots)
        return (self.start + hidden @ self.turns).unsqueeze(-1) * self.write
