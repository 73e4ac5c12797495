"""All checks of a study: did the perturbations reach the site, can the runs tell the features apart, is the equation right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.basis import Basis
from mrinterp.core.errors import InputError
from mrinterp.core.panel import Panel
from mrinterp.core.plan import TWO_SITES, Plan
from mrinterp.core.plan_inputs import OBSERVED
from mrinterp.core.shown import listed
from mrinterp.core.sumstats import SumStats
from mrinterp.diagnostics._assumptions import assumption_checks
from mrinterp.diagnostics._borrowed import borrowed_effects
from mrinterp.diagnostics._borrowed_runs import MOST_CHOSEN, MOST_JOINT
from mrinterp.diagnostics._dose_series import dose_series_checks
from mrinterp.diagnostics._even_outcomes import even_outcome_checks
from mrinterp.diagnostics._manipulation import identification_checks, manipulation_checks
from mrinterp.diagnostics._reconstruction import (
    dictionary_checks,
    left_out_check,
    past_checks,
    reconstruction_check,
)
from mrinterp.diagnostics._specification import specification_checks
from mrinterp.effects._ladder import without_tsls
from mrinterp.results._borrowed_effects import BorrowedEffects
from mrinterp.results._check import Check, NotApplicable
from mrinterp.results._designs.paths_to_outcome import NO_PATH, PathsToOutcome
from mrinterp.results._estimates import Estimates

__all__ = ["path_checks", "study_borrowed", "study_checks"]

MR_RUNGS = ("within", "within_calibrated", "tsls", "observational")
"""Rungs that may call a feature causal from which no path leads to the outcome."""


def study_checks(
    plan: Plan,
    basis: Basis,
    panel: Panel,
    sumstats: Mapping[str, SumStats],
    without_gradient: Mapping[str, str],
    paths: PathsToOutcome | None = None,
    attributes: Mapping[str, NDArray[np.object_]] | None = None,
) -> list[Check | NotApplicable]:
    """Manipulation check per kind of perturbation, what identifies MR and whether its equation holds, and what does not apply.

    Parameters
    ----------
    panel : Panel
        Of the estimation split.
    sumstats : mapping of str to SumStats
        Marginal effects per kind of perturbation.
    without_gradient : mapping of str to str
        Outcomes that have no gradient, and why.
    paths : PathsToOutcome, optional
        From which features a path leads to the outcomes.
    attributes : mapping of str to ndarray (N,), optional
        What is known of the prompt of every run.
    """
    found: list[Check | NotApplicable] = []
    for kind, stats in sumstats.items():
        found += manipulation_checks(panel.select(kinds=(kind,)), stats)
    if OBSERVED in sumstats:
        found.append(_found_doses(plan, panel, sumstats[OBSERVED]))
    noise, two_sites = plan.instruments.noise, plan.features.kind == "transcoder"
    if noise.levels:
        found += dose_series_checks(panel, noise.series)
    if two_sites:
        found.append(NotApplicable(TWO_SITES, "Mendelian randomization"))
    else:
        found += identification_checks(panel, plan.estimation.kind, plan.splits.min_families)
        own = panel.select(kinds=(plan.estimation.kind,))
        here = panel.runs["kind"].isin(("clean", plan.estimation.kind)).to_numpy()
        known = {name: values[here] for name, values in (attributes or {}).items()}
        found += [*specification_checks(own), *assumption_checks(own, attributes=known)]
    found += [NotApplicable(f"{name}: {why}", "gradient") for name, why in without_gradient.items()]
    few = without_tsls(panel, plan.estimation.kind)
    found += [] if few is None or two_sites else [few]
    found += [] if paths is None else path_checks(paths)
    found += even_outcome_checks(plan.outcome)
    if "sae" in basis.meta:
        found.append(reconstruction_check(basis.meta["sae"], two_sites))
        found += past_checks(basis.meta["sae"])
    if "screen" in basis.meta:
        found.append(left_out_check(basis.meta["screen"]))
    if basis.dictionary.latents and not two_sites:
        found += dictionary_checks(basis.dictionary, own)
    return found


def _found_doses(plan: Plan, panel: Panel, stats: SumStats) -> Check:
    """That doses of a corpus are not assigned, and how far they go together: no test could say that nothing else does."""
    used = np.flatnonzero((panel.instruments["kind"] == OBSERVED).to_numpy())
    assert stats.ld is not None
    among = np.nan_to_num(np.abs(stats.ld[np.ix_(used, used)]))
    np.fill_diagonal(among, 0.0)
    names = panel.instruments["instrument"].to_numpy()[used]
    largest = np.unravel_index(int(among.argmax()), among.shape)
    both = " and ".join(str(names[i]) for i in largest)
    own = (f"ivw_{OBSERVED}", f"replication_{OBSERVED}")
    return Check(
        name="doses assigned at random",
        null_in_words="what else goes with a choice of words is balanced between them",
        statistic=float(among.max()),
        df=float("nan"),
        neglog10p=float("nan"),
        verdict="failed",
        note=f"the doses of {len(used)} differences of words were found in a corpus, not assigned: whoever wrote the texts chose"
        f" words together. Largest correlation between doses {among.max():.2f} ({both}); estimates by them are given the LD.",
        rungs=(*own, "within", "tsls", "replication") if plan.estimation.kind == OBSERVED else own,
        next_step="Read an estimate by these doses as an association, and hold it against edits that are drawn, or knockouts",
    )


def study_borrowed(plan: Plan, panel: Panel, shift: Estimates) -> BorrowedEffects | NotApplicable:
    """Whose effect every feature shows by itself, in the runs that MR rests on: by what knockouts say that each does.

    The joint fit of the runs would name wrongly where MR's equation is wrong: an echo of the outcome takes all of it.

    Parameters
    ----------
    panel : Panel
        Of the estimation split.
    shift : Estimates
        Effects of the matched shifts (`shift_estimates`).
    """
    name = "borrowed effects"
    if plan.features.kind == "transcoder":
        return NotApplicable(TWO_SITES, name)
    chosen = panel.select(kinds=(plan.estimation.kind,))
    known = np.flatnonzero(np.isfinite(shift.beta + shift.se).all(axis=1))
    if len(known) > MOST_JOINT:  # those that do the most, and what they lend to all
        known = np.sort(
            known[np.argsort(-np.abs(shift.beta[known]).max(axis=1), kind="stable")[:MOST_CHOSEN]]
        )
    if not len(known):
        return NotApplicable("no feature could be knocked out", name)
    try:
        found = borrowed_effects(chosen, [shift.exposures[k] for k in known], rank=0, effects=shift)
    except InputError as error:  # runs that cannot be taken apart are no reason to stop a study
        return NotApplicable(str(error), name)
    return found if isinstance(found, BorrowedEffects) else NotApplicable(found.reason, name)


def path_checks(paths: PathsToOutcome) -> list[Check | NotApplicable]:
    """Per outcome, whether a path leads to it from every feature.

    Parameters
    ----------
    paths : PathsToOutcome
        `mrinterp.knockouts.paths_to_outcome`'s.

    Returns
    -------
    list of Check
        It fails where some have none: they are named in ``features``, and whatever MR says of them is no effect of theirs.

    Notes
    -----
    Not valid beyond the inputs and settings at which paths were looked for (`PathsToOutcome.meta`).

    Examples
    --------
    >>> from mrinterp.diagnostics import path_checks
    >>> from mrinterp.results import example
    >>> [(c.verdict, c.features) for c in path_checks(example("PathsToOutcome"))][0]
    ('failed', ('feature 2',))
    """
    found: list[Check | NotApplicable] = []
    for outcome in paths.outcomes:
        none = paths.without(outcome)
        few = f"{len(none)} of {len(paths.features)} features have none ({listed(none)}): edits of all sizes left every bit."
        found.append(
            Check(
                name=f"path to the outcome: {outcome}",
                null_in_words="a path leads from every feature to the outcome",
                statistic=float(len(none)),
                df=float(len(paths.features)),
                neglog10p=float("nan"),
                verdict="failed" if none else "passed",
                note=few if none else "a derivative or an edit shows one for each.",
                outcome=outcome,
                features=none,
                rungs=MR_RUNGS,
                next_step=f"Believe no effect of these, whatever a regression says: {NO_PATH}",
            )
        )
    return found
