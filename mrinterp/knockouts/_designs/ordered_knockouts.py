"""Cumulative knockouts in a given order, against random orders of the same features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid

from mrinterp.core.checks import checked_count, checked_level, checked_seed
from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._designs.knock_out_sets import knock_out_sets, slots_of
from mrinterp.knockouts._feature_numbers import Features, feature_numbers
from mrinterp.knockouts._kinds.replacement import Replacement, outside_support, replacement_values
from mrinterp.knockouts._outcome_rope import ONE_FAMILY, unread
from mrinterp.results._designs.ordered_knockouts import OrderedKnockouts
from mrinterp.stats.clustered.interval import ClusteredInterval, clustered_interval

__all__ = ["ordered_knockouts"]

Array = NDArray[np.float64]


def ordered_knockouts(
    bench: Bench,
    values: Replacement,
    features: Features | None = None,
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
        The network, its inputs, features and outcomes.
    values : Replacement
        What is written in place of a feature's own values: a kind with one value per prompt (``"mean"``,
        ``Clamp(quantile=0.1)``), a number, an array (K,), (K, P) or (K, P, T), or a function.
    features : names or numbers, optional
        The K features, the one to be knocked out first first; default all of the view, in its order.
    random_orders : int
        At least 2 for a baseline; 0 for none.
    level : float
        Of the intervals, and of the random orders' central share.
    seed : int
        Of the orders drawn.
    allow_off_support : bool
        Write values far outside what a feature shows all the same; they are then flagged.

    Returns
    -------
    OrderedKnockouts
        The curve of the given order, that of random orders, and what the one gains over the others.

    Raises
    ------
    InputError
        For unknown or repeated features, or a single random order.

    Notes
    -----
    The gain is paired by prompt: both curves see the same prompts, so that its interval does not carry
    their spread. It is conditional on the random orders drawn. Random orders are of the same features:
    they say whether the *order* is informative, not whether the set is.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> order = ["saturated", "threshold", "idle"]
    >>> mrinterp.knockouts.ordered_knockouts(bench, "zero", order).effect.ravel().round(6)
    array([ 0., -1., -2., -2.])
    """
    checked_level(level), checked_seed(seed)
    if checked_count(random_orders, "random_orders", least=0) == 1:
        raise InputError("random_orders", "1", "Give at least 2, or 0 for no baseline")
    numbers = feature_numbers(bench, features)
    new = replacement_values(bench, numbers, values, allow_off_support)
    curves, read_back = _curves(bench, numbers, new, random_orders, seed)
    given = clustered_interval(curves[0].swapaxes(0, 1), bench.family, level)
    against = _Baseline.of(curves, bench.family, level)
    sign = np.where(given.mean[-1] < 0, -1.0, 1.0)
    area_lower, area_upper = np.sort(np.stack([against.area.lower, against.area.upper]) * sign, axis=0)
    return OrderedKnockouts(
        order=tuple(bench.view.names[f] for f in numbers),
        outcomes=tuple(bench.outcome.names),
        effect=given.mean,
        se=given.se,
        lower=given.lower,
        upper=given.upper,
        random=against.random.mean,
        random_se=against.random.se,
        random_low=against.low,
        random_high=against.high,
        gain=against.gain.mean,
        gain_se=against.gain.se,
        gain_lower=against.gain.lower,
        gain_upper=against.gain.upper,
        area=against.area.mean * sign,
        area_lower=area_lower,
        area_upper=area_upper,
        random_orders=random_orders,
        df=given.df,
        level=level,
        noise_floor=bench.noise_floor(),
        read_back_error=read_back,
        status=(unread(bench, curves[:, 1:]) or "ok") if given.df else ONE_FAMILY,
        meta={"seed": seed, "outside_support": outside_support(bench, numbers, new)},
    )


def _curves(
    bench: Bench, numbers: NDArray[np.int_], new: Array, random_orders: int, seed: int
) -> tuple[Array, float]:
    """Outcome changes (1 + R, K + 1, P, O) along the given order and random ones, and the worst read-back."""
    K, rng = len(numbers), np.random.default_rng([seed, 17])
    ranks = np.stack([np.arange(K), *(rng.permutation(K) for _ in range(random_orders))])
    # Arm (r, k) holds the features whose rank in order r is below k; all orders share the last.
    members = ranks[:, None, :] < np.arange(1, K)[None, :, None]
    members = np.concatenate([members.reshape(-1, K), np.ones((1, K), dtype=bool)])
    edited = knock_out_sets(bench, numbers, new, slots_of(members), "ordered knockouts")
    change = edited.outcome - bench.clean
    curves = np.zeros((len(ranks), K + 1, *change.shape[1:]))
    curves[:, 1:K] = change[:-1].reshape(len(ranks), K - 1, *change.shape[1:])
    curves[:, K] = change[-1]
    return curves, float(edited.read_back.max(initial=0.0))


@dataclass(frozen=True, eq=False)
class _Baseline:
    """Mean of the random orders (K + 1, O), the central share of single ones, the gain of the given order
    over their mean, and the area between the two (O,); all nan without random orders."""

    random: ClusteredInterval
    low: Array
    high: Array
    gain: ClusteredInterval
    area: ClusteredInterval

    @classmethod
    def of(cls, curves: Array, family: NDArray, level: float) -> _Baseline:
        if len(curves) == 1:
            curves = np.concatenate([curves, np.full_like(curves, np.nan)])
        drawn, tail = curves[1:], (1 - level) / 2
        low, high = np.quantile(drawn.mean(axis=2), [tail, 1 - tail], axis=0)
        gain = curves[0] - drawn.mean(axis=0)
        area = trapezoid(gain, dx=1 / (len(gain) - 1), axis=0)
        random = clustered_interval(drawn.mean(axis=0).swapaxes(0, 1), family, level)
        gained = clustered_interval(gain.swapaxes(0, 1), family, level)
        return cls(random, low, high, gained, clustered_interval(area, family, level))
