"""All checks of a study: did the perturbations reach the site, can the runs tell the features apart, is the equation right."""

from __future__ import annotations

from collections.abc import Mapping

from mrinterp.core.basis import Basis
from mrinterp.core.panel import Panel
from mrinterp.core.plan import TWO_SITES, Plan
from mrinterp.core.sumstats import SumStats
from mrinterp.diagnostics._even_outcomes import even_outcome_checks
from mrinterp.diagnostics._manipulation import identification_checks, manipulation_checks
from mrinterp.diagnostics._reconstruction import reconstruction_check
from mrinterp.diagnostics._specification import specification_checks
from mrinterp.effects._ladder import without_tsls
from mrinterp.results._check import Check, NotApplicable

__all__ = ["study_checks"]


def study_checks(
    plan: Plan,
    basis: Basis,
    panel: Panel,
    sumstats: Mapping[str, SumStats],
    without_gradient: Mapping[str, str],
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
    """
    found: list[Check | NotApplicable] = []
    for kind, stats in sumstats.items():
        found += manipulation_checks(panel.select(kinds=(kind,)), stats)
    two_sites = plan.features.kind == "transcoder"
    if two_sites:
        found.append(NotApplicable(TWO_SITES, "Mendelian randomization"))
    else:
        found += identification_checks(panel, plan.estimation.kind, plan.splits.min_families)
        found += specification_checks(panel.select(kinds=(plan.estimation.kind,)))
    found += [NotApplicable(f"{name}: {why}", "gradient") for name, why in without_gradient.items()]
    few = without_tsls(panel, plan.estimation.kind)
    found += [] if few is None or two_sites else [few]
    found += even_outcome_checks(plan.outcome)
    if "sae" in basis.meta:
        found.append(reconstruction_check(basis.meta["sae"], two_sites))
    return found
