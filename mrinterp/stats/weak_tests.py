"""Tests of one effect that keep their level however weak the instruments: Anderson-Rubin, LM, CLR."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, stats

from mrinterp.stats.dense_profile import DenseErrors
from mrinterp.stats.profile_likelihood import KnownErrors, minimize_profile

__all__ = ["WeakStatistics", "clr_p", "dense_statistics", "single_effect_statistics"]

Array = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)


@dataclass(frozen=True, eq=False)
class WeakStatistics:
    """Anderson-Rubin ``ar``, score ``lm`` and rank statistic ``rank`` of N hypothesized values (N,) each."""

    ar: Array
    lm: Array
    rank: Array

    def clr(self) -> Array:
        """Conditional likelihood ratio statistic (N,)."""
        a = self.ar - self.rank
        return np.asarray(0.5 * (a + np.sqrt(a * a + 4.0 * self.rank * self.lm)))


def clr_p(statistic: Array, rank: Array, df: int) -> Array:
    """P of a conditional likelihood ratio at least this large given the rank statistic (N,).

    With Q1 ~ chi2(1) and Q2 ~ chi2(df) independent it is P(Q1/c + Q2/(c + rank) > 1), by quadrature over
    Q1 = c u^2. ``df`` is the number of overidentifying restrictions; with 0 it is a chi2(1) test.
    Source: Moreira 2003 Econometrica, doi:10.1111/1468-0262.00438.
    """
    c = np.maximum(np.asarray(statistic, float), 1e-12)
    tail = stats.chi2.sf(c, 1)
    if df == 0:
        return np.asarray(tail)
    u = 0.5 * (_NODES + 1.0)
    density = np.sqrt(2.0 * c / np.pi)[:, None] * np.exp(-0.5 * c[:, None] * u**2)
    rest = stats.chi2.sf((c + np.maximum(rank, 0.0))[:, None] * (1.0 - u**2), df)
    return np.asarray(tail + (density * rest) @ (0.5 * _WEIGHTS))


def single_effect_statistics(
    data: KnownErrors,
    exposure: int,
    values: Array,
    centre: Array,
    tau2: Array | float = 0.0,
    sufficient: bool = False,
) -> WeakStatistics:
    """Statistics of theta_k = value for N problems with independent instruments, other effects minimized over.

    ``values`` (N,), one hypothesized value per problem; ``centre`` (N, K) a minimum of the objective, from
    which the other effects start. ``sufficient``: each instrument's residual and freed exposure effect are
    both standardized before they are multiplied (Wang & Kang 2022); otherwise ``lm`` is the score.
    """
    N, J, K = data.size
    rest = [i for i in range(K) if i != exposure]
    x = np.broadcast_to(data.beta_x, (N, J, K))
    theta = np.empty((N, K))
    theta[:, exposure] = values
    if rest:
        shift = np.linalg.lstsq(data.beta_x[0][:, rest], data.beta_x[0][:, exposure], rcond=None)[0]
        start = centre[:, rest] - (values - centre[:, exposure])[:, None] * shift
        theta[:, rest] = minimize_profile(_given_effect(data, exposure, rest, values), start, tau2=tau2).theta
    e, v, m = data.residuals(theta, tau2)
    D = x + m * (e / v)[:, :, None]
    contrast = np.zeros((N, K))
    contrast[:, exposure] = 1.0
    if rest:
        w = D[:, :, rest] / v[:, :, None]
        gram = np.matmul(w.transpose(0, 2, 1), D[:, :, rest])
        gram += 1e-12 * np.einsum("nkk->n", gram)[:, None, None] * np.eye(len(rest))
        contrast[:, rest] = -np.linalg.solve(gram, np.matmul(w.transpose(0, 2, 1), D[:, :, exposure, None]))[
            ..., 0
        ]
    d = np.matmul(D, contrast[:, :, None])[:, :, 0]
    own = np.einsum("nk,jkl,nl->nj", contrast, data.sigma_xx, contrast, optimize=True)
    own = np.maximum(own - np.matmul(m, contrast[:, :, None])[:, :, 0] ** 2 / v, 1e-300)
    rank = (d * d / own).sum(axis=1)
    if sufficient:
        lm = (d * e / np.sqrt(own * v)).sum(axis=1) ** 2 / rank
    else:
        lm = (d * e / v).sum(axis=1) ** 2 / (d * d / v).sum(axis=1)
    return WeakStatistics((e * e / v).sum(axis=1), lm, rank)


def _given_effect(data: KnownErrors, exposure: int, rest: list[int], values: Array) -> KnownErrors:
    """The problem in the other effects when one effect is given."""
    k, t = exposure, values[:, None]
    xx = data.sigma_xx
    var = data.var_y + t * t * xx[:, k, k]
    xy = -t[:, :, None] * xx[:, k, rest][None]
    if data.sigma_xy is not None:
        var = var - 2.0 * t * data.sigma_xy[:, :, k]
        xy = xy + data.sigma_xy[:, :, rest]
    x = data.beta_x[:, :, rest]
    y = data.beta_y - t * data.beta_x[:, :, k]
    return replace(data, beta_x=x, beta_y=y, var_y=var, sigma_xx=xx[:, rest][:, :, rest], sigma_xy=xy)


def dense_statistics(data: DenseErrors, values: Array, sufficient: bool = False) -> WeakStatistics:
    """The same for one exposure with correlated moments, a loop over hypothesized values (a full matrix each).

    ``sufficient`` standardizes by symmetric roots of the two covariances.
    """
    out = np.empty((3, len(values)))
    for i, value in enumerate(values):
        theta = np.array([value])
        e, D, solved = data.score_directions(theta)
        d, ar = D[:, 0], e @ solved[:, 0]
        omega, shared = data.omega(theta), data.error_covariance(theta)[0]
        own = data.sigma_xx[0, 0] - shared @ linalg.solve(omega, shared.T, assume_a="pos")
        if sufficient:
            t = _inverse_root(own) @ d
            rank = t @ t
            lm = (t @ (_inverse_root(omega) @ e)) ** 2 / rank
        else:
            rank = d @ np.linalg.solve(own, d)
            lm = (d @ solved[:, 0]) ** 2 / (d @ solved[:, 1])
        out[:, i] = ar, lm, rank
    return WeakStatistics(*out)


def _inverse_root(a: Array) -> Array:
    """Symmetric inverse square root of a positive definite matrix."""
    values, vectors = np.linalg.eigh((a + a.T) / 2)
    return np.asarray((vectors / np.sqrt(np.maximum(values, 1e-300))) @ vectors.T)
