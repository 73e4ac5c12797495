"""Features of a bench by name or number, and sets of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_numbers_of
from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench

__all__ = ["FeatureSets", "Features", "feature_numbers", "feature_sets"]

Features = Iterable[str | int] | NDArray[np.int_] | str | int
"""Names of the view, or numbers from 0; one alone serves as a list of one."""

FeatureSets = Features | Mapping[str, Features | None]
"""Sets of features by name; without names every feature is a set of its own."""


def feature_numbers(bench: Bench, features: Features | None, name: str = "features") -> NDArray[np.int_]:
    """Numbers (K,) of distinct features, in the given order; all of the view for None.

    Raises
    ------
    InputError
        For a name or number that the view does not have, the same feature twice, none, or something else.
    """
    if features is None:
        return np.arange(bench.features)
    return checked_numbers_of(features, name, bench.view.names)


def feature_sets(bench: Bench, features: FeatureSets | None) -> dict[str, NDArray[np.int_]]:
    """Numbers of the features of each set, by the set's name.

    Raises
    ------
    InputError
        As `feature_numbers`, naming the set; for no set at all.
    """
    if not isinstance(features, Mapping):
        return {bench.view.names[f]: np.array([f]) for f in feature_numbers(bench, features)}
    if not features:
        raise InputError("features", "no set given", "Give at least one set of features under a name")
    return {
        str(name): feature_numbers(bench, members, f"features, set {name!r}")
        for name, members in features.items()
    }
