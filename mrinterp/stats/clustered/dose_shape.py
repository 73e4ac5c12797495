"""The shape of a dose-response curve: tests of monotonicity, and the ramp that fits it best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.stats.clustered.family_draws import family_draws, percentile_interval
from mrinterp.stats.clustered.least_squares import families_of

__all__ = ["Monotonicity", "Ramp", "fit_ramp", "monotonicity"]

Array = NDArray[np.float64]

STEPS = 4
"""Places within each interval of doses where a knot of the ramp may lie."""

BUDGET = 4_000_000
"""Numbers held at a time."""


@dataclass(frozen=True, eq=False)
class Monotonicity:
    """p-values (F, O) and the simultaneous half width of differences between doses.

    ``p_rising``: of the null that the curve rises nowhere; ``p_falling``: that it falls nowhere.
    ``widest`` (F, O): largest |difference| + simultaneous half width over all pairs of doses.
    """

    p_rising: Array
    p_falling: Array
    widest: Array


def monotonicity(
    values: Array,
    family: NDArray[Any],
    floor: ArrayLike = 0.0,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> Monotonicity:
    """Max-type tests over all pairs of doses, errors clustered by family.

    Parameters
    ----------
    values : ndarray (P, F, D, O)
        Effect of every dose on every prompt.
    family : ndarray (P,)
    floor : float, or array (O,)
        Differences up to this are rounding and count as none.

    Notes
    -----
    Statistic against "falls nowhere": the largest t of (mean at a lower dose - mean at a higher dose) over
    all pairs, so that slow declines over many doses are seen, not only steps between neighbours. Its null
    distribution is that of the same maximum when the sign of every family's differences is drawn at
    random, all doses together: the correlation of the pairs is kept, and the test is exact for a flat
    curve (the least favourable one) whose families scatter symmetrically, however few they are. With C
    families there are 2^C signs: below about 7, p cannot be small. Not rejecting does not show that a
    curve is monotone.

    Source: randomization by cluster, Canay, Romano & Shaikh 2017, 10.3982/ECTA13081; maximum over many
    inequalities, Chernozhukov, Chetverikov & Kato 2019, 10.1093/restud/rdy065.
    """
    P, F, D, O = values.shape
    codes, names = families_of(family)
    C = len(names)
    if C < 2:
        return Monotonicity(*(np.full((F, O), np.nan) for _ in range(3)))
    least = np.maximum(floor, np.finfo(float).tiny)
    sums = np.zeros((C, F, D, O))
    np.add.at(sums, codes, values / P)
    signs = np.random.default_rng([seed, C, 31]).choice([-1.0, 1.0], size=(draws, C))
    low, high = np.triu_indices(D, 1)
    step = max(1, BUDGET // (max(draws, C) * len(low) * O))
    p_up, p_down, widest = (np.empty((F, O)) for _ in range(3))
    for a in range(0, F, step):
        some = slice(a, a + step)
        pair = sums[:, some][:, :, high] - sums[:, some][:, :, low]
        # What no family shows beyond rounding is no difference at all.
        pair = np.where((np.abs(pair) * C).max(axis=0) <= floor, 0.0, pair)
        square = (pair**2).sum(axis=0)

        def studentized(gap: Array, square: Array = square) -> tuple[Array, Array]:
            error = np.sqrt(np.maximum(C * square - gap**2, 0.0) / (C - 1))
            return gap / np.maximum(error, least), error

        gap = pair.sum(axis=0)
        t, error = studentized(gap)
        drawn, _ = studentized((signs @ pair.reshape(C, -1)).reshape(draws, *gap.shape))
        largest, widths = drawn.max(axis=2), np.abs(drawn).max(axis=2)
        p_up[some] = (1 + (largest >= t.max(axis=1) - 1e-12).sum(axis=0)) / (draws + 1)
        p_down[some] = (1 + (largest >= (-t).max(axis=1) - 1e-12).sum(axis=0)) / (draws + 1)
        half = np.quantile(widths, level, axis=0)
        widest[some] = (np.abs(gap) + half[:, None] * error).max(axis=1)
    return Monotonicity(p_up, p_down, widest)


@dataclass(frozen=True, eq=False)
class Ramp:
    """Knots ``low, high`` (F, O), their draws ``low_draws, high_draws`` (B, F, O), ``r2`` (F, O), and the
    places ``grid`` (F, G) where a knot may lie."""

    low: Array
    high: Array
    low_draws: Array
    high_draws: Array
    r2: Array
    grid: Array

    def interval(self, draws: Array, level: float) -> tuple[Array, Array]:
        """Percentile ends of a knot, (F, O) each, moved to the next place of the grid: it is known to no
        more than that."""
        lower, upper = percentile_interval(draws, level)
        g, room = self.grid[:, :, None], 1e-9 * np.ptp(self.grid, axis=1)[:, None, None]
        below = np.where(g < lower[:, None] - room, g, self.grid[:, :1, None]).max(axis=1)
        above = np.where(g > upper[:, None] + room, g, self.grid[:, -1:, None]).min(axis=1)
        return below, above


def fit_ramp(
    dose: Array, values: Array, family: NDArray[Any], draws: int = 1000, seed: int = 0, tie: float = 1e-9
) -> Ramp:
    """The flat - straight - flat curve nearest to the mean effects, and its knots over family draws.

    Parameters
    ----------
    dose : ndarray (F, D)
        Growing along the second axis (equal neighbours are one dose).
    values : ndarray (P, F, D, O)

    Notes
    -----
    Least squares over a grid of knots with `STEPS` places in every interval of doses; of ramps that fit
    equally well the widest is taken, so that a straight line has its knots at the ends of the grid, and a
    step the ends of its interval.
    """
    P, F, D, O = values.shape
    curves = np.concatenate([values.mean(axis=0)[None], family_draws(values, family, draws, seed)])
    curves = curves - curves.mean(axis=2, keepdims=True)
    grid = _grid(dose)
    low, high = np.triu_indices(grid.shape[1], 1)
    B = draws + 1
    step = max(1, BUDGET // (len(low) * B * O))
    knots = np.full((2, B, F, O), np.nan)
    r2 = np.full((F, O), np.nan)
    for a in range(0, F, step):
        some = slice(a, a + step)
        start, end = grid[some][:, low], grid[some][:, high]
        # Widest first: argmax takes the first of those that fit equally well.
        order = np.argsort(-(end - start), axis=1, kind="stable")
        start, end = np.take_along_axis(start, order, 1), np.take_along_axis(end, order, 1)
        width = np.where(end > start, end - start, 1.0)
        ramp = np.clip((dose[some][:, None, :] - start[:, :, None]) / width[:, :, None], 0.0, 1.0)
        ramp -= ramp.mean(axis=2, keepdims=True)
        size = np.sqrt((ramp**2).sum(axis=2))
        usable = (size > 1e-9) & (end > start)
        ramp = ramp / np.where(usable, size, 1.0)[:, :, None] * usable[:, :, None]
        fit = np.einsum("fkd,bfdo->bfko", ramp, curves[:, some], optimize=True) ** 2
        best = fit.max(axis=2, keepdims=True)
        pick = (fit >= best * (1 - tie)).argmax(axis=2)
        f = np.arange(len(start))[None, :, None]
        knots[0][:, some], knots[1][:, some] = start[f, pick], end[f, pick]
        total = (curves[0, some] ** 2).sum(axis=1)
        r2[some] = np.where(total > 0, best[0, :, 0] / np.where(total > 0, total, 1.0), np.nan)
    return Ramp(knots[0, 0], knots[1, 0], knots[0, 1:], knots[1, 1:], r2, grid)


def _grid(dose: Array) -> Array:
    """Places of knots (F, G): every dose, and evenly between neighbours."""
    share = np.arange(STEPS) / STEPS
    inner = dose[:, :-1, None] + share * np.diff(dose, axis=1)[:, :, None]
    return np.concatenate([inner.reshape(len(dose), -1), dose[:, -1:]], axis=1)
