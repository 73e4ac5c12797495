"""Which features can be shown to do nothing, for every outcome tested."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from statsmodels.stats.multitest import multipletests

from mrinterp.core.checks import checked_choice, checked_level
from mrinterp.core.errors import InputError
from mrinterp.results._edits.vestigial_features import VestigialFeatures
from mrinterp.results._knockout_effects import ROPE_SD, KnockoutEffects

__all__ = ["vestigial_features"]

Array = NDArray[np.float64]
CORRECTIONS = ("holm", "fdr_bh")
"""As statsmodels names them: they hold whatever the dependence (Holm), or under positive dependence
(Benjamini & Hochberg)."""


def vestigial_features(
    knockouts: KnockoutEffects | Sequence[KnockoutEffects],
    *,
    correction: str = "holm",
    dead: bool = True,
    rope_sd: float = ROPE_SD,
    rope: ArrayLike | None = None,
    level: float = 0.95,
) -> VestigialFeatures:
    """Features whose effects are equivalent to zero on all outcomes, under all kinds of knockout given.

    Parameters
    ----------
    knockouts : KnockoutEffects or a sequence of them
        Of the same F features and O outcomes.
    correction : {"holm", "fdr_bh"}
        Over features. None is needed over outcomes and kinds: a feature must pass all of them, so that
        its p is the largest (intersection-union test).
    dead : bool
        Count features that no knockout moved and whose outcomes never changed: setting them to that value
        for good changes nothing on these inputs. There is no p-value for inputs not seen.
    rope_sd : float
        Half the region of practical equivalence, in sd of the outcome per sd of the feature.
    rope : array broadcast to (F, O), optional
        Half the region in outcome units per unit of the feature, instead of ``rope_sd``.
    level : float
        The error rate over all features is 1 - level.

    Returns
    -------
    VestigialFeatures
        Per feature the cell with the least evidence, its p, and whether the feature passed.

    Raises
    ------
    InputError
        For no knockouts, ones of different features or outcomes, another correction, a region that is not above
        zero, or a level outside (0.5, 1).

    Notes
    -----
    What is shown is that the *mean* effect per unit is small. It is not valid as a statement about single inputs:
    effects of both signs on different inputs can hide in it, and ``rms_change`` is their size. Each feature is
    tested alone: many taken out together can still matter. Measure what pruning costs on inputs held out
    (`measure_pruning`).

    Source: Schuirmann 1987, 10.1007/BF01068419; Berger 1982, 10.1080/00401706.1982.10487790; Holm 1979,
    Scandinavian J. Statistics 6:65; Benjamini & Hochberg 1995, 10.1111/j.2517-6161.1995.tb02031.x.

    Examples
    --------
    >>> from mrinterp.edits import vestigial_features
    >>> from mrinterp.knockouts import knock_out
    >>> from mrinterp.worlds import gated_world
    >>> found = vestigial_features(knock_out(gated_world().bench(), "zero", draws=20))
    >>> found.names
    ('silent', 'idle')
    """
    all_kinds = [knockouts] if isinstance(knockouts, KnockoutEffects) else list(knockouts)
    if not all_kinds:
        raise InputError("knockouts", "none", "Give at least one kind of knockout")
    first = all_kinds[0]
    for other in all_kinds[1:]:
        if (other.features, other.outcomes) != (first.features, first.outcomes):
            raise InputError(
                f"knockouts, kind {other.kind!r}",
                f"features or outcomes differ from those of {first.kind!r}",
                "Knock out the same features, and measure the same outcomes",
            )
    checked_choice(correction, "correction", CORRECTIONS)
    checked_level(level)
    table, asleep = _worst(all_kinds, rope_sd, rope, level)
    tested = table["p"].notna().to_numpy()
    adjusted, passed = np.full(len(table), np.nan), np.zeros(len(table), dtype=bool)
    if tested.any():
        error_rate = round(1 - level, 12)  # 1 - 0.95 is not 0.05 in binary; rounded, it is
        passed[tested], adjusted[tested] = multipletests(table["p"][tested], error_rate, correction)[:2]
    table.insert(6, "adjusted", adjusted)
    table["vestigial"] = passed | (asleep & dead)
    table["status"] = np.where(
        asleep,
        "dead",
        np.where(
            tested,
            "ok",
            "not measurable: nothing was moved, or there are too few families for a standard error",
        ),
    )
    words = [[f"{k.kind}: {k.flags[f]}" for k in all_kinds if k.flags[f]] for f in range(len(table))]
    table["flags"] = np.array(["; ".join(w) for w in words], dtype=object)
    meta = {
        "rope": f"{rope_sd:g} sd per sd" if rope is None else np.asarray(rope).tolist(),
        "families": first.df + 1,
    }
    kinds = tuple(k.kind for k in all_kinds)
    return VestigialFeatures(
        features=first.features,
        outcomes=first.outcomes,
        kinds=kinds,
        table=table,
        level=level,
        correction=correction,
        meta=meta,
    )


def _worst(
    all_kinds: list[KnockoutEffects], rope_sd: float, rope: ArrayLike | None, level: float
) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Per feature the cell with the least evidence, and which features are dead."""
    first = all_kinds[0]
    F, O = first.effect.shape
    frames = [k.equivalence(rope_sd=rope_sd, rope=rope, level=level) for k in all_kinds]
    evidence = np.stack([f["neglog10p"].to_numpy().reshape(F, O) for f in frames], axis=1).reshape(F, -1)
    asleep = np.all([_dead(k) for k in all_kinds], axis=0)
    missing = np.isnan(evidence).any(axis=1)
    cell = np.where(np.isnan(evidence), -np.inf, evidence).argmin(axis=1)
    kind, outcome = np.divmod(cell, O)
    row = np.arange(F)

    def picked(name: str) -> Array:
        stacked = np.stack([f[name].to_numpy(dtype=float).reshape(F, O) for f in frames], axis=1)
        return np.asarray(stacked[row, kind, outcome])

    with np.errstate(divide="ignore", invalid="ignore"):
        rms_change = np.stack([k.rms_change / k.outcome_sd for k in all_kinds], axis=1).reshape(F, -1)
    known = ~np.isnan(rms_change).all(axis=1)
    largest = np.full(F, np.nan)
    largest[known] = np.nanmax(rms_change[known], axis=1)
    table = pd.DataFrame(
        {
            "feature": np.array(first.features, dtype=object),
            "kind": np.array([k.kind for k in all_kinds], dtype=object)[kind],
            "outcome": np.array(first.outcomes, dtype=object)[outcome],
            "effect": picked("effect"),
            "rope": picked("rope"),
            "p": np.where(missing, np.nan, 10.0 ** -picked("neglog10p")),
            "rms_change": largest,
        }
    )
    return table, asleep


def _dead(k: KnockoutEffects) -> NDArray[np.bool_]:
    """Features (F,) that no swap moved and whose outcomes stayed where they were on every input."""
    unmoved = np.isnan(k.effect).all(axis=1) & (k.rms_change <= k.noise_floor).all(axis=1)
    return np.asarray(unmoved)
