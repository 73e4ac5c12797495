"""Sum of single effects: variational regression with L sparse effects, many traits that share an LD matrix.

All forms of input (individual data, sufficient statistics, z-scores) come down to standardized
instruments with a common correlation matrix ``ld``: ``X'X = (n - 1) ld``. The work per iteration
and effect is one matrix product for the traits that have the effect; absent effects cost one
comparison per iteration and trait together, however many they are.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["NEGLIGIBLE", "PRIOR_VARIANCES", "SusieFit", "pip", "sum_of_single_effects"]

Array = NDArray[np.float64]

NEGLIGIBLE = 1e-9
"""Prior variance up to which an effect counts as absent."""

PRIOR_VARIANCES = ("fixed", "optimized", "em")
"""How prior variances are found: kept, by maximum likelihood, by expectation-maximization."""


@dataclass(frozen=True, eq=False)
class SusieFit:
    """Arrays of a fit, traits first, effects second, instruments last.

    ``alpha`` (T, L, J) posterior weights; ``mu`` (T, L, J) posterior mean effect given that the
    instrument is the cause, on standardized instruments; ``shrinkage``, ``prior_variance`` and
    ``log_bf`` (T, L); ``sigma2``, ``elbo``, ``n_iterations`` and ``converged`` (T,);
    ``log_bf_variable`` (T, L, J).
    """

    alpha: Array
    mu: Array
    shrinkage: Array
    prior_variance: Array
    log_bf: Array
    log_bf_variable: Array
    sigma2: Array
    elbo: Array
    n_iterations: NDArray[np.int_]
    converged: NDArray[np.bool_]

    def take(self, rows: NDArray[np.int_]) -> SusieFit:
        """The fit of some traits."""
        return SusieFit(*(getattr(self, f.name)[rows] for f in fields(self)))

    def put(self, rows: NDArray[np.int_], other: SusieFit) -> SusieFit:
        """A copy in which some traits' fits are replaced."""
        arrays = []
        for f in fields(self):
            new = getattr(self, f.name).copy()
            new[rows] = getattr(other, f.name)
            arrays.append(new)
        return SusieFit(*arrays)


class Sweep(NamedTuple):
    """State of all traits between two updates; arrays that the compiled loops write to.

    ``fitted`` (T, L, J) is X'X times each effect's posterior mean, ``total`` its sum over effects;
    ``square`` and ``fit`` (T, L) are E b'X'Xb and (E b)'X'X(E b) of each effect b; ``present``: the
    effect has a posterior mean other than 0; ``settled`` (T,): an absent effect has been looked at
    since the trait last changed.
    """

    xty: Array
    yty: Array
    d: Array
    sigma2: Array
    alpha: Array
    mu: Array
    fitted: Array
    total: Array
    k: Array
    variance: Array
    log_bf: Array
    square: Array
    fit: Array
    kl: Array
    present: NDArray[np.bool_]
    settled: NDArray[np.bool_]


def _sweep(
    xty: Array,
    yty: Array,
    d: Array,
    L: int,
    prior: Array,
    prior_scale: float,
    start: SusieFit | None,
    ld: Array,
) -> Sweep:
    """The state before the first update: no effects, or those of ``start``."""
    T, J = xty.shape
    # copies in C order: another layout, or a read-only array, would be another type to compile for
    xty, yty, sigma2 = np.array(xty, dtype=float, order="C"), np.array(yty, dtype=float), yty / d
    alpha, mu, fitted = np.empty((T, L, J)), np.zeros((T, L, J)), np.zeros((T, L, J))
    alpha[:] = prior[:, None]
    total, present = np.zeros((T, J)), np.zeros((T, L), dtype=np.bool_)
    if start is not None:
        alpha, mu = (np.array(a, dtype=float, order="C") for a in (start.alpha, start.mu))
        present[:] = mu.any(-1)
        for e in range(L):
            fitted[:, e] = d[:, None] * ((alpha[:, e] * mu[:, e]) @ ld)
            total += fitted[:, e]
    k, log_bf, square, fit, kl = np.zeros((5, T, L))
    variance = np.repeat((prior_scale * sigma2)[:, None], L, axis=1)
    state = (xty, yty, d, sigma2, alpha, mu, fitted, total, k, variance, log_bf, square, fit, kl)
    return Sweep(*state, present, np.zeros(T, bool))


def sum_of_single_effects(
    xty: Array,
    yty: Array,
    n: Array,
    ld: Array,
    max_effects: int = 10,
    prior_weights: Array | None = None,
    null_weight: float = 0.0,
    scaled_prior_variance: float = 0.2,
    prior_variance: str = "optimized",
    estimate_residual_variance: bool = False,
    least_residual_variance: Array | None = None,
    tol: float = 1e-4,
    max_iter: int = 100,
    start: SusieFit | None = None,
) -> SusieFit:
    """Fit L single effects to every trait by coordinate ascent on the evidence lower bound.

    Parameters
    ----------
    xty : ndarray (T, J)
        Cross-products of the centred traits with standardized instruments (sd 1 over n - 1).
    yty : ndarray (T,)
        Sums of squares of the centred traits.
    n : ndarray (T,)
        Sample sizes.
    ld : ndarray (J, J)
        Correlation of the instruments, shared by all traits.
    max_effects : int
        L; at most J are used.
    prior_weights : ndarray (J,) or (T, J), optional
        Prior weight of each instrument, scaled here; default uniform.
    null_weight : float
        Prior weight of an effect being nowhere.
    scaled_prior_variance : float
        Fixed value of the prior variance, or where EM starts, in units of the trait's variance.
    prior_variance : str
        ``"optimized"`` (each effect's by maximum likelihood, 0 where the null is as good), ``"em"``
        (expectation-maximization: the same maxima, many small steps, never exactly 0) or ``"fixed"``.
    estimate_residual_variance : bool
        Whether the residual variance is estimated.
    least_residual_variance : ndarray (T,), optional
        What an estimate of it is not less than; a perfect fit would take it to 0, where no effect is found.
    tol : float
        A trait is done when its evidence bound rises by less.
    max_iter : int
        Iterations after which the fit of a trait stops (``converged`` False).
    start : SusieFit, optional
        Where to start from.

    Returns
    -------
    SusieFit

    Notes
    -----
    Not valid where the correlation matrix comes from other data than the cross-products. The result is a
    fixed point, not always the global maximum of the bound. The loops over
    instruments are compiled by the first call on a machine (some seconds), then loaded from a cache.

    References
    ----------
    Wang et al. 2020, J. R. Stat. Soc. B, doi:10.1111/rssb.12388; Zou et al. 2022, PLoS Genetics,
    doi:10.1371/journal.pgen.1010299 (summary data).
    """
    from mrinterp.stats.sparse.single_effect import (
        expected_residual_square,
        log_bf_by_instrument,
        place_fitted,
        update_effect,
    )

    T, J = xty.shape
    L = min(max_effects, J)
    d, total_square = np.asarray(n, float) - 1.0, np.asarray(yty, float)
    prior = np.atleast_2d(np.full(J, 1.0) if prior_weights is None else np.asarray(prior_weights, float))
    prior = np.ascontiguousarray(prior / prior.sum(-1, keepdims=True) * (1.0 - null_weight))
    method, least = PRIOR_VARIANCES.index(prior_variance), least_residual_variance
    prior_scale = 0.0 if prior_variance == "optimized" else scaled_prior_variance
    s = _sweep(xty, total_square, d, L, prior, prior_scale, start, ld)
    live, effects, products = np.empty(T, int), np.empty((T, J)), np.empty((T, J))
    elbo, iterations, converged = np.full(T, -np.inf), np.zeros(T, int), np.zeros(T, bool)
    rows = np.arange(T)
    for iteration in range(1, max_iter + 1):
        s.settled[:] = False
        for e in range(L):
            m = update_effect(s, rows, e, prior, null_weight, method, live, effects)
            if m:
                np.matmul(effects[:m], ld, out=products[:m])
                place_fitted(s, e, live[:m], effects, products)
        rss, sigma2, count = expected_residual_square(s, rows), s.sigma2[rows], d[rows] + 1.0
        bound = -0.5 * count * np.log(2.0 * np.pi * sigma2) - rss / (2.0 * sigma2) - s.kl[rows].sum(1)
        done = bound - elbo[rows] < tol
        elbo[rows], iterations[rows], converged[rows] = bound, iteration, done
        rows = rows[~done]
        if not len(rows):
            break
        if estimate_residual_variance and iteration < max_iter:
            new = np.maximum(rss, 1e-300)[~done] / count[~done]
            s.sigma2[rows] = new if least is None else np.maximum(new, least[rows])
    by_instrument = log_bf_by_instrument(s)
    return SusieFit(
        s.alpha, s.mu, s.k, s.variance, s.log_bf, by_instrument, s.sigma2, elbo, iterations, converged
    )


def pip(alpha: Array, prior_variance: Array) -> Array:
    """Posterior inclusion probability of each instrument over the effects that are present, (T, J)."""
    present = (prior_variance > NEGLIGIBLE)[..., None]
    absent = np.ones_like(alpha[:, 0])
    for e in range(alpha.shape[1]):
        absent *= 1.0 - present[:, e] * alpha[:, e]
    return np.asarray(1.0 - absent)
