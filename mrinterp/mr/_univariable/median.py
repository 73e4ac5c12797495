"""Medians of the instruments' ratios: valid while less than half of the weight is on invalid ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.effects import Effects, delta_variance
from mrinterp.mr._engine.inference import choice, residual_df
from mrinterp.mr._engine.registry import Fit, estimator
from mrinterp.stats.loops.one_kind import one_kind
from mrinterp.stats.loops.row_threads import by_rows
from mrinterp.stats.tests.tails import neglog10p_chi2, two_sided_p

__all__ = ["penalized_weighted_median", "simple_median", "weighted_median"]

Array = NDArray[np.float64]

_WORTH_A_THREAD = 1 << 17
"""Fewest numbers to select among that are worth starting a thread for."""

SCREENED = 10_000
"""Cells beyond which the bootstrap is taken to its end only where an effect could be more than noise."""

FIRST_DRAWS = 100
"""Draws that every cell gets: their error is known to 7%."""

CLEAR = 1.4
"""Effects over such an error, below which the whole bootstrap would not make them significant at .05: that would take an
error 1.4 times too large, five of its own standard deviations."""

LEAST_EXPECTED = 100
"""Instruments from which the error is known without draws: against 1,000 draws 1% to 5% larger, of 2,000 cells the furthest
by a third or less where up to half of the instruments were invalid (2.7 times where errors differ 30-fold)."""

CLEAR_BY_BOTH = 1.75
"""Effects over either error, the expected one and that of the first draws, below which both say that there is nothing."""

SMALL = 1 << 20
"""Numbers drawn for a table (cells x instruments x draws) up to which it is sorted, so that nothing need be compiled."""

_REFERENCE = "Bowden, Davey Smith, Haycock & Burgess 2016 Genet Epidemiol, doi:10.1002/gepi.21965"


def _weights(b: Array, s: Array, g: Array, t: Array, order: str, rho: Array) -> Array:
    choice("weights", order, ("first", "second"))
    return b * b / (t * t if order == "first" else delta_variance(b, s, g, t, rho))


def _medians(ratio: Array, weights: Array, small: bool) -> Array:
    if small:
        from mrinterp.stats.robust.sorted_medians import sorted_medians

        return sorted_medians(ratio, weights)
    from mrinterp.stats.robust.weighted_median import weighted_medians

    out = np.empty(len(ratio))
    ratio, weights = one_kind(ratio, weights)

    def select(first: int, last: int) -> None:
        out[first:last] = weighted_medians(ratio[first:last], weights[first:last])

    by_rows(select, len(ratio), _WORTH_A_THREAD // ratio.shape[1])
    return out


def _fit(
    effects: Effects,
    weights: str | None,
    penalty: float | None,
    draws: int,
    seed: int,
    rho: Array | None,
    distribution: str,
) -> Fit:
    choice("distribution", distribution, ("normal", "t"))
    shape, df = effects.shape, residual_df(distribution, effects.count - 1)
    small = max(effects.beta_x.size * len(effects.beta_y), effects.asked * effects.count) * draws <= SMALL
    known = weights in (None, "first") and not small
    if known:
        from mrinterp.stats.robust.ratio_medians import ratio_medians

        beta, f = ratio_medians(
            effects.beta_x, effects.se_x, effects.beta_y, effects.se_y, weights is not None
        )
        if penalty is None and draws < 2:
            return Fit(beta, np.full(shape, np.nan), df, details={"f": f})
    b, s, g, t = one_kind(*effects.cells())
    r = np.zeros(len(b)) if rho is None else np.ascontiguousarray(rho, dtype=float).reshape(-1)
    ratio = g / b
    w = np.ones_like(b) if weights is None else _weights(b, s, g, t, weights, r[:, None])
    beta = beta.reshape(-1) if known else _medians(ratio, w, small)
    if penalty is not None:
        q = w * (ratio - beta[:, None]) ** 2
        w = w * np.minimum(1.0, penalty * two_sided_p(neglog10p_chi2(q, 1.0)))
        w = np.maximum(w, 1e-300)
        beta = _medians(ratio, w, small)
    se = np.full(len(b), np.nan)
    if draws > 1:
        cells = (b, s, g, t, r, w)
        if max(len(b), effects.asked) > SCREENED and draws > 2 * FIRST_DRAWS:
            se, used = _screened(cells, beta, int(draws), seed, small)
            details = {"f": effects.mean_f(), "draws": used.reshape(shape)}
            return Fit(beta.reshape(shape), se.reshape(shape), df, details=details)
        se = _bootstrapped(cells, int(draws), seed, small)
    f = effects.mean_f()
    return Fit(beta.reshape(shape), se.reshape(shape), df, details={"f": f})


def _screened(
    cells: tuple[Array, ...], beta: Array, draws: int, seed: int, small: bool
) -> tuple[Array, Array]:
    """Errors, and how many draws each is from: all of them only where an effect could be more than noise."""
    size, used = np.abs(beta), np.zeros(len(beta))
    many = cells[0].shape[1] >= LEAST_EXPECTED
    se = _expected(cells, beta) if many else np.full(len(beta), np.nan)
    open_ = np.flatnonzero(~(size < CLEAR * se))
    expected = se[open_]
    first = _bootstrapped(tuple(c[open_] for c in cells), FIRST_DRAWS, seed, small)
    se[open_], used[open_] = first, FIRST_DRAWS
    nothing = size[open_] < CLEAR * first
    if many:
        nothing |= size[open_] < CLEAR_BY_BOTH * np.fmin(expected, first)
    # The first draws are those of the whole bootstrap: what stands out gets the rest of them.
    far = open_[~nothing]
    se[far], used[far] = _bootstrapped(tuple(c[far] for c in cells), draws, seed, small), draws
    return se, used


def _expected(cells: tuple[Array, ...], beta: Array) -> Array:
    """Errors of rows b, s, g, t, correlation and weights without draws."""
    from mrinterp.stats.robust.median_error import expected_sd

    b, s, g, t, r, w = cells
    se = np.empty(len(beta))

    def part(i: int, k: int) -> None:
        se[i:k] = expected_sd(b[i:k], s[i:k], g[i:k], t[i:k], r[i:k], w[i:k], beta[i:k])

    by_rows(part, len(beta), max(1, _WORTH_A_THREAD // cells[0].shape[1]))
    return se


def _bootstrapped(cells: tuple[Array, ...], draws: int, seed: int, small: bool) -> Array:
    """Bootstrap errors of rows b, s, g, t, correlation and weights: each from a stream of its own numbers."""
    b, s, g, t, r, w = cells
    if small:
        from mrinterp.stats.robust.sorted_medians import sorted_bootstrap_sd

        return sorted_bootstrap_sd(b, s, g, t, r, w, draws, seed)
    from mrinterp.stats.robust.weighted_median import bootstrap_sd

    se, key = np.empty(len(b)), np.uint64(seed)
    bits_b, bits_g = b.view(np.uint64), g.view(np.uint64)

    def part(i: int, k: int) -> None:
        se[i:k] = bootstrap_sd(
            b[i:k], s[i:k], g[i:k], t[i:k], r[i:k], w[i:k], bits_b[i:k], bits_g[i:k], draws, key
        )

    by_rows(part, len(b), max(1, _WORTH_A_THREAD // (draws * b.shape[1])))
    return se


@estimator(
    "simple_median",
    "Simple median",
    assumes=("more than half of the instruments act through the exposure only",),
    reference=_REFERENCE,
    min_instruments=3,
    divides=True,
)
def simple_median(
    effects: Effects,
    *,
    draws: int = 1000,
    seed: int = 0,
    distribution: str = "normal",
    rho: Array | None = None,
) -> Fit:
    """Median of the ratios g/b.

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes.
    draws, seed : int
        Parametric bootstrap of the error; with fewer than 2 draws there is none.
    distribution : {"normal", "t"}
        Reference of the interval; t has J - 1 degrees of freedom.
    rho : ndarray (F, O), optional
        Correlation of the errors of b and g, used in the draws.

    Notes
    -----
    Not valid where half of the instruments or more are invalid; the bootstrap error is heavy-tailed
    where instruments are weak (F below 10). With more than 10,000 cells the bootstrap is taken to its end only where an effect
    could be more than noise. With 100 instruments or more an effect below 1.4 of its expected error, which needs no draws,
    keeps that; with fewer, or above, an effect below 1.4 of its error after 100 draws (1.75 of either) keeps that one. All
    others get every draw, and the same error as alone. `details["draws"]` says how many.
    """
    return _fit(effects, None, None, draws, seed, rho, distribution)


@estimator(
    "weighted_median",
    "Weighted median",
    assumes=("more than half of the weight is on instruments that act through the exposure only",),
    reference=_REFERENCE,
    min_instruments=3,
    divides=True,
)
def weighted_median(
    effects: Effects,
    *,
    weights: str = "first",
    draws: int = 1000,
    seed: int = 0,
    distribution: str = "normal",
    rho: Array | None = None,
) -> Fit:
    """Median of the ratios by weight, linearly interpolated between the midpoints of the weights.

    Parameters
    ----------
    weights : {"first", "second"}
        b^2/syy (TwoSampleMR's are second order: they also hold the error of b, and shrink with
        large |g|, which pulls toward zero).

    Notes
    -----
    Other parameters and limits as in `simple_median`.
    """
    return _fit(effects, weights, None, draws, seed, rho, distribution)


@estimator(
    "penalized_weighted_median",
    "Penalized weighted median",
    assumes=("more than half of the penalized weight is on instruments that act through the exposure only",),
    reference=_REFERENCE,
    min_instruments=3,
    divides=True,
)
def penalized_weighted_median(
    effects: Effects,
    *,
    weights: str = "first",
    penalty: float = 20.0,
    draws: int = 1000,
    seed: int = 0,
    distribution: str = "normal",
    rho: Array | None = None,
) -> Fit:
    """Weighted median after the weights of outlying ratios are cut to min(1, penalty * p).

    Parameters
    ----------
    penalty : float
        Multiplier of each instrument's chi-square p about the weighted median.

    Notes
    -----
    Other parameters and limits as in `weighted_median`.
    """
    return _fit(effects, weights, float(penalty), draws, seed, rho, distribution)
