"""A grid of clamps: how an outcome follows a feature from its low to its high values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.dose_response import DoseResponse
from mrinterp.core.errors import InputError
from mrinterp.knockouts.bench import Bench
from mrinterp.knockouts.feature_numbers import Features, feature_numbers
from mrinterp.knockouts.kinds.clamp import Clamp
from mrinterp.knockouts.kinds.kind import Targets
from mrinterp.knockouts.natural import clean_values, spread
from mrinterp.knockouts.outcome_rope import ONE_FAMILY, check_draws, check_level, outcome_rope, resolution
from mrinterp.knockouts.site_variation import SiteVariation, site_variation
from mrinterp.knockouts.support import check_support
from mrinterp.stats.clustered import clustered_mean
from mrinterp.stats.dose_shape import Monotonicity, Ramp, fit_ramp, monotonicity
from mrinterp.stats.family_draws import family_draws, percentile_interval
from mrinterp.stats.tails import critical_value

__all__ = ["QUANTILES", "dose_response"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]

HELD = 8_000_000
"""Values swept at a time."""

QUANTILES = (0.02, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.98)
"""Natural quantiles that are written by default."""

NEARLY_FLAT = 0.1
"""Share of the whole rise that a curve may move by below its threshold, or above its plateau."""


def dose_response(
    bench: Bench,
    features: Features | None = None,
    doses: ArrayLike | None = None,
    *,
    quantiles: Sequence[float] = QUANTILES,
    allow_off_support: bool = False,
    rope: float = 0.02,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> DoseResponse:
    """Clamp features to one dose after the other, the same for every prompt.

    Parameters
    ----------
    bench : Bench
    features : names or numbers, optional
        None for all of the view.
    doses : array (D,) or (F, D), optional
        Values in units of the features, growing. Default: natural quantiles of each feature; where every
        token has a value of its own (`AllTokens`), of each class or position.
    quantiles : sequence of float
        Growing, between 0 and 1; at least 3.
    allow_off_support : bool
        Allow doses that the feature never shows at the place they are written; they are flagged in
        every output.
    rope : float
        Region of practical equivalence of differences between doses, in sd of the clean outcome.
    level, draws, seed
        Of intervals and tests; of the bootstraps.

    Raises
    ------
    InputError
        For unknown features, fewer than 3 doses, doses that do not grow or are not finite, or doses
        outside support that were not asked for.

    Notes
    -----
    Shape: two max-type tests over all pairs of doses, `mrinterp.stats.dose_shape.monotonicity`.
    Threshold and plateau: knots of the flat - straight - flat curve nearest to the mean effects. One
    exists where the curve is monotone, the bootstrap interval of the knot excludes the end of the grid,
    at least two doses lie in the flat part, and the curve moves there by no more than the region of
    practical equivalence or a tenth of its rise. A curve that bends gradually has knots that depend on
    the grid; ``ramp_r2`` says how well the shape fits. No correction for the number of features.
    """
    check_level(level)
    check_draws(draws)
    numbers = feature_numbers(bench, features)
    given = None if doses is None else _given(doses, len(numbers))
    targets = None if given is not None else _by_quantile(bench, quantiles)
    D = len(quantiles) if given is None else given.shape[1]
    variation = site_variation(bench)
    step = max(1, HELD // (D * int(np.prod(bench.values.shape[:-1]))))
    blocks = [slice(a, a + step) for a in range(0, len(numbers), step)]

    def written(b: slice) -> Array:
        return _written(bench, numbers[b], targets, None if given is None else given[b])

    outside = np.concatenate([_outside(bench, numbers[b], written(b), variation) for b in blocks])
    dose = np.concatenate([np.nanmean(written(b).reshape(len(numbers[b]), D, -1), axis=2) for b in blocks])
    if not allow_off_support:
        _refuse_outside(bench, numbers, dose, outside)
    parts = []
    for k, b in enumerate(blocks):
        values = written(b)
        # Every block has its own name: sampled outcomes draw from a stream named after it.
        what = f"dose response {k + 1}" if k else "dose response"
        arms = values.reshape(-1, 1, *values.shape[2:])
        parts.append(bench.sweep(np.repeat(numbers[b], D)[:, None], arms, what))
    F = len(numbers)
    change = (np.concatenate([p.outcome for p in parts]) - bench.clean).transpose(1, 0, 2)
    change = change.reshape(bench.prompts, F, D, -1)
    read_back = np.concatenate([p.read_back for p in parts]).reshape(F, D).max(axis=1)
    effect, se, df = clustered_mean(change, bench.family)
    t = critical_value(level, df) if df else np.nan
    low, high = percentile_interval(family_draws(change, bench.family, draws, seed), level)
    floor, region = 2 * resolution(bench), outcome_rope(bench, rope)
    still = np.concatenate([spread(clean_values(bench, numbers[b])) for b in blocks]) == 0
    status = tuple(
        ONE_FAMILY if not df else "it never varies: every dose is the same clamp" if s else "ok"
        for s in still
    )
    tested = monotonicity(change, bench.family, floor, level, draws, seed)
    shape = _shapes(tested, region, floor, 1 - level)
    shape[np.array(status) != "ok"] = "not applicable"
    ramp = fit_ramp(dose, change, bench.family, draws, seed)
    threshold, plateau = _knots(ramp, dose, effect, shape, region, level)
    return DoseResponse(
        tuple(bench.view.names[f] for f in numbers),
        tuple(bench.outcome.names),
        dose,
        outside,
        effect,
        se,
        effect - t * se,
        effect + t * se,
        low,
        high,
        tested.p_rising,
        tested.p_falling,
        shape,
        threshold,
        plateau,
        ramp.r2,
        region,
        status,
        df,
        level,
        bench.noise_floor(),
        read_back,
        {"draws": draws, "seed": seed, "quantiles": list(quantiles) if doses is None else None},
    )


def _by_quantile(bench: Bench, quantiles: Sequence[float]) -> list[Targets]:
    q = np.asarray(quantiles, dtype=float)
    if q.ndim != 1 or len(q) < 3 or (np.diff(q) <= 0).any() or q[0] < 0 or q[-1] > 1:
        raise InputError("quantiles", f"{list(quantiles)}", "Give at least 3, growing, between 0 and 1")
    return [Clamp(quantile=float(x)).targets(bench) for x in q]


def _given(doses: ArrayLike, features: int) -> Array:
    """Doses (F, D) that a person chose."""
    made = np.asarray(doses, dtype=float)
    made = made[None] if made.ndim == 1 else made
    if made.ndim != 2 or made.shape[0] not in (1, features) or made.shape[1] < 3:
        raise InputError(
            "doses",
            f"shape {made.shape} for {features} features",
            "Give at least 3 doses, (D,) or one row per feature",
        )
    if not np.isfinite(made).all() or (np.diff(made, axis=1) <= 0).any():
        raise InputError("doses", "not all finite and growing", "Give finite doses from low to high")
    return np.broadcast_to(made, (features, made.shape[1]))


def _written(bench: Bench, block: Rows, targets: list[Targets] | None, given: Array | None) -> Array:
    """Values written (f, D, P), or (f, D, P, T) with nan on padding."""
    clean = clean_values(bench, block)
    if targets is not None:
        return np.concatenate([t(block) for t in targets], axis=1)
    assert given is not None
    tall = given.reshape(*given.shape, *(1 for _ in clean.shape[1:]))
    return np.where(np.isnan(clean)[:, None], np.nan, tall)


def _outside(bench: Bench, block: Rows, written: Array, variation: SiteVariation) -> Array:
    """Share (f, D) of the values written that their place never shows."""
    doses = range(written.shape[1])
    found = [check_support(bench, block, written[:, d : d + 1], variation).outside_range for d in doses]
    return np.stack(found, axis=1)


def _refuse_outside(bench: Bench, numbers: Rows, dose: Array, outside: Array) -> None:
    if not outside.any():
        return
    f, d = np.argwhere(outside > 0)[0]
    clean = clean_values(bench, numbers[f : f + 1])
    raise InputError(
        f"dose {dose[f, d]:.4g} of {bench.view.names[numbers[f]]!r}",
        f"outside what it naturally shows ({np.nanmin(clean):.4g} to {np.nanmax(clean):.4g}, or less at a"
        f" single place) for {outside[f, d]:.0%} of the values written",
        "Give doses within, or allow_off_support=True",
    )


def _shapes(tested: Monotonicity, region: Array, floor: float, alpha: float) -> NDArray[np.object_]:
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
