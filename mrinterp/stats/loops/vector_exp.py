"""The exponential function in arithmetic alone, so that loops around it use vector registers (numba).

Kept out of every other module's import: whoever needs it imports it inside the function.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["vector_exp"]

_LOG2_E = 1.0 / math.log(2.0)
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_ROUND = 6755399441055744.0
"""1.5 x 2^52: adding it rounds to an integer, which then stands in the lowest bits."""

_C = tuple(1.0 / math.factorial(k) for k in range(14))


@njit(cache=True, nogil=True, fastmath={"contract"})
def vector_exp(x):  # type: ignore[no-untyped-def]
    """exp(x) to two units in the last place for -700 <= x <= 700; no meaning outside.

    x = n ln 2 + r with |r| <= ln 2 / 2; the Taylor series of exp(r) to the 13th power, its exponent raised by n.
    """
    shifted = x * _LOG2_E + _ROUND
    n = shifted - _ROUND
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = _C[13]
    p = p * r + _C[12]
    p = p * r + _C[11]
    p = p * r + _C[10]
    p = p * r + _C[9]
    p = p * r + _C[8]
    p = p * r + _C[7]
    p = p * r + _C[6]
    p = p * r + _C[5]
    p = p * r + _C[4]
    p = p * r + _C[3]
    p = p * r + _C[2]
    p = p * r + 1.0
    p = p * r + 1.0
    power = (np.float64(shifted).view(np.int64) << np.int64(52)) + np.float64(1.0).view(np.int64)
    return p * np.int64(power).view(np.float64)
