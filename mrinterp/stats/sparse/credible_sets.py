"""Credible sets from the posterior weights of single effects, and their purity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["IndexSet", "credible_sets"]

Array = NDArray[np.float64]

_BLOCK_ELEMENTS = 4_000_000  # doubles of one (effects, instruments) block (32 MB)
_ROUNDING = 1e-12  # a sum of weights may fall short of the coverage by this much


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
        Which effects have any evidence; the others have no set.
    ld : ndarray (J, J)
        Correlation of the instruments.
    coverage : float
        Probability that a set must reach.
    min_abs_corr : float
        A set with a smaller absolute correlation between any two members is dropped: it does not say
        where its effect is.

    Returns
    -------
    list of list of IndexSet
        In order of decreasing purity; equal sets appear once.
    """
    sets: list[list[IndexSet]] = [[] for _ in alpha]
    trait, effect = np.nonzero(present)
    block = max(1, _BLOCK_ELEMENTS // max(1, alpha.shape[-1]))
    for start in range(0, len(trait), block):
        t, e = trait[start : start + block], effect[start : start + block]
        weights = alpha[t, e]
        # an effect whose weight lies mostly too far from its top instrument cannot have a pure set
        close = np.abs(ld[weights.argmax(-1)]) >= min_abs_corr
        near_top = np.where(close, weights, 0.0).sum(-1)
        for i in np.flatnonzero(near_top >= coverage - _ROUNDING):
            members = _smallest_set(weights[i], coverage)
            known = any(np.array_equal(members, s.members) for s in sets[t[i]])
            if not len(members) or known:
                continue
            lowest, mean = _purity(ld, members)
            if lowest >= min_abs_corr:
                found = IndexSet(members, int(e[i]), float(weights[i, members].sum()), lowest, mean)
                sets[t[i]].append(found)
    return [sorted(s, key=lambda c: -c.min_abs_corr) for s in sets]


def _smallest_set(weights: Array, coverage: float) -> NDArray[np.int_]:
    """Fewest instruments whose weights reach ``coverage``, ascending; empty where all together do not."""
    # weights below this reach (1 - coverage) / 2 together at most: none of them is needed
    candidates = np.flatnonzero(weights > 0.5 * (1.0 - coverage) / len(weights))
    order = candidates[np.argsort(-weights[candidates], kind="stable")]
    reached = np.cumsum(weights[order])
    if not len(order) or reached[-1] < coverage - _ROUNDING:
        return np.empty(0, dtype=int)
    return np.sort(order[: int(np.searchsorted(reached, coverage)) + 1])


def _purity(ld: Array, members: NDArray[np.int_]) -> tuple[float, float]:
    """Smallest and mean absolute correlation between different members (1 for a single one)."""
    if len(members) == 1:
        return 1.0, 1.0
    corr = np.abs(ld[np.ix_(members, members)])
    pairs = len(members) * (len(members) - 1)
    return float(corr.min()), float((corr.sum() - np.trace(corr)) / pairs)
