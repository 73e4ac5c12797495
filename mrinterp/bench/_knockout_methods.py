"""Methods that write: the default of a study, its rungs, and all knockouts there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.attribution._gradient import gradient
from mrinterp.attribution._method import token_mean
from mrinterp.bench._access import natural_sd, perturbed_runs, rope_per_sd, some_runs, summaries
from mrinterp.bench._answers import answer_of, named_sources
from mrinterp.bench._method import Answer, Method
from mrinterp.core.mrdata import MRData
from mrinterp.core.panel import Panel
from mrinterp.core.plan import FEWEST_FAMILIES, PILOT_FAMILIES, KnockoutsSection
from mrinterp.diagnostics._specification import specification_checks
from mrinterp.effects._calibrated import calibrated_estimates, calibration_plan
from mrinterp.effects._claims import claim_verdicts
from mrinterp.effects._doubts import doubted_rungs
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._bench_gradient import predicted_contrast
from mrinterp.knockouts._contrast_levels import contrast_levels
from mrinterp.knockouts._designs.rectified_contrast import (
    drawn_prompts,
    moved_contrasts,
    passes,
    rectified_contrast,
    rectified_estimates,
)
from mrinterp.knockouts._designs.site_experiment import site_experiment
from mrinterp.knockouts._kinds.contrast import Contrast
from mrinterp.knockouts._kinds.resample import Resample
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.mr._engine.driver import estimate, run_mr
from mrinterp.mr._runs.within import within
from mrinterp.results._check import NotApplicable
from mrinterp.results._contrast_levels import NATURAL_SD
from mrinterp.results._estimates import Estimates
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.scan._screen import screen_features
from mrinterp.stats.clustered.families_needed import families_for_width
from mrinterp.tables._arrays import from_arrays
from mrinterp.worlds._sparse_runs import SparseRuns
from mrinterp.worlds._world import World

__all__ = ["KNOCKOUT_METHODS"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]

NO_WRITES = NotApplicable("the world is a table: nothing can be written", "knockouts")
FAMILIES, PROMPTS = 10, 4
"""Families that the rungs knock out, and prompts of each; the default takes as many as its pilot asks for."""

MANY = 40
"""Features from which on a study with a drawn outcome sets all at random at once besides."""


def _edited(bench: Bench, runs: int) -> dict[str, int]:
    return {"resumed" if bench.resumes else "forward": runs}


def _sum(*spent: dict[str, int]) -> dict[str, int]:
    return {k: sum(s.get(k, 0) for s in spent) for k in ("forward", "resumed", "backward")}


def _too_few(bench: Bench) -> NotApplicable | None:
    found = len(np.unique(bench.family))
    few = f"{found} families: knockouts carry a claim from {FEWEST_FAMILIES}"
    return NotApplicable(few, "knockouts") if found < FEWEST_FAMILIES else None


def _on_networks(
    method: Callable[[World, Bench, int], Answer],
) -> Callable[[World, int], Answer | NotApplicable]:
    """A method that writes, of worlds that are networks with families enough; of others the reason."""

    @wraps(method)
    def answer(world: World, seed: int) -> Answer | NotApplicable:
        return NO_WRITES if world.bench is None else _too_few(world.bench) or method(world, world.bench, seed)

    return answer


def _moved(bench: Bench, contrast: Contrast | None = None) -> Array:
    """Share (F,) of the prompts at which a contrast writes: known from the clean runs of all."""
    placed, every = bench.by_token, np.arange(bench.features)
    written = np.isfinite((contrast or Contrast()).values_of(placed)(every, slice(None)))
    return np.asarray(written.reshape(bench.features, 2, bench.prompts, -1).any(axis=(1, 3)).mean(axis=1))


def default(world: World, seed: int) -> Answer | NotApplicable:
    """What a study does by itself: a screen of what is too much to be written, contrasts where the site can be, else MR on
    runs, else on summaries."""
    if world.sparse is not None:
        return _screened(world, world.sparse, seed)
    if world.bench is not None:
        return _too_few(world.bench) or _claims(world, world.bench, seed)
    if world.panel is not None:
        return _on_runs(world, world.panel, seed)
    data = summaries(world)
    assert isinstance(data, MRData)
    return _naming(answer_of(world, run_mr(data)[0], "slope", {}), named_sources(data))


def _on_runs(world: World, panel: Panel, seed: int) -> Answer:
    """The within regression; two-stage least squares where tests of the equation doubt the first only; no verdict where they
    doubt both."""
    spent = {"forward": len(panel.runs)}
    made = answer_of(world, within(panel, seed=seed), "slope", spent)
    doubts = doubted_rungs([c.to_dict() for c in specification_checks(panel)], panel.outcome_names)
    for o, outcome in enumerate(panel.outcome_names):
        if ("within", outcome) not in doubts:
            continue
        if ("tsls", outcome) not in doubts:
            other = answer_of(world, estimate(panel, "tsls"), "slope", spent)
            for name in ("score", "effect", "lower", "upper", "causal", "negligible", "abstained"):
                getattr(made, name)[:, o] = getattr(other, name)[:, o]
            continue
        made.causal[:, o] = made.negligible[:, o] = False
        made.abstained[:, o] = f"specification doubted: {doubts['within', outcome]}"
    return _naming(made, named_sources(panel))


def _screened(world: World, runs: SparseRuns, seed: int) -> Answer:
    """A screen on half of the families, and the candidates' joint fit on the other half: no feature is knocked out."""
    found = screen_features(
        runs.activations, runs.outcomes, prompt=runs.prompt, family=runs.family, seed=seed
    )
    score = np.nan_to_num(np.abs(found.z))
    score = score / (1.0 + score.max()) - 1.0  # behind all candidates
    spent = {"forward": len(runs.prompt)}
    if not len(found.columns):
        return Answer(score=score, passes=spent, estimand="slope")
    panel = some_runs(runs.panel(found.columns), found.later)
    made = within(panel, seed=seed)
    sd = np.asarray(panel.features).std(axis=0)[:, None]
    natural = replace(made, **{n: getattr(made, n) * sd for n in ("beta", "se", "ci_lower", "ci_upper")})
    words = claim_verdicts(natural, rope_per_sd(world), screened=True)
    answer = Answer(score=score, passes=spent, estimand="slope")
    told = {
        "score": np.abs(natural.beta),
        "effect": natural.beta,
        "lower": natural.ci_lower,
        "upper": natural.ci_upper,
        "causal": words == "causal",
        "abstained": np.where(np.isfinite(natural.beta), "", natural.status),
    }
    for name, values in told.items():
        getattr(answer, name)[found.columns] = values
    return answer


def _naming(answer: Answer, source: Rows | None) -> Answer:
    """The answer with whose effect features show that is none of their own; never of those that it calls causal."""
    if source is None:
        return answer
    return replace(answer, source=np.where(answer.causal.any(axis=1), -1, source))


def _company(world: World, bench: Bench, made: Estimates) -> Rows | None:
    """Whose effect features show over the clean inputs, by the effects of knockouts: no pass more than those."""
    sd = natural_sd(world)[:, None]
    if (sd <= 0).any():
        return None
    per_unit = {n: getattr(made, n) / sd for n in ("beta", "se", "ci_lower", "ci_upper")}
    panel = from_arrays(
        doses=np.zeros((bench.prompts, 1)),
        features=token_mean(bench, bench.values),
        outcomes=bench.computed,
        prompt=bench.family,
        family=bench.family,
        feature_names=list(bench.view.names),
        outcome_names=list(bench.outcome.names),
    )
    return named_sources(panel, replace(made, **per_unit))


def _claims(world: World, bench: Bench, seed: int) -> Answer:
    """A study's steps on a bench: a pilot on a quarter of the families, blind knockouts of others."""
    settings = KnockoutsSection()
    names = np.random.default_rng([seed, 33]).permutation(np.unique(bench.family))
    first = np.isin(bench.family, names[: len(names) // 4])
    early, later = np.flatnonzero(first), np.flatnonzero(~first)
    count, spent = FEWEST_FAMILIES, dict[str, int]()
    # Of all prompts, no outcome among them, as in a study of few families: the truth's values are those of all prompts too.
    contrast = Contrast(levels=contrast_levels(bench))
    if len(names) - len(names) // 4 >= 2 * FEWEST_FAMILIES:
        count, spent = _pilot(world, bench.subset(early), contrast, len(names), settings, seed)
    else:
        later = np.arange(bench.prompts)
    rows = later[drawn_prompts(bench.family[later], count, settings.prompts_per_family, seed)]
    knocked = bench.subset(rows)
    knockout = knock_out(knocked, contrast, seed=seed)
    predicted = predicted_contrast(bench, contrast)
    usable = bool(np.isfinite(predicted).any())
    given = (predicted[rows], predicted, bench.family) if usable else (None, None, None)
    assert contrast.levels is not None
    made = rectified_estimates(knockout, contrast.levels, *given)
    few = drawn_prompts(knocked.family, FEWEST_FAMILIES, settings.prompts_per_family, seed)
    resample = knock_out(knocked.subset(few).by_token, Resample(settings.donors, seed), seed=seed)
    states = 1 if usable else 0
    swaps = _edited(bench, settings.donors * len(few) * bench.features)
    total = _sum(spent, passes(bench, len(rows), states), swaps, {"forward": bench.prompts + len(few)})
    if bench.sampled and bench.features >= MANY:
        return _joint(world, knocked, contrast, made, resample, total, seed)
    answer = answer_of(world, made, "contrast", total, resample, moved=_moved(bench, contrast))
    return _naming(answer, _company(world, bench, made))


def _pilot(
    world: World, discovery: Bench, contrast: Contrast, families: int, settings: KnockoutsSection, seed: int
) -> tuple[int, dict[str, int]]:
    """How many families a study of these would knock out, and the passes of its pilot."""
    few = drawn_prompts(discovery.family, PILOT_FAMILIES, settings.prompts_per_family, seed, least=1)
    bench = discovery.subset(few)
    knockout = moved_contrasts(knock_out(bench, contrast, seed=seed))
    given = knockout, predicted_contrast(bench, contrast), bench.family
    wanted = settings.width * rope_per_sd(world) * NATURAL_SD
    needed = families_for_width(*given, wanted, families, least=FEWEST_FAMILIES)
    if not needed.reached.all():
        needed = families_for_width(
            *given, np.maximum(wanted, 1.25 * needed.bound), families, least=FEWEST_FAMILIES
        )
    # A study has as many families for its knockouts as for its discovery, and 10 at least; small worlds lend it 20.
    most = max(families // 4, 2 * FEWEST_FAMILIES)
    return int(np.clip(needed.families, FEWEST_FAMILIES, most)), passes(bench, len(few), 1)


def _joint(
    world: World,
    bench: Bench,
    contrast: Contrast,
    made: Estimates,
    resample: KnockoutEffects,
    spent: dict[str, int],
    seed: int,
) -> Answer:
    """Features that were not compared one at a time rest on the experiment in which all are set at random at once."""
    joint = site_experiment(bench, contrast, seed=seed)
    rests = ~np.isfinite(joint.alone) & np.isfinite(joint.se)
    numbers = {
        name: np.where(rests, getattr(joint, of), getattr(made, name))
        for name, of in (("beta", "effect"), ("se", "se"), ("ci_lower", "lower"), ("ci_upper", "upper"))
    }
    undecided = np.where(rests, 0.0, made.details["undecided"])
    mixed = replace(made, **numbers, details=made.details | {"undecided": undecided})
    answer = answer_of(world, mixed, "contrast", _sum(spent, _edited(bench, joint.runs)), resample)
    causal = np.where(rests, joint.verdict == "causal", answer.causal)
    return replace(
        answer, causal=causal, negligible=np.where(rests, joint.verdict == "negligible", answer.negligible)
    )


@_on_networks
def rectified(world: World, bench: Bench, seed: int) -> Answer:
    """`rectified_contrast` as it is called by hand: levels from the bench's own prompts, 10 families of 4."""
    made = rectified_contrast(bench, families=FAMILIES, prompts=PROMPTS, seed=seed)
    return answer_of(world, made, "contrast", made.meta["passes"], moved=_moved(bench))


@_on_networks
def alone(world: World, bench: Bench, seed: int) -> Answer:
    """The same without a prediction, on as many more prompts as its passes would have bought."""
    knocked = min(FAMILIES, len(np.unique(bench.family))) * PROMPTS
    total = sum(passes(bench, knocked, 1).values())
    families = max(FAMILIES, round((total - bench.prompts) / (1 + 2 * bench.features) / PROMPTS))
    made = rectified_contrast(bench, families=families, prompts=PROMPTS, prediction=None, seed=seed)
    return answer_of(world, made, "contrast", made.meta["passes"], moved=_moved(bench))


@_on_networks
def exhaustive(world: World, bench: Bench, seed: int) -> Answer:
    """Every feature's contrast on every prompt: what anything cheaper can at best agree with."""
    each = int(np.unique(bench.family, return_counts=True)[1].max())
    made = rectified_contrast(bench, families=bench.prompts, prompts=each, prediction=None, seed=seed)
    return answer_of(world, made, "contrast", made.meta["passes"], moved=_moved(bench))


@_on_networks
def experiment(world: World, bench: Bench, seed: int) -> Answer:
    """All features low or high at random in the same runs."""
    joint = site_experiment(bench, seed=seed, rope_sd=0.02)
    half = rope_per_sd(world)
    causal, negligible = joint.verdict == "causal", joint.verdict == "negligible"
    outside = (joint.lower > half) | (joint.upper < -half)
    causal = np.where(
        np.isfinite(joint.lower), outside & (joint.verdict != "depends on other features"), causal
    )
    alone_runs = int(joint.meta.get("runs_alone", 0))
    return Answer(
        score=np.abs(joint.effect),
        effect=joint.effect,
        lower=joint.lower,
        upper=joint.upper,
        causal=causal.astype(bool),
        negligible=negligible,
        abstained=np.where(np.isfinite(joint.effect), "", _grid(joint.status, joint.effect.shape)).astype(
            object
        ),
        passes=_sum({"forward": bench.prompts}, _edited(bench, joint.runs + alone_runs)),
    )


def _grid(words: Any, shape: tuple[int, int]) -> NDArray[np.object_]:
    found = np.asarray(words, dtype=object)
    return np.broadcast_to(found.reshape(shape[0], -1), shape)


def calibrated(world: World, seed: int) -> Answer | NotApplicable:
    """The within regression, its intervals widened by the bias that matched shifts of some features show."""
    if world.bench is None:
        return NotApplicable(
            "the world is a table: no feature can be shifted to measure the bias", "calibration"
        )
    panel, bench, sd = perturbed_runs(world), world.bench, natural_sd(world)
    if isinstance(panel, NotApplicable):
        return panel
    names = np.random.default_rng([seed, 34]).permutation(np.unique(bench.family))
    if len(names) < 3 * FEWEST_FAMILIES:
        return NotApplicable(
            f"{len(names)} families: ten to plan, ten to shift and ten to estimate are needed", "calibration"
        )
    if (sd <= 0).any():
        return NotApplicable("a feature that never varies has no scale to calibrate on", "calibration")
    planning, shifting = (
        bench.subset(np.flatnonzero(np.isin(bench.family, part)))
        for part in (names[:FEWEST_FAMILIES], names[FEWEST_FAMILIES : 2 * FEWEST_FAMILIES])
    )
    slope = gradient(planning)
    plan, spent = None, dict[str, int]()
    if isinstance(slope, Estimates) and np.isfinite(slope.beta).any():
        plan = calibration_plan(
            replace(slope, beta=slope.beta * sd[:, None], se=slope.se * sd[:, None]), seed=seed
        )
        spent = {"forward": planning.prompts, "backward": planning.prompts * len(bench.outcome.names)}
    shifted = None if plan is None else list(plan.to_shift)
    shifts = knock_out(shifting, "shift", shifted, seed=seed, allow_off_support=True)
    kept = np.isin(panel.runs["family"].to_numpy(), names[2 * FEWEST_FAMILIES :])
    found = calibrated_estimates(within(some_runs(panel, kept), seed=seed), shifts, plan, feature_sd=sd)
    edited = _edited(bench, 2 * shifting.prompts * len(shifts.features))
    return answer_of(
        world, found, "slope", _sum(spent, edited, {"forward": int(kept.sum()) + shifting.prompts})
    )


KNOCKOUT_METHODS = (
    Method(
        "default",
        "mrinterp default",
        "contrast",
        ("runs",),
        default,
        "a study's own steps, by the access that there is",
    ),
    Method("rectified", "rectified contrast", "contrast", ("writes",), rectified, "10.1126/science.adi6000"),
    Method("knockouts_alone", "knockouts alone, at equal passes", "contrast", ("writes",), alone),
    Method("site_experiment", "randomized experiment at the site", "averaged", ("writes",), experiment),
    Method(
        "within_calibrated",
        "within regression, calibrated",
        "slope",
        ("perturbed runs", "writes"),
        calibrated,
    ),
    Method("exhaustive", "exhaustive knockouts (ceiling)", "contrast", ("writes",), exhaustive),
)
