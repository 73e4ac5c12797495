"""The single-effect regression and its place in a sum of effects, in fused loops (numba, compiled on first use).

With standardized instruments all share the same error variance, so that the log Bayes factor of
instrument j is ``0.5 log(1 - k) + k g_j`` with ``g = z**2 / 2`` and the shrinkage
``k = V / (V + s2 / d)`` of the trait. The likelihood of the prior variance V is then a function of k
alone, whose maxima solve ``(1 - k) E[g] = 1/2`` under the posterior weights.

Kept out of every other module's import: whoever needs it imports it inside the function. All compiled
functions live in this one file, because the cache on disk looks at the caller's file only.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = [
    "expected_residual_square",
    "log_bf_by_instrument",
    "place_fitted",
    "update_effect",
]

FIXED, OPTIMIZED, EXPECTED = 0, 1, 2
"""How a prior variance moves: not at all, to its maximum likelihood, to the expected square of the effect (in
the order of `mrinterp.stats.sparse.susie.PRIOR_VARIANCES`)."""

_MAX_STEPS = 8  # Newton or fixed-point steps before a grid is searched instead
_GRID = 9  # points of that grid, 0 included
_BISECTIONS = 60  # halvings that take any interval below the precision of a double
_PRECISION = 1e-12  # step at which a fixed point or a bisection has arrived
_NEWTON_PRECISION = 1e-5  # the same for a Newton step, whose error is the square of the step
_SMALLEST_EXPONENT = -700.0  # exp of less underflows
_REORDERED = {"reassoc", "contract", "nsz"}  # lets sums run in parallel lanes


@njit(inline="always")
def _exponential(x):  # type: ignore[no-untyped-def]
    """exp(x) for -700 <= x <= 0 to the last bit or two, written so that loops over it vectorize."""
    shifted = x * 1.4426950408889634 + 6755399441055744.0  # adding 1.5 * 2**52 rounds to a whole number
    n = shifted - 6755399441055744.0
    r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10  # log(2) in two parts
    p = 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    return p * np.int64((np.float64(shifted).view(np.int64) + 1023) << 52).view(np.float64)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})  # else inherited from the caller
def _tilt(k, centred, weight):  # type: ignore[no-untyped-def]
    """``weight = exp(k * centred)``; apart from the sums, whose reordering would undo the rounding trick."""
    for j in range(centred.size):
        weight[j] = _exponential(max(k * centred[j], _SMALLEST_EXPONENT))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_REORDERED)
def _moments(k, centred, prior, weight):  # type: ignore[no-untyped-def]
    """Sum of the weights prior * exp(k * centred), and mean and variance of ``centred`` under them."""
    _tilt(k, centred, weight)
    s0 = s1 = s2 = 0.0
    for j in range(centred.size):
        w = weight[j] * prior[j]
        first = w * centred[j]
        s0 += w
        s1 += first
        s2 += first * centred[j]
    mean = s1 / s0
    return s0, mean, max(s2 / s0 - mean * mean, 0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _newton(k, g_top, centred, prior, log_norm, weight):  # type: ignore[no-untyped-def]
    """Follow the stationary point of the likelihood from ``k``; 0 where that leads to no maximum.

    Newton steps where they lead to a maximum, otherwise the fixed point ``k = 1 - 1 / (2 E[g])``, which
    comes down to the largest maximum from above. Where that is too slow, a grid is searched instead.
    """
    upper = 1.0 - 0.5 / g_top
    for _ in range(_MAX_STEPS):
        total, mean, variance = _moments(k, centred, prior, weight)
        mean += g_top
        if np.log(total) + k * g_top - log_norm <= 0.5 * k:
            return 0.0  # log E exp(k g) is convex in k: below k / 2 here, no smaller k has any evidence
        slope = -mean + (1.0 - k) * variance
        step = k - ((1.0 - k) * mean - 0.5) / slope if slope < 0.0 else -1.0
        inside = 0.0 < step < upper
        new = step if inside else min(max(1.0 - 0.5 / max(mean, 1e-300), 0.0), upper)
        moved, k = abs(new - k), new
        if k == 0.0:
            return 0.0
        # a Newton step of 1e-5 leaves an error of its square; a fixed-point step must be followed to the end
        if moved <= (_NEWTON_PRECISION if inside else _PRECISION):
            return k if slope < 0.0 else 0.0
    return _search(k, g_top, centred, prior, log_norm, weight)


@njit(cache=True, nogil=True, error_model="numpy")
def _search(ceiling, g_top, centred, prior, log_norm, weight):  # type: ignore[no-untyped-def]
    """Maximum of the likelihood between 0 and ``ceiling`` by a grid and bisection; 0 where nothing beats 0."""
    best, highest = 0, 0.0
    for i in range(1, _GRID):
        k = ceiling * i / (_GRID - 1)
        total, _, _ = _moments(k, centred, prior, weight)
        value = 0.5 * np.log1p(-k) + k * g_top + np.log(total) - log_norm
        if value > highest:
            best, highest = i, value
    if best == 0:
        return 0.0
    k = ceiling * best / (_GRID - 1)
    low, high = ceiling * (best - 1) / (_GRID - 1), ceiling * min(best + 1, _GRID - 1) / (_GRID - 1)
    for _ in range(_BISECTIONS):
        _, mean, variance = _moments(k, centred, prior, weight)
        mean += g_top
        value, slope = (1.0 - k) * mean - 0.5, -mean + (1.0 - k) * variance
        if value > 0.0:
            low = k
        else:
            high = k
        step = k - value / slope if slope != 0.0 else -1.0
        newton = low < step < high
        new = step if newton else 0.5 * (low + high)
        moved, k = abs(new - k), new
        if moved < (_NEWTON_PRECISION if newton else _PRECISION):
            break
    return k


@njit(cache=True, nogil=True, error_model="numpy")
def best_shrinkage(g_top, centred, prior, start, log_norm, weight):  # type: ignore[no-untyped-def]
    """Shrinkage of the maximum likelihood prior variance of one effect; 0 where there is no maximum.

    Parameters
    ----------
    g_top : float
        Largest half squared z.
    centred : ndarray (J,)
        Half squared z of each instrument minus ``g_top``.
    prior : ndarray (J,)
        Prior weights; the logarithm of their sum is ``log_norm``.
    start : float
        Shrinkage of an earlier fit (0: none), whose maximum is followed where there is one;
        otherwise the search comes down from the largest shrinkage that can be a maximum.
    weight : ndarray (J,)
        Overwritten.
    """
    if g_top <= 0.5 + 1e-12:
        return 0.0
    above = 1.0 - 0.5 / g_top
    if 0.0 < start < above:
        k = _newton(start, g_top, centred, prior, log_norm, weight)
        if k > 0.0:
            return k
    return _newton(above, g_top, centred, prior, log_norm, weight)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_REORDERED)
def posterior_weights(k, g_top, centred, prior, null_weight, alpha):  # type: ignore[no-untyped-def]
    """Fill ``alpha`` (J,) with the posterior weights at shrinkage ``k``; log evidence against no effect.

    With a null weight the weights sum to less than one.
    """
    _tilt(k, centred, alpha)
    total = 0.0
    for j in range(alpha.size):
        alpha[j] *= prior[j]
        total += alpha[j]
    log_bf = 0.5 * np.log1p(-k) + k * g_top + np.log(total)
    scale = 1.0 / total
    if null_weight > 0.0:
        with_null = np.logaddexp(log_bf, np.log(null_weight))
        scale *= np.exp(log_bf - with_null)
        log_bf = with_null
    for j in range(alpha.size):
        alpha[j] *= scale
    return log_bf


@njit(cache=True, nogil=True, error_model="numpy")
def _largest(values):  # type: ignore[no-untyped-def]
    """Largest of some values that are not negative, in four lanes."""
    a = b = c = d = 0.0
    whole = values.size - values.size % 4
    for j in range(0, whole, 4):
        a, b = max(a, values[j]), max(b, values[j + 1])
        c, d = max(c, values[j + 2]), max(d, values[j + 3])
    for j in range(whole, values.size):
        a = max(a, values[j])
    return max(max(a, b), max(c, d))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_REORDERED)
def _leave_out(s, t, e, prior, residual, centred):  # type: ignore[no-untyped-def]
    """Take effect ``e`` out of the total; what is left of X'y, half squared z minus the largest, the largest."""
    total, xty, fitted = s.total[t], s.xty[t], s.fitted[t, e]
    if s.present[t, e]:
        for j in range(total.size):
            total[j] -= fitted[j]
    half = 0.5 / (s.sigma2[t] * s.d[t])
    for j in range(total.size):
        residual[j] = xty[j] - total[j]
        g = half * residual[j] * residual[j]
        centred[j] = g if prior[j] > 0.0 else 0.0  # an instrument with a prior of 0 is ruled out
    g_top = _largest(centred)
    for j in range(total.size):
        centred[j] -= g_top
    return g_top


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_REORDERED)
def _keep_effect(s, t, e, k, null_weight, residual, effect):  # type: ignore[no-untyped-def]
    """Store the posterior of an effect that is there; ``effect`` (J,) becomes its posterior mean."""
    alpha, mu = s.alpha[t, e], s.mu[t, e]
    d, sigma2 = s.d[t], s.sigma2[t]
    scale, square, explained, included = k / d, 0.0, 0.0, 0.0
    for j in range(alpha.size):
        mu[j] = scale * residual[j]
        effect[j] = alpha[j] * mu[j]
        square += effect[j] * mu[j]
        explained += effect[j] * residual[j]
        included += alpha[j]
    if null_weight == 0.0:
        included = 1.0
    s.square[t, e] = d * square + included * k * sigma2
    s.kl[t, e] = -s.log_bf[t, e] + (2.0 * explained - s.square[t, e]) / (2.0 * sigma2)
    return s.square[t, e] / (d * included)


@njit(cache=True, nogil=True, error_model="numpy")
def _drop_effect(s, t, e, prior):  # type: ignore[no-untyped-def]
    """Store that an effect is absent."""
    if s.k[t, e] > 0.0 or s.present[t, e]:
        s.alpha[t, e, :] = prior
        s.mu[t, e, :] = 0.0
        s.fitted[t, e, :] = 0.0
    s.k[t, e] = s.variance[t, e] = s.log_bf[t, e] = 0.0
    s.square[t, e] = s.fit[t, e] = s.kl[t, e] = 0.0
    s.present[t, e] = False


@njit(cache=True, nogil=True, error_model="numpy")
def update_effect(s, rows, e, prior, null_weight, method, live, effects):  # type: ignore[no-untyped-def]
    """Fit effect ``e`` of the traits ``rows`` to what their other effects leave.

    Parameters
    ----------
    s : Sweep
        State of the traits.
    prior : ndarray (1 or T, J)
        Prior weights; they sum to ``1 - null_weight``.
    method : int
        FIXED, OPTIMIZED or EXPECTED.
    live : ndarray (T,) of int
    effects : ndarray (T, J)
        Overwritten with the traits that have the effect, and its posterior mean in each.

    Returns
    -------
    int
        How many traits have the effect.
    """
    J = prior.shape[1]
    residual, centred, weight = np.empty(J), np.empty(J), np.empty(J)
    log_norm = np.log1p(-null_weight)
    count = 0
    for t in rows:
        # an absent effect sees what the absent effect before it saw: the same answer
        if method == OPTIMIZED and s.settled[t] and not s.present[t, e]:
            continue
        p = prior[t if len(prior) > 1 else 0]
        g_top = _leave_out(s, t, e, p, residual, centred)
        if method == OPTIMIZED:
            k = best_shrinkage(g_top, centred, p, s.k[t, e], log_norm, weight)
            if k > 0.0:
                s.log_bf[t, e] = posterior_weights(k, g_top, centred, p, null_weight, weight)
            s.settled[t] = k == 0.0 or s.log_bf[t, e] <= 0.0
            if s.settled[t]:
                _drop_effect(s, t, e, p)
                continue
        else:
            k = s.variance[t, e] * s.d[t] / (s.variance[t, e] * s.d[t] + s.sigma2[t])
            s.log_bf[t, e] = posterior_weights(k, g_top, centred, p, null_weight, weight)
        s.alpha[t, e, :] = weight
        s.k[t, e] = k
        square = _keep_effect(s, t, e, k, null_weight, residual, effects[count])
        if method == OPTIMIZED:
            s.variance[t, e] = k / (1.0 - k) * s.sigma2[t] / s.d[t]
        elif method == EXPECTED:
            s.variance[t, e] = square
        live[count] = t
        count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_REORDERED)
def place_fitted(s, e, live, effects, products):  # type: ignore[no-untyped-def]
    """Store the fitted X'X b of effect ``e`` of the traits ``live``; ``products`` (m, J) is b times the LD."""
    for i in range(len(live)):
        t = live[i]
        fitted, total, d = s.fitted[t, e], s.total[t], s.d[t]
        fit = 0.0
        for j in range(fitted.size):
            fitted[j] = d * products[i, j]
            total[j] += fitted[j]
            fit += effects[i, j] * fitted[j]
        s.fit[t, e] = fit
        s.present[t, e] = True


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_REORDERED)
def expected_residual_square(s, rows):  # type: ignore[no-untyped-def]
    """Expected residual sum of squares of the traits ``rows``."""
    J = s.xty.shape[1]
    out, whole = np.empty(len(rows)), np.empty(J)
    for i in range(len(rows)):
        t = rows[i]
        whole[:] = 0.0
        spread = 0.0
        for e in range(s.k.shape[1]):
            if s.present[t, e]:
                spread += s.square[t, e] - s.fit[t, e]
                alpha, mu = s.alpha[t, e], s.mu[t, e]
                for j in range(J):
                    whole[j] += alpha[j] * mu[j]
        total, xty = s.total[t], s.xty[t]
        joint = 0.0
        for j in range(J):
            joint += whole[j] * (total[j] - 2.0 * xty[j])
        out[i] = s.yty[t] + joint + spread
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def log_bf_by_instrument(s):  # type: ignore[no-untyped-def]
    """Log Bayes factor (T, L, J) of each instrument in each effect, from its posterior mean; 0 if absent."""
    out = np.zeros(s.mu.shape)
    T, L, J = s.mu.shape
    for t in range(T):
        for e in range(L):
            k, mu = s.k[t, e], s.mu[t, e]
            if k > 0.0:
                none, half = 0.5 * np.log1p(-k), 0.5 * s.d[t] / (s.sigma2[t] * k)
                for j in range(J):
                    out[t, e, j] = none + half * mu[j] * mu[j]
    return out
