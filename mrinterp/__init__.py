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
    from mrinterp.mr.driver import run_mr
    from mrinterp.mr.observational import observational
    from mrinterp.mr.run_iv import tsls
    from mrinterp.mr.within import rank_path, within
    from mrinterp.scan.marginal import marginal_scan
    from mrinterp.study import Study
    from mrinterp.tables.arrays import from_arrays

__version__ = "0.1.0"

_HOMES = {
    "Coloc": "core.coloc",
    "Estimate": "core.estimates",
    "Estimates": "core.estimates",
    "FineMapping": "core.credible_set",
    "InputError": "core.errors",
    "MRData": "core.mrdata",
    "Panel": "core.panel",
    "Study": "study",
    "SumStats": "core.sumstats",
    "cluster_traits": "coloc.hyprcoloc",
    "colocalize": "coloc.abf",
    "colocalize_runs": "coloc.runs",
    "colocalize_signals": "coloc.signals",
    "finemap_individual": "coloc.finemap",
    "finemap_sufficient": "coloc.finemap",
    "finemap_summary": "coloc.finemap",
    "from_arrays": "tables.arrays",
    "heidi": "coloc.heidi",
    "marginal_scan": "scan.marginal",
    "observational": "mr.observational",
    "rank_path": "mr.within",
    "run_mr": "mr.driver",
    "tsls": "mr.run_iv",
    "within": "mr.within",
}

__all__ = [
    "Coloc",
    "Estimate",
    "Estimates",
    "FineMapping",
    "InputError",
    "MRData",
    "Panel",
    "Study",
    "SumStats",
    "__version__",
    "cluster_traits",
    "colocalize",
    "colocalize_runs",
    "colocalize_signals",
    "finemap_individual",
    "finemap_sufficient",
    "finemap_summary",
    "from_arrays",
    "heidi",
    "marginal_scan",
    "observational",
    "rank_path",
    "run_mr",
    "tsls",
    "within",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"mrinterp.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'mrinterp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
