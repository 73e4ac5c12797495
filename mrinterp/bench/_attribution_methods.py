"""Cheap methods on a network: correlation, probe, gradients; and the alignment search, where it applies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mrinterp.attribution._gradient import attribution_patching, gradient, gradient_times_activation
from mrinterp.attribution._integrated_gradients import integrated_gradients
from mrinterp.attribution._linear_probe import linear_probe
from mrinterp.attribution._relp import relp
from mrinterp.bench._access import runs
from mrinterp.bench._answers import answer_of
from mrinterp.bench._method import Answer, Estimand, Method
from mrinterp.knockouts._bench import Bench
from mrinterp.mr._runs.observational import observational
from mrinterp.results._check import NotApplicable
from mrinterp.results._estimates import Estimates
from mrinterp.worlds._world import World

__all__ = ["ATTRIBUTION_METHODS"]

NO_NETWORK = NotApplicable("the world is a table: there is no network to take it of", "attribution")
STEPS = 16
"""Backward passes of integrated gradients, as its default has it."""


def _attributed(
    run: Callable[[Bench], Estimates | NotApplicable], estimand: Estimand, forward: int, backward: int
) -> Callable[[World, int], Answer | NotApplicable]:
    """An attribution method; passes count per prompt (backward: and outcome)."""

    def answer(world: World, seed: int) -> Answer | NotApplicable:
        if world.bench is None:
            return NO_NETWORK
        bench = world.bench
        found = run(bench)
        if isinstance(found, NotApplicable):
            return found
        spent = {
            "forward": forward * bench.prompts,
            "backward": backward * bench.prompts * len(bench.outcome.names),
        }
        made = answer_of(world, found, "slope", spent)
        return made if estimand == "slope" else _of_change(made, found, estimand)

    return answer


def _of_change(made: Answer, found: Estimates, estimand: Estimand) -> Answer:
    """The same ranks and calls, with the mean change that a whole knockout would make as the effect."""
    change, error = found.details["change"], found.details["change_se"]
    half = 1.96 * error
    return Answer(
        score=made.score,
        effect=change,
        lower=change - half,
        upper=change + half,
        causal=made.causal,
        negligible=made.negligible,
        abstained=made.abstained,
        passes=made.passes,
        estimand=estimand,
    )


def correlated(world: World, seed: int) -> Answer | NotApplicable:
    """Absolute correlation over runs; called causal where the slope is beyond the region."""
    panel = runs(world)
    if isinstance(panel, NotApplicable):
        return panel
    found = observational(panel)
    made = answer_of(world, found, "slope", {"forward": len(panel.runs)})
    spread = np.asarray(panel.features, dtype=float).std(axis=0)[:, None]
    outcome = np.asarray(panel.outcomes, dtype=float).std(axis=0)
    r = np.abs(found.beta) * spread / np.where(outcome > 0, outcome, np.nan)
    return Answer(score=r, causal=made.causal, abstained=made.abstained, passes=made.passes)


def aligned(world: World, seed: int) -> Answer | NotApplicable:
    """Distributed alignment search asks where a variable of a causal model lies: it needs the model."""
    return NotApplicable(
        "it asks in which subspace a given variable of a causal model lies, and no world of the list comes with such a model",
        "distributed alignment search",
    )


ATTRIBUTION_METHODS = (
    Method("correlation", "correlation", "none", ("runs",), correlated),
    Method(
        "probe",
        "linear probe",
        "slope",
        ("writes",),
        _attributed(linear_probe, "slope", 1, 0),
        "arXiv:1610.01644",
    ),
    Method(
        "gradient",
        "gradient",
        "slope",
        ("gradient",),
        _attributed(gradient, "slope", 1, 1),
        "arXiv:1312.6034",
    ),
    Method(
        "gradient_x_activation",
        "gradient x activation",
        "zero",
        ("gradient",),
        _attributed(gradient_times_activation, "zero", 1, 1),
        "arXiv:1605.01713",
    ),
    Method(
        "attribution_patching",
        "attribution patching",
        "mean",
        ("gradient",),
        _attributed(attribution_patching, "mean", 1, 1),
        "arXiv:2310.10348",
    ),
    Method(
        "integrated_gradients",
        "integrated gradients",
        "mean",
        ("gradient",),
        _attributed(lambda b: integrated_gradients(b, steps=STEPS), "mean", STEPS, STEPS),
        "arXiv:1703.01365",
    ),
    Method("relp", "relevance patching (RelP)", "mean", ("gradient",), _attributed(relp, "mean", 1, 1)),
    Method("das", "distributed alignment search", "none", ("causal model",), aligned, "arXiv:2303.02536"),
)
