"""One shape for every world: what a method is given, and the truth it is scored against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_choice, checked_seed
from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.core.panel import Panel
from mrinterp.knockouts._bench import Bench
from mrinterp.worlds._sparse_runs import SparseRuns

__all__ = ["Part", "Truth", "World", "WorldFamily"]

Array = NDArray[np.float64]
Part = Literal["development", "evaluation"]
"""Methods and their settings are chosen on development families only."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of the F features of a world and its O outcomes.

    Attributes
    ----------
    features : tuple of str
        Names of the F features.
    outcomes : tuple of str
        Names of the O outcomes.
    causal : ndarray (F, O) of bool
        Whether changing this feature alone, within what it takes naturally, changes the outcome by more than the ROPE.
    borrows_from : ndarray (F,) of int
        The causal feature whose effect a feature shows that is none itself: an impostor's cause. -1: it shows none.
    group : ndarray (F,) of int
        Features of one number cannot be told apart by any instrument (exact copies): the right answer is the set.
    effects : mapping of str to ndarray (F, O)
        The exact effect by estimand, outcome units. ``"contrast"``, ``"resample"``, ``"mean"``, ``"zero"``: what
        `KnockoutEffects.mean` is for that kind, written token by token; ``"shift"``: the same, of the reading by its sd;
        ``"resample rms"``: root mean square over inputs and donors, where signs differ between them. ``"slope"``: local,
        in both directions alike, per sd of the feature; ``"direct"``: the slope with later features held.
    feature_sd : ndarray (F,)
        Sd of the features over clean inputs, as the bench reads them, which shift and slope are per. Default 1: slopes
        per unit, as in tables and panels without a network.
    errors : mapping of str to ndarray (F, O)
        Standard errors of `effects` that come from exhaustive knockouts; an estimand that is missing here is exact.
    rope : ndarray (O,)
        Half width of the region of practical equivalence, outcome units.

    Raises
    ------
    InputError
        On shapes that do not fit, a cause that is its own impostor, and a group that holds a causal and another feature
        of no effect.

    Examples
    --------
    >>> import numpy as np
    >>> import mrinterp
    >>> truth = mrinterp.worlds.Truth(("a", "b"), ("y",), np.array([[True], [False]]), rope=np.array([0.1]))
    >>> truth.borrows_from
    array([-1, -1])
    """

    features: tuple[str, ...]
    outcomes: tuple[str, ...]
    causal: NDArray[np.bool_]
    borrows_from: NDArray[np.int_] = field(default_factory=lambda: np.zeros(0, dtype=int))
    group: NDArray[np.int_] = field(default_factory=lambda: np.zeros(0, dtype=int))
    effects: Mapping[str, Array] = field(default_factory=dict)
    errors: Mapping[str, Array] = field(default_factory=dict)
    rope: Array = field(default_factory=lambda: np.zeros(0))
    feature_sd: Array = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        F, O = len(self.features), len(self.outcomes)
        if not self.borrows_from.size:
            object.__setattr__(self, "borrows_from", np.full(F, -1))
        if not self.group.size:
            object.__setattr__(self, "group", np.arange(F))
        if not self.rope.size:
            object.__setattr__(self, "rope", np.zeros(O))
        if not self.feature_sd.size:
            object.__setattr__(self, "feature_sd", np.ones(F))
        wanted = {"causal": (F, O), "borrows_from": (F,), "group": (F,), "rope": (O,), "feature_sd": (F,)}
        found = {name: np.asarray(getattr(self, name)) for name in wanted}
        for kind in ("effects", "errors"):
            found |= {f"{kind}[{name!r}]": np.asarray(a) for name, a in getattr(self, kind).items()}
        for name, array in found.items():
            if array.shape != wanted.get(name, (F, O)):
                raise InputError(
                    name,
                    f"shape {array.shape}",
                    f"Give {wanted.get(name, (F, O))}: {F} features, {O} outcomes.",
                )
        itself = np.flatnonzero(self.borrows_from == np.arange(F))
        if itself.size:
            raise InputError(
                f"borrows_from[{itself[0]}]", "the feature itself", "Give the cause's number, or -1 for none."
            )
        for number in np.unique(self.group):
            rows = self.causal[self.group == number]
            if (rows != rows[0]).any():
                raise InputError(
                    f"group {number}",
                    "features with and without an effect",
                    "Features of one group cannot be told apart, so that all or none of them are causal.",
                )


@dataclass(frozen=True, eq=False)
class World:
    """A model with inputs, features and an outcome, and the truth about them.

    Which of `panel`, `bench`, `mr_data` and `sparse` are there decides which methods apply: a table knows no knockouts.

    Attributes
    ----------
    family : str
        The family of worlds that it is drawn from.
    name : str
        Which of the family it is, such as ``"gate, seed 3"``.
    seed : int
        Of everything drawn.
    truth : Truth
        What methods are scored against.
    panel : Panel or None
        Runs: doses, features, outcomes, bypass.
    bench : Bench or None
        A network that can be edited.
    mr_data : MRData or None
        Summary statistics.
    sparse : SparseRuns or None
        Runs of more features than a panel holds.
    broken : frozenset of str
        What the world breaks, in words such as ``"exclusion"``; empty: what every method assumes holds.

    Raises
    ------
    InputError
        When there is neither a panel, nor a bench, nor summary statistics, nor sparse runs, or their features are not the truth's.

    Examples
    --------
    >>> import mrinterp
    >>> family = mrinterp.worlds.world_families()["linear network"]
    >>> family.make(0).truth.causal[:, 0].tolist()
    [True, False, False, False, True]
    """

    family: str
    name: str
    seed: int
    truth: Truth
    panel: Panel | None = None
    bench: Bench | None = None
    mr_data: MRData | None = None
    broken: frozenset[str] = frozenset()
    sparse: SparseRuns | None = None

    def __post_init__(self) -> None:
        given = {
            "panel": None if self.panel is None else self.panel.feature_names,
            "bench": None if self.bench is None else self.bench.view.names,
            "mr_data": None if self.mr_data is None else self.mr_data.exposures,
            "sparse": None if self.sparse is None else self.sparse.feature_names,
        }
        if all(names is None for names in given.values()):
            raise InputError(
                "world", "neither panel, bench, mr_data nor sparse", "Give what a method is to work on."
            )
        for where, names in given.items():
            if names is not None and tuple(names) != self.truth.features:
                raise InputError(
                    where, f"features {tuple(names)[:5]}", f"The truth is about {self.truth.features[:5]}."
                )


@dataclass(frozen=True)
class WorldFamily:
    """Worlds that one recipe draws from seeds.

    Attributes
    ----------
    name : str
        Such as ``"linear network"``.
    part : {"development", "evaluation"}
        Methods are tuned on development families only; evaluation families are run once, at the end.
    about : str
        One sentence: what is causal, and what tempts a method to say something else.
    draw : callable
        ``draw(seed, small)`` gives a `World`; ``small`` asks for one that is made and analysed in seconds. With
        ``trained``, ``draw(seed, small, folder)``.
    trained : bool
        Whether a network is trained for it, which a folder keeps.
    slow : bool
        Whether even a small one takes more than seconds, or asks for a package that not everyone has: such families are
        tested on their own.

    Examples
    --------
    >>> import mrinterp
    >>> mrinterp.worlds.world_families()["linear network"].part
    'development'
    """

    name: str
    part: Part
    about: str = field(repr=False)
    draw: Callable[..., World] = field(repr=False)
    trained: bool = field(default=False, repr=False)
    slow: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        checked_choice(self.part, "part", get_args(Part))

    def make(self, seed: int, small: bool = True, folder: str | Path | None = None) -> World:
        """Draw one world.

        Parameters
        ----------
        seed : int
            Of everything drawn: the same seed is the same world.
        small : bool
            A world that is made and analysed in seconds; otherwise of full size.
        folder : path, optional
            Where trained networks are kept, and found again by other draws of the same seed. Default: trained anew.

        Returns
        -------
        World
            With its truth.

        Raises
        ------
        InputError
            On a seed that is no whole number of 0 or more.

        Examples
        --------
        >>> import mrinterp
        >>> mrinterp.worlds.world_families()["linear network"].make(1).name
        'seed 1'
        """
        kept: dict[str, Any] = {"folder": folder} if self.trained else {}
        return self.draw(checked_seed(seed), small, **kept)
