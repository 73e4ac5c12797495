"""Heterogeneity-penalized model averaging over all subsets of instruments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.registry import Fit, estimator
from mrinterp.mr._univariable.effect_grid import given_grid
from mrinterp.stats.tests.tails import critical_value

__all__ = ["hetpen"]

Array = NDArray[np.float64]

MOST = 14
"""Largest number of instruments: all 2^J subsets are enumerated."""

_POINTS = 2001


def _models(r: Array, sr: Array, prior: float, psi: float) -> tuple[Array, Array, Array]:
    """Weight, estimate and floored error of every subset of two or more instruments."""
    J = len(r)
    subset = (np.arange(1, 2**J)[:, None] >> np.arange(J)) & 1
    n = subset.sum(axis=1)
    subset, n = subset[n > 1].astype(float), n[n > 1]
    w = subset / (sr * sr)
    total = w.sum(axis=1)
    estimate = w @ r / total
    q = (w * np.square(r - estimate[:, None])).sum(axis=1)
    # each valid instrument's factor over the one it would have as an invalid one
    log_odds = np.log(prior) - np.log1p(-prior) + np.log(psi / sr)
    log_weight = subset @ log_odds - 0.5 * q
    weight = np.exp(log_weight - log_weight.max())
    return weight / weight.sum(), estimate, np.maximum(1.0, np.sqrt(q / (n - 1.0))) / np.sqrt(total)


def _spread(r: Array, sr: Array) -> float:
    """1.5 standard deviations of the ratios, no less than what their own errors make of them."""
    return max(1.5 * float(r.std(ddof=1)), float(np.exp(np.mean(np.log(sr)))))


def _density(theta: Array, weight: Array, estimate: Array, se: Array) -> Array:
    out = np.zeros(len(theta))
    for k in range(0, len(weight), 512):
        z = (theta[:, None] - estimate[k : k + 512]) / se[k : k + 512]
        out += np.exp(-0.5 * z * z) @ (weight[k : k + 512] / se[k : k + 512])
    return out


def _one(
    r: Array, sr: Array, prior: float, psi: float | None, grid: Array | None, level: float
) -> tuple[float, ...]:
    """Estimate, limits, -log10 p, number of intervals, step."""
    from scipy import stats  # takes a second to import: only where it is asked for

    weight, estimate, se = _models(r, sr, prior, psi or _spread(r, sr))
    if grid is None:
        many = weight > 1e-6
        half = 6.0 * se[many].max() + np.ptp(estimate[many])
        centre = float(weight @ estimate)
        grid = np.linspace(centre - half, centre + half, _POINTS)
    with np.errstate(divide="ignore"):
        value = np.log(_density(grid, weight, estimate, se))
        null = float(np.log(_density(np.zeros(1), weight, estimate, se))[0])
    at = int(np.argmax(value))
    kept = 2.0 * (value[at] - value) < stats.chi2.ppf(level, 1)
    pieces = int(kept[0]) + int(np.count_nonzero(kept[1:] & ~kept[:-1]))
    neglog10p = -float(stats.chi2.logsf(max(2.0 * (value[at] - null), 0.0), 1)) / np.log(10.0)
    return (
        float(grid[at]),
        float(grid[kept][0]),
        float(grid[kept][-1]),
        neglog10p,
        float(pieces),
        float(grid[1] - grid[0]),
    )


@estimator(
    "hetpen",
    "Heterogeneity-penalized model averaging",
    assumes=("the largest group of instruments with the same ratio is the valid one (plurality)",),
    reference="Burgess, Zuber, Gkatzionis & Foley 2018 Int J Epidemiol, doi:10.1093/ije/dyy080",
    min_instruments=2,
    divides=True,
)
def hetpen(
    effects: Effects,
    *,
    prior: float = 0.5,
    psi: float | None = None,
    lower: float | None = None,
    upper: float | None = None,
    step: float | None = None,
    level: float = 0.95,
) -> Fit:
    """Mode of the average of N(theta; ivw_S, se_S^2) over all subsets S of two or more instruments.

    Parameters
    ----------
    effects : Effects
        Of at most 14 instruments on F exposures and O outcomes. Errors of the exposures
        are not used.
    prior : float
        Prior probability that an instrument is valid.
    psi : float, optional
        Spread of the ratios of invalid instruments; by default 1.5 standard deviations of the ratios,
        no less than the geometric mean of their errors. 1 is the published convention, whose result
        depends on the unit of the data.
    lower, upper, step : float, optional
        Grid of theta; by default 2,001 points that hold all subsets of any weight.

    Raises
    ------
    InputError
        Where ``prior`` is not between 0 and 1, or ``psi`` not above 0, or only some of ``lower, upper, step`` are given.

    Notes
    -----
    With r_j = g_j / b_j, s_j = t_j / |b_j|, theta_S the inverse-variance weighted mean of the r_j of
    subset S, and Q_S = Sum_S (r_j - theta_S)^2 / s_j^2::

        weight(S)  =  prior^|S| (1 - prior)^(J - |S|)  Prod_S N(r_j; theta_S, s_j^2)  Prod_not-S 1 / (sqrt(2 pi) psi)
                  ~  Prod_S [prior / (1 - prior)] (psi / s_j)  exp(-Q_S / 2)
        density(theta) = Sum_S weight(S) N(theta; theta_S, max(1, Q_S / (|S| - 1)) / Sum_S s_j^-2)

    The estimate is the mode of that density over a grid; the interval, which may be a union of
    ``intervals`` pieces of which the outermost limits are given, is where twice its logarithm is less
    than chi2_1 below the top.
    From the paper's abstract: the mixture over subsets, more weight for more instruments, little for
    heterogeneous ones, the mode. From the published help page: two or more instruments in a subset,
    the prior, the interval by the height of the log density. Ours: the weight as the likelihood
    above, in which a valid ratio is normal about the subset's mean and an invalid one has the
    density that N(0, psi^2) has at its top (as in `conmix`); the default of psi; the random-effects
    floor. With psi = 1 this reproduces the published numbers; the paper's own formula was not at
    hand to compare with.
    """
    if not 0.0 < prior < 1.0:
        raise InputError("option 'prior'", f"{prior:g}", "Give a probability between 0 and 1")
    if psi is not None and not psi > 0.0:
        raise InputError("option 'psi'", f"{psi:g}", "Give a spread above 0, in the unit of the effect")
    shape, J = effects.shape, effects.count
    if J > MOST:
        why = f"enumerates all subsets: at most {MOST} instruments, here {J}; choose the strongest"
        nothing = np.full(shape, np.nan)
        return Fit(nothing, nothing, status=np.full(shape, why, dtype=object))
    b, _, g, t = effects.cells()
    grid = given_grid("hetpen", lower, upper, step)
    rows = [_one(g[c] / b[c], t[c] / np.abs(b[c]), prior, psi, grid, level) for c in range(len(b))]
    columns = [column.reshape(shape) for column in np.array(rows).T]
    return Fit(
        columns[0],
        (columns[2] - columns[1]) / (2.0 * critical_value(level)),
        ci_lower=columns[1],
        ci_upper=columns[2],
        neglog10p=columns[3],
        details={"intervals": columns[4], "grid_step": columns[5]},
    )
