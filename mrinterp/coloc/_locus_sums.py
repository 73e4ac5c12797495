"""Sums of Bayes factors behind the hypotheses, locus by locus, for all pairs of traits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.stats.bayes_factors.wakefield import (
    bivariate_distinct_log_sum,
    bivariate_log_bayes_factors,
    hypothesis_log_sums,
    log_bayes_factor,
    pairwise_log_sums,
)

__all__ = ["TraitPriors", "locus_sums"]

Array = NDArray[np.float64]

_PAIR_ELEMENTS = 4_000_000  # doubles of one intermediate block
_CACHED_ELEMENTS = 60_000  # doubles that stay in the cache between two passes


@dataclass(frozen=True, eq=False)
class TraitPriors:
    """Effects and error variances of one side, (traits, instruments), and prior variances (traits,)."""

    beta: Array
    variance: Array
    prior: Array


@dataclass(frozen=True, eq=False)
class LocusSums:
    """``log_sums`` (F, O, K, 4), expected ``sign`` and ``top`` instrument (F, O, K), log Bayes factors.

    ``log_bf_x`` (F, J) and ``log_bf_y`` (O, J) are None where Bayes factors belong to pairs.
    """

    log_sums: Array
    sign: Array
    top: NDArray[np.int_]
    log_bf_x: Array | None
    log_bf_y: Array | None


def locus_sums(
    data: MRData, x: TraitPriors, y: TraitPriors, label: NDArray[np.int_], loci: int, correlated_errors: bool
) -> LocusSums:
    """Sums over the instruments of each locus (``label`` 0 to ``loci`` - 1), in bounded memory."""
    shape = (len(x.beta), len(y.beta), loci)
    log_sums, sign, top = np.empty((*shape, 4)), np.empty(shape), np.empty(shape, dtype=int)
    log_bf_x = log_bf_y = None
    if not correlated_errors:
        log_bf_x = log_bayes_factor(x.beta, x.variance, x.prior[:, None])
        log_bf_y = log_bayes_factor(y.beta, y.variance, y.prior[:, None])
    for k in range(loci):
        members = np.flatnonzero(label == k)
        if log_bf_x is not None and log_bf_y is not None:
            bf = log_bf_x[:, members], log_bf_y[:, members]
            signs = np.sign(x.beta[:, members]), np.sign(y.beta[:, members])
            log_sums[:, :, k], sign[:, :, k] = hypothesis_log_sums(*bf, *signs)
            top[:, :, k] = members[_top_shared(*bf)]
        else:
            log_sums[:, :, k], sign[:, :, k], best = _bivariate(data, x, y, members)
            top[:, :, k] = members[best]
    return LocusSums(log_sums, sign, top, log_bf_x, log_bf_y)


def _top_shared(log_bf_x: Array, log_bf_y: Array) -> NDArray[np.int_]:
    """Instrument with the largest joint Bayes factor of every pair, in blocks of features."""
    count, J = log_bf_x.shape
    top = np.empty((count, len(log_bf_y)), dtype=int)
    step = max(1, _CACHED_ELEMENTS // max(1, J * len(log_bf_y)))
    for start in range(0, count, step):
        block = slice(start, start + step)
        top[block] = (log_bf_x[block, None] + log_bf_y[None]).argmax(-1)
    return top


def _bivariate(
    data: MRData, x: TraitPriors, y: TraitPriors, members: NDArray[np.int_]
) -> tuple[Array, Array, NDArray[np.int_]]:
    """Log sums, sign and top instrument with correlated errors, in blocks of features."""
    count, shape = len(x.beta), (len(x.beta), len(y.beta))
    log_sums, sign, top = np.empty((*shape, 4)), np.empty(shape), np.empty(shape, dtype=int)
    width = len(members) ** 2 if data.ld is not None else len(members)
    step = max(1, _PAIR_ELEMENTS // max(1, len(y.beta) * width))
    for start in range(0, count, step):
        f = np.arange(start, min(count, start + step))
        rho = _error_correlation(data, f, members)
        bx, by = x.beta[np.ix_(f, members)][:, None], y.beta[None][..., members]
        vx, vy = x.variance[np.ix_(f, members)][:, None], y.variance[None][..., members]
        wx, wy = x.prior[f, None, None], y.prior[None, :, None]
        only_x, only_y, both = bivariate_log_bayes_factors(bx, vx, by, vy, rho, wx, wy)
        log_sums[f, :, 0] = special.logsumexp(only_x, axis=-1)
        log_sums[f, :, 1] = special.logsumexp(only_y, axis=-1)
        log_sums[f, :, 3] = special.logsumexp(both, axis=-1)
        if data.ld is None:
            log_sums[f, :, 2] = special.logsumexp(only_x + pairwise_log_sums(only_y), axis=-1)
        else:
            full = [
                np.broadcast_to(a, both.shape) for a in (bx / np.sqrt(vx), by / np.sqrt(vy), wx / vx, wy / vy)
            ]
            log_sums[f, :, 2] = _distinct(full, rho, data.ld[np.ix_(members, members)])
        weight = np.exp(both - log_sums[f, :, 3, None])
        sign[f] = (weight * np.sign(bx * by)).sum(-1)
        top[f] = both.argmax(-1)
    return log_sums, np.clip(sign, -1.0, 1.0), top


def _distinct(arrays: list[Array], rho: Array, ld: Array) -> Array:
    """Two distinct causes for every pair of a block of (features, outcomes, instruments) arrays."""
    shape = arrays[0].shape[:2]
    flat = [a.reshape(-1, a.shape[-1]) for a in arrays]
    corr = np.broadcast_to(rho.mean(-1), shape).ravel()
    step = max(1, _PAIR_ELEMENTS // ld.size)
    out = np.empty(len(corr))
    for start in range(0, len(corr), step):
        block = slice(start, start + step)
        z_x, z_y, w_x, w_y = (a[block] for a in flat)
        out[block] = bivariate_distinct_log_sum(z_x, z_y, w_x, w_y, corr[block], ld)
    return out.reshape(shape)


def _error_correlation(data: MRData, f: NDArray[np.int_], members: NDArray[np.int_]) -> Array:
    """Correlation of the errors of exposures ``f`` with all outcomes: (f, O, 1) or (f, O, J)."""
    F = len(data.exposures)
    if data.sigma is not None:
        s = data.sigma[members]
        sd = np.sqrt(np.einsum("jtt->jt", s))
        corr = s[:, f][:, :, F:] / (sd[:, f, None] * sd[:, None, F:])
        return np.asarray(np.moveaxis(corr, 0, -1))
    if data.error_corr is None:
        raise InputError(
            "correlated_errors",
            "the data carry no error correlation",
            "Give error_corr or sigma, or leave it off",
        )
    return np.asarray(data.error_corr[f, F:][..., None])
