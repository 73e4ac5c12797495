"""Necessity and sufficiency of sets of features: noising and denoising."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._designs.knock_out_sets import knock_out_sets, slots_of
from mrinterp.knockouts._designs.shares import shares_of
from mrinterp.knockouts._feature_numbers import Features, feature_numbers
from mrinterp.knockouts._kinds.options import check_whole
from mrinterp.knockouts._kinds.replacement import Replacement, outside_support, replacement_values
from mrinterp.knockouts._outcome_rope import check_draws, check_level
from mrinterp.results._designs.set_effects import SetEffects
from mrinterp.stats.clustered.least_squares import clustered_mean

__all__ = ["set_effects"]

Array = NDArray[np.float64]


def set_effects(
    bench: Bench,
    sets: Mapping[str, Features],
    values: Replacement,
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
    sets : mapping of str to names or numbers
        Within the universe.
    values : Replacement
        What is written into what is knocked out (of the universe, in its order): a mean, or the values on
        counterfactual inputs.
    universe : names or numbers, optional
        "Everything"; default all features of the view. What the view does not read is never touched: a
        set is sufficient only beside it.
    allow_off_support : bool
        Write values far outside what a feature shows all the same; they are then flagged.
    level, draws, seed
        Of Fieller's interval; of the family bootstrap beside it.

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
    """
    check_level(level)
    check_draws(draws)
    check_whole("seed", seed, 0, "Give a whole number of at least 0")
    if not sets:
        raise InputError("sets", "none given", "Give at least one set of features under a name")
    numbers = feature_numbers(bench, universe, "universe")
    members = np.stack([_members(bench, numbers, name, chosen) for name, chosen in sets.items()])
    S, n = members.shape
    new = replacement_values(bench, numbers, values, allow_off_support)
    arms = np.concatenate([np.ones((1, n), dtype=bool), members, ~members])
    swept = knock_out_sets(bench, numbers, new, slots_of(arms), "sets of features")
    change = (swept.outcome - bench.clean).transpose(1, 0, 2)
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
        read_back_error=float(swept.read_back.max(initial=0.0)),
        meta={"draws": draws, "seed": seed, "outside_support": outside_support(bench, numbers, new)},
    )


def _members(bench: Bench, numbers: NDArray[np.int_], name: str, chosen: Features) -> NDArray[np.bool_]:
    """Which of the universe belong to a set (n,)."""
    wanted = feature_numbers(bench, chosen, f"set {name!r}")
    outside = np.setdiff1d(wanted, numbers)
    if len(outside):
        raise InputError(
            f"set {name!r}: {bench.view.names[int(outside[0])]!r}",
            "not in the universe",
            "Put it into the universe, or leave it out of the set",
        )
    return np.isin(numbers, wanted)
