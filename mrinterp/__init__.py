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
    from mrinterp.core.mrdata import MRData
    from mrinterp.core.panel import Panel
    from mrinterp.core.sumstats import SumStats
    from mrinterp.instruments.column_perturbations import ColumnNoise, ColumnResampling
    from mrinterp.instruments.image_perturbations import Occlusion, PixelNoise
    from mrinterp.instruments.perturbed_inputs import perturb
    from mrinterp.knockouts.bench import Bench
    from mrinterp.knockouts.knock_out import knock_out
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
    "AnchorProjection": "models.outcomes",
    "AttentionHeads": "models.units",
    "Bench": "knockouts.bench",
    "CallableOutcome": "models.other_outcomes",
    "ChannelMap": "models.features",
    "ClassifierMargin": "models.logit_outcomes",
    "Coloc": "core.coloc",
    "ColumnNoise": "instruments.column_perturbations",
    "ColumnResampling": "instruments.column_perturbations",
    "ContinuationLogProbability": "models.target_outcomes",
    "Directions": "models.directions",
    "Estimate": "core.estimates",
    "Estimates": "core.estimates",
    "ExampleLoss": "models.target_outcomes",
    "FineMapping": "core.credible_set",
    "GeneratedOutcome": "models.generated",
    "InputError": "core.errors",
    "KLToClean": "models.target_outcomes",
    "Latents": "models.latents",
    "Logit": "models.logit_outcomes",
    "LogitDifference": "models.logit_outcomes",
    "MRData": "core.mrdata",
    "ModelInputs": "models.inputs",
    "NNsightAdapter": "models.nnsight_adapter",
    "Occlusion": "instruments.image_perturbations",
    "OutcomeSet": "models.outcome_set",
    "Panel": "core.panel",
    "PixelNoise": "instruments.image_perturbations",
    "Probability": "models.logit_outcomes",
    "Projection": "models.other_outcomes",
    "Study": "study",
    "Subspace": "models.directions",
    "SumStats": "core.sumstats",
    "TorchAdapter": "models.torch_module",
    "TranscoderView": "models.transcoder",
    "TransformerLensAdapter": "models.transformer_lens_adapter",
    "Units": "models.units",
    "WholeLayer": "models.units",
    "array_network": "models.array_network",
    "cluster_traits": "coloc.hyprcoloc",
    "colocalize": "coloc.abf",
    "colocalize_runs": "coloc.runs",
    "colocalize_signals": "coloc.signals",
    "difference_of_means": "models.directions",
    "finemap_individual": "coloc.finemap",
    "finemap_sufficient": "coloc.finemap",
    "finemap_summary": "coloc.finemap",
    "from_arrays": "tables.arrays",
    "heidi": "coloc.heidi",
    "knock_out": "knockouts.knock_out",
    "load_network": "models.hugging_face",
    "marginal_scan": "scan.marginal",
    "observational": "mr.observational",
    "perturb": "instruments.perturbed_inputs",
    "rank_path": "mr.within",
    "read_arrays": "scan.read_arrays",
    "read_sae": "models.sae_folder",
    "reconstruction_report": "models.latents",
    "run_mr": "mr.driver",
    "train_topk_sae": "models.train_sae",
    "tsls": "mr.run_iv",
    "within": "mr.within",
    "write_sae": "models.sae_folder",
}

__all__ = [
    "AnchorProjection",
    "AttentionHeads",
    "Bench",
    "CallableOutcome",
    "ChannelMap",
    "ClassifierMargin",
    "Coloc",
    "ColumnNoise",
    "ColumnResampling",
    "ContinuationLogProbability",
    "Directions",
    "Estimate",
    "Estimates",
    "ExampleLoss",
    "FineMapping",
    "GeneratedOutcome",
    "InputError",
    "KLToClean",
    "Latents",
    "Logit",
    "LogitDifference",
    "MRData",
    "ModelInputs",
    "NNsightAdapter",
    "Occlusion",
    "OutcomeSet",
    "Panel",
    "PixelNoise",
    "Probability",
    "Projection",
    "Study",
    "Subspace",
    "SumStats",
    "TorchAdapter",
    "TranscoderView",
    "TransformerLensAdapter",
    "Units",
    "WholeLayer",
    "__version__",
    "array_network",
    "cluster_traits",
    "colocalize",
    "colocalize_runs",
    "colocalize_signals",
    "difference_of_means",
    "finemap_individual",
    "finemap_sufficient",
    "finemap_summary",
    "from_arrays",
    "heidi",
    "knock_out",
    "load_network",
    "marginal_scan",
    "observational",
    "perturb",
    "rank_path",
    "read_arrays",
    "read_sae",
    "reconstruction_report",
    "run_mr",
    "train_topk_sae",
    "tsls",
    "within",
    "write_sae",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"mrinterp.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'mrinterp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
