"""What a sweep of edited runs showed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHECKED", "EditedRuns"]

Array = NDArray[np.float64]

CHECKED = 8
"""Prompts of every arm on which all other features are read again (the edited ones are read on every run)."""


@dataclass(frozen=True, eq=False)
class EditedRuns:
    """What the runs of A arms on P prompts showed.

    Parameters
    ----------
    outcome : ndarray (A, P, O)
        Outcomes, in their own units.
    read_back : ndarray (A,)
        Largest difference between a value written and the one read again, in units of the features.
    leakage : ndarray (A,)
        Largest change of any feature that was not written, over the first 8 prompts, in its units.

    Examples
    --------
    >>> import numpy as np
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> arms, zeros = np.array([[0], [1]]), np.zeros((2, 1, bench.prompts))
    >>> bench.sweep(arms, zeros, "two features set to zero").outcome.shape
    (2, 40, 1)
    """

    outcome: Array
    read_back: Array
    leakage: Array
