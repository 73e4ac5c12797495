"""Arrays as a compiled loop sees them: of one kind, so that it is compiled once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["one_kind"]

Array = NDArray[np.float64]


def one_kind(*arrays: Array) -> tuple[Array, ...]:
    """Contiguous read-only views; a loop is otherwise compiled for every layout and for what may be written."""
    made = tuple(np.ascontiguousarray(a).view() for a in arrays)
    for each in made:
        each.flags.writeable = False
    return made
