"""Put several kinds of knockout beside each other and test whether they agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.core.kind_comparison import KindComparison
from mrinterp.core.knockout_effects import KnockoutEffects
from mrinterp.stats.clustered import families_of
from mrinterp.stats.heterogeneity import correlated_heterogeneity, independent_heterogeneity

__all__ = ["compare_kinds"]

Array = NDArray[np.float64]


def compare_kinds(effects: Sequence[KnockoutEffects]) -> KindComparison:
    """Effects per unit by every kind, with a test of their equality per feature and outcome.

    Parameters
    ----------
    effects : sequence of KnockoutEffects
        At least two, of the same features and outcomes, all on the same inputs or all on other families.

    Raises
    ------
    InputError
        For fewer than two, features or outcomes that differ, or inputs that overlap without being the same.

    Notes
    -----
    On the same inputs the estimates are correlated: their covariance is that of the inputs' contributions,
    summed by family (leave one family out), and Q is Wald's (`correlated_heterogeneity`). On other
    families Q is Cochran's. A kind without an effect in a cell (nothing was moved) is left out of that
    cell's test, which ``compared`` counts.
    """
    if len(effects) < 2:
        raise InputError("kinds", f"{len(effects)} given", "Give at least two kinds of knockout")
    first = effects[0]
    for e in effects[1:]:
        if e.features != first.features or e.outcomes != first.outcomes:
            raise InputError(
                f"kind {e.kind!r}",
                f"other features or outcomes than {first.kind!r}",
                "Compare like with like",
            )
    names = _names(effects)
    paired = all(_same_inputs(e, first) for e in effects)
    if not paired:
        _refuse_overlap(effects)
    effect, se = np.stack([e.effect for e in effects]), np.stack([e.se for e in effects])
    K, F, O = effect.shape
    families = min(e.prompts["family"].nunique() for e in effects)
    covariance = _covariance(effects) if paired else np.einsum("kfo,kl->fokl", se**2, np.eye(K))
    q, q_df, evidence, i2 = (np.full((F, O), np.nan) for _ in range(4))
    floor = np.stack([e.floor_per_unit for e in effects])
    rounding = np.repeat(np.nan_to_num(floor).max(axis=0)[:, None], O, axis=1)
    usable = np.isfinite(effect) & np.isfinite(se)
    for pattern in np.unique(usable.reshape(K, -1).T, axis=0):
        if pattern.sum() < 2:
            continue
        cells = (usable == pattern[:, None, None]).all(axis=0)
        rows = np.flatnonzero(pattern)
        b = effect[:, cells][rows]
        if paired:
            shared = covariance[cells][:, rows][:, :, rows]
            made = correlated_heterogeneity(b, shared, families, rounding[cells])
        else:
            made = independent_heterogeneity(b, se[:, cells][rows])
        q[cells], q_df[cells], evidence[cells], i2[cells] = made.q, made.df, made.neglog10p, made.i2
    return KindComparison(
        names,
        tuple(e.label for e in effects),
        first.features,
        first.outcomes,
        effect,
        se,
        np.stack([np.broadcast_to(e.effect_df[:, None], (F, O)) for e in effects]),
        covariance,
        floor,
        q,
        q_df,
        evidence,
        i2,
        usable.sum(axis=0).astype(float),
        paired,
        families,
        np.array([e.flags for e in effects], dtype=object).reshape(K, F),
    )


def _names(effects: Sequence[KnockoutEffects]) -> tuple[str, ...]:
    """Kinds by name; those that occur twice by their words."""
    kinds = [e.kind for e in effects]
    return tuple(e.label if kinds.count(e.kind) > 1 else e.kind for e in effects)


def _same_inputs(one: KnockoutEffects, other: KnockoutEffects) -> bool:
    keys = ["prompt", "family"]
    return one.prompts[keys].reset_index(drop=True).equals(other.prompts[keys].reset_index(drop=True))


def _refuse_overlap(effects: Sequence[KnockoutEffects]) -> None:
    for i, one in enumerate(effects):
        for other in effects[i + 1 :]:
            shared = set(one.prompts["family"]) & set(other.prompts["family"])
            if shared:
                raise InputError(
                    f"kinds {one.kind!r} and {other.kind!r}",
                    f"share {len(shared)} families, but not all inputs",
                    "Run both on the same bench, or on other families",
                )


def _covariance(effects: Sequence[KnockoutEffects]) -> Array:
    """Covariance (F, O, K, K) of the kinds' effects: the jackknife over families of `swap_effects`, jointly."""
    codes, names = families_of(effects[0].prompts["family"].to_numpy())
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
