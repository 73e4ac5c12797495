"""The bypass of the cut: its bases, their nested order, and the rank by double selection.

The bypass is what passes through the cut beside the features, as a few hundred components; estimates adjust for the first
``rank`` of them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from sklearn.utils.extmath import randomized_svd

from mrinterp.core.basis import Dictionary

__all__ = [
    "choose_rank",
    "mean_bypass",
    "nested_order",
    "position_bypass",
]

Array = NDArray[np.float64]


def mean_bypass(dictionary: Dictionary, mean_changes: Array) -> Array:
    """Read rows (A, width) of the part of the token mean that no feature writes, most variable first.

    They are orthonormal and zero on every write direction, so that a shift along a feature's write
    direction leaves the bypass where it is.
    """
    _, _, right = np.linalg.svd(dictionary.write, full_matrices=True)
    rest = right[len(dictionary.write) :]
    if not len(rest):
        return np.zeros((0, dictionary.write.shape[1]))
    scores = mean_changes @ rest.T
    _, _, rotation = np.linalg.svd(scores.T @ scores)
    return np.asarray(rotation @ rest)


def position_bypass(deviation_changes: NDArray, rank: int, seed: int) -> Array:
    """Read rows (B, C * width) of the position-varying part by randomized projection.

    Source: Halko, Martinsson & Tropp 2011, 10.1137/090771806.
    """
    rank = min(rank, *deviation_changes.shape)
    if rank == 0:
        return np.zeros((0, deviation_changes.shape[1]))
    changes = np.asarray(deviation_changes, dtype=np.float64)
    return np.asarray(randomized_svd(changes, rank, n_iter=2, random_state=seed, flip_sign=True)[2])


def nested_order(features: Array, bypass: Array, outcome: Array) -> NDArray[np.int_]:
    """Order of bypass components by double selection: what predicts the outcome or the features.

    Parameters
    ----------
    features, bypass, outcome : ndarray (N, F), (N, R), (N, O)
        Within-prompt changes of the discovery split.

    Notes
    -----
    A component's score is its share of the explained outcome (after the features) plus its share of
    the explained features. Source: Belloni, Chernozhukov & Hansen 2014, 10.1093/restud/rdt044.
    """
    norm = np.sqrt((bypass**2).sum(axis=0))
    unit = bypass / np.where(norm > 0, norm, 1.0)
    rest = outcome - features @ np.linalg.lstsq(features, outcome, rcond=None)[0]

    def share(targets: Array) -> Array:
        scale = np.sqrt((targets**2).sum(axis=0))
        r2 = (unit.T @ (targets / np.where(scale > 0, scale, 1.0))) ** 2
        total = r2.sum(axis=0)
        return np.asarray((r2 / np.where(total > 0, total, 1.0)).mean(axis=1))

    return np.argsort(-(share(rest) + share(features)), kind="stable")


def rank_grid(total: int) -> list[int]:
    """Ranks at which the path is shown: 0, a grid that grows coarser, and all components."""
    grid = [0, 25, 50, 100, 200, 300, 450, 600, 750, 900, 1200, 1600, 2000]
    return [g for g in grid if g < total] + [total]


def choose_rank(
    features: Array, bypass: Array, outcome: Array, family: NDArray, ceiling: int, folds: int = 5
) -> tuple[int, pd.DataFrame]:
    """Rank that the outcome or the features need, whichever is larger, cross-validated by family.

    Parameters
    ----------
    bypass : ndarray (N, R)
        In nested order.
    ceiling : int
        Largest rank that the runs and families of the estimation split can support.

    Returns
    -------
    rank : int
    path : DataFrame
        ``rank, outcome_r2, feature_r2``: out-of-family R^2 of the outcome on features and bypass,
        and (mean) of the features on the bypass.
    """
    names, codes = np.unique(family, return_inverse=True)
    fold = codes % folds
    F = features.shape[1]
    Z = np.concatenate([features, bypass], axis=1)
    T = np.concatenate([outcome, features], axis=1)
    grid = rank_grid(bypass.shape[1])
    gram = [Z[fold == k].T @ Z[fold == k] for k in range(folds)]
    cross = [Z[fold == k].T @ T[fold == k] for k in range(folds)]
    total = (T**2).sum(axis=0)
    O = outcome.shape[1]
    error_y, error_x = np.zeros((len(grid), O)), np.zeros((len(grid), F))
    for k in range(folds):
        held = fold == k
        G, c = sum(gram) - gram[k], sum(cross) - cross[k]
        error_y += _held_out(G, c[:, :O], Z[held], T[held][:, :O], [F + rank for rank in grid])
        error_x += _held_out(G[F:, F:], c[F:, O:], Z[held][:, F:], T[held][:, O:], grid)
    share = [1 - error_y / total[:O], 1 - error_x / total[O:]]
    rows = [
        (rank, float(y), float(x)) for rank, y, x in zip(grid, *(e.mean(axis=1) for e in share), strict=True)
    ]
    path = pd.DataFrame(rows, columns=["rank", "outcome_r2", "feature_r2"])
    allowed = path[path["rank"] <= max(ceiling, 0)]
    ranks = allowed["rank"].to_numpy()
    best = max(int(ranks[allowed[c].to_numpy().argmax()]) for c in ("outcome_r2", "feature_r2"))
    return best, path


def _held_out(gram: Array, cross: Array, Z: Array, T: Array, sizes: list[int]) -> Array:
    """Squared errors (len(sizes), O) of targets T (N, O) predicted from the first columns of Z, as many as ``sizes`` say.

    One factorization does for all sizes: that of the first columns is the first part of it, and what a column adds to the
    prediction does not change with those that come after it.
    """
    if not gram.size:
        return np.tile((T**2).sum(axis=0), (len(sizes), 1))
    # Keeps the equations solvable where columns are collinear; too small to change a cross-validated error.
    ridge = 1e-10 * np.trace(gram) / len(gram)
    errors, rest, done = np.empty((len(sizes), T.shape[1])), T.copy(), 0
    try:
        lower = cholesky(gram + ridge * np.eye(len(gram)), lower=True, check_finite=False)
    except np.linalg.LinAlgError:  # features that fill the site, or stand still here: the smallest solution
        for i, size in enumerate(sizes):
            beta = np.linalg.lstsq(gram[:size, :size], cross[:size], rcond=None)[0]
            errors[i] = ((T - Z[:, :size] @ beta) ** 2).sum(axis=0)
        return errors
    weight = solve_triangular(lower, cross, lower=True, check_finite=False)
    columns = solve_triangular(lower, Z.T, lower=True, check_finite=False).T
    for i, size in enumerate(sizes):
        rest -= columns[:, done:size] @ weight[done:size]
        errors[i], done = (rest**2).sum(axis=0), size
    return errors
