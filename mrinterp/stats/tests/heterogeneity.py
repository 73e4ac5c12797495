"""Do several estimates of one effect differ by more than their errors allow? Nothing is pooled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.stats.tests.tails import neglog10p_chi2

__all__ = ["Heterogeneity", "correlated_heterogeneity", "independent_heterogeneity"]

Array = NDArray[np.float64]

FLAT = 1e-10
"""Contrasts whose variance is this share of the total carry rounding, not sampling error."""


@dataclass(frozen=True, eq=False)
class Heterogeneity:
    """Homogeneity of K estimates in M cells.

    ``q`` (M,) statistic, ``df`` (M,) its degrees of freedom (K - 1 less contrasts that never vary),
    ``neglog10p`` (M,), ``i2`` (M,) share of q beyond what error alone gives, in [0, 1].
    """

    q: Array
    df: Array
    neglog10p: Array
    i2: Array


def independent_heterogeneity(effect: Array, se: Array, df: ArrayLike = np.inf) -> Heterogeneity:
    """Cochran's Q and I^2 of K independent estimates.

    Parameters
    ----------
    effect, se : ndarray (K, M)
        Cells with an estimate that is not finite, or an error of zero, are nan.
    df : array, broadcast to (K, M)
        Degrees of freedom of the errors. Known errors (the default) hold Q against chi2, others against
        Welch's F, because weights that are themselves estimates make Q too large.

    Source: Cochran 1954, 10.2307/3001666; Higgins & Thompson 2002, 10.1002/sim.1186; Welch 1951,
    10.1093/biomet/38.3-4.330.
    """
    from scipy import stats  # takes a second to import: only where it is asked for

    K, M = effect.shape
    known = (np.isfinite(effect) & np.isfinite(se) & (se > 0)).all(axis=0)
    weight = 1.0 / np.where(known, se, 1.0) ** 2
    value = np.where(known, effect, 0.0)
    middle = (weight * value).sum(axis=0) / weight.sum(axis=0)
    q = np.where(known, (weight * (value - middle) ** 2).sum(axis=0), np.nan)
    rank = np.where(known, K - 1.0, np.nan)
    # Welch's Lambda: 0 where errors are known.
    gap = ((1.0 - weight / weight.sum(axis=0)) ** 2 / np.asarray(df, dtype=float)).sum(axis=0)
    few = known & (gap > 0)
    evidence = np.full(M, np.nan)
    evidence[known] = neglog10p_chi2(q[known], K - 1.0)
    statistic = q[few] / (K - 1.0) / (1.0 + 2.0 * (K - 2.0) / (K**2 - 1.0) * gap[few])
    evidence[few] = -stats.f.logsf(statistic, K - 1.0, (K**2 - 1.0) / (3.0 * gap[few])) / np.log(10.0)
    return Heterogeneity(q, rank, evidence, _share(q, rank))


def correlated_heterogeneity(
    effect: Array, covariance: Array, families: ArrayLike, rounding: Array | float = 0.0
) -> Heterogeneity:
    """Wald's test that K estimates from the same inputs are equal.

    Parameters
    ----------
    effect : ndarray (K, M)
    covariance : ndarray (M, K, K)
        Of the K estimates of each cell, clustered by family.
    families : number, or array (M,)
        Clusters behind the covariance, C: as many as it is worth, one more than its degrees of freedom, where
        some weigh more than others.
    rounding : array (M,)
        Size below which an error or a difference is nothing but rounding.

    Notes
    -----
    Q = (D b)' (D V D')^+ (D b) with D the differences from the first estimate. The covariance is estimated
    from C families, so Q is compared with Hotelling's T^2: Q (C - r) / (r (C - 1)) is F on r and C - r
    degrees of freedom, r the rank of D V D'. I^2 = 1 - r / Q is on the same scale as Cochran's. Differences
    whose error is nothing but rounding leave the test; where such a difference is itself more than ten
    roundings the estimates differ for certain, and q is infinite. nan where an estimate is not
    finite or C <= r.

    Source: Wald 1943, 10.1090/S0002-9947-1943-0012401-3; Hotelling 1931, 10.1214/aoms/1177732979.
    """
    from scipy import stats  # takes a second to import: only where it is asked for

    K, M = effect.shape
    C = np.broadcast_to(np.asarray(families, dtype=float), (M,))
    known = np.asarray(np.isfinite(effect).all(axis=0) & np.isfinite(covariance).all(axis=(1, 2)))
    value = np.where(known, effect, 0.0)
    error = np.where(known[:, None, None], covariance, np.eye(K))
    contrast = np.hstack([-np.ones((K - 1, 1)), np.eye(K - 1)])
    gap = (contrast @ value).T
    spread = contrast @ error @ contrast.T
    axis_variance, axis = np.linalg.eigh(spread)
    along = np.einsum("mki,mk->mi", axis, gap)
    total = np.einsum("mkk->m", error)
    scale = np.maximum(np.maximum(FLAT * total, 1e-16 * (value**2).max(axis=0)), np.square(rounding))
    kept: NDArray[np.bool_] = np.greater(axis_variance, scale[:, None])
    q = np.where(kept, along**2 / np.where(kept, axis_variance, 1.0), 0.0).sum(axis=1)
    certain = np.asarray(~kept & (along**2 > 1e2 * scale[:, None])).any(axis=1)
    rank = kept.sum(axis=1).astype(float)
    q = np.where(certain, np.inf, q)
    known &= rank < C
    evidence = np.full(M, np.nan)
    tested = known & np.isfinite(q) & (rank > 0)
    r, c = rank[tested], C[tested]
    statistic = q[tested] * (c - r) / (r * (c - 1.0))
    evidence[tested] = -stats.f.logsf(statistic, r, c - r) / np.log(10.0)
    evidence[known & certain] = np.inf
    evidence[known & ~certain & (rank == 0)] = 0.0
    q, rank = np.where(known, q, np.nan), np.where(known, rank, np.nan)
    return Heterogeneity(q, rank, evidence, _share(q, rank))


def _share(q: Array, df: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.isnan(q), np.nan, np.where(q > df, 1.0 - df / np.where(q > 0, q, 1.0), 0.0))
