"""Features of a bench by name or number."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError, near_misses
from mrinterp.knockouts._bench import Bench

__all__ = ["Features", "feature_numbers"]

Features = Iterable[str | int] | NDArray[np.int_]
"""Names of the view, or numbers from 0 (one alone serves too)."""


def feature_numbers(
    bench: Bench, features: Features | str | int | None, what: str = "features"
) -> NDArray[np.int_]:
    """Numbers (K,) of distinct features, in the given order; all of the view for None.

    Raises
    ------
    InputError
        For a name or number that the view does not have, the same feature twice, none, or something else.
    """
    if features is None:
        return np.arange(bench.features)
    names = bench.view.names
    place = {name: f for f, name in enumerate(names)}
    numbers = []
    for feature in _listed(features, what):
        if isinstance(feature, str):
            if feature not in place:
                fix = near_misses(feature, names) or f"The view has {bench.features}: {list(names[:8])}"
                raise InputError(f"{what}: {feature!r}", "no such feature in the view", fix)
            numbers.append(place[feature])
        else:
            if not isinstance(feature, Integral) or isinstance(feature, bool | np.bool_):
                found = f"{feature!r} ({type(feature).__name__})"
                raise InputError(what, found, "Give features by name (text) or number (from 0)")
            number = int(feature)
            if not 0 <= number < bench.features:
                raise InputError(
                    f"{what}: number {number}",
                    f"the view has {bench.features} features",
                    f"They run from 0 to {bench.features - 1}",
                )
            numbers.append(number)
    if not numbers:
        raise InputError(what, "none given", "Give at least one feature of the view")
    unique, counts = np.unique(numbers, return_counts=True)
    if counts.max() > 1:
        twice = names[int(unique[counts.argmax()])]
        raise InputError(f"{what}: {twice!r}", f"given {counts.max()} times", "Give every feature once")
    return np.array(numbers)


def _listed(features: Any, what: str) -> list[Any]:
    """Features as a list; one name or number is a list of one."""
    if isinstance(features, str | Integral):
        return [features]
    if not np.iterable(features):
        found = f"{features!r} ({type(features).__name__})"
        raise InputError(what, found, "Give names or numbers of features, or leave it out for all")
    return list(features)
