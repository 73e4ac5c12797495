"""A stream of standard normals inside compiled loops: SplitMix64 bits and the ziggurat (numba).

Kept out of every other module's import: whoever needs it imports it inside the function.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from mrinterp.stats.loops.normal_stream import DENSITY, EDGES, GAMMA, MIX, TAIL, UNIT

__all__ = ["mixed_bits", "standard_normal"]


@njit(cache=True, nogil=True)
def mixed_bits(state):  # type: ignore[no-untyped-def]
    """SplitMix64: the next state and 64 well mixed bits (Steele 2014, doi:10.1145/2714064.2660195)."""
    state = state + np.uint64(GAMMA)
    z = state
    z = (z ^ (z >> np.uint64(30))) * np.uint64(MIX[0])
    z = (z ^ (z >> np.uint64(27))) * np.uint64(MIX[1])
    return state, z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True)
def _wedge_or_tail(state, u, i):  # type: ignore[no-untyped-def]
    """What is left when a draw falls outside the core of its layer: next state, the normal, whether it stands."""
    x = u * EDGES[i]
    if i == 0:
        while True:
            state, r1 = mixed_bits(state)
            state, r2 = mixed_bits(state)
            far = -math.log((float(r1 >> np.uint64(11)) + 1.0) * UNIT) / TAIL
            if -2.0 * math.log((float(r2 >> np.uint64(11)) + 1.0) * UNIT) >= far * far:
                return state, (TAIL + far if u > 0.0 else -TAIL - far), True
    state, r = mixed_bits(state)
    height = DENSITY[i] + float(r >> np.uint64(11)) * UNIT * (DENSITY[i + 1] - DENSITY[i])
    return state, x, height < math.exp(-0.5 * x * x)


@njit(cache=True, nogil=True)
def standard_normal(state):  # type: ignore[no-untyped-def]
    """The next state and one standard normal (ziggurat: Marsaglia & Tsang 2000, doi:10.18637/jss.v005.i08)."""
    while True:
        state, bits = mixed_bits(state)
        i = np.int64(bits & np.uint64(255))
        u = 2.0 * (float(bits >> np.uint64(11)) * UNIT) - 1.0
        x = u * EDGES[i]
        if abs(x) < EDGES[i + 1]:
            return state, x
        state, x, stands = _wedge_or_tail(state, u, i)
        if stands:
            return state, x
