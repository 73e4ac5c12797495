"""Values to write that a caller gives as an array."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.errors import InputError

__all__ = ["given_values"]


def given_values(name: str, values: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The values as a new array of the shape.

    Raises
    ------
    InputError
        Under ``name``, for values that do not broadcast to the shape, or are not all finite.
    """
    try:
        new = np.array(np.broadcast_to(np.asarray(values, dtype=float), shape))
    except ValueError:
        raise InputError(name, f"shape {np.shape(values)}", f"Give what broadcasts to {shape}") from None
    if not np.isfinite(new).all():
        raise InputError(name, "not all finite", "Write finite values")
    return new
