"""Least squares and means with errors clustered by family."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its parts load when they are used: a small table needs few of them
from numpy.typing import NDArray

__all__ = [
    "SCORES",
    "clustered_least_squares",
    "clustered_mean",
    "families_of",
    "marginal_slopes",
    "mean_scores",
    "satterthwaite",
    "share_left",
]

Array = NDArray[np.float64]

DEPENDENT = 1e-11
"""Eigenvalue of the columns' correlations, over the largest, below which they depend on each other."""


@dataclass(frozen=True, eq=False)
class ClusteredFit:
    """Coefficients of the first p columns, for every outcome.

    ``beta, se`` have shape (p, O); ``df`` is the number of families minus one; ``rank`` of the
    design, ``columns`` fitted, ``runs``, ``families`` and ``leverage_max`` (largest eigenvalue of a
    family's hat block; at 1 the family determines a coefficient alone) say how far to trust it.
    ``partial_variance`` (p,) is each column's variance share that the other columns leave.
    """

    beta: Array
    se: Array
    df: float
    rank: int
    columns: int
    runs: int
    families: int
    leverage_max: float
    partial_variance: Array
    residual: Array


SCORES = 1 << 22
"""Scores of families (32 MB) that are held at once."""


def families_of(family: NDArray[Any]) -> tuple[NDArray[np.int_], NDArray[Any]]:
    """Codes 0..C-1 of the families, and their names in sorted order."""
    names, codes = np.unique(np.asarray(family), return_inverse=True)
    return codes.astype(int), names


def _rows(codes: NDArray[np.int_]) -> Iterator[NDArray[np.int_]]:
    order = np.argsort(codes, kind="stable")
    edges = np.flatnonzero(np.diff(codes[order])) + 1
    yield from np.split(order, edges)


def clustered_least_squares(
    Z: Array,
    Y: Array,
    family: NDArray[Any],
    p: int,
    covariance: str = "CR3",
    absorbed: int = 0,
) -> ClusteredFit:
    """Least squares of Y (N, O) on Z (N, d) without intercept; errors clustered by family.

    Parameters
    ----------
    Z : ndarray (N, d)
        Regressors, those of interest first; already centred within prompt or against the clean run.
    Y : ndarray (N, O)
    family : ndarray (N,)
        Cluster of each row.
    p : int
        Coefficients to report (the first p columns).
    covariance : {"CR1", "CR3"}
        CR1: sandwich times C/(C-1) x (N-1)/(N-d-absorbed). CR3: leave-one-family-out
        residuals (I - H_cc)^-1 u_c, factor (C-1)/C; preferred when regressors are many.
    absorbed : int
        Prompt means already removed from the rows; counted as fitted columns.

    Notes
    -----
    Not valid with few families (t on C-1 degrees of freedom is still optimistic below about 20),
    nor where one family alone determines a coefficient: its hat block then has an eigenvalue of
    one, and that direction of its residual, which carries no information, is left out.

    Source: Cameron & Miller 2015, 10.3368/jhr.50.2.317; CR3 as in Bell & McCaffrey 2002.
    """
    if covariance not in ("CR1", "CR3"):
        raise ValueError(f"covariance {covariance!r}: CR1 or CR3")
    N, d = Z.shape
    codes, names = families_of(family)
    C = len(names)
    # One scale for all columns: the pivoted factorization then judges rank on correlations.
    scale = np.sqrt(np.einsum("nd,nd->d", Z, Z))
    scale[scale == 0] = 1.0
    Zs = Z / scale
    values, vectors = scipy.linalg.eigh(Zs.T @ Zs)
    keep = values > max(values[-1], 1e-300) * DEPENDENT
    rank = int(keep.sum())
    inverse = (vectors[:, keep] / values[keep]) @ vectors[:, keep].T
    theta = inverse @ (Zs.T @ Y)
    residual = Y - Zs @ theta
    read = inverse[:p]
    scores = np.empty((C, p, Y.shape[1]))
    whiten = vectors[:, keep] / np.sqrt(values[keep])
    leverage_max = 0.0
    for c, rows in enumerate(_rows(codes)):
        u = residual[rows]
        if covariance == "CR3":
            u, top = _leave_family_out(Zs[rows] @ whiten, u)
            leverage_max = max(leverage_max, top)
        scores[c] = read @ (Zs[rows].T @ u)
    square = np.einsum("cpo,cpo->po", scores, scores)
    if covariance == "CR3":
        variance = square * (C - 1) / C
    else:
        variance = square * C / max(C - 1, 1) * (N - 1) / max(N - rank - absorbed, 1)
    return ClusteredFit(
        theta[:p] / scale[:p, None],
        np.sqrt(variance) / scale[:p, None],
        float(C - 1),
        rank,
        d,
        N,
        C,
        leverage_max,
        _share_left(values, vectors)[:p],
        residual,
    )


def share_left(Z: Array) -> Array:
    """Share of every column's (d,) sum of squares that the other columns of Z (N, d) leave; near zero
    where columns depend on each other linearly."""
    scale = np.sqrt(np.einsum("nd,nd->d", Z, Z))
    Zs = Z / np.where(scale > 0, scale, 1.0)
    return _share_left(*scipy.linalg.eigh(Zs.T @ Zs))


def _share_left(values: Array, vectors: Array) -> Array:
    # Directions that a fit leaves out count as the least that is kept: a column that takes part in one
    # is not identified, though the pseudo-inverse gives it a coefficient and a small error.
    least = max(values[-1], 1e-300) * DEPENDENT
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(1.0 / (vectors**2 / np.maximum(values, least)).sum(axis=1))


def _leave_family_out(root: Array, u: Array) -> tuple[Array, float]:
    """(I - H_cc)^-1 u_c from the family's whitened rows (m, d); directions of leverage one are left out.

    H_cc = root root' has the eigenvalues of root' root too: the smaller of the two is decomposed, several times faster
    than the singular values of root.
    """
    wide = root.shape[0] <= root.shape[1]
    values, vectors = scipy.linalg.eigh(root @ root.T if wide else root.T @ root, check_finite=False)
    h = np.clip(values, 0.0, 1.0)
    own = h < 1 - 1e-8
    if wide:
        grow = np.where(own, h / np.maximum(1 - h, 1e-8), -1.0)
        more = vectors @ (grow[:, None] * (vectors.T @ u))
    else:
        along = root @ vectors
        more = along @ (np.where(own, 1.0 / np.maximum(1 - h, 1e-8), -1.0)[:, None] * (along.T @ u))
    return u + more, float(h.max(initial=0.0))


def clustered_mean(values: Array, family: NDArray[Any]) -> tuple[Array, Array, float]:
    """Equal-weight mean over rows of values (N, ...), its error clustered by family, and degrees of freedom.

    Notes
    -----
    CR3 (leave one family out) with Satterthwaite's degrees of freedom: families minus one where all have
    the same number of rows, fewer where some carry most. With fewer than two families the error is nan
    (not measurable) and there are 0 degrees of freedom.

    Source: Bell & McCaffrey 2002; Imbens & Kolesar 2016, 10.1162/REST_a_00552.
    """
    mean, scores, df = mean_scores(values, family)
    return mean, np.sqrt((scores**2).sum(axis=0)), df


def mean_scores(values: Array, family: NDArray[Any]) -> tuple[Array, Array, float]:
    """Mean over rows of values (N, ...), what each of C families adds to its error (C, ...), and degrees of
    freedom: the sum of two means' products of scores is their covariance (see `clustered_mean`)."""
    values = np.asarray(values, dtype=float)
    codes, names = families_of(family)
    C, N = len(names), len(values)
    mean = values.mean(axis=0)
    scores = np.zeros((C, *values.shape[1:]))
    if C < 2:
        return mean, np.full_like(scores, np.nan), 0.0
    np.add.at(scores, codes, (values - mean) / N)
    h = np.bincount(codes)[:, None] / N
    grow = 1.0 / (1.0 - h)
    scores *= np.sqrt((C - 1) / C) * grow.reshape(C, *[1] * (scores.ndim - 1))
    return mean, scores, float(satterthwaite(h, grow)[0])


def marginal_slopes(
    z: Array,
    x: Array,
    family: NDArray[Any],
    covariance: str = "CR3",
    against: NDArray[np.int_] | None = None,
) -> tuple[Array, Array, Array, Array]:
    """Slope of every trait on every dose, one at a time, errors clustered by family.

    Parameters
    ----------
    z : ndarray (N, J)
        Dose changes within prompt.
    x : ndarray (N, T)
        Trait changes within prompt.
    family : ndarray (N,)
    covariance : {"CR3", "CR1"}
        CR3: every family's score over 1 - h_c, factor (C-1)/C. CR1: scores as they are, factor C/(C-1).
    against : ndarray (A,) of int, optional
        Traits with which the error covariance of every trait is returned; all by default. Work and memory
        grow with T A, not with T^2.

    Returns
    -------
    beta, se : ndarray (T, J)
    covariance : ndarray (J, T, A)
        Error covariance of the slopes of each instrument, of the same kind.
    dof : ndarray (J,)
        Degrees of freedom of the error (Satterthwaite): families in which the dose varies less one where it
        varies alike in all of them, fewer where some weigh more. Hold beta/se against t on these.

    Notes
    -----
    Per family a_c = sum z x and s_c = sum z^2; score a_c - beta s_c. With one regressor the hat matrix of a
    family has the single eigenvalue h_c = s_c / sum s, shared by all traits, so that CR3, the jackknife over
    families, is closed form, and so are its degrees of freedom when errors are alike. CR1 is too small where
    families differ in how much the dose varies in them. Not measurable (0) where it varies in one family only.

    Source: Bell & McCaffrey 2002; Imbens & Kolesar 2016, 10.1162/REST_a_00552.
    """
    if covariance not in ("CR1", "CR3"):
        raise ValueError(f"covariance {covariance!r}: CR1 or CR3")
    codes, names = families_of(family)
    J, T = z.shape[1], x.shape[1]
    s = np.zeros((len(names), J))
    np.add.at(s, codes, z * z)
    total = s.sum(axis=0)
    varies = total > 0
    count = (s > 0).sum(axis=0)
    h = s / np.where(varies, total, 1.0)
    grow, factor = np.ones_like(h), count / np.maximum(count - 1, 1)
    if covariance == "CR3":
        alone = h > 1.0 - 1e-8  # this family determines the slope: its residual carries no information
        grow = np.where(alone, 0.0, 1.0 / np.where(alone, 1.0, 1.0 - h))
        factor = (count - 1) / np.maximum(count, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = factor / np.where(varies, total, np.nan) ** 2
    rows = list(_rows(codes))

    def of(traits: Array) -> tuple[Array, Array]:
        """Slopes (J, B) of some traits and their scores (J, C, B)."""
        slope = (z.T @ traits) / np.where(varies, total, 1.0)[:, None]
        score = np.empty((J, len(rows), traits.shape[1]))
        for c, here in enumerate(rows):
            score[:, c] = (z[here].T @ traits[here] - s[c][:, None] * slope) * grow[c][:, None]
        return slope, score

    held = np.arange(T) if against is None else against
    other = of(x[:, held])[1]
    beta, se, error = np.empty((T, J)), np.empty((T, J)), np.empty((J, T, len(held)))
    size = max(1, SCORES // max(J * len(rows), 1))
    for first in range(0, T, size):
        block = slice(first, min(first + size, T))
        slope, score = of(x[:, block])
        beta[block] = np.where(varies[:, None], slope, np.nan).T
        se[block] = np.sqrt(np.einsum("jct,jct->jt", score, score) * scale[:, None]).T
        np.matmul(score.transpose(0, 2, 1), other, out=error[:, block])
    error *= scale[:, None, None]
    return beta, se, error, satterthwaite(h, grow)


def satterthwaite(h: Array, grow: Array) -> Array:
    """Degrees of freedom (J,) of sum_c (grow_c r_c)^2 when score residuals r have covariance diag(h) - h h'."""
    own, other = grow**2 * h * (1.0 - h), (grow * h) ** 2
    square = (own**2).sum(axis=0) + other.sum(axis=0) ** 2 - (other**2).sum(axis=0)
    return np.asarray(own.sum(axis=0) ** 2 / np.where(square > 0, square, 1.0))
