"""Features of a bench by name or number."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError, near_misses
from mrinterp.knockouts.bench import Bench

__all__ = ["Features", "feature_numbers"]

Features = Iterable[str | int] | NDArray[np.int_]
"""Names of the view, or numbers from 0 (one name alone serves too)."""


def feature_numbers(bench: Bench, features: Features | None, what: str = "features") -> NDArray[np.int_]:
    """Numbers (K,) of distinct features, in the given order; all of the view for None.

    Raises
    ------
    InputError
        For a name or number that the view does not have, the same feature twice, or none.
    """
    if features is None:
        return np.arange(bench.features)
    features = [features] if isinstance(features, str) else features
    names = bench.view.names
    place = {name: f for f, name in enumerate(names)}
    numbers = []
    for feature in features:
        if isinstance(feature, str):
            if feature not in place:
                fix = near_misses(feature, names) or f"The view has {bench.features}: {list(names[:8])}"
                raise InputError(f"{what}: {feature!r}", "no such feature in the view", fix)
            numbers.append(place[feature])
        else:
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
