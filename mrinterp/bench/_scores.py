"""How right an answer is, world by world: ranks, sizes, calls, sets, re-runs and passes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from mrinterp.bench._access import ropes
from mrinterp.bench._method import Answer, Method
from mrinterp.worlds._world import World

__all__ = ["score_answer"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Found = dict[str, float | str]
"""A score, or in words why there is none."""

MATTERS = 0.1
"""Share of the region of practical equivalence from which a feature's effect counts as one: zeros are covered by any interval
that is wide enough."""

STRONG = 5.0
"""Regions of practical equivalence from which an effect has to be found."""

ROUNDING = 1e-3
"""Regions of practical equivalence by which an interval may miss the truth: where nothing is left to chance, intervals are as
narrow as the rounding of the network's numbers."""

NO_TABLE = "the world has no table of its estimand"
NO_EFFECT = "it gives no effect"
NO_IMPOSTOR = "no feature of this world only accompanies a cause"
TABLES = {"slope": ("slope", "shift"), "shift": ("shift", "slope")}
"""Tables that an estimand is scored against, the first that there is: a matched shift measures a slope."""


def score_answer(world: World, method: Method, answer: Answer, again: tuple[Mask, Mask] | str) -> Found:
    """All scores of one answer.

    Parameters
    ----------
    again : (ndarray, ndarray) of bool, or str
        What the method called causal on one half of the families and on the other; or why it was not run so.
    """
    causal, borrowed = world.truth.causal, (world.truth.borrows_from >= 0)[:, None] & ~world.truth.causal
    called = answer.causal
    found: Found = {
        "auroc": _ranked(answer.score, causal, borrowed, NO_IMPOSTOR),
        "auroc_all": _ranked(answer.score, causal, ~causal, "all features are causal, or none"),
        "auprc": _precision(answer.score, causal, borrowed | (~causal & ~borrowed.any())),
        **_sizes(world, answer.estimand or method.estimand, answer),
        "fdr": float((called & ~causal).sum() / called.sum()) if called.any() else 0.0,
        "power": _share(called, _strong(world), "no effect of this world is as large"),
        "recall": _share(called, causal, "no cause in this world"),
        "impostor_called": _share(called, borrowed, NO_IMPOSTOR),
        "cause_called_negligible": _share(answer.negligible, causal, "no cause in this world"),
        "set": _sets(world, answer),
        "source": _sources(world, answer),
        "abstained": float((answer.abstained != "").mean()),
        "jaccard": again if isinstance(again, str) else _jaccard(*again),
        "passes": float(sum(answer.passes.values())) if answer.passes else "no network is run",
    }
    return found


def _ranked(score: Array, causal: Mask, others: Mask, why: str) -> float | str:
    """Area under the ROC curve, mean over outcomes; what is not ranked comes last."""
    areas = []
    for s, c, n in zip(_filled(score).T, causal.T, others.T, strict=True):
        if c.any() and n.any():
            areas.append(roc_auc_score(c[c | n], s[c | n]))
    return float(np.mean(areas)) if areas else why


def _precision(score: Array, causal: Mask, others: Mask) -> float | str:
    areas = []
    for s, c, n in zip(_filled(score).T, causal.T, others.T, strict=True):
        if c.any() and n.any():
            areas.append(average_precision_score(c[c | n], s[c | n]))
    return float(np.mean(areas)) if areas else "all features are causal, or none"


def _filled(score: Array) -> Array:
    known = np.isfinite(score)
    least = score[known].min() - 1.0 if known.any() else 0.0
    return np.where(known, score, least)


def _sizes(world: World, estimand: str, answer: Answer) -> Found:
    """Sign, slope, error, width and coverage against the truth of the method's own estimand."""
    names = ("sign", "slope", "rmse", "half_width", "coverage", "coverage_matter")
    table = next((t for t in TABLES.get(estimand, (estimand,)) if t in world.truth.effects), None)
    known = np.isfinite(answer.effect)
    if not known.any() or table is None:
        return dict.fromkeys(names, NO_EFFECT if not known.any() or estimand == "none" else NO_TABLE)
    truth, rope = world.truth.effects[table], ropes(world, estimand)
    signed = known & world.truth.causal & (np.abs(truth) > rope)
    has = known & np.isfinite(answer.lower) & np.isfinite(answer.upper)
    slack = ROUNDING * rope
    inside = (answer.lower - slack <= truth) & (truth <= answer.upper + slack)
    matters = np.abs(truth) > MATTERS * rope
    power = float((truth[known] ** 2).sum()) if (matters & known).any() else 0.0
    error = (answer.effect - truth)[known] / rope[known]
    half = (answer.upper - answer.lower)[has] / 2 / rope[has]
    return {
        "sign": _share(
            np.sign(answer.effect) == np.sign(truth), signed, "no cause with an effect of one sign"
        ),
        "slope": float((answer.effect * truth)[known].sum() / power)
        if power > 0
        else "no effect that matters",
        "rmse": float(np.sqrt((error**2).mean())),
        "half_width": float(np.median(half)) if has.any() else "it gives no intervals",
        "coverage": _share(inside, has, "it gives no intervals"),
        "coverage_matter": _share(inside, has & matters, "no feature that matters has one"),
    }


def _strong(world: World) -> Mask:
    """Causal cells (F, O) whose effect is at least five regions wide."""
    for table in ("contrast", "slope", "shift"):
        if table in world.truth.effects:
            large = np.abs(world.truth.effects[table]) >= STRONG * ropes(world, table)
            return np.asarray(large & world.truth.causal)
    return np.zeros(world.truth.causal.shape, dtype=bool)


def _share(of: Mask, among: Mask, why: str) -> float | str:
    return float(of[among].mean()) if among.any() else why


def _sets(world: World, answer: Answer) -> float | str:
    """Groups of copies that the answer gives as exactly that set."""
    numbers, counts = np.unique(world.truth.group, return_counts=True)
    groups = [tuple(np.flatnonzero(world.truth.group == n).tolist()) for n in numbers[counts > 1]]
    if not groups:
        return "no copies in this world"
    return float(np.mean([g in {tuple(sorted(s)) for s in answer.sets} for g in groups]))


def _sources(world: World, answer: Answer) -> float | str:
    """Impostors whose cause is named, or a copy of it."""
    truth = world.truth
    impostors = np.flatnonzero(truth.borrows_from >= 0)
    if not len(impostors):
        return NO_IMPOSTOR
    if not (answer.source >= 0).any():
        return "it names no cause of an impostor"
    named, right = answer.source[impostors], truth.borrows_from[impostors]
    return float(((named >= 0) & (truth.group[named] == truth.group[right])).mean())


def _jaccard(first: Mask, second: Mask) -> float | str:
    either = first | second
    return (
        float((first & second).sum() / either.sum()) if either.any() else "nothing is called in either half"
    )
