"""From results of the product to answers: one scale, the verdicts that a study gives, sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mrinterp.bench._access import natural_sd, rope_per_sd, unit_sd
from mrinterp.bench._method import Answer, Estimand
from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.core.panel import Panel
from mrinterp.diagnostics._borrowed import borrowed_effects
from mrinterp.effects._claims import SIGN_VARIES, claim_verdicts
from mrinterp.results._check import NotApplicable
from mrinterp.results._contrast_levels import NATURAL_SD
from mrinterp.results._estimates import Estimates
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.worlds._world import World

__all__ = ["answer_of", "named_sources"]

Array = NDArray[np.float64]


def answer_of(
    world: World,
    found: Estimates,
    estimand: Estimand,
    passes: Mapping[str, int],
    resample: KnockoutEffects | None = None,
    score: Array | None = None,
    moved: Array | None = None,
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
    moved : ndarray (F,), optional
        Share of the world's prompts that a knockout moves: what is found per firing of a rare feature is averaged over those
        where it does not fire, as the truth is.
    """
    sd = natural_sd(world)[:, None]
    natural = found if estimand in ("contrast", "averaged") else _scaled(found, sd)
    half = rope_per_sd(world)
    words = claim_verdicts(natural, half, resample)
    # What is said to matter, in one direction or in both: as the truth's label has it.
    causal, negligible = (words == "causal") | (words == SIGN_VARIES), words == "negligible"
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
    if moved is not None:
        rare = np.asarray(found.details.get("per_firing", np.zeros(found.beta.shape)) > 0)
        unit = unit * np.where(rare, moved[:, None], 1.0)
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


def named_sources(
    data: Panel | MRData | NotApplicable, effects: Estimates | None = None
) -> NDArray[np.int_] | None:
    """Of features that show more of another's effect than of their own, that other feature (F,), else -1: by the outcome on
    which the borrowed part is largest. None where the data cannot be taken apart.

    Parameters
    ----------
    data : Panel or MRData
    effects : Estimates, optional
        Per unit of the features, such as by knockouts, in place of the joint fit; sources are those that have one.
    """
    if isinstance(data, NotApplicable):
        return None
    try:
        held = None
        if effects is not None:
            known = np.flatnonzero(np.isfinite(effects.beta + effects.se).all(axis=1))
            held = [effects.exposures[k] for k in known]
        found = borrowed_effects(data, held, effects=effects)
    except InputError:  # nothing moves, or instruments are correlated
        return None
    if isinstance(found, NotApplicable):
        return None
    named = found.main_feature
    part = np.take_along_axis(np.abs(found.borrowed), np.maximum(named, 0)[:, None, :], axis=1)[:, 0]
    part = np.where(named >= 0, np.nan_to_num(part), -1.0)
    chosen = np.take_along_axis(named, part.argmax(axis=1)[:, None], axis=1)[:, 0]
    first = {int(s): int(np.flatnonzero(found.member == s)[0]) for s in np.unique(found.member) if s >= 0}
    return np.array([first.get(int(s), -1) for s in chosen])


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
