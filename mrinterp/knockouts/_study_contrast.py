"""The contrasts of a study: values learned on discovery, how many families a pilot asks for, and who is knocked out."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.basis import Basis
from mrinterp.core.design import Design
from mrinterp.core.plan import FEWEST_FAMILIES, HELD_OUT, MIN_FAMILIES, PILOT_FAMILIES, Plan
from mrinterp.knockouts._bench_gradient import predicted_contrast, predicted_contrasts
from mrinterp.knockouts._contrast_levels import contrast_levels
from mrinterp.knockouts._designs.rectified_contrast import (
    drawn_prompts,
    moved_contrasts,
    passes,
    rectified_estimates,
)
from mrinterp.knockouts._designs.site_experiment import site_experiment
from mrinterp.knockouts._kinds.contrast import Contrast
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.knockouts._levels_error import group_contrasts, with_levels_error
from mrinterp.knockouts._study_bench import clean_runs, study_bench
from mrinterp.models._cut import CutNetwork
from mrinterp.results._contrast_levels import NATURAL_SD, ContrastLevels
from mrinterp.results._designs.site_experiment import SiteExperiment
from mrinterp.results._estimates import Estimates
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.stats.clustered.families_needed import families_for_width

__all__ = [
    "joins",
    "knocked_out",
    "pilot",
    "predicted_splits",
    "study_levels",
    "study_rectified",
    "study_site_experiment",
]

Rows = NDArray[np.int_]

MANY = 40
"""Features from which on, where an outcome is a draw, all are set at random at once besides."""

ENOUGH = 1.25
"""Where the wanted width is out of reach: how much wider than with all families knocked out is good enough."""

FEWEST_INPUTS = 40
"""Inputs that are knocked out at least, where the families that are knocked out hold few each."""

SMALL = 4 * MIN_FAMILIES
"""Families in all below which the prediction is made for discovery too."""


def predicted_splits(design: Design) -> tuple[str, ...]:
    """Splits whose prompts the prediction is made for: estimation and knockout, and in a small study discovery.

    No family of discovery is knocked out, so that the intervals stay blind; that features were learned on it left their
    coverage as it was, at half widths 3 to 9% smaller (``benchmarks/results/small_studies.md``).
    """
    own = ("estimation", "knockout")
    return ("discovery", *own) if is_small(design) else own


def is_small(design: Design) -> bool:
    """Whether a study has so few families that some must serve twice."""
    return bool(design.runs["family"].nunique() < SMALL)


def levels_splits(design: Design) -> tuple[str, ...]:
    """Splits from whose clean activations low and high values are learned: discovery; in a small study all families that
    claims stand for.

    Knockouts stay blind: the rule (two quantiles) is hashed before anything is read, activations of clean prompts are no
    outcomes, and which families are knocked out was drawn before. Given the activations, low and high values are
    fixed numbers and the knocked-out families a random draw. Replication families, which judge, are left out.
    """
    return predicted_splits(design) if is_small(design) else ("discovery",)


def study_levels(network: CutNetwork, design: Design, basis: Basis) -> ContrastLevels:
    """Low and high values of every feature by token class, from the clean prompts of `levels_splits`."""
    splits = levels_splits(design)
    found = contrast_levels(study_bench(network, design, basis.dictionary, split=splits))
    return replace(found, meta=found.meta | {"splits": list(splits)})


def learned_from(levels: ContrastLevels) -> str:
    """What a study's low and high values were learned from, and for which values its intervals are."""
    splits = levels.meta.get("splits", ["discovery"])
    low, high = levels.quantiles
    text = f"the {low:.0%} and {high:.0%} quantiles of clean activations, no outcome among them, of {levels.families} families"
    if len(splits) == 1:
        return f"{text} ({splits[0]}); intervals are of the contrast between exactly these values"
    return (
        f"{text} ({', '.join(splits[:-1])} and {splits[-1]}); that so few know them is part of the intervals"
    )


def pilot(
    plan: Plan, network: CutNetwork, design: Design, basis: Basis, levels: ContrastLevels, folder: Path | None
) -> dict[str, Any]:
    """How many families of the knockout split are knocked out, and the half width to expect.

    Returns
    -------
    dict
        ``families``, and where they come from (``chosen_by``): the plan, or a pilot on 5 discovery families with
        ``half_width, bound`` (expected half widths, per natural sd, by outcome), ``reached`` and ``wanted``.
    """
    most = clean_runs(design, "knockout")["family"].nunique()
    asked = plan.knockouts.families
    if asked:
        return {"families": min(asked, most), "chosen_by": "plan"}
    runs = clean_runs(design, "discovery")
    few = min(PILOT_FAMILIES, runs["family"].nunique())
    if few < 3 or most <= FEWEST_FAMILIES:
        return {"families": most, "chosen_by": "all there are"}
    rows = drawn_prompts(
        runs["family"].to_numpy(), few, plan.knockouts.prompts_per_family, plan.seed, least=1
    )
    bench = study_bench(network, design, basis.dictionary, folder, "discovery", rows)
    contrast = Contrast(levels=levels)
    knockout = knock_out(bench, contrast, seed=plan.seed)
    least = fewest_families(plan, design)
    wanted = plan.knockouts.width * plan.estimation.rope * np.asarray(basis.meta["outcome_sd"]) * NATURAL_SD
    everyone = sum(clean_runs(design, split)["family"].nunique() for split in predicted_splits(design))
    given = moved_contrasts(knockout), predicted_contrast(bench, contrast), bench.family
    needed = families_for_width(*given, wanted, everyone, least=least)
    if not needed.reached.all():  # more knockouts hardly help: the families themselves differ
        reachable = np.maximum(wanted, ENOUGH * needed.bound)
        needed = families_for_width(*given, reachable, everyone, least=least)
    said = {k: (v / NATURAL_SD).tolist() for k, v in asdict(needed).items() if k in ("half_width", "bound")}
    return {
        "families": int(min(max(needed.families, least), most)),
        "chosen_by": f"a pilot on {few} discovery families",
        "wanted": (wanted / NATURAL_SD).tolist(),
        **said,
        "reached": (needed.bound <= wanted).tolist(),
    }


def fewest_families(plan: Plan, design: Design) -> int:
    """Families that are knocked out at least: ten; of inputs that are no texts, where families may be single inputs, so many
    that they hold 40 (10 families of one prompt each were measured to be too few)."""
    runs = clean_runs(design, "knockout")
    most = runs["family"].nunique()
    if plan.inputs is None:
        return FEWEST_FAMILIES
    return int(min(most, max(FEWEST_FAMILIES, np.ceil(FEWEST_INPUTS * most / len(runs)))))


def knocked_out(plan: Plan, design: Design, families: int) -> dict[str, tuple[str, Rows]]:
    """Split and numbers of the clean prompts that are knocked out, by what for.

    ``contrast`` sets the intervals; ``kinds``, ten of its families, are where the other kinds stand beside it. The
    replication families are halved at random, and ten of each half knocked out: ``judge`` is what claims are compared
    with, ``again`` the estimate once more.
    """
    family = {split: clean_runs(design, split)["family"].to_numpy() for split in ("knockout", "replication")}

    def drawn(of: NDArray[Any], count: int) -> Rows:
        return drawn_prompts(of, count, plan.knockouts.prompts_per_family, plan.seed, least=1)

    few = min(families, fewest_families(plan, design))
    found = {
        name: ("knockout", drawn(family["knockout"], n))
        for name, n in (("contrast", families), ("kinds", few))
    }
    for name, own in replication_halves(plan, design).items():
        found[name] = ("replication", own[drawn(family["replication"][own], few)])
    return found


def replication_halves(plan: Plan, design: Design) -> dict[str, Rows]:
    """Numbers of the clean replication prompts of each half of the replication families, drawn at random."""
    family = clean_runs(design, "replication")["family"].to_numpy()
    names = np.unique(family)
    # 21: a stream of its own under the study's seed, shared with no other step.
    order = np.random.default_rng([plan.seed, 21]).permutation(len(names))
    halves = np.array_split(order, 2)
    return {name: np.flatnonzero(np.isin(family, names[h])) for name, h in zip(HELD_OUT, halves, strict=True)}


def joins(plan: Plan, basis: Basis) -> bool:
    """Whether all features are set at random at once: an outcome is a draw, and features are many."""
    return any(o.drawn for o in plan.outcome) and len(basis.dictionary.names) >= MANY


def study_site_experiment(
    plan: Plan,
    network: CutNetwork,
    design: Design,
    basis: Basis,
    levels: ContrastLevels,
    rows: tuple[str, Rows],
    folder: Path | None,
) -> SiteExperiment:
    """The randomized experiment at the site on the prompts whose contrasts are run one at a time."""
    bench = study_bench(network, design, basis.dictionary, folder, *rows)
    return site_experiment(bench, Contrast(levels=levels), rope_sd=plan.estimation.rope, seed=plan.seed)


def study_rectified(
    plan: Plan,
    network: CutNetwork,
    design: Design,
    basis: Basis,
    levels: ContrastLevels,
    knockout: KnockoutEffects,
    name: str,
) -> Estimates:
    """Effects per natural sd from blind contrasts and the gradient on all prompts of the families that they stand for.

    ``contrast`` stands for the families of `predicted_splits`; ``again`` for its half of the replication families; ``judge``
    are the knockouts alone. In a small study the intervals of ``contrast`` allow for what is not known of low and high
    values; the others are compared with it at the same values.
    """
    if name == "judge":
        return rectified_estimates(knockout, levels, None, None, None)
    own_half = None if name == "contrast" else replication_halves(plan, design)[name]
    splits = predicted_splits(design) if name == "contrast" else ("replication",)
    bench = study_bench(network, design, basis.dictionary, split=splits, rows=own_half)
    contrast, widened = Contrast(levels=levels), name == "contrast" and is_small(design)
    predicted, *apart = predicted_contrasts(
        bench, [contrast, *(group_contrasts(contrast) if widened else ())]
    )
    prompts = bench.table["prompt"].to_numpy()
    at = {p: i for i, p in enumerate(prompts.tolist())}
    own = np.array([at[p] for p in knockout.inputs["prompt"].tolist()])
    usable = bool(np.isfinite(predicted).any())
    given = (predicted[own], predicted, bench.family) if usable else (None, None, None)
    made = rectified_estimates(knockout, levels, *given)
    known = {"passes": passes(bench, len(own), int(usable)), "levels_from": learned_from(levels)}
    made = replace(made, meta=made.meta | known)
    return with_levels_error(made, bench, contrast, np.stack(apart)) if widened else made
