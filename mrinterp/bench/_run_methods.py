"""Methods that read runs and summaries: rungs of Mendelian randomization, selection over features, colocalization."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mrinterp.bench._access import perturbed_runs, runs, summaries
from mrinterp.bench._answers import answer_of
from mrinterp.bench._method import Answer, Method
from mrinterp.coloc._abf import colocalize
from mrinterp.coloc._priors import HypothesisPriors
from mrinterp.core.mrdata import MRData
from mrinterp.core.panel import Panel
from mrinterp.mr._engine.driver import estimate
from mrinterp.results._check import NotApplicable
from mrinterp.results._estimates import Estimates
from mrinterp.stats.sparse.knockoffs import knockoff_filter
from mrinterp.worlds._world import World

__all__ = ["RUN_METHODS"]

Array = NDArray[np.float64]
Run = Callable[[World, int], Answer | NotApplicable]

RATE = 0.05
"""False discovery rate at which knockoffs select."""

LIKELY = 0.95
"""Posterior probability from which a feature counts as called causal: a local false discovery rate of 5%."""


def _spent(data: Panel | MRData) -> dict[str, int]:
    return {"forward": len(data.runs)} if isinstance(data, Panel) else {}


MOST_FEATURES = 256
"""Features up to which models of sets of them are weighed: all pairs of a thousand take longer than all other methods."""


def _rung(name: str, of: Callable[[World], Panel | MRData | NotApplicable]) -> Run:
    """A rung of the ladder by the name of its estimator."""

    def answer(world: World, seed: int) -> Answer | NotApplicable:
        data = of(world)
        if isinstance(data, NotApplicable):
            return data
        if name == "mv_ivw" and isinstance(data, MRData) and data.shape[0] >= data.shape[2]:
            return NotApplicable(
                f"{data.shape[2]} instruments for {data.shape[0]:,} features: not identified", name
            )
        found = estimate(data, name)
        panel = perturbed_runs(world) if isinstance(data, MRData) and world.mr_data is None else data
        return answer_of(world, found, "slope", _spent(panel) if isinstance(panel, Panel) else {})

    return answer


def _posterior(name: str, detail: str) -> Run:
    """Selection among features by a posterior probability of each, or of a set."""

    def answer(world: World, seed: int) -> Answer | NotApplicable:
        data = summaries(world)
        if isinstance(data, NotApplicable):
            return data
        if data.shape[0] > MOST_FEATURES:
            return NotApplicable(f"{data.shape[0]:,} features: not run on more than {MOST_FEATURES}", name)
        found = estimate(data, name)
        if detail not in found.details:
            return NotApplicable(str(found.status.ravel()[0]), name)
        panel = perturbed_runs(world) if world.mr_data is None else None
        probability = _of_sets(found, detail)
        made = answer_of(
            world, found, "slope", _spent(panel) if isinstance(panel, Panel) else {}, score=probability
        )
        called = np.asarray(probability > LIKELY)
        groups = {*made.sets, *_credible(found)}
        for members in groups:
            called[list(members)] = True
        missing = np.where(np.isfinite(probability), "", made.abstained).astype(object)
        return Answer(
            score=probability,
            effect=made.effect,
            lower=made.lower,
            upper=made.upper,
            causal=called,
            sets=tuple(sorted(g for g in groups if len(g) > 1)),
            abstained=missing,
            passes=made.passes,
            estimand="slope",
        )

    return answer


def _of_sets(found: Estimates, detail: str) -> Array:
    """Posterior probability (F, O); members of a set have that of the set."""
    probability = np.array(found.details[detail], dtype=float)
    for one in found.meta.get("dependent_sets", []):
        rows = [found.exposures.index(m) for m in one["members"]]
        probability[rows, found.outcomes.index(one["outcome"])] = one.get("probability", np.nan)
    return probability


def _credible(found: Estimates) -> set[tuple[int, ...]]:
    """Credible sets by the numbers of their features."""
    listed = set()
    for entry in found.meta.get("credible_sets", []):
        for one in entry.get("sets", [entry]):
            if "exposures" in one:
                listed.add(tuple(sorted(found.exposures.index(m) for m in one["exposures"])))
    return listed


def knockoffs(world: World, seed: int) -> Answer | NotApplicable:
    """Model-X knockoffs on the runs as they are, at a false discovery rate of 5%."""
    panel = runs(world)
    if isinstance(panel, NotApplicable):
        return panel
    x, y = np.asarray(panel.features, dtype=float), np.asarray(panel.outcomes, dtype=float)
    made = [knockoff_filter(x, y[:, o], RATE, seed) for o in range(y.shape[1])]
    return Answer(
        score=np.stack([m.statistic for m in made], axis=1),
        causal=np.stack([m.selected for m in made], axis=1),
        passes=_spent(panel),
    )


def colocalized(world: World, seed: int) -> Answer | NotApplicable:
    """Posterior that feature and outcome share the instrument that acts on them, all instruments one locus."""
    data = summaries(world)
    if isinstance(data, NotApplicable):
        return data
    if data.shape[2] < 2:
        return NotApplicable("one instrument: nothing to tell apart", "colocalization")
    panel = perturbed_runs(world) if world.mr_data is None else None
    F, O, _ = data.shape
    sd_x, sd_y = np.ones(F), np.ones(O)
    if isinstance(panel, Panel):
        change = panel.changes()
        sd_x, sd_y = (np.maximum(a.std(axis=0), 1e-12) for a in (change.features, change.outcomes))
    locus = ["all"] * data.shape[2]
    found = colocalize(data, locus=locus, sd_x=sd_x, sd_y=sd_y, priors=HypothesisPriors())
    shared, status = found.posterior[..., 0, 4], found.status[..., 0]
    return Answer(
        score=shared,
        causal=(shared > 0.8) & (status == "ok"),
        abstained=np.where(status == "ok", "", status).astype(object),
        passes=_spent(panel) if isinstance(panel, Panel) else {},
    )


RUN_METHODS = (
    Method("observational", "observational slope", "slope", ("runs",), _rung("observational", runs)),
    Method("ivw", "univariable MR (IVW)", "slope", ("summaries",), _rung("ivw", summaries)),
    Method("mv_ivw", "multivariable MR (MV-IVW)", "slope", ("summaries",), _rung("mv_ivw", summaries)),
    Method("within", "within regression", "slope", ("perturbed runs",), _rung("within", perturbed_runs)),
    Method("tsls", "two-stage least squares", "slope", ("perturbed runs",), _rung("tsls", perturbed_runs)),
    Method(
        "mr_bma",
        "MR-BMA over features",
        "slope",
        ("summaries",),
        _posterior("mr_bma", "inclusion"),
        "10.1038/s41467-019-13870-3",
    ),
    Method(
        "susie",
        "SuSiE over features",
        "slope",
        ("summaries",),
        _posterior("susie_mv", "pip"),
        "10.1111/rssb.12388",
    ),
    Method("coloc", "colocalization", "none", ("summaries",), colocalized, "10.1371/journal.pgen.1004383"),
    Method("knockoffs", "model-X knockoffs", "none", ("runs",), knockoffs, "arXiv:2511.11711"),
)
