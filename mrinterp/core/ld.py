"""What every correlation matrix between instruments must satisfy before anything is computed from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError

__all__ = ["validate_ld"]

_MOST_NEGATIVE = -2e-6  # smallest eigenvalue per instrument that rounding of a printed matrix explains


def validate_ld(
    ld: NDArray[np.float64], instruments: Sequence[str], names: Sequence[str] | None = None, where: str = "ld"
) -> NDArray[np.float64]:
    """Check a correlation matrix against the instruments it is to go with.

    Parameters
    ----------
    ld : ndarray (J, J)
        Correlations.
    instruments : sequence of str
        The instruments of the table, in its order.
    names : sequence of str, optional
        Names that came with the matrix. Where some are instruments, all must be, in the same order.
    where : str
        What to call the matrix in messages.

    Returns
    -------
    ndarray (J, J)
        The matrix, made exactly symmetric.

    Raises
    ------
    InputError
        Wrong shape, not finite, another order than the table, monomorphic instruments, a diagonal
        that is not 1, not symmetric, not positive semidefinite.
    """
    ld = np.asarray(ld, dtype=float)
    J = len(instruments)
    if ld.shape != (J, J):
        raise InputError(
            where,
            f"shape {ld.shape} for {J} instruments",
            "Give one row and column per instrument of the table",
        )
    if names is not None:
        _check_order(list(names), list(instruments), where)
    dead = [str(instruments[j]) for j in range(J) if not np.isfinite(ld[j]).any() or ld[j, j] == 0.0]
    if dead:
        raise InputError(
            f"{where}, instrument {dead[0]!r}",
            f"monomorphic: no correlation with anything ({len(dead)} such instruments)",
            "Drop instruments that do not vary from the table and the matrix",
        )
    bad = np.argwhere(~np.isfinite(ld))
    if len(bad):
        i, j = bad[0]
        raise InputError(
            f"{where}, row {i + 1}, column {j + 1}", f"{ld[i, j]}", "Correlations must be finite numbers"
        )
    off = np.abs(np.diag(ld) - 1.0)
    if off.max() > 1e-3:
        j = int(off.argmax())
        raise InputError(
            f"{where}, diagonal of {instruments[j]!r}",
            f"{ld[j, j]:g} instead of 1",
            "Give correlations, not covariances",
        )
    gap = np.abs(ld - ld.T)
    if gap.max() > 1e-5:
        i, j = np.unravel_index(int(gap.argmax()), gap.shape)
        raise InputError(
            f"{where}, row {i + 1}, column {j + 1}",
            f"not symmetric: {ld[i, j]:g} against {ld[j, i]:g} across the diagonal",
            "Compute the correlation matrix again; a one-sided triangle must be mirrored",
        )
    ld = 0.5 * (ld + ld.T)
    lowest = float(np.linalg.eigvalsh(ld)[0])
    if lowest < _MOST_NEGATIVE * max(J, 50):
        raise InputError(
            where,
            f"not positive semidefinite (smallest eigenvalue {lowest:.3g})",
            "Compute all correlations on the same runs, without gaps, or shrink them toward the identity",
        )
    return ld


def _check_order(names: list[str], instruments: list[str], where: str) -> None:
    known = set(instruments)
    shared = [n for n in names if n in known]
    if not shared or names == instruments:
        return
    if len(shared) < len(names):
        missing = next(n for n in names if n not in known)
        raise InputError(
            f"{where}, column {missing!r}",
            "no such instrument in the table",
            "Give both files the same instruments",
        )
    j = next(j for j, (a, b) in enumerate(zip(names, instruments, strict=True)) if a != b)
    raise InputError(
        f"{where}, column {j + 1}",
        f"{names[j]!r} where the table has {instruments[j]!r}: rows in another order than the table",
        "Sort both by the same instrument names",
    )
