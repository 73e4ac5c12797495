"""MRMix: the effect at which the largest share of instruments fits without a path of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr.registry import Fit, estimator
from mrinterp.mr.regression import cells

__all__ = ["mixture_shares", "mrmix"]

Array = NDArray[np.float64]

_SWEEPS = 200


def mixture_shares(
    b: Array, s: Array, g: Array, t: Array, theta: Array, spread: float, sweeps: int = _SWEEPS
) -> tuple[Array, Array, Array]:
    """At each theta (T,): share of valid instruments, variance of the others' paths, and each one's
    probability of being valid (T, J).

    EM for e = g - theta b ~ pi0 N(0, v) + (1 - pi0) N(0, v + sigma^2), v = t^2 + theta^2 s^2, with
    sigma^2 at least ``spread`` times the median v; the variance step is one of Fisher scoring.
    """
    th = theta[:, None]
    e2, v = np.square(g - th * b), t * t + th * th * s * s
    least = spread * np.median(v, axis=1)
    pi0 = np.full(len(theta), 0.6)
    sigma2 = np.maximum(least, np.maximum((e2 - v).mean(axis=1), 0.0))
    valid = np.full(v.shape, 0.6)
    active = np.arange(len(theta))
    for _ in range(sweeps):
        va, ea = v[active], e2[active]
        wide = va + sigma2[active, None]
        odds = (1 / pi0[active] - 1)[:, None] * np.sqrt(va / wide) * np.exp(0.5 * ea * (1 / va - 1 / wide))
        p = 1.0 / (1.0 + odds)
        new = np.clip(p.mean(axis=1), 1e-6, 1.0 - 1e-6)
        w = (1.0 - p) / (wide * wide)
        total = w.sum(axis=1)
        step = (w * (ea - va)).sum(axis=1) / np.where(total > 0, total, 1.0)
        sigma2[active] = np.maximum(np.where(total > 0, step, sigma2[active]), least[active])
        moved = np.abs(new - pi0[active]) > 1e-6
        pi0[active], valid[active] = new, p
        active = active[moved]
        if not len(active):
            break
    return pi0, sigma2, valid


def _best(b: Array, s: Array, g: Array, t: Array, theta: Array, spread: float) -> tuple[float, float]:
    """The theta of largest share; where several share it (all valid), the one that fits the valid best."""
    share, _, valid = mixture_shares(b, s, g, t, theta, spread)
    v = t * t + np.square(theta)[:, None] * s * s
    misfit = (valid * np.square(g - theta[:, None] * b) / v).sum(axis=1)
    tied = share >= share.max() - 1e-4
    return float(theta[np.argmin(np.where(tied, misfit, np.inf))]), float(share.max())


def _one(b: Array, s: Array, g: Array, t: Array, spread: float, points: int) -> tuple[float, ...]:
    """Estimate, error, share of valid instruments, variance of the paths, grid step."""
    error = t / np.abs(b)
    ratio = (g / b)[error <= np.median(error)]
    centre, share = _best(b, s, g, t, ratio, spread)
    half = 4.0 / np.sqrt(np.sum(np.square(b / t)) * max(share, 1.0 / len(b)))
    for _ in range(3):
        grid = np.linspace(centre - half, centre + half, points)
        centre, _ = _best(b, s, g, t, grid, spread)
        step = float(grid[1] - grid[0])
        half = 4.0 * step
    pi0, sigma2, valid = mixture_shares(b, s, g, t, np.array([centre]), spread)
    v = t * t + centre * centre * s * s
    return centre, float(1.0 / np.sqrt(np.sum(valid[0] * b * b / v))), float(pi0[0]), float(sigma2[0]), step


@estimator(
    "mrmix",
    "MRMix",
    assumes=(
        "the largest group of instruments with the same ratio is the valid one; paths of the others are normal",
        "which instruments are valid is known as estimated (the interval is too narrow)",
    ),
    reference="Qi & Chatterjee 2019 Nat Commun, doi:10.1038/s41467-019-09432-2",
    min_instruments=5,
    divides=True,
)
def mrmix(
    beta_x: Array, se_x: Array, beta_y: Array, se_y: Array, *, spread: float = 1.0, points: int = 31
) -> Fit:
    """The theta that maximizes the share pi0 of instruments whose residual is noise alone.

    Parameters
    ----------
    beta_x, se_x : ndarray (F, J)
        Effects on the exposures and their errors.
    beta_y, se_y : ndarray (O, J)
        The same for the outcomes.
    spread : float
        Least variance of the paths of invalid instruments, in units of the median error variance:
        without it the two groups cannot be told apart where all instruments are valid.
    points : int
        Points of each of three successive grids of theta, the first about the best ratio of the
        better-measured half of the instruments (far out any theta fits: errors grow with it).

    Notes
    -----
    Residuals are pi0 N(0, v) + (1 - pi0) N(0, v + sigma^2), fitted by EM to convergence at each
    theta. The error is that of the valid group, instruments weighed by their probability of being
    valid; it does not count the uncertainty of membership. Not valid where the largest agreeing
    group is an invalid one, nor with few instruments.
    """
    shape = (len(beta_x), len(beta_y))
    b, s, g, t = cells(beta_x, se_x, beta_y, se_y)
    rows = [_one(b[c], s[c], g[c], t[c], spread, int(points)) for c in range(len(b))]
    columns = [column.reshape(shape) for column in np.array(rows).T]
    details = {"valid_share": columns[2], "path_variance": columns[3], "grid_step": columns[4]}
    few = columns[2] < 0.2
    status = np.where(few, "less than a fifth of the instruments agree at any effect: distrust it", "ok")
    return Fit(columns[0], columns[1], status=status.astype(object), details=details)
