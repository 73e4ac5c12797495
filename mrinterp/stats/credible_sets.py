"""Credible sets from the posterior weights of single effects, and their purity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["IndexSet", "credible_sets"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class IndexSet:
    """One credible set: positions of its members (ascending), which effect, coverage and correlations."""

    members: NDArray[np.int_]
    effect: int
    coverage: float
    min_abs_corr: float
    mean_abs_corr: float


def credible_sets(
    alpha: Array, present: NDArray[np.bool_], ld: Array, coverage: float = 0.95, min_abs_corr: float = 0.5
) -> list[list[IndexSet]]:
    """Smallest sets that hold each effect's cause with probability ``coverage``, one list per trait.

    Parameters
    ----------
    alpha : ndarray (T, L, J)
        Posterior weights of each effect.
    present : ndarray (T, L) of bool
        Effects that are there at all (others have no set).
    ld : ndarray (J, J)
        Correlation of the instruments.
    coverage : float
    min_abs_corr : float
        A set with a smaller absolute correlation between any two members is dropped: its effect is
        not located.

    Returns
    -------
    list of list of IndexSet
        In order of decreasing purity; equal sets appear once.
    """
    T = len(alpha)
    sets: list[list[IndexSet]] = [[] for _ in range(T)]
    trait, effect = np.nonzero(present)
    block = max(1, 4_000_000 // max(1, alpha.shape[-1]))
    for start in range(0, len(trait), block):
        t, e = trait[start : start + block], effect[start : start + block]
        weights = alpha[t, e]
        # an effect whose weight lies mostly too far from its top instrument cannot have a pure set
        close = np.abs(ld)[weights.argmax(-1)] >= min_abs_corr
        kept = np.flatnonzero(np.einsum("ij,ij->i", weights, close) >= coverage - 1e-12)
        t, e, weights = t[kept], e[kept], weights[kept]
        order = np.argsort(-weights, axis=-1, kind="stable")
        reached = np.cumsum(np.take_along_axis(weights, order, axis=-1), axis=-1)
        size = np.minimum((reached < coverage).sum(-1) + 1, weights.shape[-1])
        # a set fails its purity as soon as one member is too far from its top member
        near = np.abs(ld[order[:, 0]])
        nearest = np.minimum.accumulate(np.take_along_axis(near, order, axis=-1), axis=-1)
        rows = np.arange(len(t))
        possible = (nearest[rows, size - 1] >= min_abs_corr) & (reached[rows, size - 1] >= coverage - 1e-12)
        for i in np.flatnonzero(possible):
            members = np.sort(order[i, : size[i]])
            lowest, mean = _purity(ld, members)
            known = any(np.array_equal(members, s.members) for s in sets[t[i]])
            if lowest >= min_abs_corr and not known:
                found = IndexSet(members, int(e[i]), float(weights[i, members].sum()), lowest, mean)
                sets[t[i]].append(found)
    return [sorted(s, key=lambda c: -c.min_abs_corr) for s in sets]


def _purity(ld: Array, members: NDArray[np.int_]) -> tuple[float, float]:
    """Smallest and mean absolute correlation between different members (1 for a single one)."""
    if len(members) == 1:
        return 1.0, 1.0
    corr = np.abs(ld[np.ix_(members, members)][np.triu_indices(len(members), 1)])
    return float(corr.min()), float(corr.mean())
