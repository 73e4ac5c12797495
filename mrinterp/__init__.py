"""Mendelian randomization, colocalization and knockouts for the features of neural networks.

Three doors: `Study` for a network, `from_arrays` for runs already in hand, and the ``mrinterp mr``
command (`run_mr` in Python) for a table of summary statistics. Importing this package loads
neither torch nor matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrinterp.coloc.abf import colocalize
    from mrinterp.coloc.finemap import finemap_individual, finemap_sufficient, finemap_summary
    from mrinterp.coloc.heidi import heidi
    from mrinterp.coloc.hyprcoloc import cluster_traits
    from mrinterp.coloc.runs import colocalize_runs
    from mrinterp.coloc.signals import colocalize_signals
    from mrinterp.core.coloc import Coloc
    from mrinterp.core.credible_set import FineMapping
    from mrinterp.core.errors import InputError
    from mrinterp.core.estimates import Estimate, Estimates
    from mrinterp.core.knockout_effects import KnockoutEffects
    from mrinterp.core.mrdata import MRData
    from mrinterp.core.panel import Panel
    from mrinterp.core.sumstats import SumStats
    from mrinterp.diagnostics.agreement import agreement
    from mrinterp.diagnostics.steiger import steiger_by_instrument, steiger_test
    from mrinterp.instruments.column_perturbations import ColumnNoise, ColumnResampling
    from mrinterp.instruments.image_perturbations import Occlusion, PixelNoise
    from mrinterp.instruments.perturbed_inputs import perturb
    from mrinterp.knockouts.abstraction.abstraction_task import AbstractionTask
    from mrinterp.knockouts.abstraction.aligned_variable import AlignedVariable
    from mrinterp.knockouts.abstraction.alignment_search import search_alignment, subspace_of
    from mrinterp.knockouts.abstraction.causal_model import CausalModel
    from mrinterp.knockouts.abstraction.class_scores import ClassScores
    from mrinterp.knockouts.abstraction.control_alignments import control_alignments
    from mrinterp.knockouts.abstraction.counterfactual_labels import counterfactual_labels
    from mrinterp.knockouts.abstraction.interchange_accuracy import interchange_accuracy
    from mrinterp.knockouts.abstraction.interchange_pairs import draw_pairs, held_out_families
    from mrinterp.knockouts.abstraction.interchange_training import train_with_interchange
    from mrinterp.knockouts.abstraction.variable import Variable
    from mrinterp.knockouts.bench import Bench
    from mrinterp.knockouts.comparators.beside_knockout import beside_knockout
    from mrinterp.knockouts.comparators.comparators import comparators
    from mrinterp.knockouts.comparators.correlation import correlation
    from mrinterp.knockouts.comparators.gradient import (
        attribution_patching,
        gradient,
        gradient_times_activation,
    )
    from mrinterp.knockouts.comparators.integrated_gradients import integrated_gradients
    from mrinterp.knockouts.comparators.linear_probe import linear_probe
    from mrinterp.knockouts.designs.against_random import against_random
    from mrinterp.knockouts.designs.damage import Damage
    from mrinterp.knockouts.designs.direct_effect import direct_effect
    from mrinterp.knockouts.designs.dose_response import dose_response
    from mrinterp.knockouts.designs.epistasis import epistasis
    from mrinterp.knockouts.designs.faithfulness import faithfulness
    from mrinterp.knockouts.designs.feature_sets import set_effects
    from mrinterp.knockouts.designs.minimal_set import minimal_set
    from mrinterp.knockouts.designs.ordered import ordered_knockouts
    from mrinterp.knockouts.designs.rescue import rescue
    from mrinterp.knockouts.designs.specificity import specificity
    from mrinterp.knockouts.edits.confounder_removal import remove_confounder
    from mrinterp.knockouts.edits.cut_units import cut_units
    from mrinterp.knockouts.edits.project_out import project_out
    from mrinterp.knockouts.edits.prune_units import prune_units
    from mrinterp.knockouts.edits.pruning import prune
    from mrinterp.knockouts.edits.vestigial import vestigial_features
    from mrinterp.knockouts.kinds.clamp import Clamp
    from mrinterp.knockouts.kinds.compare_kinds import compare_kinds
    from mrinterp.knockouts.kinds.interchange import Interchange
    from mrinterp.knockouts.kinds.kind import Kind
    from mrinterp.knockouts.kinds.mean import Mean
    from mrinterp.knockouts.kinds.resample import Resample
    from mrinterp.knockouts.kinds.scale import Scale
    from mrinterp.knockouts.kinds.shift import Shift
    from mrinterp.knockouts.kinds.steer import Steer
    from mrinterp.knockouts.kinds.zero import Zero
    from mrinterp.knockouts.knock_out import knock_out
    from mrinterp.knockouts.site_variation import random_directions
    from mrinterp.models.array_network import array_network
    from mrinterp.models.correct_answer import CorrectAnswer
    from mrinterp.models.directions import Directions, Subspace, difference_of_means
    from mrinterp.models.features import ChannelMap
    from mrinterp.models.generated import GeneratedOutcome
    from mrinterp.models.hugging_face import load_network
    from mrinterp.models.inputs import ModelInputs
    from mrinterp.models.latents import Latents, reconstruction_report
    from mrinterp.models.logit_outcomes import ClassifierMargin, Logit, LogitDifference, Probability
    from mrinterp.models.nnsight_adapter import NNsightAdapter
    from mrinterp.models.other_outcomes import CallableOutcome, Projection
    from mrinterp.models.outcome_set import OutcomeSet
    from mrinterp.models.outcomes import AnchorProjection, Sampling
    from mrinterp.models.positions import (
        AllTokens,
        LastToken,
        MaxOfTokens,
        MeanOfTokens,
        SpanMask,
        TokenClass,
        TokenIndex,
    )
    from mrinterp.models.sae_folder import read_sae, write_sae
    from mrinterp.models.target_outcomes import ContinuationLogProbability, ExampleLoss, KLToClean
    from mrinterp.models.torch_module import TorchAdapter
    from mrinterp.models.train_sae import train_topk_sae
    from mrinterp.models.transcoder import TranscoderView
    from mrinterp.models.transformer_lens_adapter import TransformerLensAdapter
    from mrinterp.models.units import AttentionHeads, Units, WholeLayer
    from mrinterp.mr.driver import run_mr
    from mrinterp.mr.observational import observational
    from mrinterp.mr.run_iv import tsls
    from mrinterp.mr.within import rank_path, within
    from mrinterp.plots.plot import plot
    from mrinterp.scan.marginal import marginal_scan
    from mrinterp.scan.read_arrays import read_arrays
    from mrinterp.study import Study
    from mrinterp.tables.arrays import from_arrays

__version__ = "0.1.0"

_HOMES = {
    "AbstractionTask": "knockouts.abstraction.abstraction_task",
    "AlignedVariable": "knockouts.abstraction.aligned_variable",
    "AllTokens": "models.positions",
    "AnchorProjection": "models.outcomes",
    "AttentionHeads": "models.units",
    "Bench": "knockouts.bench",
    "CallableOutcome": "models.other_outcomes",
    "CausalModel": "knockouts.abstraction.causal_model",
    "ChannelMap": "models.features",
    "Clamp": "knockouts.kinds.clamp",
    "ClassScores": "knockouts.abstraction.class_scores",
    "ClassifierMargin": "models.logit_outcomes",
    "Coloc": "core.coloc",
    "ColumnNoise": "instruments.column_perturbations",
    "ColumnResampling": "instruments.column_perturbations",
    "ContinuationLogProbability": "models.target_outcomes",
    "CorrectAnswer": "models.correct_answer",
    "Damage": "knockouts.designs.damage",
    "Directions": "models.directions",
    "Estimate": "core.estimates",
    "Estimates": "core.estimates",
    "ExampleLoss": "models.target_outcomes",
    "FineMapping": "core.credible_set",
    "GeneratedOutcome": "models.generated",
    "InputError": "core.errors",
    "Interchange": "knockouts.kinds.interchange",
    "KLToClean": "models.target_outcomes",
    "Kind": "knockouts.kinds.kind",
    "KnockoutEffects": "core.knockout_effects",
    "LastToken": "models.positions",
    "Latents": "models.latents",
    "Logit": "models.logit_outcomes",
    "LogitDifference": "models.logit_outcomes",
    "MRData": "core.mrdata",
    "MaxOfTokens": "models.positions",
    "Mean": "knockouts.kinds.mean",
    "MeanOfTokens": "models.positions",
    "ModelInputs": "models.inputs",
    "NNsightAdapter": "models.nnsight_adapter",
    "Occlusion": "instruments.image_perturbations",
    "OutcomeSet": "models.outcome_set",
    "Panel": "core.panel",
    "PixelNoise": "instruments.image_perturbations",
    "Probability": "models.logit_outcomes",
    "Projection": "models.other_outcomes",
    "Resample": "knockouts.kinds.resample",
    "Sampling": "models.outcomes",
    "Scale": "knockouts.kinds.scale",
    "Shift": "knockouts.kinds.shift",
    "SpanMask": "models.positions",
    "Steer": "knockouts.kinds.steer",
    "Study": "study",
    "Subspace": "models.directions",
    "SumStats": "core.sumstats",
    "TokenClass": "models.positions",
    "TokenIndex": "models.positions",
    "TorchAdapter": "models.torch_module",
    "TranscoderView": "models.transcoder",
    "TransformerLensAdapter": "models.transformer_lens_adapter",
    "Units": "models.units",
    "Variable": "knockouts.abstraction.variable",
    "WholeLayer": "models.units",
    "Zero": "knockouts.kinds.zero",
    "against_random": "knockouts.designs.against_random",
    "agreement": "diagnostics.agreement",
    "array_network": "models.array_network",
    "attribution_patching": "knockouts.comparators.gradient",
    "cluster_traits": "coloc.hyprcoloc",
    "colocalize": "coloc.abf",
    "colocalize_runs": "coloc.runs",
    "colocalize_signals": "coloc.signals",
    "beside_knockout": "knockouts.comparators.beside_knockout",
    "comparators": "knockouts.comparators.comparators",
    "compare_kinds": "knockouts.kinds.compare_kinds",
    "control_alignments": "knockouts.abstraction.control_alignments",
    "correlation": "knockouts.comparators.correlation",
    "counterfactual_labels": "knockouts.abstraction.counterfactual_labels",
    "cut_units": "knockouts.edits.cut_units",
    "difference_of_means": "models.directions",
    "direct_effect": "knockouts.designs.direct_effect",
    "dose_response": "knockouts.designs.dose_response",
    "draw_pairs": "knockouts.abstraction.interchange_pairs",
    "epistasis": "knockouts.designs.epistasis",
    "faithfulness": "knockouts.designs.faithfulness",
    "finemap_individual": "coloc.finemap",
    "finemap_sufficient": "coloc.finemap",
    "finemap_summary": "coloc.finemap",
    "from_arrays": "tables.arrays",
    "gradient": "knockouts.comparators.gradient",
    "gradient_times_activation": "knockouts.comparators.gradient",
    "heidi": "coloc.heidi",
    "held_out_families": "knockouts.abstraction.interchange_pairs",
    "integrated_gradients": "knockouts.comparators.integrated_gradients",
    "interchange_accuracy": "knockouts.abstraction.interchange_accuracy",
    "knock_out": "knockouts.knock_out",
    "linear_probe": "knockouts.comparators.linear_probe",
    "load_network": "models.hugging_face",
    "marginal_scan": "scan.marginal",
    "minimal_set": "knockouts.designs.minimal_set",
    "observational": "mr.observational",
    "ordered_knockouts": "knockouts.designs.ordered",
    "perturb": "instruments.perturbed_inputs",
    "plot": "plots.plot",
    "project_out": "knockouts.edits.project_out",
    "prune": "knockouts.edits.pruning",
    "prune_units": "knockouts.edits.prune_units",
    "random_directions": "knockouts.site_variation",
    "rank_path": "mr.within",
    "read_arrays": "scan.read_arrays",
    "read_sae": "models.sae_folder",
    "reconstruction_report": "models.latents",
    "remove_confounder": "knockouts.edits.confounder_removal",
    "rescue": "knockouts.designs.rescue",
    "run_mr": "mr.driver",
    "search_alignment": "knockouts.abstraction.alignment_search",
    "set_effects": "knockouts.designs.feature_sets",
    "specificity": "knockouts.designs.specificity",
    "steiger_by_instrument": "diagnostics.steiger",
    "steiger_test": "diagnostics.steiger",
    "subspace_of": "knockouts.abstraction.alignment_search",
    "train_topk_sae": "models.train_sae",
    "train_with_interchange": "knockouts.abstraction.interchange_training",
    "tsls": "mr.run_iv",
    "vestigial_features": "knockouts.edits.vestigial",
    "within": "mr.within",
    "write_sae": "models.sae_folder",
}

__all__ = [
    "AbstractionTask",
    "AlignedVariable",
    "AllTokens",
    "AnchorProjection",
    "AttentionHeads",
    "Bench",
    "CallableOutcome",
    "CausalModel",
    "ChannelMap",
    "Clamp",
    "ClassScores",
    "ClassifierMargin",
    "Coloc",
    "ColumnNoise",
    "ColumnResampling",
    "ContinuationLogProbability",
    "CorrectAnswer",
    "Damage",
    "Directions",
    "Estimate",
    "Estimates",
    "ExampleLoss",
    "FineMapping",
    "GeneratedOutcome",
    "InputError",
    "Interchange",
    "KLToClean",
    "Kind",
    "KnockoutEffects",
    "LastToken",
    "Latents",
    "Logit",
    "LogitDifference",
    "MRData",
    "MaxOfTokens",
    "Mean",
    "MeanOfTokens",
    "ModelInputs",
    "NNsightAdapter",
    "Occlusion",
    "OutcomeSet",
    "Panel",
    "PixelNoise",
    "Probability",
    "Projection",
    "Resample",
    "Sampling",
    "Scale",
    "Shift",
    "SpanMask",
    "Steer",
    "Study",
    "Subspace",
    "SumStats",
    "TokenClass",
    "TokenIndex",
    "TorchAdapter",
    "TranscoderView",
    "TransformerLensAdapter",
    "Units",
    "Variable",
    "WholeLayer",
    "Zero",
    "__version__",
    "against_random",
    "agreement",
    "array_network",
    "attribution_patching",
    "beside_knockout",
    "cluster_traits",
    "colocalize",
    "colocalize_runs",
    "colocalize_signals",
    "comparators",
    "compare_kinds",
    "control_alignments",
    "correlation",
    "counterfactual_labels",
    "cut_units",
    "difference_of_means",
    "direct_effect",
    "dose_response",
    "draw_pairs",
    "epistasis",
    "faithfulness",
    "finemap_individual",
    "finemap_sufficient",
    "finemap_summary",
    "from_arrays",
    "gradient",
    "gradient_times_activation",
    "heidi",
    "held_out_families",
    "integrated_gradients",
    "interchange_accuracy",
    "knock_out",
    "linear_probe",
    "load_network",
    "marginal_scan",
    "minimal_set",
    "observational",
    "ordered_knockouts",
    "perturb",
    "plot",
    "project_out",
    "prune",
    "prune_units",
    "random_directions",
    "rank_path",
    "read_arrays",
    "read_sae",
    "reconstruction_report",
    "remove_confounder",
    "rescue",
    "run_mr",
    "search_alignment",
    "set_effects",
    "specificity",
    "steiger_by_instrument",
    "steiger_test",
    "subspace_of",
    "train_topk_sae",
    "train_with_interchange",
    "tsls",
    "vestigial_features",
    "within",
    "write_sae",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"mrinterp.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'mrinterp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
