"""MRMix: the effect at which the largest share of instruments fits without a path of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.registry import Fit, estimator
from mrinterp.mr._univariable.effect_grid import given_grid
from mrinterp.stats.loops.one_kind import one_kind
from mrinterp.stats.loops.row_threads import by_rows

__all__ = ["mrmix"]

Array = NDArray[np.float64]

_EDGE = 1e-6


def _choose(shares: Array, theta: Array) -> tuple[float, Array]:
    """The theta of largest share; where several share it (all valid), the one that fits the valid best."""
    tied = shares[0] >= shares[0].max() - 1e-4
    at = int(np.argmin(np.where(tied, shares[3], np.inf)))
    return float(theta[at]), shares[:3, at]


def _search(rows: tuple[Array, ...], spread: float, points: int) -> tuple[float, Array, float]:
    """Estimate, (share, path variance, log likelihood) there, and the last grid's step.

    Candidates are the ratios of the better-measured half, then three grids about the best.
    """
    from mrinterp.stats.robust.mixture_share import mixture_shares

    b, s, g, t = rows
    error = t / np.abs(b)
    theta = np.ascontiguousarray((g / b)[error <= np.median(error)])

    def shares(grid: Array) -> Array:
        out = np.empty((4, len(grid)))
        mixture_shares(b, s, g, t, grid, -1.0, spread, _EDGE, out)
        return out

    centre, at = _choose(shares(theta), theta)
    half = 4.0 / np.sqrt(np.sum(np.square(b / t)) * max(at[0], 1.0 / len(b)))
    step = 0.0
    for _ in range(3):
        grid = np.linspace(centre - half, centre + half, points)
        centre, at = _choose(shares(grid), grid)
        step = float(grid[1] - grid[0])
        half = 4.0 * step
    return centre, at, step


def _on_grid(rows: tuple[Array, ...], grid: Array, spread: float) -> tuple[float, Array, float]:
    """The same on a given grid, each theta at the likelier of the optima reached from several variances."""
    from mrinterp.stats.robust.mixture_share import mixture_shares

    b, s, g, t = rows
    best = np.full((4, len(grid)), -np.inf)
    for start in (1e-5, -1.0):
        out = np.empty_like(best)
        mixture_shares(b, s, g, t, grid, start, spread, _EDGE, out)
        best = np.where(out[2] > best[2] + 1e-9, out, best)
    centre, at = _choose(best, grid)
    return centre, at, float(grid[1] - grid[0])


def _terms(rows: tuple[Array, ...], x: Array) -> tuple[Array, ...]:
    """Each instrument's derivatives of log f in pi0 and sigma^2, and of those in sigma^2 and theta."""
    b, s, g, t = rows
    theta, pi0, sigma2 = x
    e, v = g - theta * b, t * t + theta * theta * s * s
    dv, w = 2.0 * theta * s * s, v + sigma2
    f0, f1 = np.exp(-0.5 * e * e / v) / np.sqrt(v), np.exp(-0.5 * e * e / w) / np.sqrt(w)
    f = pi0 * f0 + (1.0 - pi0) * f1
    a = 0.5 * (e * e / w**2 - 1.0 / w)  # log f1 in sigma^2, then in sigma^2 again, and in theta
    a_s = 0.5 / w**2 - e * e / w**3
    a_t = 0.5 * dv / w**2 - e * b / w**2 - e * e * dv / w**3
    c0, c1 = (e * b / u + 0.5 * dv * (e * e / u**2 - 1.0 / u) for u in (v, w))  # log f0, log f1 in theta
    l_p, l_s = (f0 - f1) / f, (1.0 - pi0) * f1 * a / f
    l_t = (pi0 * f0 * c0 + (1.0 - pi0) * f1 * c1) / f
    l_ss = (1.0 - pi0) * f1 * (a * a + a_s) / f - l_s * l_s
    l_ps = -f1 * a / f - l_p * l_s
    l_pt = (f0 * c0 - f1 * c1) / f - l_p * l_t
    l_st = (1.0 - pi0) * f1 * (c1 * a + a_t) / f - l_s * l_t
    return l_p, l_s, l_ss, l_ps, l_pt, l_st


def _equations(rows: tuple[Array, ...], x: Array) -> tuple[Array, Array]:
    """Means (3,) and influence (3, J) of the equations that (theta, pi0, sigma^2) solve.

    The two scores, and d pi0 / d theta = 0 along them: l_ss l_pt - l_ps l_st = 0 in the means.
    """
    l_p, l_s, l_ss, l_ps, l_pt, l_st = _terms(rows, x)
    m_ss, m_ps, m_pt, m_st = (float(v.mean()) for v in (l_ss, l_ps, l_pt, l_st))
    slope = m_ss * l_pt + l_ss * m_pt - m_ps * l_st - l_ps * m_st
    return np.array([l_p.mean(), l_s.mean(), m_ss * m_pt - m_ps * m_st]), np.stack([l_p, l_s, slope])


def mixture_error(rows: tuple[Array, ...], theta: float, pi0: float, sigma2: float) -> float:
    """Asymptotic error of theta as the root of three equations; nan where they are not regular.

    ``rows`` are b, s, g, t (J,). With l the mean log density, subscripts its derivatives, the maximum of
    pi0 over theta, (pi0, sigma^2) following as maximum likelihood estimates, solves::

        l_pi = 0,   l_sigma2 = 0,   l_sigma2,sigma2 l_pi,theta - l_pi,sigma2 l_sigma2,theta = 0

    (the last is d pi0 / d theta = 0 by implicit differentiation). Variance: [M^-1 S M^-T] / J of theta, M the
    derivative of the three means and S the covariance of their influences (M-estimation).
    """
    b, _, _, t = rows
    x = np.array([theta, pi0, sigma2])
    h = 1e-4 * np.array([1.0 / np.sqrt(np.sum(np.square(b / t))), pi0 * (1.0 - pi0), sigma2])
    slope = np.stack(
        [(_equations(rows, x + d)[0] - _equations(rows, x - d)[0]) / (2.0 * d.sum()) for d in np.diag(h)],
        axis=1,
    )
    _, influence = _equations(rows, x)
    meat = np.cov(influence, bias=True)
    if not (np.isfinite(slope).all() and np.linalg.cond(slope * h) < 1e12):
        return np.nan
    half = np.linalg.solve(slope, meat)
    variance = np.linalg.solve(slope, half.T)[0, 0] / len(b)
    return float(np.sqrt(variance)) if variance > 0 else np.nan


def _one(rows: tuple[Array, ...], spread: float, points: int, grid: Array | None) -> tuple[float, ...]:
    """Estimate, error, error given membership, share of valid instruments, path variance, grid step."""
    theta, at, step = _search(rows, spread, points) if grid is None else _on_grid(rows, grid, spread)
    pi0, sigma2 = float(at[0]), float(at[1])
    b, s, g, t = rows
    v = t * t + theta * theta * s * s
    e2, wide = np.square(g - theta * b), v + sigma2
    odds = (
        (1.0 / pi0 - 1.0) * np.sqrt(v / wide) * np.exp(np.minimum(0.5 * e2 * (1.0 / v - 1.0 / wide), 600.0))
    )
    given = float(1.0 / np.sqrt(np.sum(b * b / v / (1.0 + odds))))
    return theta, mixture_error(rows, theta, pi0, sigma2), given, pi0, sigma2, step


@estimator(
    "mrmix",
    "MRMix",
    assumes=(
        "the largest group of instruments with the same ratio is the valid one; paths of the others are normal",
    ),
    reference="Qi & Chatterjee 2019 Nat Commun, doi:10.1038/s41467-019-09432-2",
    min_instruments=5,
    divides=True,
    subtracts="own",
)
def mrmix(
    effects: Effects,
    *,
    spread: float = 1.0,
    points: int = 31,
    lower: float | None = None,
    upper: float | None = None,
    step: float | None = None,
) -> Fit:
    """The theta that maximizes the share pi0 of instruments whose residual is noise alone.

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes.
    spread : float
        Least variance of the paths of invalid instruments, in units of the median error variance:
        without it the two groups cannot be told apart where all instruments are valid.
    points : int
        Points of each of three successive grids of theta, the first about the best ratio of the
        better-measured half of the instruments (far out any theta fits: errors grow with it).
    lower, upper, step : float, optional
        One grid of theta instead (published analyses use -1 to 1 in steps of .01).

    Raises
    ------
    InputError
        Where only some of ``lower, upper, step`` are given, or they make no grid.

    Notes
    -----
    Residuals are pi0 N(0, v) + (1 - pi0) N(0, v + sigma^2), fitted by maximum likelihood at each
    theta: the model and the search for the largest pi0 are the paper's, the bound on sigma^2 and the error
    are ours. The error is the asymptotic one of `mixture_error`, so that it counts the uncertainty of
    membership; where that is not
    regular (all instruments valid) ``se_given_membership`` takes its place. Not valid where the largest
    agreeing group is an invalid one, nor with few instruments.
    """
    shape = effects.shape
    b, s, g, t = one_kind(*effects.cells())
    grid = given_grid("mrmix", lower, upper, step)
    rows = np.empty((len(b), 6))

    def each(first: int, last: int) -> None:
        with np.errstate(all="ignore"):
            for c in range(first, last):
                rows[c] = _one((b[c], s[c], g[c], t[c]), spread, int(points), grid)

    by_rows(each, len(b), 8)
    theta, se, given, share, variance, fineness = (column.reshape(shape) for column in rows.T)
    regular = np.isfinite(se) & (share < 1.0 - 10 * _EDGE) & (share > 10 * _EDGE)
    details = {
        "valid_share": share,
        "path_variance": variance,
        "grid_step": fineness,
        "se_given_membership": given,
    }
    few = share < 0.2
    status = np.where(few, "less than a fifth of the instruments agree at any effect: distrust it", "ok")
    return Fit(theta, np.where(regular, se, given), status=status.astype(object), details=details)
