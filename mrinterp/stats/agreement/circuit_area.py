"""Areas of faithfulness curves: CPR and CMD of the Mechanistic Interpretability Benchmark."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import trapezoid

__all__ = ["MIB_PROPORTIONS", "circuit_areas"]

Array = NDArray[np.float64]

MIB_PROPORTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Circuit sizes of the benchmark, as shares of all components."""


def circuit_areas(faithfulness: ArrayLike, proportions: ArrayLike = MIB_PROPORTIONS) -> tuple[Array, Array]:
    """CPR and CMD (...) of faithfulness (D, ...) at D proportions.

    CPR, the circuit performance ratio, is the area under f; CMD, the circuit-model distance, the area
    under abs(1 - f). Both by the trapezoid rule over the proportions as they are (not their logarithm),
    from the first to the last of them, as the benchmark's own code has it: with its proportions the
    best CMD is 0 and f = 1 throughout has CPR 0.999, since nothing is counted below 0.001.

    Source: Mueller et al. 2025, arXiv:2504.13151.
    """
    f, x = np.asarray(faithfulness, dtype=float), np.asarray(proportions, dtype=float)
    return np.asarray(trapezoid(f, x, axis=0)), np.asarray(trapezoid(np.abs(1 - f), x, axis=0))
