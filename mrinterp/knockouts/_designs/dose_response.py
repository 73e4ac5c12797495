"""A grid of clamps: how an outcome follows a feature from its low to its high values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.checks import checked_draws, checked_level, checked_seed
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._designs.dose_grid import DoseGrid
from mrinterp.knockouts._feature_numbers import Features, feature_numbers
from mrinterp.knockouts._outcome_rope import ONE_FAMILY, outcome_rope, resolutions, unread
from mrinterp.results._designs.dose_response import DoseResponse
from mrinterp.stats.clustered.dose_shape import Monotonicity, Ramp, fit_ramp, monotonicity
from mrinterp.stats.clustered.family_draws import family_draws, percentile_interval
from mrinterp.stats.clustered.interval import clustered_interval

__all__ = ["QUANTILES", "dose_response"]

Array = NDArray[np.float64]

QUANTILES = (0.02, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.98)
"""Natural quantiles that are written by default."""

NEARLY_FLAT = 0.1
"""Share of the whole rise that a curve may move by below its threshold, or above its plateau."""


def dose_response(
    bench: Bench,
    doses: ArrayLike | None = None,
    features: Features | None = None,
    *,
    quantiles: Sequence[float] = QUANTILES,
    rope_sd: float = 0.02,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
    allow_off_support: bool = False,
) -> DoseResponse:
    """Clamp features to one dose after the other, the same for every prompt.

    Parameters
    ----------
    bench : Bench
        The network, its inputs, features and outcomes.
    doses : array (D,) or (K, D), optional
        Values in units of the features, growing. Default: natural quantiles of each feature; where every
        token has a value of its own (`AllTokens`), of each class or position.
    features : names or numbers, optional
        K features; default all of the view.
    quantiles : sequence of float
        Growing, between 0 and 1; at least 3. Used where no doses are given.
    rope_sd : float
        Region of practical equivalence of differences between doses, in sd of the clean outcome.
    level : float
        Confidence level of intervals; shapes are called at 1 - level.
    draws, seed : int
        Draws of the family bootstrap, and its seed.
    allow_off_support : bool
        Allow doses that the feature never shows at the place they are written; they are flagged in
        every output.

    Returns
    -------
    DoseResponse
        The curve of every feature and outcome, its shape, and where it starts and stops rising.

    Raises
    ------
    InputError
        For unknown features, fewer than 3 doses, doses that do not grow or are not finite, or doses
        outside support that were not asked for.

    Notes
    -----
    Shape: two max-type tests over all pairs of doses, `mrinterp.stats.clustered.dose_shape.monotonicity`.
    Threshold and plateau: knots of the flat - straight - flat curve nearest to the mean effects. One
    exists where the curve is monotone, the bootstrap interval of the knot excludes the end of the grid,
    at least two doses lie in the flat part, and the curve moves there by no more than the region of
    practical equivalence or a tenth of its rise. A curve that bends gradually has knots that depend on
    the grid; ``ramp_r2`` says how well the shape fits. No correction for the number of features.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> mrinterp.knockouts.dose_response(bench, features=["linear", "idle"], draws=50).shape
    array([['rising'],
           ['flat']], dtype=object)
    """
    checked_level(level), checked_draws(draws), checked_seed(seed)
    region = outcome_rope(bench, rope_sd)
    numbers = feature_numbers(bench, features)
    grid = DoseGrid.of(bench, numbers, doses, quantiles)
    dose, outside = grid.checked(bench, allow_off_support)
    change, read_back = grid.edited(bench)
    mean = clustered_interval(change, bench.family, level)
    low, high = percentile_interval(
        family_draws(change, bench.family, draws, seed), level, len(np.unique(bench.family))
    )
    floor = 2 * resolutions(bench)
    silent = unread(bench, change)
    status = tuple(_status(still, mean.df, silent) for still in grid.still(bench))
    tested = monotonicity(change, bench.family, floor, level, draws, seed)
    shape = _shapes(tested, region, floor, 1 - level)
    shape[np.array(status) != "ok"] = "not applicable"
    ramp = fit_ramp(dose, change, bench.family, draws, seed)
    threshold, plateau = _knots(ramp, dose, mean.mean, shape, region, level)
    return DoseResponse(
        features=tuple(bench.view.names[f] for f in numbers),
        outcomes=tuple(bench.outcome.names),
        dose=dose,
        outside=outside,
        effect=mean.mean,
        se=mean.se,
        lower=mean.lower,
        upper=mean.upper,
        boot_lower=low,
        boot_upper=high,
        p_rising=tested.p_rising,
        p_falling=tested.p_falling,
        shape=shape,
        threshold=threshold,
        plateau=plateau,
        ramp_r2=ramp.r2,
        rope=region,
        status=status,
        df=mean.df,
        level=level,
        noise_floor=bench.noise_floor(),
        read_back_error=read_back,
        meta={"draws": draws, "seed": seed, "quantiles": list(quantiles) if doses is None else None},
    )


def _status(still: bool, df: float, silent: str) -> str:
    if not df:
        return ONE_FAMILY
    return "it never varies: every dose is the same clamp" if still else silent or "ok"


def _shapes(tested: Monotonicity, region: Array, floor: Array, alpha: float) -> NDArray[np.object_]:
    up, down = tested.p_rising < alpha, tested.p_falling < alpha
    out = np.full(up.shape, "indeterminate", dtype=object)
    out[up & ~down], out[~up & down], out[up & down] = "rising", "falling", "not monotone"
    # A rise too small to matter is no shape, however certain it is.
    out[tested.widest <= np.maximum(region, floor)] = "flat"
    return out


def _knots(
    ramp: Ramp, dose: Array, effect: Array, shape: NDArray[np.object_], region: Array, level: float
) -> tuple[Array, Array]:
    """Threshold and plateau with their intervals, (3, F, O) each; nan where there is none."""
    monotone = (shape == "rising") | (shape == "falling")
    rise = np.abs(effect[:, -1] - effect[:, 0])
    slack = np.maximum(region, NEARLY_FLAT * rise)
    x, first, last = dose[:, :, None], dose[:, :1], dose[:, -1:]
    step = 1e-9 * (last - first)
    below = np.where(x <= ramp.low[:, None], np.abs(effect - effect[:, :1]), 0.0).max(axis=1)
    above = np.where(x >= ramp.high[:, None], np.abs(effect - effect[:, -1:]), 0.0).max(axis=1)
    low_ends = ramp.interval(ramp.low_draws, level)
    high_ends = ramp.interval(ramp.high_draws, level)
    starts = monotone & (low_ends[0] > first + step) & (ramp.low >= dose[:, 1:2] - step) & (below <= slack)
    stops = monotone & (high_ends[1] < last - step) & (ramp.high <= dose[:, -2:-1] + step) & (above <= slack)
    threshold = np.where(starts, np.stack([ramp.low, *low_ends]), np.nan)
    plateau = np.where(stops, np.stack([ramp.high, *high_ends]), np.nan)
    return threshold, plateau
