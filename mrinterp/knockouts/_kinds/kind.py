"""What a kind of knockout is: the values that it writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mrinterp.knockouts._bench import Bench

__all__ = ["Kind", "Targets"]

Array = NDArray[np.float64]

Targets = Callable[[NDArray[np.int_]], Array]
"""Values to write into some features: numbers (f,) -> (f, S, P), or (f, S, P, T) where every token has its own."""


@dataclass(frozen=True)
class Kind(ABC):
    """A kind of knockout; its fields are its options.

    A new kind is a file with a subclass that says what is written, added to `mrinterp.knockouts._kinds.registry`.
    Running it, checking support and estimating effects is the same for all (`knock_out`).

    Attributes
    ----------
    name : str
        What it is called, as in ``knock_out(bench, name)``.
    signs : tuple of float, one per swap
        What a swap's outcome change is multiplied by in `KnockoutEffects.mean`, the mean over swaps: -1 for those that go
        the other way (the downward half of a shift).
    chosen : bool
        Whether a person chose the value: one far outside support is then refused unless asked for.
    each_token : bool
        Whether every token is written by itself even where the bench reads a mean over tokens (`Bench.by_token`).

    Examples
    --------
    >>> import numpy as np
    >>> import mrinterp
    >>> class Flip(mrinterp.knockouts.Kind):
    ...     name, label = "flip", "turned around"
    ...     def targets(self, bench):
    ...         return lambda features: -bench.values.T[features][:, None]
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> mrinterp.knock_out(bench, Flip(), "linear").effect.round(6)
    array([[1.]])
    """

    name: ClassVar[str]
    chosen: ClassVar[bool] = False
    each_token: ClassVar[bool] = False

    def learned(self, bench: Bench) -> Kind:
        """The kind with what it learns from the bench, so that it is learned once; itself where that is nothing."""
        return self

    def usual_swap(self, features: Sequence[str]) -> NDArray[np.int_]:
        """Number of the swap (f,) that writes the usual value of a feature that rarely fires; -1 where there is none."""
        return np.full(len(features), -1)

    @property
    def signs(self) -> tuple[float, ...]:
        """One sign per swap."""
        return (1.0,)

    @property
    @abstractmethod
    def label(self) -> str:
        """Words for tables and figures."""

    @abstractmethod
    def targets(self, bench: Bench) -> Targets:
        """What is written; nan leaves an input (or token) as it is. Bad options are refused here."""

    @property
    def options(self) -> dict[str, Any]:
        """The options as plain values, for the record."""
        return asdict(self)
