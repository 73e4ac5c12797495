"""A stream of standard normals inside compiled loops: SplitMix64 bits and the ziggurat (numba).

Kept out of every other module's import: whoever needs it imports it inside the function.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["mixed_bits", "standard_normal"]

_LAYERS = 256
_R = 3.6541528853610088
_AREA = 0.00492867323399


def _layers() -> tuple[np.ndarray, np.ndarray]:
    """Edges x of layers of equal area under exp(-x^2/2), the base layer's virtual one first, and the density there."""
    x = np.empty(_LAYERS + 1)
    x[0], x[1] = _AREA / math.exp(-0.5 * _R * _R), _R
    for i in range(1, _LAYERS - 1):
        x[i + 1] = math.sqrt(-2.0 * math.log(_AREA / x[i] + math.exp(-0.5 * x[i] * x[i])))
    x[_LAYERS] = 0.0
    return x, np.exp(-0.5 * x * x)


_X, _F = _layers()
_UNIT = 1.0 / 9007199254740992.0


@njit(cache=True, nogil=True)
def mixed_bits(state):  # type: ignore[no-untyped-def]
    """SplitMix64: the next state and 64 well mixed bits (Steele 2014, doi:10.1145/2714064.2660195)."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    z = state
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state, z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True)
def _wedge_or_tail(state, u, i):  # type: ignore[no-untyped-def]
    """What is left when a draw falls outside the core of its layer: next state, the normal, whether it stands."""
    x = u * _X[i]
    if i == 0:
        while True:
            state, r1 = mixed_bits(state)
            state, r2 = mixed_bits(state)
            far = -math.log((float(r1 >> np.uint64(11)) + 1.0) * _UNIT) / _R
            if -2.0 * math.log((float(r2 >> np.uint64(11)) + 1.0) * _UNIT) >= far * far:
                return state, (_R + far if u > 0.0 else -_R - far), True
    state, r = mixed_bits(state)
    height = _F[i] + float(r >> np.uint64(11)) * _UNIT * (_F[i + 1] - _F[i])
    return state, x, height < math.exp(-0.5 * x * x)


@njit(cache=True, nogil=True)
def standard_normal(state):  # type: ignore[no-untyped-def]
    """The next state and one standard normal (ziggurat: Marsaglia & Tsang 2000, doi:10.18637/jss.v005.i08)."""
    while True:
        state, bits = mixed_bits(state)
        i = np.int64(bits & np.uint64(255))
        u = 2.0 * (float(bits >> np.uint64(11)) * _UNIT) - 1.0
        x = u * _X[i]
        if abs(x) < _X[i + 1]:
            return state, x
        state, x, stands = _wedge_or_tail(state, u, i)
        if stands:
            return state, x
