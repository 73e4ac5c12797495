"""How wide a study's intervals will be, before it is run: its pilot rehearsed with directions that stand in for features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mrinterp.core.basis import Dictionary
from mrinterp.core.design import Design
from mrinterp.core.plan import FEWEST_FAMILIES, PILOT_FAMILIES, Plan
from mrinterp.knockouts._bench_gradient import predicted_contrast
from mrinterp.knockouts._contrast_levels import contrast_levels
from mrinterp.knockouts._designs.rectified_contrast import drawn_prompts, moved_contrasts
from mrinterp.knockouts._kinds.contrast import Contrast
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.knockouts._study_bench import clean_runs, study_bench
from mrinterp.knockouts._study_contrast import predicted_splits
from mrinterp.models._cut import CutNetwork
from mrinterp.models._plan_features import PlanFeatures
from mrinterp.results._check import NotApplicable
from mrinterp.results._contrast_levels import NATURAL_SD
from mrinterp.scan._dictionary import leading_dictionary, scaled_dictionary
from mrinterp.stats.clustered.families_needed import families_for_width
from mrinterp.stats.tests.tails import critical_value

__all__ = ["expected_precision"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]

STAND_INS = 8
"""Directions that are knocked out in place of the features."""

PROMPTS = 256
"""Clean discovery prompts, at most, from which the directions and their low and high values are taken."""

CORRELATIONS = (0.0, 0.5, 0.95)
"""Of knockout and prediction across prompts; which one a study will have is known only after it."""

LEVEL, POWER = 0.95, 0.8


def expected_precision(
    plan: Plan, network: CutNetwork, design: Design, given: PlanFeatures | None
) -> pd.DataFrame | NotApplicable:
    """Half width of the intervals to expect, and what they can show, by number of families that are knocked out.

    Parameters
    ----------
    network : CutNetwork
        On all inputs of the design.
    given : PlanFeatures, optional
        Features that the plan defines. Without them 8 random directions among the leading components of the site, as
        many components as the plan asks for features, stand in for them.

    Returns
    -------
    DataFrame or NotApplicable
        One row per outcome, number of families and prediction: ``outcome, families`` (n, knocked out), ``all_families``
        (N, that have a prediction), ``prompts`` (per family), ``prediction`` (its correlation with the knockouts across
        prompts, or the gradient as it did here), ``half_width`` (per natural sd, in sd of the outcome), ``in_ropes``
        (over the half width of the region of practical equivalence), ``absence`` (chance that a feature without any
        effect is shown to be negligible), ``causal_from`` (effect, in half widths of the region, that is found causal
        with chance .8), ``measured_on`` (what was knocked out).

    Notes
    -----
    The variance over families is that of contrasts of 5 discovery families. With a prediction of correlation rho the
    variance of knockouts alone is multiplied by 1 - rho^2 + rho^2 n/N. Five families know a variance within a factor of
    about two, so that widths are right within about 1.5 times, for features that vary between families as the stand-ins
    do; a feature without any effect usually varies less. Nothing of it is used by the run.
    """
    runs = clean_runs(design, "discovery")
    few = min(PILOT_FAMILIES, runs["family"].nunique())
    why = _why_not(plan, network, few)
    if why:
        return NotApplicable(why, "expected width and power")
    block = int(design.settings["block"])
    rows = np.unique(np.linspace(0, len(runs) - 1, PROMPTS).astype(int))
    inputs = runs["input"].to_numpy()[rows]
    read = [network.run(inputs[a : a + block]) for a in range(0, len(rows), block)]
    spread = np.concatenate([r.outcome for r in read]).std(axis=0)
    dictionary, what = _stand_ins(plan, given, np.concatenate([r.mean for r in read]))
    chosen = drawn_prompts(
        runs["family"].to_numpy(), few, plan.knockouts.prompts_per_family, plan.seed, least=1
    )
    contrast = Contrast(
        levels=contrast_levels(study_bench(network, design, dictionary, None, "discovery", rows))
    )
    bench = study_bench(network, design, dictionary, None, "discovery", chosen)
    knockout = moved_contrasts(knock_out(bench, contrast, seed=plan.seed))
    predicted, family = predicted_contrast(bench, contrast), bench.family
    words = f"{len(chosen)} prompts of {few} discovery families, with {what}"
    return _table(plan, design, network.outcome.names, spread, (knockout, predicted, family), words)


def _why_not(plan: Plan, network: CutNetwork, families: int) -> str:
    """Why there is nothing to expect; empty where there is."""
    if plan.estimation.rests_on == "mr":
        return "claims rest on instruments (estimation.rests_on), whose bias is known only after the run"
    if network.outcome.generated:
        return "an outcome is generated: a rehearsal would cost as much as the pilot"
    return "fewer than three discovery families" if families < 3 else ""


def _stand_ins(plan: Plan, given: PlanFeatures | None, means: Array) -> tuple[Dictionary, str]:
    """Directions in place of the features, and what they are in words."""
    rng = np.random.default_rng([plan.seed, 22])  # 22: a stream of its own under the study's seed
    if given is not None:
        names = tuple(given.names)
        chosen = np.sort(rng.permutation(len(names))[:STAND_INS])
        some = tuple(names[i] for i in chosen)
        words = (
            f"{'all' if len(some) == len(names) else 'some'} of the features ({len(some)} of {len(names)})"
        )
        if given.leading:
            every = leading_dictionary(given.names, given.wholes.values(), means, given.leading)
            assert every.read is not None
            read, write = every.read[chosen], every.write[chosen]
            return replace(every, names=some, read=read, write=write, labels=("",) * len(some)), words
        return scaled_dictionary(some, given.read[chosen], given.write[chosen], means), words
    _, size, components = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    count = min(plan.features.count, int((size > 1e-6 * size[0]).sum()))
    turn = np.linalg.qr(rng.standard_normal((count, min(count, STAND_INS))))[0].T
    sd = size[:count, None] / np.sqrt(len(means))
    read, write = turn @ (components[:count] / sd), turn @ (components[:count] * sd)
    found = scaled_dictionary(tuple(f"stand-in {i}" for i in range(len(turn))), read, write, means)
    words = f"{len(turn)} random directions among the {count} leading components of the site"
    return replace(found, labels=("",) * len(turn)), words


def _table(
    plan: Plan,
    design: Design,
    outcomes: tuple[str, ...],
    spread: Array,
    rehearsed: tuple[Array, Array, NDArray],
    measured_on: str,
) -> pd.DataFrame:
    """The rows, from the stand-ins' contrasts and what the gradient says of them, both (P, F, O)."""
    knockout, predicted, family = rehearsed
    most = clean_runs(design, "knockout")["family"].nunique()
    everyone = clean_runs(design, predicted_splits(design))["family"].nunique()
    guess = np.nan_to_num(predicted) if np.isfinite(predicted).any() else None
    moved = (np.abs(np.nan_to_num(knockout)) > 0).any(axis=(0, 1)) & (spread > 0)
    sd = np.where(moved, spread, np.nan)  # what never moved has no width
    wanted = plan.knockouts.width * plan.estimation.rope * spread * NATURAL_SD

    def numbers() -> list[int]:
        if plan.knockouts.families:
            return [min(plan.knockouts.families, most)]
        likely = families_for_width(knockout, guess, family, wanted, everyone, least=FEWEST_FAMILIES).families
        return sorted({min(FEWEST_FAMILIES, most), min(likely, most), most})

    def half_widths(n: int) -> dict[str, Array]:
        """By prediction, (O,), per natural sd in sd of the outcome."""
        alone = families_for_width(knockout, None, family, np.inf, n, least=n).half_width
        found = {
            f"correlation {rho:g}" if rho else "none": alone * np.sqrt(1 - rho**2 + rho**2 * n / everyone)
            for rho in CORRELATIONS
        }
        if guess is not None:
            made = families_for_width(knockout, guess, family, np.inf, everyone, least=n)
            found["gradient, as here"] = made.half_width
        return {name: half / NATURAL_SD / sd for name, half in found.items()}

    fixed = {
        "all_families": everyone,
        "prompts": plan.knockouts.prompts_per_family,
        "measured_on": measured_on,
    }
    rows = [
        {"outcome": outcome, "families": n, "prediction": name, "half_width": float(half[o])}
        | _shows(float(half[o]) / plan.estimation.rope, n - 1)
        | fixed
        for n in numbers()
        for name, half in half_widths(n).items()
        for o, outcome in enumerate(outcomes)
    ]
    return pd.DataFrame(rows).sort_values(["outcome", "families"], kind="stable", ignore_index=True)


def _shows(half_width: float, df: int) -> dict[str, float]:
    """What intervals of this half width can show, all in half widths of the region of practical equivalence."""
    se = half_width / float(critical_value(LEVEL, df))
    if se > 0:
        absence = max(0.0, 2.0 * float(stats.t.cdf((1.0 - half_width) / se, df)) - 1.0)
    else:
        absence = 1.0 if half_width == 0 else np.nan
    causal_from = 1.0 + half_width + float(stats.t.ppf(POWER, df)) * se
    return {"in_ropes": half_width, "absence": absence, "causal_from": causal_from}
