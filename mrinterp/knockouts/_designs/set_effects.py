"""Necessity and sufficiency of sets of features: noising and denoising."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_draws, checked_level, checked_seed
from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._designs.knock_out_sets import knock_out_sets, slots_of
from mrinterp.knockouts._designs.shares import shares_of
from mrinterp.knockouts._feature_numbers import Features, FeatureSets, feature_numbers, feature_sets
from mrinterp.knockouts._kinds.replacement import Replacement, outside_support, replacement_values
from mrinterp.results._designs.set_effects import SetEffects
from mrinterp.stats.clustered.least_squares import clustered_mean

__all__ = ["set_effects"]

Array = NDArray[np.float64]


def set_effects(
    bench: Bench,
    values: Replacement,
    features: FeatureSets | None = None,
    *,
    universe: Features | None = None,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
    allow_off_support: bool = False,
) -> SetEffects:
    """Knock each set out, and everything but it.

    Parameters
    ----------
    bench : Bench
        The network, its inputs, features and outcomes.
    values : Replacement
        What is written in place of a feature's own values: a kind with one value per prompt (``"mean"``,
        ``Clamp(quantile=0.1)``), a number, an array (K,), (K, P) or (K, P, T), or a function. It is
        written into what is knocked out, in the universe's order.
    features : mapping of str to names or numbers, optional
        Sets by name, within the universe; without names, and by default, every feature alone.
    universe : names or numbers, optional
        "Everything"; default all features of the view. What the view does not read is never touched: a
        set is sufficient only beside it.
    level : float
        Confidence level of Fieller's interval and of the bootstrap's.
    draws, seed : int
        Draws of the family bootstrap, and its seed.
    allow_off_support : bool
        Write values far outside what a feature shows all the same; they are then flagged.

    Returns
    -------
    SetEffects
        What every set, and everything but it, does; what is lost and kept as shares of the whole.

    Raises
    ------
    InputError
        For no set, one with an unknown feature or one from outside the universe.

    Notes
    -----
    Shares are of the effect of knocking everything out; where that cannot be told from zero they are
    undefined and the outcome's status says so.

    Source: noising against denoising, Heimersheim & Nanda 2024, arXiv:2404.15255; ratio, Fieller 1954,
    10.1111/j.2517-6161.1954.tb00159.x.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> sets = {"gates": ["saturated", "threshold"]}
    >>> mrinterp.knockouts.set_effects(bench, "zero", sets).noised.round(6)
    array([[-2.]])
    """
    checked_level(level), checked_draws(draws), checked_seed(seed)
    numbers = feature_numbers(bench, universe, "universe")
    sets = feature_sets(bench, features if features is not None else numbers)
    members = np.stack([_members(bench, numbers, name, chosen) for name, chosen in sets.items()])
    S, n = members.shape
    new = replacement_values(bench, numbers, values, allow_off_support)
    arms = np.concatenate([np.ones((1, n), dtype=bool), members, ~members])
    edited = knock_out_sets(bench, numbers, new, slots_of(arms), "sets of features")
    change = (edited.outcome - bench.clean).transpose(1, 0, 2)
    span, noised, denoised = change[:, 0], change[:, 1 : S + 1], change[:, S + 1 :]
    lost_and_kept = np.concatenate([noised, span[:, None] - denoised], axis=1)
    found = shares_of(bench, lost_and_kept, span, "knocking everything out", level, draws, seed)
    ends, boot = (
        np.stack(parts)
        for parts in ((found.share, found.lower, found.upper), (found.boot_lower, found.boot_upper))
    )
    (m, se), (a, a_se), (b, b_se) = (clustered_mean(x, bench.family)[:2] for x in (span, noised, denoised))
    return SetEffects(
        sets=tuple(sets),
        outcomes=tuple(bench.outcome.names),
        universe=tuple(bench.view.names[f] for f in numbers),
        sizes=members.sum(axis=1),
        span=m,
        span_se=se,
        noised=a,
        noised_se=a_se,
        denoised=b,
        denoised_se=b_se,
        necessity=ends[:, :S],
        sufficiency=ends[:, S:],
        necessity_boot=boot[:, :S],
        sufficiency_boot=boot[:, S:],
        status=found.status,
        df=found.df,
        level=level,
        noise_floor=bench.noise_floor(),
        read_back_error=float(edited.read_back.max(initial=0.0)),
        meta={"draws": draws, "seed": seed, "outside_support": outside_support(bench, numbers, new)},
    )


def _members(
    bench: Bench, numbers: NDArray[np.int_], name: str, wanted: NDArray[np.int_]
) -> NDArray[np.bool_]:
    """Which of the universe belong to a set (n,)."""
    outside = np.setdiff1d(wanted, numbers)
    if len(outside):
        raise InputError(
            f"features, set {name!r}: {bench.view.names[int(outside[0])]!r}",
            "not in the universe",
            "Put it into the universe, or leave it out of the set",
        )
    return np.isin(numbers, wanted)
