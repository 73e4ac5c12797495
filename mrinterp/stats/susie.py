"""Sum of single effects: variational regression with L sparse effects, many traits that share an LD matrix.

All forms of input (individual data, sufficient statistics, z-scores) come down to standardized
instruments with a common correlation matrix ``ld``: ``X'X = (n - 1) ld``. The work per iteration
and effect is one matrix product for all traits.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from mrinterp.stats.single_effect import best_single_effect, single_effect_weights

__all__ = ["NEGLIGIBLE", "SusieFit", "pip", "sum_of_single_effects"]

Array = NDArray[np.float64]

NEGLIGIBLE = 1e-9
"""Prior variance up to which an effect counts as absent."""


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


class _Sweep:
    """State of the traits that still iterate."""

    def __init__(
        self,
        xty: Array,
        yty: Array,
        d: Array,
        effects: int,
        prior_scale: float,
        sigma2: Array,
        alpha: Array | None,
        mu: Array | None,
        ld: Array,
    ) -> None:
        T, J = xty.shape
        self.xty, self.yty, self.d, self.sigma2 = xty, yty, d, sigma2
        self.alpha = np.full((T, effects, J), 1.0 / J) if alpha is None else alpha.copy()
        self.mu = np.zeros((T, effects, J)) if mu is None else mu.copy()
        variance = prior_scale * sigma2
        self.k = np.repeat((variance * d / (variance * d + sigma2))[:, None], effects, axis=1)
        self.fixed_variance = variance
        self.started = np.zeros((T, effects), bool)
        self.log_bf = np.zeros((T, effects))
        self.square = np.zeros((T, effects))  # E b'X'Xb of each effect: d * sum of alpha mu2
        self.fit = np.zeros((T, effects))  # (E b)'X'X(E b)
        self.kl = np.zeros((T, effects))
        self.fitted = np.zeros((T, effects, J))  # X'X E b_l
        self.total = np.zeros((T, J))
        self.sigma2_used = sigma2.copy()
        self.elbo = np.full(T, -np.inf)
        if mu is not None:
            for e in range(effects):
                self.fitted[:, e] = d[:, None] * ((self.alpha[:, e] * self.mu[:, e]) @ ld)
            self.total = self.fitted.sum(1)

    def keep(self, rows: NDArray[np.int_]) -> None:
        """Go on with some traits only."""
        for name, value in vars(self).items():
            setattr(self, name, value[rows])

    def update_effect(
        self, e: int, ld: Array, log_prior: Array, null_weight: float, estimate: bool, uniform: bool
    ) -> None:
        """Fit effect ``e`` of every trait to what the other effects leave."""
        residual = self.xty - self.total + self.fitted[:, e]
        d, s2 = self.d, self.sigma2
        g = residual * residual
        g *= (0.5 / (s2 * d))[:, None]
        if not uniform and np.isneginf(log_prior).any():
            g = np.where(np.isneginf(log_prior), 0.0, g)  # instruments that are ruled out
        if estimate:
            start = np.where(self.started[:, e], self.k[:, e], 0.0)
            k, alpha, log_bf = best_single_effect(g, log_prior, start, null_weight, uniform)
        else:
            k = self.fixed_variance * d / (self.fixed_variance * d + s2)
            alpha, log_bf = single_effect_weights(k, g, log_prior, null_weight)
        self.started[:, e] = True
        mu = (k / d)[:, None] * residual
        b = alpha * mu
        self.k[:, e], self.alpha[:, e], self.log_bf[:, e], self.mu[:, e] = k, alpha, log_bf, mu
        self._apply(e, b, k, ld)
        included = alpha.sum(-1) if null_weight > 0.0 else 1.0
        self.square[:, e] = d * (np.einsum("tj,tj->t", b, mu) + included * k * s2 / d)
        self.fit[:, e] = np.einsum("tj,tj->t", b, self.fitted[:, e])
        explained = np.einsum("tj,tj->t", b, residual)
        self.kl[:, e] = -log_bf + (2.0 * explained - self.square[:, e]) / (2.0 * s2)

    def _apply(self, e: int, b: Array, k: Array, ld: Array) -> None:
        """Store X'X b and the new total; a matrix product only for traits that have the effect."""
        self.total -= self.fitted[:, e]
        live = np.flatnonzero(k > 0.0)
        if len(live) == len(k):
            self.fitted[:, e] = self.d[:, None] * (b @ ld)
        else:
            self.fitted[:, e] = 0.0
            if len(live):
                self.fitted[live, e] = self.d[live, None] * (b[live] @ ld)
        self.total += self.fitted[:, e]

    def residual_square(self) -> Array:
        """Expected residual sum of squares."""
        b = np.einsum("tlj,tlj->tj", self.alpha, self.mu)
        cross = np.einsum("tj,tj->t", b, self.xty)
        joint = np.einsum("tj,tj->t", b, self.total)
        return np.asarray(self.yty - 2.0 * cross + joint + (self.square - self.fit).sum(1))


def sum_of_single_effects(
    xty: Array,
    yty: Array,
    n: Array,
    ld: Array,
    max_effects: int = 10,
    prior_weights: Array | None = None,
    null_weight: float = 0.0,
    scaled_prior_variance: float = 0.2,
    estimate_prior_variance: bool = True,
    estimate_residual_variance: bool = False,
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
        Start (or fixed value) of the prior variance in units of the trait's variance.
    estimate_prior_variance, estimate_residual_variance : bool
        Whether each effect's prior variance, and the residual variance, are estimated.
    tol : float
        A trait is done when its evidence bound rises by less.
    max_iter : int
        Iterations after which a trait is given up (``converged`` False).
    start : SusieFit, optional
        Where to start from.

    Returns
    -------
    SusieFit

    Notes
    -----
    The result is a fixed point, not always the global maximum of the bound.

    References
    ----------
    Wang et al. 2020, J. R. Stat. Soc. B, doi:10.1111/rssb.12388; Zou et al. 2022, PLoS Genetics,
    doi:10.1371/journal.pgen.1010299 (summary data).
    """
    T, J = xty.shape
    L = min(max_effects, J)
    d = np.asarray(n, float) - 1.0
    weights = np.full(J, 1.0) if prior_weights is None else np.asarray(prior_weights, float)
    weights = weights / weights.sum(-1, keepdims=True) * (1.0 - null_weight)
    with np.errstate(divide="ignore"):
        log_prior = np.log(weights)
    uniform = prior_weights is None
    out = _empty_fit(T, L, J)
    sweep = _Sweep(
        xty,
        np.asarray(yty, float),
        d,
        L,
        scaled_prior_variance,
        np.asarray(yty, float) / d,
        None if start is None else start.alpha,
        None if start is None else start.mu,
        ld,
    )
    rows = np.arange(T)
    for iteration in range(1, max_iter + 1):
        for e in range(L):
            prior = log_prior if log_prior.ndim == 1 else log_prior[rows]
            sweep.update_effect(e, ld, prior, null_weight, estimate_prior_variance, uniform)
        rss = sweep.residual_square()
        count = d[rows] + 1.0
        elbo = (
            -0.5 * count * np.log(2.0 * np.pi * sweep.sigma2) - rss / (2.0 * sweep.sigma2) - sweep.kl.sum(1)
        )
        done = elbo - sweep.elbo < tol
        sweep.elbo, sweep.sigma2_used = elbo, sweep.sigma2.copy()
        if estimate_residual_variance:
            sweep.sigma2 = np.where(done, sweep.sigma2, np.maximum(rss, 1e-300) / count)
        last = iteration == max_iter
        finished = np.arange(len(rows)) if last else np.flatnonzero(done)
        if len(finished):
            _store(out, sweep, rows, finished, iteration, done)
            going = np.flatnonzero(~done) if not last else np.empty(0, int)
            rows = rows[going]
            if not len(rows):
                break
            sweep.keep(going)
    return out


def _empty_fit(T: int, L: int, J: int) -> SusieFit:
    cube, plane = (T, L, J), (T, L)
    return SusieFit(
        np.empty(cube),
        np.empty(cube),
        np.empty(plane),
        np.empty(plane),
        np.empty(plane),
        np.empty(cube),
        np.empty(T),
        np.empty(T),
        np.zeros(T, int),
        np.zeros(T, bool),
    )


def _store(
    out: SusieFit,
    sweep: _Sweep,
    rows: NDArray[np.int_],
    finished: NDArray[np.int_],
    iteration: int,
    done: NDArray[np.bool_],
) -> None:
    """Write finished traits into the result."""
    to = rows[finished]
    k, d, s2 = sweep.k[finished], sweep.d[finished], sweep.sigma2_used[finished]
    out.alpha[to], out.mu[to] = sweep.alpha[finished], sweep.mu[finished]
    out.shrinkage[to], out.log_bf[to] = k, sweep.log_bf[finished]
    out.sigma2[to], out.elbo[to] = s2, sweep.elbo[finished]
    out.prior_variance[to] = k / (1.0 - k) * (s2 / d)[:, None]
    out.n_iterations[to], out.converged[to] = iteration, done[finished]
    half = np.zeros_like(k)
    np.divide(0.5 * (d / s2)[:, None], k, out=half, where=k > 0.0)
    mu = sweep.mu[finished]
    out.log_bf_variable[to] = 0.5 * np.log1p(-k)[..., None] + half[..., None] * mu * mu


def pip(alpha: Array, prior_variance: Array) -> Array:
    """Posterior inclusion probability of each instrument over the effects that are present, (T, J)."""
    present = (prior_variance > NEGLIGIBLE)[..., None]
    absent = np.ones_like(alpha[:, 0])
    for e in range(alpha.shape[1]):
        absent *= 1.0 - present[:, e] * alpha[:, e]
    return np.asarray(1.0 - absent)
