"""The stream of standard normals of the compiled loops without compiling anything: SplitMix64 bits and the ziggurat.

SplitMix64 counts, so that all bits can be computed at once; what a rejected draw takes besides its own bits is then
set aside one by one (12 draws in 1,000).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["DENSITY", "EDGES", "GAMMA", "MIX", "TAIL", "UNIT", "mixed", "normals"]

Array = NDArray[np.float64]
Bits = NDArray[np.uint64]

GAMMA = 0x9E3779B97F4A7C15
MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
"""The step and the multipliers of SplitMix64."""

TAIL = 3.6541528853610088
"""Where the tail begins."""

UNIT = 1.0 / 9007199254740992.0
_LAYERS = 256
_AREA = 0.00492867323399
_SPARE = 64
"""Bits at the end that a rejected draw may take: a run of so many rejections does not happen."""


def _layers() -> tuple[Array, Array]:
    """Edges x of layers of equal area under exp(-x^2/2), the base layer's virtual one first, and the density there."""
    x = np.empty(_LAYERS + 1)
    x[0], x[1] = _AREA / math.exp(-0.5 * TAIL * TAIL), TAIL
    for i in range(1, _LAYERS - 1):
        x[i + 1] = math.sqrt(-2.0 * math.log(_AREA / x[i] + math.exp(-0.5 * x[i] * x[i])))
    x[_LAYERS] = 0.0
    return x, np.exp(-0.5 * x * x)


EDGES, DENSITY = _layers()


def mixed(state: Bits) -> Bits:
    """64 well mixed bits of each state, as SplitMix64 has it (Steele 2014, doi:10.1145/2714064.2660195)."""
    z = (state ^ (state >> np.uint64(30))) * np.uint64(MIX[0])
    z = (z ^ (z >> np.uint64(27))) * np.uint64(MIX[1])
    return z ^ (z >> np.uint64(31))


def normals(state: np.uint64, count: int) -> Array:
    """The first ``count`` standard normals that `standard_normal` draws from a state, (count,)."""
    size = count + count // 50 + 2 * _SPARE
    while True:
        found = _among(state, size)
        if len(found) >= count:
            return found[:count]
        size *= 2


def _among(state: np.uint64, size: int) -> Array:
    """The normals that a number of bits gives."""
    bits = mixed(np.arange(1, size + 1, dtype=np.uint64) * np.uint64(GAMMA) + state)
    layer = (bits & np.uint64(255)).astype(np.intp)
    share: Array = (bits >> np.uint64(11)).astype(np.float64) * UNIT
    u = 2.0 * share - 1.0
    x = u * EDGES[layer]
    stands = np.abs(x) < EDGES[layer + 1]
    free, last = 0, size - _SPARE
    for p in np.flatnonzero(~stands).tolist():
        if p < free or p >= last:  # taken by a rejection before it
            continue
        if layer[p] == 0:
            far, free = _beyond(share, p + 1)
            x[p], good = math.copysign(TAIL + far, u[p]), True
        else:
            free, low, high = p + 2, DENSITY[layer[p]], DENSITY[layer[p] + 1]
            good = bool(low + share[p + 1] * (high - low) < math.exp(-0.5 * x[p] * x[p]))
        stands[p], stands[p + 1 : free] = good, False
    return x[:last][stands[:last]]


def _beyond(share: Array, p: int) -> tuple[float, int]:
    """How far beyond the tail's beginning a draw falls, and the first bits that it leaves."""
    while True:
        far = -math.log(share[p] + UNIT) / TAIL
        if -2.0 * math.log(share[p + 1] + UNIT) >= far * far:
            return far, p + 2
        p += 2
