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
    from mrinterp.diagnostics.steiger import steiger_by_instrument, steiger_test
    from mrinterp.instruments.column_perturbations import ColumnNoise, ColumnResampling
    from mrinterp.instruments.image_perturbations import Occlusion, PixelNoise
    from mrinterp.instruments.perturbed_inputs import perturb
    from mrinterp.knockouts.aligned_variable import AlignedVariable
    from mrinterp.knockouts.alignment_search import search_alignment, subspace_of
    from mrinterp.knockouts.bench import Bench
    from mrinterp.knockouts.causal_model import CausalModel, Variable
    from mrinterp.knockouts.clamp import Clamp
    from mrinterp.knockouts.comparators import comparators
    from mrinterp.knockouts.compare_kinds import compare_kinds
    from mrinterp.knockouts.confounder_removal import remove_confounder
    from mrinterp.knockouts.control_alignments import control_alignments
    from mrinterp.knockouts.correlation import correlation
    from mrinterp.knockouts.counterfactual_labels import counterfactual_labels
    from mrinterp.knockouts.cut_units import cut_units
    from mrinterp.knockouts.damage import Damage
    from mrinterp.knockouts.direct_effect import direct_effect
    from mrinterp.knockouts.dose_response import dose_response
    from mrinterp.knockouts.epistasis import epistasis
    from mrinterp.knockouts.faithfulness import faithfulness
    from mrinterp.knockouts.feature_sets import set_effects
    from mrinterp.knockouts.gradient import attribution_patching, gradient, gradient_times_activation
    from mrinterp.knockouts.integrated_gradients import integrated_gradients
    from mrinterp.knockouts.interchange import Interchange
    from mrinterp.knockouts.interchange_accuracy import interchange_accuracy
    from mrinterp.knockouts.interchange_pairs import draw_pairs, held_out_families
    from mrinterp.knockouts.interchange_training import train_with_interchange
    from mrinterp.knockouts.kind import Kind
    from mrinterp.knockouts.knock_out import knock_out
    from mrinterp.knockouts.linear_probe import linear_probe
    from mrinterp.knockouts.mean import Mean
    from mrinterp.knockouts.minimal_set import minimal_set
    from mrinterp.knockouts.ordered import ordered_knockouts
    from mrinterp.knockouts.project_out import project_out
    from mrinterp.knockouts.prune_units import prune_units
    from mrinterp.knockouts.pruning import prune
    from mrinterp.knockouts.resample import Resample
    from mrinterp.knockouts.rescue import rescue
    from mrinterp.knockouts.scale import Scale
    from mrinterp.knockouts.shift import Shift
    from mrinterp.knockouts.site_variation import random_directions
    from mrinterp.knockouts.specificity import specificity
    from mrinterp.knockouts.steer import Steer
    from mrinterp.knockouts.vestigial import vestigial_features
    from mrinterp.knockouts.zero import Zero
    from mrinterp.models.array_network import array_network
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
    from mrinterp.models.outcomes import AnchorProjection
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
    from mrinterp.scan.marginal import marginal_scan
    from mrinterp.scan.read_arrays import read_arrays
    from mrinterp.study import Study
    from mrinterp.tables.arrays import from_arrays

__version__ = "0.1.0"

_HOMES = {
    "AlignedVariable": "knockouts.aligned_variable",
    "AnchorProjection": "models.outcomes",
    "AttentionHeads": "models.units",
    "Bench": "knockouts.bench",
    "CallableOutcome": "models.other_outcomes",
    "CausalModel": "knockouts.causal_model",
    "ChannelMap": "models.features",
    "Clamp": "knockouts.clamp",
    "ClassifierMargin": "models.logit_outcomes",
    "Coloc": "core.coloc",
    "ColumnNoise": "instruments.column_perturbations",
    "ColumnResampling": "instruments.column_perturbations",
    "ContinuationLogProbability": "models.target_outcomes",
    "Damage": "knockouts.damage",
    "Directions": "models.directions",
    "Estimate": "core.estimates",
    "Estimates": "core.estimates",
    "ExampleLoss": "models.target_outcomes",
    "FineMapping": "core.credible_set",
    "GeneratedOutcome": "models.generated",
    "InputError": "core.errors",
    "Interchange": "knockouts.interchange",
    "KLToClean": "models.target_outcomes",
    "Kind": "knockouts.kind",
    "KnockoutEffects": "core.knockout_effects",
    "Latents": "models.latents",
    "Logit": "models.logit_outcomes",
    "LogitDifference": "models.logit_outcomes",
    "MRData": "core.mrdata",
    "Mean": "knockouts.mean",
    "ModelInputs": "models.inputs",
    "NNsightAdapter": "models.nnsight_adapter",
    "Occlusion": "instruments.image_perturbations",
    "OutcomeSet": "models.outcome_set",
    "Panel": "core.panel",
    "PixelNoise": "instruments.image_perturbations",
    "Probability": "models.logit_outcomes",
    "Projection": "models.other_outcomes",
    "Resample": "knockouts.resample",
    "Scale": "knockouts.scale",
    "Shift": "knockouts.shift",
    "Steer": "knockouts.steer",
    "Study": "study",
    "Subspace": "models.directions",
    "SumStats": "core.sumstats",
    "TorchAdapter": "models.torch_module",
    "TranscoderView": "models.transcoder",
    "TransformerLensAdapter": "models.transformer_lens_adapter",
    "Units": "models.units",
    "Variable": "knockouts.causal_model",
    "WholeLayer": "models.units",
    "Zero": "knockouts.zero",
    "array_network": "models.array_network",
    "attribution_patching": "knockouts.gradient",
    "cluster_traits": "coloc.hyprcoloc",
    "colocalize": "coloc.abf",
    "colocalize_runs": "coloc.runs",
    "colocalize_signals": "coloc.signals",
    "comparators": "knockouts.comparators",
    "compare_kinds": "knockouts.compare_kinds",
    "control_alignments": "knockouts.control_alignments",
    "correlation": "knockouts.correlation",
    "counterfactual_labels": "knockouts.counterfactual_labels",
    "cut_units": "knockouts.cut_units",
    "difference_of_means": "models.directions",
    "direct_effect": "knockouts.direct_effect",
    "dose_response": "knockouts.dose_response",
    "draw_pairs": "knockouts.interchange_pairs",
    "epistasis": "knockouts.epistasis",
    "faithfulness": "knockouts.faithfulness",
    "finemap_individual": "coloc.finemap",
    "finemap_sufficient": "coloc.finemap",
    "finemap_summary": "coloc.finemap",
    "from_arrays": "tables.arrays",
    "gradient": "knockouts.gradient",
    "gradient_times_activation": "knockouts.gradient",
    "heidi": "coloc.heidi",
    "held_out_families": "knockouts.interchange_pairs",
    "integrated_gradients": "knockouts.integrated_gradients",
    "interchange_accuracy": "knockouts.interchange_accuracy",
    "knock_out": "knockouts.knock_out",
    "linear_probe": "knockouts.linear_probe",
    "load_network": "models.hugging_face",
    "marginal_scan": "scan.marginal",
    "minimal_set": "knockouts.minimal_set",
    "observational": "mr.observational",
    "ordered_knockouts": "knockouts.ordered",
    "perturb": "instruments.perturbed_inputs",
    "project_out": "knockouts.project_out",
    "prune": "knockouts.pruning",
    "prune_units": "knockouts.prune_units",
    "random_directions": "knockouts.site_variation",
    "rank_path": "mr.within",
    "read_arrays": "scan.read_arrays",
    "read_sae": "models.sae_folder",
    "reconstruction_report": "models.latents",
    "remove_confounder": "knockouts.confounder_removal",
    "rescue": "knockouts.rescue",
    "run_mr": "mr.driver",
    "search_alignment": "knockouts.alignment_search",
    "set_effects": "knockouts.feature_sets",
    "specificity": "knockouts.specificity",
    "steiger_by_instrument": "diagnostics.steiger",
    "steiger_test": "diagnostics.steiger",
    "subspace_of": "knockouts.alignment_search",
    "train_topk_sae": "models.train_sae",
    "train_with_interchange": "knockouts.interchange_training",
    "tsls": "mr.run_iv",
    "vestigial_features": "knockouts.vestigial",
    "within": "mr.within",
    "write_sae": "models.sae_folder",
}

__all__ = [
    "AlignedVariable",
    "AnchorProjection",
    "AttentionHeads",
    "Bench",
    "CallableOutcome",
    "CausalModel",
    "ChannelMap",
    "Clamp",
    "ClassifierMargin",
    "Coloc",
    "ColumnNoise",
    "ColumnResampling",
    "ContinuationLogProbability",
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
    "Latents",
    "Logit",
    "LogitDifference",
    "MRData",
    "Mean",
    "ModelInputs",
    "NNsightAdapter",
    "Occlusion",
    "OutcomeSet",
    "Panel",
    "PixelNoise",
    "Probability",
    "Projection",
    "Resample",
    "Scale",
    "Shift",
    "Steer",
    "Study",
    "Subspace",
    "SumStats",
    "TorchAdapter",
    "TranscoderView",
    "TransformerLensAdapter",
    "Units",
    "Variable",
    "WholeLayer",
    "Zero",
    "__version__",
    "array_network",
    "attribution_patching",
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
