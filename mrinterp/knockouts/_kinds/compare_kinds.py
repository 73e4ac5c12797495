"""Put several kinds of knockout beside each other and test whether they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.results._kind_comparison import KindComparison
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.stats.clustered.least_squares import families_of
from mrinterp.stats.tests.heterogeneity import (
    Heterogeneity,
    correlated_heterogeneity,
    independent_heterogeneity,
)

__all__ = ["compare_kinds"]

Array = NDArray[np.float64]


def compare_kinds(kinds: Sequence[KnockoutEffects] | Mapping[str, KnockoutEffects]) -> KindComparison:
    """Effects per unit by every kind, with a test of their equality per feature and outcome.

    Parameters
    ----------
    kinds : sequence of KnockoutEffects, or mapping of names to them
        At least two, of the same features and outcomes, all on the same inputs or all on other families.
        Without names they are called by their kind; those of one kind by their words.

    Returns
    -------
    KindComparison
        Effects of every kind beside each other, and a test of their equality per feature and outcome.

    Raises
    ------
    InputError
        For fewer than two, features or outcomes that differ, or inputs that overlap without being the same.

    Notes
    -----
    On the same inputs the estimates are correlated: their covariance is that of the inputs' contributions,
    summed by family (leave one family out), and Q is Wald's (`correlated_heterogeneity`), compared with
    Hotelling's T^2 with one family more than the kinds have degrees of freedom on average. On other
    families Q is Cochran's, compared with Welch's F. A kind without an effect in a cell (nothing was moved) is left out of that
    cell's test, which ``compared`` counts. So is every kind where the outcome is least or largest at the clean run: slopes
    do not speak of it.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> both = [mrinterp.knock_out(bench, kind, "linear") for kind in ("mean", "shift")]
    >>> mrinterp.knockouts.compare_kinds(both).effect.round(6).ravel()
    array([1., 1.])
    """
    effects = _listed(kinds)
    first = effects[0]
    for e in effects[1:]:
        if e.features != first.features or e.outcomes != first.outcomes:
            raise InputError(
                f"kind {e.kind!r}",
                f"other features or outcomes than {first.kind!r}",
                "Compare like with like",
            )
    paired = all(_same_inputs(e, first) for e in effects)
    if not paired:
        _refuse_overlap(effects)
    effect, se = np.stack([e.effect for e in effects]), np.stack([e.se for e in effects])
    K, F, O = effect.shape
    df = np.stack([np.broadcast_to(e.effect_df[:, None], (F, O)) for e in effects])
    covariance = _covariance(effects) if paired else np.einsum("kfo,kl->fokl", se**2, np.eye(K))
    floor = np.stack([e.floor_per_unit for e in effects])
    extremal = np.any([e.extremal_at_clean for e in effects], axis=0)
    usable = np.isfinite(effect) & np.isfinite(se) & ~extremal
    test = _equality(effect, df, covariance, floor, usable, paired)
    return KindComparison(
        kinds=tuple(kinds) if isinstance(kinds, Mapping) else _names(effects),
        labels=tuple(e.label for e in effects),
        features=first.features,
        outcomes=first.outcomes,
        effect=effect,
        se=se,
        df=df,
        covariance=covariance,
        noise_floor=floor,
        q=test.q,
        q_df=test.df,
        q_neglog10p=test.neglog10p,
        i2=test.i2,
        compared=usable.sum(axis=0).astype(float),
        paired=paired,
        families=min(e.inputs["family"].nunique() for e in effects),
        flags=np.array([e.flags for e in effects], dtype=object).reshape(K, F),
    )


def _equality(
    effect: Array, df: Array, covariance: Array, floor: Array, usable: NDArray[np.bool_], paired: bool
) -> Heterogeneity:
    """The test of every cell (F, O), on the kinds (K, F, O) that are usable there; nan with fewer than two."""
    K, F, O = effect.shape
    found = Heterogeneity(*(np.full((F, O), np.nan) for _ in fields(Heterogeneity)))
    rounding = np.nan_to_num(floor).max(axis=0)
    for pattern in np.unique(usable.reshape(K, -1).T, axis=0):
        if pattern.sum() < 2:
            continue
        cells = (usable == pattern[:, None, None]).all(axis=0)
        rows = np.flatnonzero(pattern)
        b, v, d = effect[:, cells][rows], covariance[cells][:, rows][:, :, rows], df[:, cells][rows]
        if paired:
            made = correlated_heterogeneity(b, v, 1.0 + d.mean(axis=0), rounding[cells])
        else:
            made = independent_heterogeneity(b, np.sqrt(np.einsum("mkk->km", v)), d)
        for item in fields(Heterogeneity):
            getattr(found, item.name)[cells] = getattr(made, item.name)
    return found


def _listed(kinds: Any) -> list[KnockoutEffects]:
    """The effects, two or more."""
    listed = list(kinds.values() if isinstance(kinds, Mapping) else kinds) if np.iterable(kinds) else [kinds]
    other = [e for e in listed if not isinstance(e, KnockoutEffects)]
    if other or len(listed) < 2:
        found = f"a {type(other[0]).__name__}" if other else f"{len(listed)} given"
        raise InputError("kinds", found, "Give the results of at least two kinds of knockout")
    return listed


def _names(effects: Sequence[KnockoutEffects]) -> tuple[str, ...]:
    """Kinds by name; those that occur twice by their words."""
    kinds = [e.kind for e in effects]
    return tuple(e.label if kinds.count(e.kind) > 1 else e.kind for e in effects)


def _same_inputs(one: KnockoutEffects, other: KnockoutEffects) -> bool:
    keys = ["prompt", "family"]
    return one.inputs[keys].reset_index(drop=True).equals(other.inputs[keys].reset_index(drop=True))


def _refuse_overlap(effects: Sequence[KnockoutEffects]) -> None:
    for i, one in enumerate(effects):
        for other in effects[i + 1 :]:
            shared = set(one.inputs["family"]) & set(other.inputs["family"])
            if shared:
                raise InputError(
                    f"kinds {one.kind!r} and {other.kind!r}",
                    f"share {len(shared)} families, but not all inputs",
                    "Run both on the same bench, or on other families",
                )


def _covariance(effects: Sequence[KnockoutEffects]) -> Array:
    """Covariance (F, O, K, K) of the kinds' effects: the jackknife over families of `swap_effects`, jointly."""
    codes, names = families_of(effects[0].inputs["family"].to_numpy())
    C, P = len(names), len(codes)
    F, O = effects[0].effect.shape
    sums = np.zeros((C, len(effects), F, O))
    for k, e in enumerate(effects):
        share = np.zeros((C, F))
        np.add.at(share, codes, e.weight.T / P)
        np.add.at(sums[:, k], codes, e.influence.transpose(1, 0, 2))
        alone = share > 1.0 - 1e-8  # this family determines the effect alone: it has no error to share
        sums[:, k] /= np.where(alone, 1.0, 1.0 - np.where(alone, 0.0, share))[:, :, None]
    return np.asarray(np.einsum("ckfo,clfo->fokl", sums, sums) * (C - 1) / C / P**2)
