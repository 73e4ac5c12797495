"""Cumulative knockouts in a given order, against random orders of the same features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid

from mrinterp.core.errors import InputError
from mrinterp.core.ordered_knockouts import OrderedKnockouts
from mrinterp.knockouts.bench import Bench
from mrinterp.knockouts.designs.knock_out_sets import knock_out_sets, slots_of
from mrinterp.knockouts.feature_numbers import Features, feature_numbers
from mrinterp.knockouts.kinds.replacement import Replacement, outside_support, replacement_values
from mrinterp.knockouts.outcome_rope import ONE_FAMILY, check_level
from mrinterp.stats.clustered import clustered_mean
from mrinterp.stats.tails import critical_value

__all__ = ["ordered_knockouts"]

Array = NDArray[np.float64]


def ordered_knockouts(
    bench: Bench,
    order: Features,
    values: Replacement,
    *,
    random_orders: int = 20,
    level: float = 0.95,
    seed: int = 0,
    allow_off_support: bool = False,
) -> OrderedKnockouts:
    """Knock out the first feature, the first two, and so on; the baseline is random orders of the same.

    Parameters
    ----------
    bench : Bench
    order : names or numbers
        The K features, the one to be knocked out first first.
    values : Replacement
        What is written, in the order's order.
    random_orders : int
        At least 2 for a baseline; 0 for none.
    allow_off_support : bool
        Write values far outside what a feature shows all the same; they are then flagged.
    level, seed
        Of intervals and of the random orders' central share; of the orders drawn.

    Raises
    ------
    InputError
        For unknown or repeated features, or a single random order.

    Notes
    -----
    The gain is paired by prompt: both curves see the same prompts, so that its interval does not carry
    their spread. It is conditional on the random orders drawn. Random orders are of the same features:
    they say whether the *order* is informative, not whether the set is.
    """
    check_level(level)
    if random_orders == 1 or random_orders < 0:
        raise InputError("random_orders", f"{random_orders}", "Give at least 2, or 0 for no baseline")
    numbers = feature_numbers(bench, order, "order")
    K, P = len(numbers), bench.prompts
    new = replacement_values(bench, numbers, values, allow_off_support)
    rng = np.random.default_rng([seed, 17])
    ranks = np.stack([np.arange(K), *(rng.permutation(K) for _ in range(random_orders))])
    # Arm (r, k) holds the features whose rank in order r is below k; all orders share the last.
    members = ranks[:, None, :] < np.arange(1, K)[None, :, None]
    members = np.concatenate([members.reshape(-1, K), np.ones((1, K), dtype=bool)])
    swept = knock_out_sets(bench, numbers, new, slots_of(members), "ordered knockouts")
    change = swept.outcome - bench.clean
    curves = np.zeros((1 + random_orders, K + 1, P, change.shape[2]))
    curves[:, 1:K] = change[:-1].reshape(1 + random_orders, K - 1, P, change.shape[2])
    curves[:, K] = change[-1]
    df = float(len(np.unique(bench.family)) - 1)
    t = float(critical_value(level, df)) if df else np.nan

    def means(x: Array) -> tuple[Array, Array]:
        return clustered_mean(x.swapaxes(0, -2), bench.family)[:2]

    effect, se = means(curves[0])
    if random_orders:
        mean_curve = curves[1:].mean(axis=0)
        random, random_se = means(mean_curve)
        tail = (1 - level) / 2
        low, high = np.quantile(curves[1:].mean(axis=2), [tail, 1 - tail], axis=0)
        gain, gain_se = means(curves[0] - mean_curve)
        sign = np.sign(effect[-1])
        area, area_se = means(trapezoid(curves[0] - mean_curve, dx=1 / K, axis=0))
        area = area * sign
    else:
        random, random_se, low, high, gain, gain_se = (np.full_like(effect, np.nan) for _ in range(6))
        area, area_se = (np.full(effect.shape[1], np.nan) for _ in range(2))
    return OrderedKnockouts(
        tuple(bench.view.names[f] for f in numbers),
        tuple(bench.outcome.names),
        effect,
        se,
        effect - t * se,
        effect + t * se,
        random,
        random_se,
        low,
        high,
        gain,
        gain_se,
        gain - t * gain_se,
        gain + t * gain_se,
        area,
        area - t * area_se,
        area + t * area_se,
        random_orders,
        df,
        level,
        bench.noise_floor(),
        float(swept.read_back.max(initial=0.0)),
        "ok" if df else ONE_FAMILY,
        {"seed": seed, "outside_support": outside_support(bench, numbers, new)},
    )
