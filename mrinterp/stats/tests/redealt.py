"""Is one thing unrelated to another that was dealt out by chance? Deal it out again and see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["redealt_test"]

Array = NDArray[np.float64]

FIRST = 199
"""Deals after which a probability beyond `CLEAR` is left as it is; more cannot make it small."""
CLEAR = 0.1
WIDE = 256
"""Columns beyond which traits are mixed down by random signs: squared lengths keep their mean, and the test is as valid."""
BLOCK = 1 << 22
"""Numbers of dealt columns that are held at once."""


@dataclass(frozen=True)
class Redealt:
    """Squared length of the cross product, in standard deviations ``z`` beyond its mean over ``deals``; -log10 of its
    probability; the largest single product, in its standard deviations."""

    z: float
    neglog10p: float
    deals: int
    largest: float


def redealt_test(
    dealt: Array, traits: Array, within: NDArray[np.int_] | None = None, deals: int = 1999, seed: int = 0
) -> Redealt:
    """Are traits unrelated to what was dealt out at random? The squared length of dealt' traits against deals anew.

    Parameters
    ----------
    dealt : ndarray (N, q)
        Rows are dealt out again together, so that columns of one row keep each other's company.
    traits : ndarray (N, T)
        Less their mean, or their mean inside each group; columns on a scale on which their squares may be added.
    within : ndarray (N,) of int, optional
        Groups inside which rows change places; default all with all.
    deals : int
        Deals anew at most.
    seed : int

    Returns
    -------
    Redealt
        nan where nothing varies.

    Notes
    -----
    Exact at every number of rows, whatever the traits' tails and correlations, where rows of a group were as likely to be
    dealt in any order: p = (1 + deals that reach it) / (1 + deals). The number of deals is fixed but for what is not small
    after the first 199, which cannot become small. Not valid for doses that were chosen.

    Source: Fisher 1935, The Design of Experiments; Phipson & Smyth 2010, 10.2202/1544-6115.1585 (p is never 0).
    """
    rng = np.random.default_rng([seed, 31])
    group = np.zeros(len(dealt), dtype=int) if within is None else np.unique(within, return_inverse=True)[1]
    places = np.argsort(group, kind="stable")
    X = np.asarray(traits, dtype=float)
    if X.shape[1] > WIDE:
        X = X @ (rng.choice([-1.0, 1.0], (X.shape[1], WIDE)) / np.sqrt(WIDE))
    D = np.asarray(dealt, dtype=float)
    own = D.T @ X
    seen = float((own**2).sum())
    lengths, square = np.zeros(0), np.zeros(own.shape)
    for wanted in (min(FIRST, deals), deals):
        while len(lengths) < wanted:
            count = min(wanted - len(lengths), max(1, BLOCK // max(D.size, 1)))
            order = places[np.argsort(group[places] + rng.random((count, len(D))), axis=1)]
            made = np.matmul(D[order].transpose(0, 2, 1), X[places])
            lengths = np.concatenate([lengths, (made**2).sum(axis=(1, 2))])
            square += (made**2).sum(axis=0)
        p = (1.0 + float((lengths >= seen * (1.0 - 1e-9)).sum())) / (1.0 + len(lengths))
        if p > CLEAR:
            break
    spread = float(lengths.std())
    if not spread > 1e-12 * max(seen, 1e-300):
        return Redealt(float("nan"), float("nan"), len(lengths), float("nan"))
    error = np.sqrt(square / len(lengths))
    largest = float((np.abs(own) / np.where(error > 0, error, np.inf)).max())
    return Redealt(float((seen - lengths.mean()) / spread), float(-np.log10(p)), len(lengths), largest)
