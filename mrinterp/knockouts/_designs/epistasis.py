"""Double knockouts of all pairs, and their interactions."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.multitest import multipletests

from mrinterp.core.checks import checked_choice, checked_level
from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._designs.knock_out_sets import knock_out_sets
from mrinterp.knockouts._feature_numbers import Features, feature_numbers
from mrinterp.knockouts._kinds.replacement import Replacement, outside_support, replacement_values
from mrinterp.knockouts._outcome_rope import ONE_FAMILY, outcome_rope, resolutions, unread
from mrinterp.results._designs.epistasis import Epistasis
from mrinterp.stats.clustered.interval import ClusteredInterval, clustered_interval
from mrinterp.stats.tests.minimum_effect import minimum_effect_p

__all__ = ["epistasis"]

Array = NDArray[np.float64]

CORRECTIONS = (
    "bonferroni",
    "sidak",
    "holm-sidak",
    "holm",
    "simes-hochberg",
    "hommel",
    "fdr_bh",
    "fdr_by",
    "fdr_tsbh",
    "fdr_tsbky",
    "none",
)


def epistasis(
    bench: Bench,
    values: Replacement,
    features: Features | None = None,
    *,
    pairs: Iterable[tuple[str | int, str | int]] | None = None,
    correction: str = "fdr_by",
    rope_sd: float = 0.02,
    level: float = 0.95,
    allow_off_support: bool = False,
) -> Epistasis:
    """Knock features out alone and two at a time; the interaction is what the two do beyond their sum.

    Parameters
    ----------
    bench : Bench
        The network, its inputs, features and outcomes.
    values : Replacement
        What is written in place of a feature's own values: a kind with one value per prompt (``"mean"``,
        ``Clamp(quantile=0.1)``), a number, an array (K,), (K, P) or (K, P, T), or a function.
    features : names or numbers, optional
        K features; default all of the view.
    pairs : iterable of pairs, optional
        Of the features; default all K (K - 1) / 2.
    correction : str
        Method of `statsmodels.stats.multitest.multipletests` over the pairs of an outcome, or ``none``. The
        default, Benjamini & Yekutieli's, holds under any dependence: pairs share their singles.
    rope_sd : float
        Region of practical equivalence of an interaction, in sd of the clean outcome.
    level : float
        Of the intervals; calls are made at 1 - level after correction.
    allow_off_support : bool
        Write values far outside what a feature shows all the same; they are then flagged.

    Returns
    -------
    Epistasis
        Single, joint and interaction effects, and a word for every pair and outcome.

    Raises
    ------
    InputError
        For an unknown correction, fewer than two features, a pair of a feature with itself, a pair given twice, or one with an
        unknown feature.

    Notes
    -----
    Interaction of a pair on a prompt: Y(ab) - Y(a) - Y(b) + Y(clean). It is called only where both the
    interval and the corrected test exclude the region. The direction of the singles is that of every
    single whose own interval excludes zero. "No interaction" is on the scale of the outcome: a sigmoid
    at the end makes additive causes interact.

    Not valid with few families (t on C - 1 degrees of freedom).
    Source: interaction as deviation from additivity, Phillips 2008, 10.1038/nrg2452; correction,
    Benjamini & Yekutieli 2001, 10.1214/aos/1013699998.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> mrinterp.knockouts.epistasis(bench, "zero", ["linear", "threshold"]).call
    array([['negligible']], dtype=object)
    """
    checked_level(level)
    checked_choice(correction, "correction", CORRECTIONS)
    region = outcome_rope(bench, rope_sd)
    numbers = feature_numbers(bench, features)
    K = len(numbers)
    i, j = _positions(bench, numbers, pairs).T
    new = replacement_values(bench, numbers, values, allow_off_support)
    alone = np.stack([np.arange(K), np.full(K, -1)], axis=1)
    edited = knock_out_sets(
        bench, numbers, new, np.concatenate([alone, np.stack([i, j], axis=1)]), "double knockouts"
    )
    change = edited.outcome - bench.clean
    single, joint = change[:K], change[K:]
    beyond = joint - single[i] - single[j]
    one, two, inter = (
        clustered_interval(x.transpose(1, 0, 2), bench.family, level) for x in (single, joint, beyond)
    )
    floor = 4 * resolutions(bench)
    p = minimum_effect_p(inter.mean, inter.se, np.maximum(region, floor), inter.df)
    adjusted = np.stack([_corrected(p[:, o], correction) for o in range(p.shape[1])], axis=1)
    direction = _directions(one, floor)
    call = _calls(inter, adjusted, direction[i], direction[j], region, floor, 1 - level)
    silent = unread(bench, change)
    if silent:
        call[:] = "indeterminate"
    return Epistasis(
        features=tuple(bench.view.names[f] for f in numbers),
        outcomes=tuple(bench.outcome.names),
        pairs=np.stack([i, j], axis=1),
        single=one.mean,
        single_se=one.se,
        joint=two.mean,
        joint_se=two.se,
        interaction=inter.mean,
        se=inter.se,
        lower=inter.lower,
        upper=inter.upper,
        p=p,
        adjusted_p=adjusted,
        call=call,
        rope=region,
        df=inter.df,
        level=level,
        noise_floor=bench.noise_floor(),
        read_back_error=edited.read_back,
        status=(silent or "ok") if inter.df else ONE_FAMILY,
        meta={
            "correction": correction,
            "leakage": float(edited.leakage.max(initial=0.0)),
            "outside_support": outside_support(bench, numbers, new),
        },
    )


def _positions(
    bench: Bench, numbers: NDArray[np.int_], pairs: Iterable[tuple[str | int, str | int]] | None
) -> NDArray[np.int_]:
    """Pairs (M, 2) as positions among the features."""
    if len(numbers) < 2:
        raise InputError("features", "one given", "Double knockouts need at least two")
    if pairs is None:
        return np.stack(np.triu_indices(len(numbers), 1), axis=1)
    place = {int(f): k for k, f in enumerate(numbers)}
    out: dict[tuple[int, int], None] = {}
    for pair in pairs:
        named = feature_numbers(bench, pair, f"pair {tuple(pair)}")
        if len(named) != 2 or any(int(f) not in place for f in named):
            raise InputError(f"pair {tuple(pair)}", "not two of the features", "List both among the features")
        a, b = sorted(place[int(f)] for f in named)
        if (a, b) in out:
            raise InputError(f"pair {tuple(pair)}", "given twice", "Give every pair once")
        out[a, b] = None
    if not out:
        raise InputError("pairs", "none given", "Give at least one, or None for all")
    return np.array(list(out))


def _corrected(p: Array, correction: str) -> Array:
    out = np.full_like(p, np.nan)
    known = np.isfinite(p)
    if correction == "none":
        out[known] = p[known]
    elif known.any():
        out[known] = multipletests(p[known], method=correction)[1]
    return out


def _directions(single: ClusteredInterval, floor: Array) -> Array:
    """Sign of every single effect (K, O) that can be told from zero; 0 for the others."""
    if not single.df:
        return np.zeros_like(single.mean)
    return np.where(
        np.abs(single.mean) > np.maximum(single.critical * single.se, floor), np.sign(single.mean), 0.0
    )


def _calls(
    inter: ClusteredInterval, adjusted: Array, a: Array, b: Array, region: Array, floor: Array, alpha: float
) -> NDArray[np.object_]:
    """Words of every pair and outcome; ``a``, ``b`` are the singles' directions, 0 where they have none."""
    least = np.maximum(region, floor)
    found = ((inter.lower > least) | (inter.upper < -least)) & (adjusted < alpha)
    out = np.full(inter.mean.shape, "indeterminate", dtype=object)
    inside = (inter.lower >= -region) & (inter.upper <= region)
    out[inside | (np.abs(inter.mean) <= floor)] = "negligible"
    direction = np.where(a != 0, a, b)
    # Neither single does anything, the two together do: nothing to buffer.
    same = (direction == 0) | (np.sign(inter.mean) == direction)
    out[found & same] = "synergy"
    out[found & ~same] = "buffering"
    out[found & (a * b < 0)] = "opposed"
    return out
