"""MR-PRESSO: residual sum of squares against its null, outliers, and what removing them changes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_draws
from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.registry import Fit, estimator
from mrinterp.stats.tests.tails import neglog10p_chi2, two_sided_p

__all__ = ["presso"]

Array = NDArray[np.float64]

_BLOCK = 1 << 20

ALL_OUT = (
    "all instruments (but one at most) are outliers of each other, so that none was removed: they do not agree on one"
    " effect, and this number is not one that any part of them supports"
)

MOST_OUT = "more than half of the instruments were removed as outliers, against what the method assumes"


def _without_each(w: Array, b: Array, g: Array) -> Array:
    """Slope through the origin without each instrument, along the last axis."""
    wbb, wbg = w * b * b, w * b * g
    return np.asarray((wbg.sum(axis=-1, keepdims=True) - wbg) / (wbb.sum(axis=-1, keepdims=True) - wbb))


def _fit_kept(w: Array, b: Array, g: Array, keep: NDArray[np.bool_], floor: bool) -> tuple[Array, Array]:
    """IVW slope and error over each row's kept instruments."""
    w = w * keep
    xx = (w * b * b).sum(axis=1)
    slope = (w * b * g).sum(axis=1) / xx
    sigma = np.sqrt((w * np.square(g - slope[:, None] * b)).sum(axis=1) / (keep.sum(axis=1) - 1))
    return slope, (np.maximum(sigma, 1.0) if floor else sigma) / np.sqrt(xx)


def _global_p(b: Array, s: Array, t: Array, loo: Array, rss: Array, draws: int, seed: int) -> Array:
    """Share of draws under no pleiotropy whose leave-one-out residual sum reaches the observed one."""
    C, J = b.shape
    rng = np.random.default_rng(seed)
    exceed = np.zeros(C)
    size = max(1, min(draws, _BLOCK // J))
    for start in range(0, draws, size):
        n = min(size, draws - start)
        z1, z2 = rng.standard_normal((2, n, J))
        for c in range(C):
            w = 1.0 / (t[c] * t[c])
            x, y = b[c] + s[c] * z1, loo[c] * b[c] + t[c] * z2
            drawn = (w * np.square(y - x * _without_each(w, x, y))).sum(axis=1)
            exceed[c] += np.count_nonzero(drawn >= rss[c])
    return np.asarray((exceed + 1.0) / (draws + 1.0))


def _distortion_p(
    w: Array, b: Array, g: Array, raw: float, removed: int, seen: float, draws: int, seed: int
) -> float:
    """Share of random removals of as many instruments that move the estimate as much."""
    # The number removed is part of the seed, so that this test's draws are not those of the global one.
    rng = np.random.default_rng([seed, removed])
    J = len(b)
    order = np.argsort(rng.random((draws, J)), axis=1)
    keep = order >= removed
    xx, xy = (keep * (w * b * b)).sum(axis=1), (keep * (w * b * g)).sum(axis=1)
    slope = xy / xx
    moved = np.abs((raw - slope) / np.abs(slope))
    return float((np.count_nonzero(moved >= abs(seen)) + 1) / (draws + 1))


@estimator(
    "presso",
    "MR-PRESSO (outlier-corrected where outliers are found)",
    assumes=(
        "less than half of the instruments are outliers, and the rest are valid or balanced",
        "removing outliers on the same data does not count (the interval is too narrow where some were removed)",
    ),
    reference="Verbanck, Chen, Neale & Do 2018 Nat Genet, doi:10.1038/s41588-018-0099-7",
    min_instruments=4,
)
def presso(
    effects: Effects,
    *,
    draws: int = 1000,
    seed: int = 0,
    alpha: float = 0.05,
    floor: bool = True,
) -> Fit:
    """IVW without the instruments that a simulation under no pleiotropy marks as outliers.

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes.
    draws, seed : int
        Simulation of the global test and of the distortion test.
    alpha : float
        Level of the global test and, Bonferroni-corrected, of the outlier test.
    floor : bool
        Whether the residual variance is at least 1 (the R package uses it as it is).

    Notes
    -----
    RSS = Sum w (g - b theta_-i)^2. The global test refits theta_-i on every draw. The residual of
    the outlier test, g* - b* theta_-i at the observed theta_-i, is exactly normal with variance
    syy + theta_-i^2 sxx, so its p needs no draws. Outliers are removed where both tests reject.
    Distortion = (raw - corrected) / |corrected|, against removing as many instruments at random.
    Not valid where half of the instruments or more are invalid.
    """
    draws = checked_draws(draws, "option 'draws' of 'presso'")
    shape = effects.shape
    b, s, g, t = effects.cells()
    J = b.shape[1]
    w = 1.0 / (t * t)
    loo = _without_each(w, b, g)
    residual = g - b * loo
    rss = (w * residual * residual).sum(axis=1)
    global_p = _global_p(b, s, t, loo, rss, draws, int(seed))
    p = two_sided_p(neglog10p_chi2(residual**2 / (t * t + loo * loo * s * s), 1.0)) * J
    outliers = (p < alpha) & (global_p < alpha)[:, None]
    all_out = (~outliers).sum(axis=1) < 2
    outliers[all_out] = False
    raw, raw_se = _fit_kept(w, b, g, np.ones_like(outliers), floor)
    beta, se = _fit_kept(w, b, g, ~outliers, floor)
    distortion = np.where(outliers.any(axis=1), (raw - beta) / np.abs(beta), np.nan)
    distortion_p = np.full(len(b), np.nan)
    for c in np.flatnonzero(outliers.any(axis=1)):
        distortion_p[c] = _distortion_p(
            w[c], b[c], g[c], raw[c], int(outliers[c].sum()), distortion[c], draws, int(seed)
        )
    details = {
        "rss": rss,
        "global_p": global_p,
        "raw_estimate": raw,
        "raw_se": raw_se,
        "distortion": distortion,
        "distortion_p": distortion_p,
    }
    return Fit(
        beta.reshape(shape),
        se.reshape(shape),
        details={k: v.reshape(shape) for k, v in details.items()},
        flags={"outliers": outliers.reshape(*shape, J)},
        status=np.select([all_out, 2 * outliers.sum(axis=1) > J], [ALL_OUT, MOST_OUT], "ok")
        .astype(object)
        .reshape(shape),
    )
