"""Which checks of summary statistics have power in a design: simulated from the design's own errors, not assumed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mrinterp.core.checks import checked_draws, checked_seed, checked_type
from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData

__all__ = ["check_power", "error_covariance", "own_q"]

Array = NDArray[np.float64]

SIZES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0)
"""Pleiotropic effects, in median errors of the outcome's effects."""
LEVEL, WANTED = 0.05, 0.8
FEWEST = 4


def check_power(
    data: MRData, exposure: str | None = None, outcome: str | None = None, *, draws: int = 300, seed: int = 0
) -> pd.DataFrame:
    """Smallest pleiotropy that each check of one exposure and outcome finds with chance .8, and its false alarms, in this design.

    Parameters
    ----------
    data : MRData
        With the correlation of its errors (``sigma_xy``, ``sigma`` or ``error_corr``), as `SumStats.to_mrdata` hands it on.
    exposure, outcome : str, optional
        Names; the first of each by default.
    draws, seed : int
        Simulated data for each size of pleiotropy.

    Returns
    -------
    DataFrame
        One row per check and kind of pleiotropy (``balanced``: of random sign; ``directional``: all towards the exposure's sign):
        ``check, pleiotropy, alarm`` (share of draws without pleiotropy in which it fails at .05), ``detectable`` (outcome
        units per instrument; inf where the largest tried is not found) and ``in_errors`` (in median errors of the outcome's effects).

    Raises
    ------
    InputError
        For unknown names, fewer than four instruments, or too few draws.

    Notes
    -----
    Instruments keep their effects on the exposure and the slope that inverse-variance weighting finds; the errors of both effects
    are drawn anew with the covariance that the data carry. *Q* is Cochran's about that slope, once with errors taken as unrelated
    and once with the design's own covariance: in a scan whose runs give both effects, noise that they share moves both along the
    slope, so that unrelated errors are too large and Q never fires. *Egger* is the intercept on J - 2 degrees of freedom, its scale at
    least 1. *PRESSO* is the global residual sum with its null from unrelated errors; *GRIP* gives an estimate and no test, and
    is compared with inverse-variance weighting by the spread of their difference under the null. Errors of different instruments are
    drawn independently: not valid where doses are strongly correlated.

    Source: Cochran 1954, 10.2307/3001666; Bowden et al. 2015, 10.1093/ije/dyv080; Verbanck et al. 2018,
    10.1038/s41588-018-0099-7; Dudbridge et al., Getting to GRIPS with MR-Egger, PLoS Genet, doi:10.1371/journal.pgen.1011967 (GRIP).

    Examples
    --------
    >>> import mrinterp
    >>> data = mrinterp.scan.marginal_scan(mrinterp.worlds.linear_world(0).panel).to_mrdata()
    >>> found = mrinterp.diagnostics.check_power(data, "cause", "y", draws=50)
    >>> found["check"].unique().tolist()
    ['Q, unrelated errors', "Q, the design's errors", 'Egger intercept', 'PRESSO', 'GRIP against IVW']
    """
    checked_type(data, "data", MRData, "SumStats.to_mrdata makes one of a scan")
    draws, seed = checked_draws(draws), checked_seed(seed)
    x, y = (
        _at(n, names, w)
        for n, names, w in ((exposure, data.exposures, "exposure"), (outcome, data.outcomes, "outcome"))
    )
    known = np.isfinite(data.beta_x[x]) & np.isfinite(data.beta_y[y]) & np.isfinite(data.se_x[x])
    b, sx, sy = data.beta_x[x, known], data.se_x[x, known], data.se_y[y, known]
    if len(b) < FEWEST:
        raise InputError("data", f"{len(b)} instruments for both traits", f"Give at least {FEWEST}")
    every = error_covariance(data)
    cov = np.zeros(len(b)) if every is None else every[known, x, y]
    w = 1.0 / sy**2
    theta = float((w * b * data.beta_y[y, known]).sum() / (w * b * b).sum())
    scale, sign = float(np.median(sy)), np.where(b < 0, -1.0, 1.0)
    rng, rows = np.random.default_rng([seed, 41]), []
    limits = _limits(b, sx, sy, cov, theta, rng, draws)
    for kind in ("balanced", "directional"):
        shares = []
        for size in SIZES:
            alpha = size * scale * (rng.standard_normal((draws, len(b))) if kind == "balanced" else sign)
            made = _drawn(b, sx, sy, cov, theta, alpha, rng, draws)
            shares.append([float(s.mean()) for s in _alarms(*made, sx, sy, cov, limits)])
        for name, found in zip(CHECKS, np.array(shares).T, strict=True):
            least = _smallest(found)
            rows.append((name, kind, found[0], least * scale, least))
    return pd.DataFrame(rows, columns=["check", "pleiotropy", "alarm", "detectable", "in_errors"])


CHECKS = ("Q, unrelated errors", "Q, the design's errors", "Egger intercept", "PRESSO", "GRIP against IVW")


def _at(name: str | None, names: tuple[str, ...], what: str) -> int:
    if name is not None and name not in names:
        raise InputError(what, repr(name), f"One of {', '.join(names[:5])}")
    return 0 if name is None else names.index(name)


def error_covariance(data: MRData) -> Array | None:
    """Covariance (J, F, O) of the errors of an instrument's effects on exposures and outcomes; None where it is not known."""
    F = len(data.exposures)
    if data.sigma is not None:
        return np.asarray(data.sigma[:, :F, F:], dtype=float)
    if data.sigma_xy is not None:
        return np.asarray(data.sigma_xy, dtype=float)
    if data.error_corr is None:
        return None
    rho = np.asarray(data.error_corr, dtype=float)[:F, F:]
    return np.asarray(rho * data.se_x.T[:, :, None] * data.se_y.T[:, None, :])


def own_q(data: MRData) -> tuple[Array, Array]:
    """Cochran's Q (F, O) about inverse-variance weighting with the errors' own covariance, and its degrees of freedom."""
    cov = error_covariance(data)
    F, O = len(data.exposures), len(data.outcomes)
    q, df = np.full((F, O), np.nan), np.full((F, O), np.nan)
    for o in range(O):
        known = np.isfinite(data.beta_x) & np.isfinite(data.se_x) & np.isfinite(data.beta_y[o])
        b, s = np.where(known, data.beta_x, 0.0), np.where(known, data.se_x, 0.0)
        w = np.where(known, 1.0 / np.where(np.isfinite(data.se_y[o]), data.se_y[o], 1.0) ** 2, 0.0)
        y, shared = np.nan_to_num(data.beta_y[o]), 0.0 if cov is None else np.nan_to_num(cov[:, :, o].T)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = (w * b * y).sum(axis=1, keepdims=True) / (w * b * b).sum(axis=1, keepdims=True)
            plain = 1.0 / w + slope**2 * s**2
            own = np.maximum(plain - 2 * slope * shared, 1e-6 * plain)
            q[:, o] = np.where(known, (y - slope * b) ** 2 / own, 0.0).sum(axis=1)
        df[:, o] = known.sum(axis=1) - 1
    return q, np.where(df > 0, df, np.nan)


def _drawn(
    b: Array,
    sx: Array,
    sy: Array,
    cov: Array,
    theta: float,
    alpha: Array,
    rng: np.random.Generator,
    draws: int,
) -> tuple[Array, Array]:
    """Effects (draws, J) on exposure and outcome with the design's errors."""
    first, second = rng.standard_normal((2, draws, len(b)))
    rho = np.clip(cov / (sx * sy), -1.0, 1.0)
    return b + sx * first, theta * b + alpha + sy * (rho * first + np.sqrt(1.0 - rho**2) * second)


def _statistics(x: Array, y: Array, sx: Array, sy: Array, cov: Array) -> dict[str, Array]:
    """The statistic (draws,) of every check, on a scale on which large is an alarm."""
    w, J = 1.0 / sy**2, x.shape[1]
    slope = (w * x * y).sum(axis=1) / (w * x * x).sum(axis=1)
    residual = y - slope[:, None] * x
    plain = sy**2 + slope[:, None] ** 2 * sx**2
    own = np.maximum(plain - 2 * slope[:, None] * cov, 1e-6 * plain)
    side = np.where(x < 0, -1.0, 1.0)
    u, v = x * side, y * side
    middle = (w * u).sum(axis=1, keepdims=True) / w.sum()
    spread = (w * (u - middle) ** 2).sum(axis=1)
    bend = (w * (u - middle) * v).sum(axis=1) / spread
    intercept = ((w * v).sum(axis=1) - bend * (w * u).sum(axis=1)) / w.sum()
    left = v - intercept[:, None] - bend[:, None] * u
    sigma = np.maximum(np.sqrt((w * left**2).sum(axis=1) / (J - 2)), 1.0)
    error = sigma * np.sqrt(1.0 / w.sum() + middle[:, 0] ** 2 / spread)
    wxx, wxy = w * x * x, w * x * y
    loo = (wxy.sum(axis=1, keepdims=True) - wxy) / (wxx.sum(axis=1, keepdims=True) - wxx)
    # GRIP regresses y b on b^2 and an intercept: pleiotropy that follows the coding of no allele falls out of its slope.
    square, product = x * x, x * y
    weight = w / np.maximum(square, 1e-300)
    mean = (weight * square).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
    grip = (weight * (square - mean) * product).sum(axis=1) / (weight * (square - mean) ** 2).sum(axis=1)
    return {
        CHECKS[0]: (residual**2 / plain).sum(axis=1),
        CHECKS[1]: (residual**2 / own).sum(axis=1),
        CHECKS[2]: np.abs(intercept / error),
        CHECKS[3]: (w * (y - loo * x) ** 2).sum(axis=1),
        CHECKS[4]: np.abs(grip - slope),
    }


def _limits(
    b: Array, sx: Array, sy: Array, cov: Array, theta: float, rng: np.random.Generator, draws: int
) -> dict[str, float]:
    """Where each check alarms: by its own reference distribution, PRESSO's and GRIP's simulated with what they assume."""
    J, many = len(b), 4 * draws
    unrelated = _statistics(*_drawn(b, sx, sy, 0.0 * cov, theta, 0.0 * b, rng, many), sx, sy, cov)
    own = _statistics(*_drawn(b, sx, sy, cov, theta, 0.0 * b, rng, many), sx, sy, cov)
    q = float(stats.chi2.isf(LEVEL, J - 1))
    return {
        CHECKS[0]: q,
        CHECKS[1]: q,
        CHECKS[2]: float(stats.t.isf(LEVEL / 2, J - 2)),
        CHECKS[3]: float(np.quantile(unrelated[CHECKS[3]], 1 - LEVEL)),
        CHECKS[4]: float(np.quantile(own[CHECKS[4]], 1 - LEVEL)),
    }


def _alarms(
    x: Array, y: Array, sx: Array, sy: Array, cov: Array, limits: dict[str, float]
) -> list[NDArray[np.bool_]]:
    found = _statistics(x, y, sx, sy, cov)
    return [found[name] > limits[name] for name in CHECKS]


def _smallest(shares: Array) -> float:
    """Smallest size from which a check alarms in .8 of draws, between the sizes tried by a straight line."""
    reached = np.flatnonzero(shares >= WANTED)
    if not len(reached):
        return float("inf")
    k = int(reached[0])
    if k == 0:
        return 0.0
    part = (WANTED - shares[k - 1]) / (shares[k] - shares[k - 1])
    return float(SIZES[k - 1] + part * (SIZES[k] - SIZES[k - 1]))
