"""Columns that depend on one another linearly: which of them, and what each is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # its parts load when they are used: a small table needs few of them
from numpy.typing import NDArray

__all__ = ["DependentSet", "changes_beyond_rounding", "dependent_sets", "rounding_of"]

Array = NDArray[np.float64]

TAKES_PART = 1e-4
"""Share in the dependent directions below which a column is not part of them (rounding leaves 1e-8)."""

_NUMBERS = 1 << 20
"""Numbers that are looked at in one go."""

STILL = 4.0
"""Roundings of a column's largest value that its root mean square change must exceed to count as a change."""


@dataclass(frozen=True, eq=False)
class DependentSet:
    """Columns of which some are linear combinations of the others.

    ``members`` are their positions in order, ``kept`` the first of them that do not depend on one another;
    every member is ``made_of`` (members, kept) times the kept ones.
    """

    members: tuple[int, ...]
    kept: tuple[int, ...]
    made_of: Array

    @property
    def rank(self) -> int:
        """How many independent directions the set has: 1 where its members are copies, on any scale."""
        return len(self.kept)

    def among(self, places: NDArray[np.int_]) -> DependentSet:
        """The same set of columns that stand at ``places`` of a wider table."""
        return DependentSet(
            tuple(int(places[m]) for m in self.members),
            tuple(int(places[k]) for k in self.kept),
            self.made_of,
        )

    def relations(self, names: Sequence[str]) -> list[str]:
        """Every dependent member in terms of the kept ones, such as ``c = a + b``."""
        return [
            f"{names[m]} = {_sum(row, [names[k] for k in self.kept])}"
            for m, row in zip(self.members, self.made_of, strict=True)
            if m not in self.kept
        ]


def _sum(weights: Array, names: Sequence[str]) -> str:
    """A linear combination in words; of many terms the largest four."""
    text, order = "", [k for k in range(len(names)) if abs(weights[k]) > 1e-6 * np.abs(weights).max()]
    shown = sorted(sorted(order, key=lambda k: -abs(weights[k]))[:4])
    for k in shown:
        size = abs(weights[k])
        term = names[k] if abs(size - 1.0) < 1e-6 else f"{size:.3g} {names[k]}"
        sign = ("-" if weights[k] < 0 else "") if not text else (" - " if weights[k] < 0 else " + ")
        text += sign + term
    return text + (f" + {len(order) - len(shown)} more" if len(order) > len(shown) else "")


def dependent_sets(columns: Array, least: float = 1e-12) -> list[DependentSet]:
    """Sets of columns (N, K) that depend on one another, smallest position first; columns of zeros are in none.

    Parameters
    ----------
    columns : ndarray (N, K)
    least : float
        Variance of a direction, of columns scaled to length 1, that counts as none.

    Returns
    -------
    list of DependentSet
        Disjoint; columns outside of them are identified beside them.

    Notes
    -----
    A column takes part where it has a share in the directions without variance; two belong to one set
    where they share such a direction, which is where one cannot be told from the other.
    """
    length = np.sqrt(np.einsum("nk,nk->k", columns, columns))
    live = np.flatnonzero(length > 0)
    if len(live) < 2:
        return []
    unit = columns[:, live] / length[live]
    gram = unit.T @ unit
    values, vectors = scipy.linalg.eigh(gram)
    none = vectors[:, values < least]
    if not none.shape[1]:
        return []
    shared = none @ none.T
    joined = np.abs(shared) > TAKES_PART * np.sqrt(np.outer(np.diag(shared), np.diag(shared)))
    takes_part = np.sqrt(np.diag(shared)) > TAKES_PART
    joined &= takes_part[:, None] & takes_part[None, :]
    _, label = scipy.sparse.csgraph.connected_components(scipy.sparse.csr_array(joined), directed=False)
    found = []
    for one in np.unique(label[takes_part]):
        members = np.flatnonzero((label == one) & takes_part)
        if len(members) > 1:
            found.append(_one_set(gram, members, live, length, least))
    return sorted(found, key=lambda s: s.members)


def _one_set(
    gram: Array, members: NDArray[np.int_], live: NDArray[np.int_], length: Array, least: float
) -> DependentSet:
    """The first independent members, and every member in terms of them."""
    kept = members[:0]
    for m in members:
        across = gram[kept, m]
        left = 1.0 - float(across @ _solved(gram[kept][:, kept], across)) if len(kept) else 1.0
        if left > 4.0 * least:
            kept = np.append(kept, m)
    made_of = _solved(gram[kept][:, kept], gram[kept][:, members]).T
    size = length[live]
    made_of = made_of * size[members][:, None] / size[kept][None, :]
    return DependentSet(tuple(int(k) for k in live[members]), tuple(int(k) for k in live[kept]), made_of)


def _solved(a: Array, b: Array) -> Array:
    return np.asarray(np.linalg.lstsq(a, b, rcond=None)[0], dtype=float)


def rounding_of(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Relative rounding of the numbers of each column (N, K), or of one column (N,): that of float32 where all of
    them are float32 numbers, else of float64."""
    whole = np.ones(values.shape[1:], bool)
    size = max(1, _NUMBERS // max(int(np.prod(values.shape[1:])), 1))
    with np.errstate(over="ignore", invalid="ignore"):
        for first in range(0, len(values), size):
            part = values[first : first + size]
            whole &= (part == part.astype(np.float32)).all(axis=0)
    return np.where(whole, np.finfo(np.float32).eps, np.finfo(np.float64).eps)


def changes_beyond_rounding(changes: Array, values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether the changes (N, K) of columns are more than the rounding of their values (M, K) explains, (K,)."""
    if not len(changes) or not len(values):
        return np.zeros(changes.shape[1], bool)
    size = np.sqrt(np.einsum("nk,nk->k", changes, changes) / len(changes))
    largest = np.maximum(values.max(axis=0), -values.min(axis=0))
    return np.asarray(size > STILL * rounding_of(values) * largest)
