"""Mendelian randomization, colocalization and knockouts for the features of neural networks.

Three doors: `Study` for a network, `from_arrays` for runs already in hand, and the ``mrinterp mr``
command (`run_mr` in Python) for a table of summary statistics. Importing this package loads
neither torch nor matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrinterp.core.errors import InputError
    from mrinterp.core.estimates import Estimate, Estimates
    from mrinterp.core.mrdata import MRData
    from mrinterp.core.panel import Panel
    from mrinterp.core.sumstats import SumStats
    from mrinterp.mr.driver import run_mr
    from mrinterp.mr.observational import observational
    from mrinterp.mr.tsls import tsls
    from mrinterp.mr.within import rank_path, within
    from mrinterp.scan.marginal import marginal_scan
    from mrinterp.study import Study
    from mrinterp.tables.arrays import from_arrays

__version__ = "0.1.0"

_HOMES = {
    "Estimate": "core.estimates",
    "Estimates": "core.estimates",
    "InputError": "core.errors",
    "MRData": "core.mrdata",
    "Panel": "core.panel",
    "Study": "study",
    "SumStats": "core.sumstats",
    "from_arrays": "tables.arrays",
    "marginal_scan": "scan.marginal",
    "observational": "mr.observational",
    "rank_path": "mr.within",
    "run_mr": "mr.driver",
    "tsls": "mr.tsls",
    "within": "mr.within",
}

__all__ = [
    "Estimate",
    "Estimates",
    "InputError",
    "MRData",
    "Panel",
    "Study",
    "SumStats",
    "__version__",
    "from_arrays",
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
