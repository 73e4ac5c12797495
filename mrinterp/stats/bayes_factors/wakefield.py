"""Approximate Bayes factors and the five colocalization hypotheses, on plain arrays in log space.

Traits are on leading axes, instruments on the last. All pairs of features and outcomes come from a
few matrix products; blocks bound the memory.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = [
    "bivariate_distinct_log_sum",
    "bivariate_log_bayes_factors",
    "estimated_prior_variance",
    "hypothesis_log_sums",
    "hypothesis_posterior",
    "log_bayes_factor",
    "pairwise_log_sums",
    "posterior_over_priors",
    "single_cause_posterior",
    "trait_sd_from_frequency",
    "variance_from_frequency",
]

Array = NDArray[np.float64]

_UNDERFLOW = 1e-280  # sums below this are computed again in log space
_BLOCK_ELEMENTS = 2_000_000  # doubles of one intermediate block (16 MB)
_FRACTION_WITH_CAUSE = 0.1  # prior of a locus having a cause, while the size of effects is estimated


def log_bayes_factor(beta: ArrayLike, variance: ArrayLike, prior_variance: ArrayLike) -> Array:
    """Wakefield's log approximate Bayes factor of an effect against none, any broadcastable shapes.

    Parameters
    ----------
    beta, variance : array_like
        Estimated effect and the *variance* of its error, in the trait's units.
    prior_variance : array_like
        Variance W of the effect's normal prior, in squared units of the trait.

    Returns
    -------
    ndarray
        ``0.5 * (log(1 - r) + r z**2)`` with ``r = W / (W + V)``; natural logarithm.

    References
    ----------
    Wakefield 2009, Genetic Epidemiology, doi:10.1002/gepi.20359.
    """
    beta, v = np.asarray(beta, dtype=float), np.asarray(variance, dtype=float)
    w = np.asarray(prior_variance, dtype=float)
    # 1 - r = V / (V + W); r z^2 = (1 - (1 - r)) b^2 / V. In place: allocating would take longer than the logs
    rest = np.add(v, w, out=np.empty(np.broadcast_shapes(beta.shape, v.shape, w.shape)))
    np.divide(v, rest, out=rest)
    out = np.log(rest)
    np.subtract(1.0, rest, out=rest)
    rest *= beta
    rest *= beta
    rest /= v
    out += rest
    out *= 0.5
    return np.asarray(out)


def _exclusive_sums(w: Array, out: Array) -> Array:
    """Sum over the last axis leaving one element out, without cancellation at the largest one, into ``out``."""
    top = np.argmax(w, axis=-1)[..., None]
    largest = np.take_along_axis(w, top, axis=-1)
    np.put_along_axis(w, top, 0.0, axis=-1)
    rest = w.sum(-1, keepdims=True)
    np.put_along_axis(w, top, largest, axis=-1)
    np.subtract(rest + largest, w, out=out)
    np.put_along_axis(out, top, rest, axis=-1)
    return np.maximum(out, 0.0, out=out)


def pairwise_log_sums(log_bf: Array) -> Array:
    """Log of the exclusive sums: element j holds log of the sum over i != j; shape as given."""
    top = log_bf.max(-1, keepdims=True)
    out = _exclusive_sums(np.exp(log_bf - top), np.empty(log_bf.shape))
    with np.errstate(divide="ignore"):
        np.log(out, out=out)
    out += top
    return out


def hypothesis_log_sums(
    log_bf_x: Array, log_bf_y: Array, sign_x: Array | None = None, sign_y: Array | None = None
) -> tuple[Array, Array]:
    """Log sums of Bayes factors behind H1 to H4 for every pair of an exposure and an outcome.

    Parameters
    ----------
    log_bf_x : ndarray (F, J)
        Log Bayes factors of the exposures.
    log_bf_y : ndarray (O, J)
        Log Bayes factors of the outcomes on the same instruments.
    sign_x, sign_y : ndarray (F, J) and (O, J), optional
        Signs of the effects.

    Returns
    -------
    log_sums : ndarray (F, O, 4)
        Log of the sums over BF1, over BF2, over BF1_i BF2_j with i != j, and over BF1_j BF2_j.
        The third is a sum of positive terms (nothing is subtracted), so that it keeps its
        relative accuracy where one instrument carries everything.
    sign : ndarray (F, O)
        Expected sign of b1 b2 under H4, between -1 and 1 (nan without signs).
    """
    top_x, top_y = log_bf_x.max(-1), log_bf_y.max(-1)
    ex = log_bf_x - top_x[:, None]
    np.exp(ex, out=ex)
    count = len(log_bf_y)
    both = np.empty((2 * count, log_bf_y.shape[-1]))
    ey = np.subtract(log_bf_y, top_y[:, None], out=both[:count])
    np.exp(ey, out=ey)
    _exclusive_sums(ey, both[count:])
    products = ex @ both.T
    shared, different = products[:, :count], products[:, count:]
    shift = top_x[:, None] + top_y
    planes = np.empty((4, len(ex), count))  # hypotheses first: each is contiguous
    planes[0] = (np.log(ex.sum(-1)) + top_x)[:, None]
    planes[1] = np.log(ey.sum(-1)) + top_y
    with np.errstate(divide="ignore"):
        for plane, product in ((planes[2], different), (planes[3], shared)):
            np.log(product, out=plane)
            plane += shift
    log_sums = np.moveaxis(planes, 0, -1)
    sign = np.full(shared.shape, np.nan)
    signs = None if sign_x is None or sign_y is None else (sign_x, sign_y)
    if signs is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            np.divide((ex * signs[0]) @ (ey * signs[1]).T, shared, out=sign)
    underflowed = np.nonzero((shared < _UNDERFLOW) | (different < _UNDERFLOW))
    _sum_in_log_space(log_bf_x, log_bf_y, signs, underflowed, log_sums, sign)
    return log_sums, np.clip(sign, -1.0, 1.0, out=sign)


def _sum_in_log_space(
    log_bf_x: Array,
    log_bf_y: Array,
    signs: tuple[Array, Array] | None,
    pairs: tuple[NDArray[np.int_], ...],
    log_sums: Array,
    sign: Array,
) -> None:
    """Replace the joint sums and signs of the ``pairs`` of rows, whose scaled products underflow."""
    step = max(1, _BLOCK_ELEMENTS // max(1, log_bf_x.shape[-1]))
    for start in range(0, len(pairs[0]), step):
        f, o = (rows[start : start + step] for rows in pairs)
        lx, ly = log_bf_x[f], log_bf_y[o]
        log_sums[f, o, 3] = special.logsumexp(lx + ly, axis=-1)
        if lx.shape[-1] > 1:
            log_sums[f, o, 2] = special.logsumexp(lx + pairwise_log_sums(ly), axis=-1)
        if signs is not None:
            weight = special.softmax(lx + ly, axis=-1)
            sign[f, o] = (weight * signs[0][f] * signs[1][o]).sum(-1)


def _log_terms(log_sums: Array, p1: ArrayLike, p2: ArrayLike, p12: ArrayLike) -> Array:
    """Log of prior times sum of Bayes factors for H0 to H4, hypotheses first: (5, ...)."""
    p1, p2, p12 = (np.asarray(p, dtype=float) for p in (p1, p2, p12))
    lead = np.broadcast_shapes(log_sums.shape[:-1], p1.shape, p2.shape, p12.shape)
    terms = np.empty((5, *lead))
    terms[0] = 0.0
    with np.errstate(divide="ignore"):
        for h, log_prior in enumerate((np.log(p1), np.log(p2), np.log(p1) + np.log(p2), np.log(p12))):
            np.add(log_sums[..., h], log_prior, out=terms[h + 1])
    return terms


def hypothesis_posterior(log_sums: Array, p1: ArrayLike, p2: ArrayLike, p12: ArrayLike) -> Array:
    """Posterior of H0 to H4 from the log sums of Bayes factors.

    Parameters
    ----------
    log_sums : ndarray (..., 4)
        From `hypothesis_log_sums`.
    p1, p2, p12 : array_like
        Prior of one instrument being causal for trait 1 only, trait 2 only, both, relative to
        none; they broadcast against the leading axes.

    Returns
    -------
    ndarray (..., 5)

    References
    ----------
    Giambartolomei et al. 2014, PLoS Genetics, doi:10.1371/journal.pgen.1004383.
    """
    terms = _log_terms(log_sums, p1, p2, p12)
    terms -= terms.max(0)
    np.exp(terms, out=terms)
    terms /= terms.sum(0)
    return np.moveaxis(terms, 0, -1)


def posterior_over_priors(log_sums: Array, p1: ArrayLike, p2: ArrayLike, p12: Array) -> Array:
    """PP.H3 and PP.H4 over a grid of priors p12, everything else held.

    Parameters
    ----------
    log_sums : ndarray (..., 4)
        From `hypothesis_log_sums`.
    p1, p2 : array_like
        As in `hypothesis_posterior`.
    p12 : ndarray (..., G)
        Grid; its leading axes broadcast against those of ``log_sums``.

    Returns
    -------
    ndarray (..., G, 2)
    """
    terms = _log_terms(log_sums, p1, p2, 1.0)
    others = special.logsumexp(terms[:4], axis=0)  # H0 to H3 do not depend on p12
    distinct = np.exp(terms[3] - others)
    with np.errstate(divide="ignore"):
        log_p12 = np.log(np.asarray(p12, dtype=float))
    out = np.empty((2, log_p12.shape[-1], *others.shape))
    for g in range(log_p12.shape[-1]):
        special.expit(terms[4] - others + log_p12[..., g], out=out[1, g])
        np.multiply(distinct, special.expit(others - terms[4] - log_p12[..., g]), out=out[0, g])
    return np.moveaxis(out, (0, 1), (-1, -2))


def bivariate_log_bayes_factors(
    beta_x: Array,
    variance_x: Array,
    beta_y: Array,
    variance_y: Array,
    error_corr: ArrayLike,
    w_x: ArrayLike,
    w_y: ArrayLike,
) -> tuple[Array, Array, Array]:
    """Log Bayes factors of two traits whose errors correlate, each instrument on its own.

    Parameters
    ----------
    beta_x, variance_x, beta_y, variance_y : ndarray
        Effects and error variances, broadcastable; instruments last.
    error_corr : array_like
        Correlation of the two errors of one instrument.
    w_x, w_y : array_like
        Prior variances of the two effects.

    Returns
    -------
    only_x, only_y, both : ndarray
        ``log N(b; 0, V + W) - log N(b; 0, V)`` with W = diag(w_x, 0), diag(0, w_y), diag(w_x, w_y).
    """
    rho = np.asarray(error_corr, dtype=float)
    vx, vy = np.asarray(variance_x, float), np.asarray(variance_y, float)
    c = rho * np.sqrt(vx * vy)
    xx, yy, xy = beta_x * beta_x, beta_y * beta_y, beta_x * beta_y

    def log_density(ax: Array, ay: Array) -> Array:
        det = ax * ay - c * c
        density: Array = -0.5 * (np.log(det) + (xx * ay + yy * ax - 2.0 * c * xy) / det)
        return density

    null = log_density(vx, vy)
    wx, wy = vx + np.asarray(w_x, float), vy + np.asarray(w_y, float)
    return log_density(wx, vy) - null, log_density(vx, wy) - null, log_density(wx, wy) - null


def bivariate_distinct_log_sum(
    z_x: Array, z_y: Array, w_x: Array, w_y: Array, error_corr: ArrayLike, ld: Array
) -> Array:
    """Log of the sum over i != j of the Bayes factor of cause i for trait 1 and cause j for trait 2.

    Exact for z-scores whose errors have covariance ld between instruments times ``error_corr``
    between traits: the two causes are then not independent, because the errors of correlated
    instruments are seen twice.

    Parameters
    ----------
    z_x, z_y : ndarray (B, J)
        z-scores of B pairs of traits.
    w_x, w_y : ndarray (B, J)
        Prior variance of each effect over its error variance.
    error_corr : array_like (B,)
        Correlation of the errors of the two traits.
    ld : ndarray (J, J)
        Correlation of the instruments.

    Returns
    -------
    ndarray (B,)
        Needs B * J * J numbers at once; call it in blocks.
    """
    rho = np.broadcast_to(np.asarray(error_corr, dtype=float), (len(z_x),))[:, None]
    q = 1.0 / (1.0 - rho * rho)
    u, v = q * (z_x - rho * z_y), q * (z_y - rho * z_x)
    a, c = (q + 1.0 / w_x)[:, :, None], (q + 1.0 / w_y)[:, None, :]
    e = -(q * rho)[:, :, None] * ld
    det = a * c - e * e
    both = c * (u * u)[:, :, None] - 2.0 * e * u[:, :, None] * v[:, None, :] + a * (v * v)[:, None, :]
    log_bf = 0.5 * (both / det - np.log(det * w_x[:, :, None] * w_y[:, None, :]))
    J = z_x.shape[-1]
    log_bf[:, np.arange(J), np.arange(J)] = -np.inf
    flat = log_bf.reshape(len(z_x), -1)
    return np.asarray(special.logsumexp(flat, axis=-1)) if J > 1 else np.full(len(z_x), -np.inf)


def single_cause_posterior(log_bf: Array, p1: float) -> tuple[Array, Array]:
    """Posterior of every instrument being the one cause of a trait, and of there being none.

    Parameters
    ----------
    log_bf : ndarray (..., J)
    p1 : float
        Prior of one instrument being the cause; J p1 must not exceed 1.

    Returns
    -------
    posterior : ndarray (..., J)
    none : ndarray (...)
        Posterior of no cause, whose prior is 1 - J p1.
    """
    J = log_bf.shape[-1]
    with np.errstate(divide="ignore"):
        null = np.full((*log_bf.shape[:-1], 1), np.log(max(0.0, 1.0 - J * p1)))
    both = special.softmax(np.concatenate([np.log(p1) + log_bf, null], axis=-1), axis=-1)
    return both[..., :-1], both[..., -1]


def trait_sd_from_frequency(variance: Array, frequency: Array, n: ArrayLike) -> Array:
    """Standard deviation of a quantitative trait from errors and allele frequencies.

    Regresses 2 n f (1 - f) on 1 / variance through the origin (instruments last); the slope is
    the trait's variance. Not valid where effects were not estimated by least squares on dosages.
    """
    x = 1.0 / np.asarray(variance, dtype=float)
    f = np.asarray(frequency, dtype=float)
    y = 2.0 * np.asarray(n, dtype=float) * f * (1.0 - f)
    return np.asarray(np.sqrt((x * y).sum(-1) / (x * x).sum(-1)))


def variance_from_frequency(frequency: ArrayLike, n: ArrayLike, case_fraction: float | None = None) -> Array:
    """Error variance of an effect on a trait of unit variance (or a log odds ratio) from frequency and n.

    Not valid for rare alleles in small samples, nor for trait values far from normal.
    """
    f = np.asarray(frequency, dtype=float)
    v = 1.0 / (2.0 * np.asarray(n, dtype=float) * f * (1.0 - f))
    return np.asarray(v if case_fraction is None else v / (case_fraction * (1.0 - case_fraction)))


def estimated_prior_variance(
    beta: Array,
    variance: Array,
    locus: NDArray[np.int_],
    share: float = _FRACTION_WITH_CAUSE,
    points: int = 61,
) -> Array:
    """Prior variance of the effects of each trait that makes its loci most likely.

    Each locus holds one cause among its instruments with prior probability ``share``, or none.
    The likelihood is maximized over a logarithmic grid, refined by a parabola.

    Parameters
    ----------
    beta, variance : ndarray (T, J)
        Effects and error variances.
    locus : ndarray (J,) of int
        Locus of each instrument, 0 to K - 1.
    share : float
        Prior probability of a locus having a cause.
    points : int
        Points of the grid: with 61 two neighbors differ by less than a quarter in the usual range.

    Returns
    -------
    ndarray (T,)
        Zero where no value is more likely than no effect at all.
    """
    order = np.argsort(locus, kind="stable")
    beta, variance = beta[:, order], variance[:, order]
    starts = np.flatnonzero(np.diff(locus[order], prepend=-1))
    size = np.diff(np.append(starts, len(order)))
    scale = np.median(variance, axis=-1)
    z2 = beta * beta / variance
    # from effects lost in the noise (1% of the error variance) to ten times the largest squared z
    exponents = np.linspace(-2.0, max(2.0, np.log10(max(float(z2.max()), 1.0)) + 1.0), points)
    loglik = np.zeros((len(beta), points))
    for g, e in enumerate(exponents):
        log_bf = log_bayes_factor(beta, variance, (scale * 10.0**e)[:, None])
        top = np.maximum.reduceat(log_bf, starts, axis=-1)
        total = np.add.reduceat(np.exp(log_bf - np.repeat(top, size, axis=-1)), starts, axis=-1)
        one = np.log(total / size) + top
        loglik[:, g] = np.logaddexp(np.log1p(-share), np.log(share) + one).sum(-1)
    best = np.clip(loglik.argmax(-1), 1, points - 2)
    t = np.arange(len(beta))
    left, mid, right = loglik[t, best - 1], loglik[t, best], loglik[t, best + 1]
    bend = left - 2.0 * mid + right
    with np.errstate(divide="ignore", invalid="ignore"):
        move = np.where(bend < 0.0, 0.5 * (left - right) / bend, 0.0)
    step = exponents[1] - exponents[0]
    value = scale * 10.0 ** (exponents[best] + np.clip(move, -1.0, 1.0) * step)
    return np.asarray(np.where(loglik.max(-1) > 0.0, value, 0.0))
