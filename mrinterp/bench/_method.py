"""What a method is to the benchmark, and what it answers: one shape for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_choice
from mrinterp.core.errors import InputError
from mrinterp.core.storage import to_plain
from mrinterp.results._check import NotApplicable
from mrinterp.worlds._world import World

__all__ = ["PASSES", "Answer", "Estimand", "Method"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

Estimand = Literal["contrast", "resample", "mean", "zero", "shift", "slope", "averaged", "none"]
"""What an effect is the effect of: the table of the truth that it is scored against for size. ``averaged``: over the other
features' settings. ``none``: the method gives no effect, or one that is none of these; it is scored for rank and calls only."""

Need = Literal["runs", "perturbed runs", "writes", "gradient", "summaries", "causal model"]
"""What a method works on. ``runs``: features and outcomes; ``perturbed runs``: with doses; ``writes``: a network that can be
edited; ``gradient``: one with a backward pass to the outcome; ``summaries``: effects of instruments; ``causal model``: of
variables, such as distributed alignment search asks for."""

PASSES = ("forward", "resumed", "backward")


@dataclass(frozen=True, eq=False)
class Answer:
    """What a method says of F features and O outcomes.

    Attributes
    ----------
    score : ndarray (F, O)
        How causal each feature looks, larger is more: for ranking. nan: not ranked.
    effect, lower, upper : ndarray (F, O)
        In the units of the truth's table of the method's estimand; nan where the method gives none.
    causal, negligible : ndarray (F, O) of bool
        What it calls causal, and what it calls without an effect that matters.
    source : ndarray (F,) of int
        Of a feature that only accompanies a cause, which feature the method names as that cause; -1: it names none.
    sets : tuple of tuple of int
        Features that the method says it cannot tell apart.
    abstained : ndarray (F, O) of str
        Why there is no answer for a cell; empty: there is one.
    passes : mapping of str to int
        Passes of the network spent, ``forward, resumed, backward``.
    estimand : str
        Which table of the truth the effect belongs to, where it is another one than the method's: one that takes what
        access there is answers with a slope where nothing can be written.

    Raises
    ------
    InputError
        For arrays of different shapes, or a kind of pass that is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.bench import Answer
    >>> Answer(score=np.array([[2.0], [0.1]]), causal=np.array([[True], [False]])).effect.shape
    (2, 1)
    """

    score: Array
    effect: Array = field(default_factory=lambda: np.zeros((0, 0)))
    lower: Array = field(default_factory=lambda: np.zeros((0, 0)))
    upper: Array = field(default_factory=lambda: np.zeros((0, 0)))
    causal: Mask = field(default_factory=lambda: np.zeros((0, 0), dtype=bool))
    negligible: Mask = field(default_factory=lambda: np.zeros((0, 0), dtype=bool))
    source: NDArray[np.int_] = field(default_factory=lambda: np.zeros(0, dtype=int))
    sets: tuple[tuple[int, ...], ...] = ()
    abstained: NDArray[np.object_] = field(default_factory=lambda: np.zeros((0, 0), dtype=object))
    passes: Mapping[str, int] = field(default_factory=dict)
    estimand: str = ""

    def __post_init__(self) -> None:
        shape = np.shape(self.score)
        empty = {"effect": np.nan, "lower": np.nan, "upper": np.nan, "causal": False, "negligible": False}
        for name, nothing in {**empty, "abstained": ""}.items():
            if not np.size(getattr(self, name)):
                kind = object if name == "abstained" else type(nothing)
                object.__setattr__(self, name, np.full(shape, nothing, dtype=kind))
        if not self.source.size:
            object.__setattr__(self, "source", np.full(shape[0], -1))
        for name in (*empty, "abstained"):
            found = np.shape(getattr(self, name))
            if len(shape) != 2 or found != shape:
                raise InputError(
                    f"answer: {name}", f"shape {found}", f"Give (features, outcomes) as the score: {shape}"
                )
        for name in self.passes:
            checked_choice(name, "answer: passes", PASSES)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON; `from_dict` reads it again."""
        return dict(to_plain(vars(self)))

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Answer:
        """What `to_dict` gave, an answer again."""
        numbers = {n: np.array(given[n], dtype=float) for n in ("score", "effect", "lower", "upper")}
        return cls(
            **numbers,
            causal=np.array(given["causal"], dtype=bool),
            negligible=np.array(given["negligible"], dtype=bool),
            source=np.array(given["source"], dtype=int),
            sets=tuple(tuple(s) for s in given["sets"]),
            abstained=np.array(given["abstained"], dtype=object),
            passes=dict(given["passes"]),
            estimand=given["estimand"],
        )


@dataclass(frozen=True)
class Method:
    """A way to say which features of a world are causal.

    Attributes
    ----------
    name : str
        In tables and files, such as ``"within"``.
    label : str
        In words.
    estimand : str
        Which table of the truth its effects are scored against: ``"contrast"``, ``"slope"``, ..., or ``"none"``.
    needs : tuple of str
        What it works on: ``"runs"``, ``"perturbed runs"``, ``"writes"``, ``"gradient"``, ``"summaries"``.
    run : callable
        ``run(world, seed)`` gives an `Answer`, or `NotApplicable` with its reason. It may read everything of a world but
        its ``truth`` (the region of practical equivalence excepted: that is part of the question).
    reference : str
        Where the method comes from.

    Raises
    ------
    InputError
        For an unknown estimand or need.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.bench import Answer, Method
    >>> guess = Method("guess", "a guess", "none", ("runs",), lambda world, seed: Answer(np.zeros(world.truth.causal.shape)))
    >>> guess.name
    'guess'
    """

    name: str
    label: str
    estimand: Estimand
    needs: tuple[Need, ...]
    run: Callable[[World, int], Answer | NotApplicable] = field(repr=False)
    reference: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        checked_choice(self.estimand, f"method {self.name!r}: estimand", get_args(Estimand))
        for need in self.needs:
            checked_choice(need, f"method {self.name!r}: needs", get_args(Need))
