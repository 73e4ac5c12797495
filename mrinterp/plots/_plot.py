"""The figure of any result, of a panel and of summary statistics, found by its type."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes

from mrinterp.core.errors import InputError, near_misses
from mrinterp.plots._style import save

__all__ = ["FIGURES", "plot"]

FIGURES = {
    "AgainstRandom": "_study.against_random.against_random",
    "Agreement": "_study.agreement_scores.agreement_scores",
    "AlignmentSearch": "_abstraction.alignment_search.alignment_search",
    "AttributionScores": "_study.attribution_scores.attribution_scores",
    "AttributionTable": "_study.attribution_vs_knockout.attribution_vs_knockout",
    "BorrowedEffects": "_diagnostics.borrowed_parts.borrowed_parts",
    "Claims": "_study.graded_claims.graded_claims",
    "CoActivationMap": "_diagnostics.co_activation.co_activation_clusters",
    "Coloc": "_coloc.coloc_matrix.coloc_matrix",
    "ConfounderRemoval": "_edits.confounder_removal.confounder_removal",
    "ContrastLevels": "_study.contrast_ranges.contrast_ranges",
    "Diagnosis": "_study.assumption_cards.assumption_cards",
    "Design": "_study.study_flow.study_flow",
    "DirectEffect": "_designs.direct_effects.direct_effects",
    "DoseResponse": "_designs.dose_response_curve.dose_response_curve",
    "Epistasis": "_designs.epistasis_matrix.epistasis_matrix",
    "Estimates": "_mr.estimated_effects.estimated_effects",
    "Faithfulness": "_designs.faithfulness_curve.faithfulness_curve",
    "FeatureProfiles": "_study.responses.responses",
    "FeatureScan": "_mr.scan_quantiles.scan_quantiles",
    "FineMapping": "_coloc.regional_association.regional_association",
    "InterchangeAccuracy": "_abstraction.interchange_accuracy.interchange_accuracy",
    "KindComparison": "_study.kinds_side_by_side.kinds_side_by_side",
    "KnockoutEffects": "_study.knockout_effects.knockout_effects",
    "MRData": "_mr.scatter.mr_scatter",
    "MediatedEffects": "_diagnostics.mediated_paths.mediated_paths",
    "MinimalSet": "_designs.minimal_set_path.minimal_set_path",
    "NegativeControls": "_diagnostics.control_quantiles.control_quantiles",
    "NetworkDescription": "_study.network_sites.network_sites",
    "OrderedKnockouts": "_designs.ordered_knockouts.ordered_knockouts_curve",
    "Panel": "_study.run_changes.run_changes",
    "PathsToOutcome": "_diagnostics.paths.paths_found",
    "Pruning": "_edits.pruning.pruning",
    "ReadBack": "_diagnostics.read_back.read_back_matrix",
    "Rescue": "_designs.rescued_shares.rescued_shares",
    "Sensitivity": "_diagnostics.robustness.robustness_values",
    "SetEffects": "_designs.set_shares.set_shares",
    "SiteExperiment": "_designs.joint_effects.joint_effects",
    "Specificity": "_designs.specificity.specificity",
    "SumStats": "_mr.instrument_strengths.instrument_strengths",
    "Leaderboard": "_study.leaderboard.leaderboard",
    "SweepResults": "_study.sweep_map.sweep_map",
    "TraitClusters": "_coloc.trait_clusters.trait_clusters",
    "VestigialFeatures": "_edits.vestigial_features.vestigial_features",
}
"""Type of a result, and the module and function of its figure."""


def plot(result: Any, path: str | Path | None = None, **options: Any) -> Axes:
    """Draw the figure of a result, and save it where a path is given.

    Parameters
    ----------
    result : Result, Panel, SumStats or MRData
    path : str or Path, optional
        Ends in ``.svg``, ``.png`` or ``.pdf``.
    **options
        Of the figure: ``outcome``, ``most``, ``ax`` ...; see the figures of
        `mrinterp.plots`, which are named after what they show.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        For a type that has no figure, a path of another kind of file, or an option that the figure does not have.

    Notes
    -----
    Values written outside natural support are hollow markers, or said below the figure.

    Examples
    --------
    >>> import mrinterp
    >>> from mrinterp.results import example
    >>> mrinterp.plot(example("KnockoutEffects"), outcome="outcome 1").get_title(loc="left")
    'mean of the clean values'
    """
    name = type(result).__name__
    if name not in FIGURES:
        raise InputError("result to plot", f"a {name}", f"Give one of {', '.join(FIGURES)}")
    if path is not None and Path(path).suffix not in (".svg", ".png", ".pdf"):
        raise InputError("path", f"{str(path)!r}", "End it in .svg, .png or .pdf")
    module, _, function = FIGURES[name].rpartition(".")
    draw = getattr(importlib.import_module(f"mrinterp.plots.{module}"), function)
    _check_options(name, draw, options)
    ax: Axes = draw(result, **options)
    shares = (getattr(result, "meta", None) or {}).get("outside_support")
    if shares:
        worst = max(shares, key=lambda feature: shares[feature])
        words = f"outside natural support: {len(shares)} features, {worst} most ({shares[worst]:.0%})"
        ax.set_xlabel("\n".join([ax.get_xlabel(), *wrap(words, 36)]).strip())
    if path is not None:
        save(ax, Path(path))
    return ax


def _check_options(name: str, draw: Callable[..., Axes], options: dict[str, Any]) -> None:
    known = list(inspect.signature(draw).parameters)[1:]
    for option, value in options.items():
        if option not in known:
            fix = near_misses(option, known) or f"Its options: {', '.join(known)}"
            raise InputError(f"option {option!r}", f"the figure of a {name} has no such option", fix)
        if option == "most" and (not isinstance(value, int) or value < 1):
            raise InputError(f"option {option!r}", repr(value), "Give a whole number of at least 1")
