"""Effects of many factors that are set at random together: signs, least squares, and its jackknife over families."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

__all__ = ["Jackknifed", "jackknifed_mean", "joint_effects", "random_settings"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]


@dataclass(frozen=True, eq=False)
class Jackknifed:
    """Estimates (K, O), and the same without each of C families, (C, K, O).

    Sums of two, and multiples, are jackknifed as they should be: the procedure is carried through whole.
    """

    value: Array
    without: Array

    def __sub__(self, other: Jackknifed) -> Jackknifed:
        return Jackknifed(self.value - other.value, self.without - other.without)

    def __mul__(self, factor: float | Array) -> Jackknifed:
        return Jackknifed(self.value * factor, self.without * factor)

    def mapped(self, matrix: Array) -> Jackknifed:
        """Linear combinations of the estimates: ``matrix`` (F, K)."""
        return Jackknifed(matrix @ self.value, matrix @ self.without)

    def taken(self, rows: Rows) -> Jackknifed:
        """Some of the K estimates."""
        return Jackknifed(self.value[rows], self.without[:, rows])

    @property
    def se(self) -> Array:
        """Standard errors (K, O), t on families minus one; nan with one family."""
        C = len(self.without)
        if C < 2:
            return np.full(self.value.shape, np.nan)
        return np.asarray(np.sqrt((C - 1) / C * ((self.without - self.value) ** 2).sum(axis=0)))


def random_settings(
    codes: Rows, factors: int, inclusion: Array, rng: np.random.Generator
) -> NDArray[np.int8]:
    """Settings (R, P, K) of K factors for R runs of P prompts: -1 low, 1 high, 0 left as it is.

    Parameters
    ----------
    codes : ndarray (P,) of int
        Family of each prompt.
    factors : int
    inclusion : ndarray (R,)
        Probability that a factor is moved, for each run of a prompt: 1 moves all.
    rng : Generator

    Notes
    -----
    Every setting is uniform over all combinations, so that nothing is biased whatever the factors' interactions. Within a
    family and one inclusion, signs are rows of a Hadamard matrix (the next power of two), in random order, with columns
    drawn and flipped at random: over a full block no factor's effect is in another's estimate.

    Source: Plackett & Burman 1946, 10.1093/biomet/33.4.305.
    """
    matrix = linalg.hadamard(1 << max(factors - 1, 0).bit_length(), dtype=np.int8)
    out = np.empty((len(inclusion), len(codes), factors), dtype=np.int8)
    for share in np.unique(inclusion):
        runs = np.flatnonzero(inclusion == share)
        for c in np.unique(codes):
            prompts = np.flatnonzero(codes == c)
            signs = _balanced_signs(matrix, len(runs) * len(prompts), factors, rng)
            moved = rng.random(signs.shape) < share
            out[np.ix_(runs, prompts)] = (signs * moved).reshape(len(runs), len(prompts), factors)
    return out


def _balanced_signs(
    matrix: NDArray[np.int8], rows: int, factors: int, rng: np.random.Generator
) -> NDArray[np.int8]:
    order = len(matrix)
    out = np.empty((rows, factors), dtype=np.int8)
    for a in range(0, rows, order):
        here = min(order, rows - a)
        block = matrix[np.ix_(rng.permutation(order)[:here], rng.permutation(order)[:factors])]
        out[a : a + here] = block * rng.choice(np.array([-1, 1], dtype=np.int8), factors)
    return out


def joint_effects(
    settings: NDArray[np.int8], change: Array, codes: Rows, inclusion: Array, extrapolate: bool = False
) -> Jackknifed:
    """High less low effects (K, O) of all factors, from runs of which each has a mirror image.

    Parameters
    ----------
    settings : ndarray (R, P, K)
        See `random_settings`; the mirror image of a run has all signs turned.
    change : ndarray (R, P, O)
        Outcome of the run less that of its mirror image: what both share, such as the prompt's own level and every
        interaction of two factors, is gone.
    codes : ndarray (P,) of int
    inclusion : ndarray (R,)
        One value, or two that are extrapolated.
    extrapolate : bool
        Linearly in the inclusion, to none of the other factors moved.

    Raises
    ------
    numpy.linalg.LinAlgError
        Where the runs without one of the families do not determine all effects.
    """
    shares = np.unique(inclusion)
    found = [_of_runs(settings[inclusion == s], change[inclusion == s], codes) for s in shares]
    if not extrapolate:
        return found[0]
    small, large = (float(s) for s in shares)
    return (found[0] * large - found[1] * small) * (1 / (large - small))


def _of_runs(settings: NDArray[np.int8], change: Array, codes: Rows) -> Jackknifed:
    R, _, K = settings.shape
    return _slopes(settings.reshape(-1, K), change.reshape(-1, change.shape[2]), np.tile(codes, R))


def _slopes(x: NDArray[np.number], y: Array, codes: Rows) -> Jackknifed:
    """Least squares of y (N, O) on x (N, K) without intercept, and without each family.

    Each family is taken out of the cross products: as many solutions of K equations as there are families, whatever N.
    """
    families = int(codes.max()) + 1
    order = np.argsort(codes, kind="stable")
    x, y = x[order].astype(float), y[order]
    edges = np.searchsorted(codes[order], np.arange(families + 1))
    gram, cross = x.T @ x, x.T @ y
    without = np.full((families, *cross.shape), np.nan)
    for c in range(families if families > 1 else 0):
        own_x, own_y = x[edges[c] : edges[c + 1]], y[edges[c] : edges[c + 1]]
        without[c] = linalg.solve(gram - own_x.T @ own_x, cross - own_x.T @ own_y, assume_a="pos")
    return Jackknifed(linalg.solve(gram, cross, assume_a="pos"), without)


def jackknifed_mean(values: Array, codes: Rows) -> Jackknifed:
    """Mean over rows of values (P, K, O), and the same without each family; nan where there is only one."""
    total, count, rows = values.sum(axis=0), len(values), np.bincount(codes)
    own = np.zeros((len(rows), *total.shape))
    np.add.at(own, codes, values)
    left = (count - rows).astype(float)
    left[left == 0] = np.nan
    return Jackknifed(total / count, (total - own) / left[:, None, None])
