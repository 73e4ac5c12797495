"""The single-effect regression: one cause among J standardized instruments, many traits at once.

With standardized instruments all share the same error variance, so that the log Bayes factor of
instrument j is ``0.5 log(1 - k) + k g_j`` with ``g = z**2 / 2`` and the shrinkage
``k = V / (V + s2)`` of the trait. The likelihood of the prior variance V is then a function of k
alone, whose maxima solve ``(1 - k) E[g] = 1/2`` under the posterior weights.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["best_single_effect", "single_effect_weights"]

Array = NDArray[np.float64]

_MAX_STEPS = 8
_GRID = 9
_BISECTIONS = 60
_PRECISION = 1e-12
_NEWTON_PRECISION = 1e-5


def single_effect_weights(
    k: Array, g: Array, log_prior: Array, null_weight: float = 0.0
) -> tuple[Array, Array]:
    """Posterior weights of the instruments and the log evidence of an effect against none.

    Parameters
    ----------
    k : ndarray (T,)
        Shrinkage of each trait.
    g : ndarray (T, J)
        Half the squared z of each instrument.
    log_prior : ndarray (J,) or (T, J)
        Log prior weights of the instruments; they sum to ``1 - null_weight``.
    null_weight : float
        Prior weight of no effect.

    Returns
    -------
    alpha : ndarray (T, J)
        Posterior weights; with a null weight they sum to less than one.
    log_bf : ndarray (T,)
    """
    x = log_prior + k[:, None] * g
    top = x.max(-1)
    x -= top[:, None]
    np.exp(x, out=x)
    total = x.sum(-1)
    log_bf = 0.5 * np.log1p(-k) + top + np.log(total)
    if null_weight > 0.0:
        with_null = np.logaddexp(log_bf, np.log(null_weight))
        x *= (np.exp(log_bf - with_null) / total)[:, None]
        return x, with_null
    x /= total[:, None]
    return x, log_bf


def _moments(k: Array, centred: Array, squared: Array, prior: Array | None) -> tuple[Array, Array, Array]:
    """Mean and variance of g minus its maximum under the posterior weights, and the sum of those."""
    w = np.exp(k[:, None] * centred)
    if prior is not None:
        w *= prior
    total = w.sum(-1)
    m1 = np.einsum("tj,tj->t", w, centred) / total
    m2 = np.einsum("tj,tj->t", w, squared) / total
    return m1, np.maximum(m2 - m1 * m1, 0.0), total


def _newton(k: Array, g_top: Array, centred: Array, prior: Array | None) -> tuple[Array, NDArray[np.bool_]]:
    """Follow the stationary point of the likelihood from ``k``; True where it is a maximum.

    Newton steps where they lead to a maximum, otherwise the fixed point ``k = 1 - 1 / (2 E[g])``, which
    comes down to the largest maximum from above. Traits that creep are searched on a grid instead.
    """
    k = k.copy()
    upper = 1.0 - 0.5 / g_top
    todo = np.arange(len(k))
    peaked = np.zeros(len(k), bool)
    squared = centred * centred
    norm = np.log(centred.shape[-1] if prior is None else prior.sum(-1))
    for _ in range(_MAX_STEPS):
        sub = slice(None) if len(todo) == len(k) else todo
        p = prior if prior is None or prior.ndim == 1 else prior[sub]
        kt = k[todo]
        m, v, total = _moments(kt, centred[sub], squared[sub], p)
        m = m + g_top[todo]
        # log E exp(k g) is convex in k: where it is below k / 2, no smaller k has any evidence
        hopeless = np.log(total) + kt * g_top[todo] - (norm if np.ndim(norm) == 0 else norm[todo]) <= 0.5 * kt
        slope = -m + (1.0 - kt) * v
        value = (1.0 - kt) * m - 0.5
        fixed = 1.0 - 0.5 / np.maximum(m, 1e-300)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = kt - value / slope
        inside = (slope < 0.0) & (step > 0.0) & (step < upper[todo])
        new = np.clip(np.where(inside, step, fixed), 0.0, upper[todo])
        new[hopeless] = 0.0
        k[todo] = new
        peaked[todo] = slope < 0.0
        # a Newton step of 1e-5 leaves an error of its square; a fixed-point step must be followed to the end
        moving = np.abs(new - kt) > np.where(inside, _NEWTON_PRECISION, _PRECISION)
        todo = todo[moving & (new > 0.0)]
        if not len(todo):
            break
    if len(todo):
        p = prior if prior is None or prior.ndim == 1 else prior[todo]
        k[todo] = _search(k[todo], g_top[todo], centred[todo], p)
        peaked[todo] = k[todo] > 0.0
    return k, peaked & (k > 0.0)


def _search(top: Array, g_top: Array, centred: Array, prior: Array | None) -> Array:
    """Maximum of the likelihood between 0 and ``top`` by a grid and bisection; 0 where nothing beats 0."""
    share = np.linspace(0.0, 1.0, _GRID)
    weight = np.ones_like(centred[0]) if prior is None else prior
    norm = np.log(weight.sum(-1))
    values = np.empty((len(top), _GRID))
    for i, s in enumerate(share):
        k = top * s
        total = (weight * np.exp(k[:, None] * centred)).sum(-1)
        values[:, i] = 0.5 * np.log1p(-k) + k * g_top + np.log(total) - norm
    out = np.zeros(len(top))
    rows = np.flatnonzero(values.max(-1) > 0.0)
    if not len(rows):
        return out
    best, ceiling, g_top, centred = values[rows].argmax(-1), top[rows], g_top[rows], centred[rows]
    prior = prior if prior is None or prior.ndim == 1 else prior[rows]
    low, high = ceiling * share[best - 1], ceiling * share[np.minimum(best + 1, _GRID - 1)]
    squared, k = centred * centred, ceiling * share[best]
    for _ in range(_BISECTIONS):
        m, v, _ = _moments(k, centred, squared, prior)
        m = m + g_top
        value, slope = (1.0 - k) * m - 0.5, -m + (1.0 - k) * v
        low, high = np.where(value > 0.0, k, low), np.where(value > 0.0, high, k)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = k - value / slope
        newton = (step > low) & (step < high)
        new = np.where(newton, step, 0.5 * (low + high))
        done = np.abs(new - k) < np.where(newton, _NEWTON_PRECISION, _PRECISION)
        k = new
        if done.all():
            break
    out[rows] = k
    return out


def best_single_effect(
    g: Array, log_prior: Array, start: Array, null_weight: float = 0.0, uniform: bool = False
) -> tuple[Array, Array, Array]:
    """One effect per trait at its maximum likelihood prior variance; none where none does as well.

    Parameters
    ----------
    g : ndarray (T, J)
        Half the squared z.
    log_prior : ndarray (J,) or (T, J)
        Log prior weights.
    start : ndarray (T,)
        Shrinkage of an earlier fit (0: none), whose maximum is followed where there is one;
        otherwise the search comes down from the largest shrinkage that can be a maximum.
    null_weight : float
        Prior weight of no effect.
    uniform : bool
        All instruments have the same prior weight.

    Returns
    -------
    k : ndarray (T,)
        Shrinkage; 0 where the evidence for an effect is not above 1.
    alpha : ndarray (T, J)
        Posterior weights (the prior where k is 0).
    log_bf : ndarray (T,)
    """
    g_top = g.max(-1)
    k = np.zeros(len(g))
    able = np.flatnonzero(g_top > 0.5 + 1e-12)
    if len(able):
        rows = slice(None) if len(able) == len(g) else able
        top = g_top[able]
        centred = g[rows] - top[:, None]
        prior = None
        if not uniform:
            prior = np.exp(log_prior - log_prior.max()) if log_prior.ndim == 1 else np.exp(log_prior[rows])
        above = 1.0 - 0.5 / top
        first = np.where(start[able] > 0.0, np.minimum(start[able], above), above)
        found, peaked = _newton(first, top, centred, prior)
        lost = np.flatnonzero(~peaked & (first < above))
        if len(lost):
            p = prior if prior is None or prior.ndim == 1 else prior[lost]
            found[lost] = _newton(above[lost], top[lost], centred[lost], p)[0]
        k[able] = found
    alpha, log_bf = single_effect_weights(k, g, log_prior, null_weight)
    none = log_bf <= 0.0
    k[none] = 0.0
    alpha[none] = np.exp(log_prior) if log_prior.ndim == 1 else np.exp(log_prior[none])
    log_bf[none] = 0.0
    return k, alpha, log_bf
