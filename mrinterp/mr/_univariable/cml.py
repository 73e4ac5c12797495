"""Constrained maximum likelihood: at most q invalid instruments, q chosen by BIC or averaged over."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.inference import choice
from mrinterp.mr._engine.registry import Fit, estimator
from mrinterp.stats.loops.one_kind import one_kind
from mrinterp.stats.loops.row_threads import by_rows

__all__ = ["cml"]

Array = NDArray[np.float64]

_ROUNDING = 1e-12  # a fall of the likelihood that is smaller is not one
_ANGLES = 512
"""Candidates besides the instruments' ratios and the midpoints between them, spread over the whole line."""

_STARTS = 12
"""Local minima among the candidates from which each number of invalid instruments is refined, the lowest first."""


def _shares(b: Array, s: Array, g: Array, t: Array, rho: float, theta: Array) -> Array:
    """Each instrument's e^2 / v at each theta, (T, J): what it adds to -2 log likelihood if valid."""
    th = theta[:, None]
    return np.asarray((g - th * b) ** 2 / (t * t + th * th * s * s - 2.0 * th * rho * s * t))


def _starts(b: Array, s: Array, g: Array, t: Array, rho: float, kept: NDArray[np.int_]) -> Array:
    """For each number of kept instruments, the lowest local minima of its trimmed sum among many theta, (Q, S).

    Candidates are every instrument's ratio, the midpoints between neighbors, and a sweep of angles over the
    whole line: an invalid instrument adds nothing (its own path absorbs it), so that the likelihood of q is the
    sum of the J - q smallest shares, a function of theta alone.
    """
    ratio = np.sort(g[b != 0] / b[b != 0])
    centre = np.median(ratio)
    spread = np.median(np.abs(ratio - centre)) + np.median(t) / np.sqrt(np.mean(b * b) + 1e-300)
    angles = (np.arange(_ANGLES) + 0.5) / _ANGLES * np.pi - np.pi / 2
    middle = 0.5 * (ratio[1:] + ratio[:-1])
    candidates = np.sort(np.concatenate([ratio, middle, centre + spread * np.tan(angles)]))
    trimmed = np.cumsum(np.sort(_shares(b, s, g, t, rho, candidates), axis=1), axis=1)[:, kept - 1]
    around = np.pad(trimmed, ((1, 1), (0, 0)), constant_values=np.inf)
    low = np.where((trimmed <= around[:-2]) & (trimmed <= around[2:]), trimmed, np.inf)
    return np.asarray(candidates[np.argsort(low, axis=0, kind="stable")[:_STARTS]].T)


def _paths(
    b: Array, s: Array, g: Array, t: Array, rho: float, n: float, most: int
) -> tuple[Array, Array, Array, Array]:
    """Per q: theta, error, -2 log likelihood and BIC."""
    from mrinterp.stats.profile.trimmed_profile import refine_trimmed

    q = np.arange(min(most, len(b) - 2) + 1)
    at = np.arange(len(q))
    best = np.full((3, len(q)), np.inf)
    starts = _starts(b, s, g, t, rho, len(b) - q)
    while True:  # from the candidates, then from the solutions of the neighbors, while that helps
        out = np.empty((3, starts.size))
        refine_trimmed(b, s, g, t, rho, starts.ravel(), np.repeat(len(b) - q, starts.shape[1]), out)
        out = out.reshape(3, *starts.shape)
        found = out[:, at, np.argmin(out[1], axis=1)]
        better = found[1] < best[1] - _ROUNDING * (1.0 + np.abs(found[1]))
        if not better.any():
            break
        best[:, better] = found[:, better]
        starts = np.stack([np.roll(best[0], 1), np.roll(best[0], -1)], axis=1)
    theta, value, se = best
    return theta, se, value, q * np.log(n) + value


def _choose(theta: Array, se: Array, bic: Array, average: bool) -> tuple[float, float, int]:
    best = int(np.nanargmin(np.where(np.isfinite(se), bic, np.inf)))
    if not average:
        return float(theta[best]), float(se[best]), best
    known = np.isfinite(se)
    weight = np.where(known, np.exp(-0.5 * (bic - bic[best])), 0.0)
    weight = weight / weight.sum()
    mean = float(np.sum(np.where(known, weight * theta, 0.0)))
    error = float(np.sum(np.where(known, weight * np.sqrt(se * se + (theta - mean) ** 2), 0.0)))
    return mean, error, best


@estimator(
    "cml",
    "Constrained maximum likelihood",
    assumes=("the largest group of instruments that share one ratio is the valid one (plurality)",),
    reference="Xue, Shen & Pan 2021 Am J Hum Genet, doi:10.1016/j.ajhg.2021.05.014",
    min_instruments=3,
    divides=True,
    subtracts="shared",
)
def cml(
    effects: Effects,
    *,
    average: bool = False,
    perturbations: int = 0,
    n: float | None = None,
    most_invalid: int | None = None,
    seed: int = 0,
    rho: Array | None = None,
    n_x: Array | None = None,
    n_y: Array | None = None,
) -> Fit:
    """Least sum of e^2/v over the J - q best instruments; q by BIC = q log n + that sum.

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes.
    average : bool
        Average over q by BIC weights instead of taking the best.
    perturbations : int
        Data perturbation: this many redraws of all effects; estimate and error are their mean and
        standard deviation, which counts the selection of invalid instruments.
    n : float, optional
        Sample size in the BIC; the smallest of ``n_x`` and ``n_y`` by default.
    most_invalid : int, optional
        Largest q; J - 2 by default.
    seed : int
        Of the perturbations.
    rho : ndarray (F, O), optional
        Correlation of the errors of b and g.

    Notes
    -----
    For fixed theta the instruments' own effects and the invalid ones' direct paths are profiled out
    exactly, so the search is over theta alone, from every ratio and a sweep of the whole line: no
    random starts. Of several local minima the lowest found is taken (on 200 made-up data sets none of a sweep of
    16,000 theta was lower). Errors are from the observed information over the valid set and do not count its
    selection: use ``perturbations``. Not valid where the largest agreeing group is an invalid one.
    """
    shape, J = effects.shape, effects.count
    size = _sample_size(n, n_x, n_y, shape)
    if size is None:
        why = "needs the sample sizes for its BIC: give them in the table, or the option n"
        nothing = np.full(shape, np.nan)
        return Fit(nothing, nothing, status=np.full(shape, why, dtype=object))
    most = J - 2 if most_invalid is None else int(most_invalid)
    choice("average", str(average), ("True", "False"))
    b, s, g, t = one_kind(*effects.cells())
    r = np.zeros(len(b)) if rho is None else np.asarray(rho, float).reshape(-1)
    rng_key = np.random.default_rng(seed).standard_normal((2, max(perturbations, 0), J))
    out, flags = np.full((len(b), 4), np.nan), np.zeros(b.shape, bool)

    def each(first: int, last: int) -> None:
        for c in range(first, last):
            row = (b[c], s[c], g[c], t[c], float(r[c]), float(size.flat[c]), most)
            theta, se, _, bic = _paths(*row)
            mean, error, best = _choose(theta, se, bic, average)
            share = _shares(b[c], s[c], g[c], t[c], float(r[c]), theta[best : best + 1])[0]
            flags[c, np.argsort(share)[J - best :]] = True
            if perturbations > 1:
                mean, error = _perturb(row, rng_key, average)
            out[c] = mean, error, best, bic[best]

    by_rows(each, len(b), 8)
    columns = [column.reshape(shape) for column in out.T]
    return Fit(
        columns[0],
        columns[1],
        details={"invalid": columns[2], "bic": columns[3]},
        flags={"outliers": flags.reshape(*shape, J)},
    )


def _sample_size(
    n: float | None, n_x: Array | None, n_y: Array | None, shape: tuple[int, int]
) -> Array | None:
    if n is not None:
        return np.full(shape, float(n))
    if n_x is None or n_y is None:
        return None
    return np.minimum(np.asarray(n_x, float)[:, None], np.asarray(n_y, float)[None, :])


def _perturb(row: tuple, noise: Array, average: bool) -> tuple[float, float]:
    """Mean and standard deviation of the estimate over redrawn effects (errors correlated by rho)."""
    b, s, g, t, rho, n, most = row
    own = np.sqrt(max(0.0, 1.0 - rho * rho))
    draws = []
    for z1, z2 in zip(noise[0], noise[1], strict=True):
        drawn_b, drawn_g, s, t = one_kind(b + s * z1, g + t * (rho * z1 + own * z2), s, t)
        theta, se, _, bic = _paths(drawn_b, s, drawn_g, t, rho, n, most)
        draws.append(_choose(theta, se, bic, average)[0])
    return float(np.mean(draws)), float(np.std(draws, ddof=1))
