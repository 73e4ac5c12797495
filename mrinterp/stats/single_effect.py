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

_MAX_STEPS = 60
_PRECISION = 1e-12
_NEWTON_PRECISION = 1e-7


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


def _moments(k: Array, centred: Array, squared: Array, prior: Array | None) -> tuple[Array, Array]:
    """Mean and variance of g minus its maximum under the posterior weights."""
    w = np.exp(k[:, None] * centred)
    if prior is not None:
        w *= prior
    total = w.sum(-1)
    m1 = np.einsum("tj,tj->t", w, centred) / total
    m2 = np.einsum("tj,tj->t", w, squared) / total
    return m1, np.maximum(m2 - m1 * m1, 0.0)


def _newton(k: Array, g_top: Array, centred: Array, prior: Array | None) -> tuple[Array, NDArray[np.bool_]]:
    """Follow the stationary point of the likelihood from ``k``; True where it is a maximum."""
    k = k.copy()
    upper = 1.0 - 0.5 / g_top
    todo = np.arange(len(k))
    peaked = np.zeros(len(k), bool)
    squared = centred * centred
    for _ in range(_MAX_STEPS):
        sub = slice(None) if len(todo) == len(k) else todo
        p = prior if prior is None or prior.ndim == 1 else prior[sub]
        m, v = _moments(k[todo], centred[sub], squared[sub], p)
        m = m + g_top[todo]
        kt = k[todo]
        slope = -m + (1.0 - kt) * v
        value = (1.0 - kt) * m - 0.5
        fixed = 1.0 - 0.5 / np.maximum(m, 1e-300)  # monotone toward the largest root from above
        with np.errstate(divide="ignore", invalid="ignore"):
            step = kt - value / slope
        inside = (slope < 0.0) & (step > 0.0) & (step < upper[todo])
        new = np.clip(np.where(inside, step, fixed), 0.0, upper[todo])
        k[todo] = new
        peaked[todo] = slope < 0.0
        # a Newton step of 1e-7 leaves an error of its square; a fixed-point step must be followed to the end
        moving = np.abs(new - kt) > np.where(inside, _NEWTON_PRECISION, _PRECISION)
        todo = todo[moving & (new > 0.0)]
        if not len(todo):
            break
    return k, peaked & (k > 0.0)


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
