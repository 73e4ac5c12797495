"""A grid of effects that the user gives, for methods that search one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError

__all__ = ["given_grid"]

MOST_POINTS = 1_000_000


def given_grid(
    method: str, lower: float | None, upper: float | None, step: float | None
) -> NDArray[np.float64] | None:
    """The grid from ``lower`` to ``upper``; None where none of the three is given.

    Raises
    ------
    InputError
        Where only some of them are given, or they make no grid.
    """
    where = f"options 'lower', 'upper', 'step' of '{method}'"
    if lower is None and upper is None and step is None:
        return None
    if lower is None or upper is None or step is None:
        given = {"lower": lower, "upper": upper, "step": step}
        found = ", ".join(f"{name} {value:g}" for name, value in given.items() if value is not None)
        raise InputError(where, f"{found} alone", "Give all three, or none for a grid that fits the data")
    if not (step > 0 and upper > lower and (upper - lower) / step <= MOST_POINTS):
        raise InputError(
            where,
            f"{lower:g}, {upper:g}, {step:g}",
            f"Give lower < upper and a positive step, at most {MOST_POINTS:,} steps",
        )
    return np.asarray(lower + step * np.arange(round((upper - lower) / step) + 1), dtype=np.float64)
