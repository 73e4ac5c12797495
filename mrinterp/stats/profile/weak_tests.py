"""Tests of one effect that keep their level however weak the instruments: Anderson-Rubin, LM, CLR."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mrinterp.stats.profile.dense_profile import DenseErrors
from mrinterp.stats.profile.likelihood import KnownErrors, minimize_profile

__all__ = ["WeakStatistics", "clr_p", "dense_effect_statistics", "single_effect_statistics"]

Array = NDArray[np.float64]

_DENSE_DOUBLES = 1 << 23
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)
_FARTHEST = 1e5
"""Largest nuisance effect, in errors of the outcome per error of the exposure, at which statistics are computed.

Their distance from the limit falls as 1/effect (1e-5 here); rounding grows as its square (1e10 times 1e-16)."""


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
    tail = special.chdtrc(1, np.maximum(c, 0.0))
    if df == 0:
        return np.asarray(tail)
    u = 0.5 * (_NODES + 1.0)
    density = np.sqrt(2.0 * c / np.pi)[:, None] * np.exp(-0.5 * c[:, None] * u**2)
    rest = special.chdtrc(df, (c + np.maximum(rank, 0.0))[:, None] * (1.0 - u**2))
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


def dense_effect_statistics(
    data: DenseErrors, exposure: int, values: Array, centre: Array, sufficient: bool = False
) -> WeakStatistics:
    """The same with correlated moments (K exposures, r moments), other effects minimized over.

    ``values`` (N,) hypothesized values; ``centre`` (K,) the minimum of the objective. ``sufficient``
    standardizes by symmetric roots of the two covariances. Values go in blocks whose (r, r) matrices stay
    below 64 MB; the data hold K^2 r^2 doubles. Where the objective keeps falling while another effect grows
    without bound, as it can far from the estimate, ``lm`` and ``rank`` are those of their limit.
    """
    r, K = data.beta_x.shape
    size = max(1, _DENSE_DOUBLES // (r * max(r, K * K)))
    parts = [
        _dense_block(data, exposure, values[i : i + size], centre, sufficient)
        for i in range(0, len(values), size)
    ]
    return WeakStatistics(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("ar", "lm", "rank")))


def _dense_block(
    data: DenseErrors, exposure: int, values: Array, centre: Array, sufficient: bool
) -> WeakStatistics:
    at = _within_reach(data, exposure, _constrained_minimum(data, exposure, values, centre))
    rest = [i for i in range(len(centre)) if i != exposure]
    contrast = np.zeros_like(at.theta)
    contrast[:, exposure] = 1.0
    if rest:
        w = at.solved[:, :, rest].transpose(0, 2, 1)
        gram = np.matmul(w, at.freed[:, :, rest])
        contrast[:, rest] = -_ridge_solve(gram, np.matmul(w, at.freed[:, :, exposure, None])[..., 0])
    d = np.matmul(at.freed, contrast[:, :, None])[..., 0]
    r, K = data.beta_x.shape
    outer = (contrast[:, :, None] * contrast[:, None, :]).reshape(-1, K * K)
    own = (outer @ data.sigma_xx.reshape(K * K, r * r)).reshape(-1, r, r)
    shared = _shared_with_residual(data, at.theta, contrast)
    own = own - np.matmul(shared, np.linalg.solve(at.omega, shared.transpose(0, 2, 1)))
    if sufficient:
        t = np.matmul(_inverse_root(own), d[:, :, None])[..., 0]
        e = np.matmul(_inverse_root(at.omega), at.e[:, :, None])[..., 0]
        rank = (t * t).sum(axis=1)
        lm = (t * e).sum(axis=1) ** 2 / rank
    else:
        rank = (d * np.linalg.solve(own, d[:, :, None])[..., 0]).sum(axis=1)
        solved = np.matmul(at.solved, contrast[:, :, None])[..., 0]
        lm = (solved * at.e).sum(axis=1) ** 2 / (solved * d).sum(axis=1)
    return WeakStatistics(at.ar, lm, rank)


@dataclass(frozen=True, eq=False)
class _DensePoint:
    """N points: theta (N, K), residual e (N, r), omega (N, r, r), freed effects and omega^-1 of them (N, r, K), ar (N,)."""

    theta: Array
    e: Array
    omega: Array
    freed: Array
    solved: Array
    ar: Array

    def take(self, rows: NDArray[np.int_]) -> _DensePoint:
        """The chosen points."""
        return _DensePoint(*(getattr(self, f.name)[rows] for f in fields(self)))

    def put(self, rows: NDArray[np.int_], other: _DensePoint) -> _DensePoint:
        """The same with the chosen points replaced."""
        arrays = [getattr(self, f.name).copy() for f in fields(self)]
        for array, f in zip(arrays, fields(self), strict=True):
            array[rows] = getattr(other, f.name)
        return _DensePoint(*arrays)


def _dense_point(data: DenseErrors, theta: Array) -> _DensePoint:
    r, K = data.beta_x.shape
    e = data.beta_y - theta @ data.beta_x.T
    outer = (theta[:, :, None] * theta[:, None, :]).reshape(-1, K * K)
    omega = data.sigma_yy + (outer @ data.sigma_xx.reshape(K * K, r * r)).reshape(-1, r, r)
    if data.sigma_xy is not None:
        half = (theta @ data.sigma_xy.reshape(K, r * r)).reshape(-1, r, r)
        omega = omega - half - half.transpose(0, 2, 1)
    u = np.linalg.solve(omega, e[:, :, None])[..., 0]
    each = np.matmul(data.sigma_xx.reshape(K * K * r, r), u.T).reshape(K, K, r, -1)
    freed = np.einsum("nl,klrn->nrk", theta, each)
    if data.sigma_xy is not None:
        freed = freed - np.einsum("krs,ns->nrk", data.sigma_xy, u)
    freed = data.beta_x + freed
    return _DensePoint(theta, e, omega, freed, np.linalg.solve(omega, freed), (e * u).sum(axis=1))


def _shared_with_residual(data: DenseErrors, theta: Array, contrast: Array) -> Array:
    """Covariance of a combination of exposure effects with minus the residual (N, r, r)."""
    r, K = data.beta_x.shape
    outer = (contrast[:, :, None] * theta[:, None, :]).reshape(-1, K * K)
    out = (outer @ data.sigma_xx.reshape(K * K, r * r)).reshape(-1, r, r)
    if data.sigma_xy is not None:
        out = out - (contrast @ data.sigma_xy.reshape(K, r * r)).reshape(-1, r, r)
    return np.asarray(out)


def _constrained_minimum(data: DenseErrors, exposure: int, values: Array, centre: Array) -> _DensePoint:
    """Least e'Omega^-1 e given each value of one effect, by halved Gauss-Newton steps on the freed effects.

    The gradient is -2 D'Omega^-1 e with D the exposure effects freed of the residual, D'Omega^-1 D stands
    for the curvature.
    """
    K = len(centre)
    rest = [i for i in range(K) if i != exposure]
    theta = np.empty((len(values), K))
    theta[:, exposure] = values
    if rest:
        weighted = np.linalg.solve(data.omega(centre), data.beta_x)
        gram = weighted.T @ data.beta_x
        shift = np.linalg.solve(gram[np.ix_(rest, rest)], gram[rest, exposure])
        theta[:, rest] = centre[rest] - (values - centre[exposure])[:, None] * shift
    point = _dense_point(data, theta)
    active = np.arange(len(values)) if rest else np.arange(0)
    for _ in range(100):
        if not len(active):
            break
        here = point.take(active)
        w = here.solved[:, :, rest].transpose(0, 2, 1)
        slope = np.matmul(w, here.e[:, :, None])[..., 0]
        step = np.zeros((len(active), K))
        step[:, rest] = _ridge_solve(np.matmul(w, here.freed[:, :, rest]), slope)
        promised = (step[:, rest] * slope).sum(axis=1)
        trial, better = here, np.zeros(len(active), bool)
        size = np.ones(len(active))
        for _ in range(12):
            trial = _dense_point(data, here.theta + size[:, None] * step)
            better = trial.ar <= here.ar
            if better.all():
                break
            size = np.where(better, size, size / 4.0)
        point = point.put(active[better], trial.take(np.flatnonzero(better)))
        active = active[better & (promised > 1e-10)]
    return point


def _within_reach(data: DenseErrors, exposure: int, point: _DensePoint) -> _DensePoint:
    """The same with nuisance effects that ran off drawn back along their direction to `_FARTHEST`; ``ar`` stays.

    Beyond it the covariance of the freed exposure effects is a difference of two matrices that agree in all
    their digits: indefinite, or singular, by rounding alone.
    """
    per_unit = np.sqrt(np.einsum("kkii->k", data.sigma_xx) / np.trace(data.sigma_yy))
    size = np.delete(np.abs(point.theta) * per_unit, exposure, axis=1).max(axis=1, initial=0.0)
    far = np.flatnonzero(size > _FARTHEST)
    if not len(far):
        return point
    theta = point.theta[far] * (_FARTHEST / size[far])[:, None]
    theta[:, exposure] = point.theta[far, exposure]
    return point.put(far, replace(_dense_point(data, theta), ar=point.ar[far]))


def _ridge_solve(gram: Array, right: Array) -> Array:
    """gram^-1 right (N, k) with unit-scaled gram and a ridge of 1e-10; 0 where it is not finite."""
    size = np.sqrt(np.einsum("nkk->nk", gram))
    ok = np.isfinite(gram).all(axis=(1, 2)) & (size > 0).all(axis=1) & np.isfinite(right).all(axis=1)
    size = np.where(ok[:, None], size, 1.0)
    scaled = np.where(ok[:, None, None], gram / (size[:, :, None] * size[:, None, :]), 0.0)
    scaled = scaled + np.where(ok, 1e-10, 1.0)[:, None, None] * np.eye(gram.shape[1])
    solved = np.linalg.solve(scaled, np.where(ok[:, None], right / size, 0.0)[:, :, None])[..., 0]
    return np.asarray(solved / size)


def _inverse_root(a: Array) -> Array:
    """Symmetric inverse square roots of positive definite matrices (N, r, r)."""
    values, vectors = np.linalg.eigh((a + a.transpose(0, 2, 1)) / 2)
    half = vectors / np.sqrt(np.maximum(values, 1e-300))[:, None, :]
    root: Array = np.matmul(half, vectors.transpose(0, 2, 1))
    return root
