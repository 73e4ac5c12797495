"""Contamination mixture: each instrument is valid or not, whichever is likelier at the effect."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.registry import Fit, estimator
from mrinterp.mr._univariable.effect_grid import given_grid
from mrinterp.stats.tests.tails import critical_value, neglog10p_chi2

__all__ = ["conmix"]

Array = NDArray[np.float64]


FLAT = "the likelihood is flat: the data are as likely at any effect, so that there is no estimate"

OPEN = "the interval reaches the end of the grid of effects: it may be wider than is shown (options lower, upper, step)"

_POINTS = 1201
"""Points of the grid: 16 errors wide at first, so that its step is a 75th of an error."""


def _log_likelihood(r: Array, sr: Array, psi: float, theta: Array) -> Array:
    """Sum over instruments of the larger of the two log densities, at each theta, (T,)."""
    invalid = -0.5 * r * r / (psi * psi + sr * sr) - 0.5 * np.log(psi * psi + sr * sr)
    valid = -0.5 * np.square((r - theta[:, None]) / sr) - np.log(sr)
    return np.asarray(np.maximum(valid, invalid).sum(axis=1)) - 0.5 * len(r) * np.log(2.0 * np.pi)


def _grid(r: Array, sr: Array, psi: float) -> Array:
    """1,201 points about the best ratio, wide enough for an inflated interval."""
    best = r[np.argmax(_log_likelihood(r, sr, psi, r))]
    near = np.abs(r - best) < 3.0 * sr
    se = 1.0 / np.sqrt(np.sum(1.0 / np.square(sr[near])))
    inflation = max(1.0, np.sqrt(np.sum(np.square((r - best) / sr)[near]) / max(near.sum() - 1, 1)))
    half = 8.0 * se * inflation
    for _ in range(60):
        grid = np.linspace(best - half, best + half, _POINTS)
        value = _log_likelihood(r, sr, psi, grid)
        if max(value[0], value[-1]) < value.max() - 2.0 * inflation**2 or half > 1e3 * (np.ptp(r) + sr.max()):
            break
        half *= 2.0
    return np.asarray(grid)


def _one(r: Array, sr: Array, psi: float, grid: Array, level: float) -> tuple[float, ...]:
    """Estimate, limits, -log10 p, phi^2, number of intervals, the step, and how many ends of the grid are inside
    the interval (3: the likelihood is flat)."""
    value = _log_likelihood(r, sr, psi, grid)
    at = int(np.argmax(value))
    theta, top = float(grid[at]), float(value[at])
    inside = _valid(r, sr, psi, theta)
    n = int(inside.sum())
    w = 1.0 / np.square(sr[inside])
    centre = float(np.sum(w * r[inside]) / np.sum(w)) if n else theta
    q = float(np.sum(w * np.square(r[inside] - centre)))
    phi2 = max(1.0, q / (n - 1)) if n > 1 else 1.0
    kept = 2.0 * (top - value) < 2.0 * special.gammaincinv(0.5, level) * phi2
    null = float(_log_likelihood(r, sr, psi, np.zeros(1))[0])
    neglog10p = float(neglog10p_chi2(max(2.0 * (top - null), 0.0) / phi2, 1.0))
    pieces = int(kept[0]) + int(np.count_nonzero(kept[1:] & ~kept[:-1]))
    return (
        theta,
        float(grid[kept][0]),
        float(grid[kept][-1]),
        neglog10p,
        phi2,
        float(pieces),
        float(grid[1] - grid[0]) if len(grid) > 1 else np.nan,
        3.0 if np.ptp(value) == 0 else float(kept[0]) + float(kept[-1]),
    )


def _valid(r: Array, sr: Array, psi: float, theta: float) -> NDArray[np.bool_]:
    valid = -0.5 * np.square((r - theta) / sr) - np.log(sr)
    invalid = -0.5 * r * r / (psi * psi + sr * sr) - 0.5 * np.log(psi * psi + sr * sr)
    return np.asarray(valid > invalid)


@estimator(
    "conmix",
    "Contamination mixture",
    assumes=(
        "the largest group of instruments with the same ratio is the valid one; ratios of the others spread about 0",
    ),
    reference="Burgess, Foley, Allara, Staley & Howson 2020 Nat Commun, doi:10.1038/s41467-019-14156-4",
    min_instruments=3,
    divides=True,
)
def conmix(
    effects: Effects,
    *,
    psi: float | None = None,
    lower: float | None = None,
    upper: float | None = None,
    step: float | None = None,
    level: float = 0.95,
) -> Fit:
    """Maximum over theta of Sum max(log N(r; theta, sr^2), log N(r; 0, psi^2 + sr^2)), r = g/b, sr = t/|b|.

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes. Errors of the exposures are not used.
    psi : float, optional
        Spread of the ratios of invalid instruments; 1.5 sd of the ratios by default.
    lower, upper, step : float, optional
        Grid of theta; by default 1,201 points about the best ratio (``grid_step`` says how fine).

    Raises
    ------
    InputError
        Where only some of ``lower, upper, step`` are given, or they make no grid.

    Notes
    -----
    The interval is where twice the drop in log likelihood is below chi2_1 phi^2, phi^2 the
    over-dispersion within the valid group, floored at 1; it may be a union of ``intervals`` pieces,
    of which the outermost limits are given. p divides the drop by phi^2 likewise.
    """
    shape = effects.shape
    given = given_grid("conmix", lower, upper, step)
    b, _, g, t = effects.cells()
    ratio, error = g / b, t / np.abs(b)
    out = np.full((len(b), 8), np.nan)
    flags = np.zeros(b.shape, bool)
    for c in range(len(b)):
        r, sr = ratio[c], error[c]
        spread = psi if psi else 1.5 * r.std(ddof=1)
        if not r.any():  # valid and invalid instruments are then alike at 0, whatever the effect
            out[c, 7] = 3.0
            continue
        out[c] = _one(r, sr, spread, _grid(r, sr, spread) if given is None else given, level)
        flags[c] = _valid(r, sr, spread, out[c, 0])
    ends, flat = out[:, 7], out[:, 7] == 3.0
    out[flat, :7], flags[flat] = np.nan, False
    status = np.select([flat, ends > 0], [FLAT, OPEN], "ok").astype(object)
    columns = [column.reshape(shape) for column in out.T]
    se = (columns[2] - columns[1]) / (2.0 * critical_value(level))
    return Fit(
        columns[0],
        se,
        ci_lower=columns[1],
        ci_upper=columns[2],
        neglog10p=columns[3],
        status=status.reshape(shape),
        details={"inflation": columns[4], "intervals": columns[5], "grid_step": columns[6]},
        flags={"valid": flags.reshape(*shape, -1)},
    )
