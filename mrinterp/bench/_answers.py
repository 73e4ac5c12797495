"""From results of the product to answers: one scale, the verdicts that a study gives, sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mrinterp.bench._access import natural_sd, rope_per_sd, unit_sd
from mrinterp.bench._method import Answer, Estimand
from mrinterp.effects._claims import claim_verdicts
from mrinterp.results._contrast_levels import NATURAL_SD
from mrinterp.results._estimates import Estimates
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.worlds._world import World

__all__ = ["answer_of"]

Array = NDArray[np.float64]


def answer_of(
    world: World,
    found: Estimates,
    estimand: Estimand,
    passes: Mapping[str, int],
    resample: KnockoutEffects | None = None,
    score: Array | None = None,
    knocked: int = 0,
) -> Answer:
    """Estimates as an answer.

    Parameters
    ----------
    found : Estimates
        Per natural sd where they are of a contrast or averaged, else per unit of the feature.
    resample : KnockoutEffects, optional
        As `claim_verdicts` takes it.
    score : ndarray (F, O), optional
        Default the size of the effect per natural sd; where the sd is not known, in standard errors.
    knocked : int
        Prompts that were knocked out: what is found per firing of a rare feature is averaged over those where it does not
        fire, as the truth is.
    """
    sd = natural_sd(world)[:, None]
    natural = found if estimand in ("contrast", "averaged") else _scaled(found, sd)
    half = rope_per_sd(world)
    words = claim_verdicts(natural, half, resample)
    causal, negligible = words == "causal", words == "negligible"
    sets = _sets_of(natural)
    for (
        members
    ) in sets:  # a set of copies has one effect, and one verdict together: right where all of it is causal
        rows = list(members)
        outside = (natural.ci_lower[rows] > half) | (natural.ci_upper[rows] < -half)
        causal[rows] |= outside
    if score is None:
        score = np.abs(natural.beta)
        if world.bench is None and world.panel is None:
            score = score / np.where(natural.se > 0, natural.se, np.nan)
    unit = unit_sd(world)[:, None] / np.where(sd > 0, sd, 1.0)
    if estimand in ("contrast", "averaged"):
        unit = np.full(sd.shape, NATURAL_SD if estimand == "contrast" else 1.0)
    rare = np.asarray(found.details.get("per_firing", np.zeros(found.beta.shape)) > 0)
    unit = unit * np.where(rare & (knocked > 0), found.n_instruments / max(knocked, 1), 1.0)
    without = ~np.isfinite(natural.beta) | natural.undecided
    why = np.where(found.status == "ok", "no verdict: the estimate says so itself", found.status)
    return Answer(
        score=score,
        effect=natural.beta * unit,
        lower=natural.ci_lower * unit,
        upper=natural.ci_upper * unit,
        causal=causal,
        negligible=negligible,
        sets=sets,
        abstained=np.where(without, why, "").astype(object),
        passes={k: int(v) for k, v in passes.items()},
        estimand=estimand,
    )


def _scaled(found: Estimates, sd: Array) -> Estimates:
    """Estimates per unit as estimates per natural sd."""
    numbers = {n: getattr(found, n) * sd for n in ("beta", "se", "ci_lower", "ci_upper")}
    return replace(found, **numbers)


def _sets_of(found: Estimates) -> tuple[tuple[int, ...], ...]:
    """Features that the estimates say they cannot tell apart, by number."""
    listed = [
        tuple(sorted(found.exposures.index(m) for m in one["members"]))
        for one in found.meta.get("dependent_sets", [])
    ]
    return tuple(dict.fromkeys(listed))
