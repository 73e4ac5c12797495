"""How many causes do marginal z-scores need? Forward selection and what is left after it.

Given the correlation R of the instruments, z-scores with k causes S are N(R[:, S] b, R): after the
causes are taken out, the chi-square ``z' R^+ z`` of the rest is on (rank - k) degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["forward_selection", "greedy_clumps"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ForwardSelection:
    """What `forward_selection` picked.

    ``chosen`` (T, steps) picks in order, -1 after a trait stopped; ``chosen_z`` (T, steps) the
    conditional z of each pick at its step (nan after the stop); ``conditional_z`` (T, J) z of every
    instrument given all picks (nan where collinear with them); ``residual_z`` (T, J) what the picks
    leave of z, not standardized.
    """

    chosen: NDArray[np.int_]
    chosen_z: Array
    conditional_z: Array
    residual_z: Array


def forward_selection(
    z: Array, ld: Array | None, steps: int, min_abs_z: float = 0.0, max_r2: float = 0.9
) -> ForwardSelection:
    """Pick the instrument with the largest z given those already picked, for all traits at once.

    Parameters
    ----------
    z : ndarray (T, J)
        Marginal z-scores.
    ld : ndarray (J, J) or None
        Correlation of the instruments.
    steps : int
        Largest number of picks.
    min_abs_z : float
        A trait stops where no conditional z is larger in absolute value.
    max_r2 : float
        Instruments better explained than this by those picked are not candidates.

    Returns
    -------
    ForwardSelection

    Notes
    -----
    The residual variance of the trait is held fixed: not for causes that explain much of it.
    """
    T, J = z.shape
    t = np.arange(T)
    residual, left = z.copy(), np.ones((T, J))
    factor = np.zeros((T, steps, J))
    chosen, chosen_z = np.full((T, steps), -1), np.full((T, steps), np.nan)
    going = np.ones(T, bool)
    for s in range(steps):
        conditional = _conditional(residual, left, max_r2)
        size = np.where(np.isnan(conditional), -1.0, np.abs(conditional))
        j = size.argmax(-1)
        going &= size[t, j] > min_abs_z
        if not going.any():
            break
        a = np.flatnonzero(going)
        ja = j[a]
        chosen[a, s], chosen_z[a, s] = ja, conditional[a, ja]
        row = np.eye(J)[ja] if ld is None else ld[ja]
        earlier = factor[a, :s]
        row = row - np.einsum("asj,as->aj", earlier, earlier[np.arange(len(a)), :, ja])
        root = np.sqrt(left[a, ja])
        column = row / root[:, None]
        factor[a, s] = column
        residual[a] -= column * (residual[a, ja] / root)[:, None]
        left[a] = np.maximum(left[a] - column * column, 0.0)
        left[a, ja] = 0.0
    return ForwardSelection(chosen, chosen_z, _conditional(residual, left, max_r2), residual)


def _conditional(residual: Array, left: Array, max_r2: float) -> Array:
    usable = left > 1.0 - max_r2
    out = np.full_like(residual, np.nan)
    np.divide(residual, np.sqrt(left), out=out, where=usable)
    return out


def greedy_clumps(
    neglog10p: Array, ld: Array, min_neglog10p: float, max_r2: float
) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Independent leading instruments: strongest first, each taking its correlated neighbors with it.

    Parameters
    ----------
    neglog10p : ndarray (J,)
        Strength of each instrument.
    ld : ndarray (J, J)
        Correlation.
    min_neglog10p : float
        Weaker instruments do not lead a clump.
    max_r2 : float
        Neighbors with a larger squared correlation join the leader.

    Returns
    -------
    leaders : ndarray of int
        In order of strength; ties go to the earlier instrument.
    clump : ndarray (J,) of int
        Position in ``leaders`` of the clump each instrument belongs to, -1 for none.
    """
    clump = np.full(len(neglog10p), -1)
    leaders: list[int] = []
    for j in np.argsort(-neglog10p, kind="stable"):
        if clump[j] >= 0 or not neglog10p[j] >= min_neglog10p:
            continue
        near = (ld[j] ** 2 > max_r2) & (clump < 0)
        near[j] = True
        clump[near] = len(leaders)
        leaders.append(int(j))
    return np.array(leaders, dtype=int), clump
