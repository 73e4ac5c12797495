"""What every correlation matrix between instruments must satisfy before anything is computed from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy  # its parts load when they are used: a small table needs few of them
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.errors import InputError, near_misses
from mrinterp.stats.sparse.ld_mismatch import (
    TOLERATED,
    Spectrum,
    adjusted_z,
    causes_needed,
    dense_inconsistency,
    inconsistency,
    null_gain,
    spectrum,
    swapped_signs,
)

__all__ = [
    "EXPLAINED",
    "LARGEST",
    "SMALLEST",
    "LDCheck",
    "alleles_of",
    "check_ld",
    "counted_names",
    "lowest_eigenvalue",
    "row_order",
    "validate_ld",
]

Array = NDArray[np.float64]
Alleles = tuple[str, str]

_ROWS_AT_ONCE = (
    32  # rows of a large matrix that are compared together: freed blocks of many MB stay with the process
)
_MOST_NEGATIVE = -2e-6  # smallest eigenvalue per instrument that rounding of a printed matrix explains
_ALLELE = r"(?:[ACGT]+|[DI]|<[^>]+>|-)"
_WITH_ALLELES = re.compile(rf"(.+?)[_:|]({_ALLELE})(?:[_:|/]({_ALLELE}))?")
_COMPLEMENT = str.maketrans("ACGT", "TGCA")
_COUNTERS = ("", "V", "X", "Unnamed: ", "column ", "instrument ")  # of R, of pandas, ours
_EVIDENCE = 10.8  # fall of the deviance by that share, or by other signs, that chance gives in 1 of 1,000
_FEW_CAUSES = 5  # so many are an account of z-scores that is simpler than a wrong matrix
EXPLAINED = (
    0.1,
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
)  # variance explained by the strongest instrument, where n is not known
SMALLEST = 1000.0  # no smaller sample is supposed then: in a small one every z is a large effect
LARGEST = 1e100  # of a z-score: squares of larger ones overflow, and the answer is the same


def validate_ld(
    ld: ArrayLike | pd.DataFrame,
    instruments: Sequence[str],
    names: Sequence[str] | None = None,
    where: str = "ld",
    *,
    alleles: Sequence[Alleles] | None = None,
    overwrite: bool = False,
    share: bool = False,
) -> Array:
    """Bring a correlation matrix into the order and signs of the instruments it is to go with, and check it.

    Parameters
    ----------
    ld : array_like (J, J), or DataFrame
        Correlations; the columns of a data frame are names.
    instruments : sequence of str
        The instruments of the table, in its order.
    names : sequence of str, optional
        Names that came with the matrix: it is aligned by them (`ld_alignment`), and may hold more.
    where : str
        What to call the matrix in messages.
    alleles : sequence (J,) of pairs of str, optional
        Effect allele and other allele of each instrument in the table, "" where not known.
    overwrite : bool
        Whether the array may be changed instead of copied (a large one, read from a file).
    share : bool
        Whether the answer may be the given array itself where nothing of it has to change: for what only reads it.

    Returns
    -------
    ndarray (J, J)
        The matrix, aligned and made exactly symmetric.

    Raises
    ------
    InputError
        Wrong shape, not finite, names that are not the instruments', monomorphic instruments, a diagonal
        that is not 1, not symmetric, not positive semidefinite.
    """
    if isinstance(ld, pd.DataFrame):
        columns = [str(c) for c in ld.columns]
        matrix = ld.to_numpy(dtype=float)
        if not isinstance(ld.index, pd.RangeIndex):
            matrix = matrix[row_order([str(r) for r in ld.index], columns, where)]
        names = columns if names is None else names
    else:
        matrix = np.asarray(ld, dtype=float)
    J = len(instruments)
    size = J if names is None else len(names)
    if matrix.shape != (size, size):
        raise InputError(
            where,
            f"shape {matrix.shape} for {size} instruments",
            "Give one row and column per instrument of the table",
        )
    if names is not None:
        order, sign = ld_alignment(names, instruments, where, alleles)
        if (order != np.arange(size)[: len(order)]).any() or len(order) < size:
            matrix, overwrite = matrix[np.ix_(order, order)], True
        if (sign < 0).any():
            matrix = matrix if overwrite else matrix.copy()
            matrix *= sign[:, None]
            matrix *= sign
            overwrite = True
    return _checked(
        matrix if overwrite or share else matrix.copy(), instruments, where, own=overwrite or not share
    )


def row_order(rows: Sequence[str], columns: Sequence[str], where: str) -> NDArray[np.int_]:
    """Which row goes with each column of a matrix that names both.

    Raises
    ------
    InputError
        Where the two do not name the same, or a name stands twice.
    """
    place = {name: i for i, name in enumerate(rows)}
    lacking = [name for name in columns if name not in place]
    if len(rows) != len(columns) or len(place) != len(rows) or lacking:
        found = f"column {lacking[0]!r} has no row of that name" if lacking else "a row that is named twice"
        raise InputError(where, found, "Name rows and columns alike, each instrument once")
    return np.array([place[name] for name in columns], dtype=int)


def counted_names(names: Sequence[str]) -> bool:
    """Whether names only count columns (V1, V2, ...; 0, 1, ...), as programs write where there are none."""
    return any(
        list(names) == [f"{word}{i + first}" for i in range(len(names))]
        for word in _COUNTERS
        for first in (0, 1)
    )


def alleles_of(info: pd.DataFrame) -> list[Alleles] | None:
    """Effect and other allele of each row, "" where not known; None where the table has no alleles at all."""
    if "effect_allele" not in info.columns:
        return None
    pairs = info.reindex(columns=["effect_allele", "other_allele"])
    known = [["" if pd.isna(a) else str(a).upper() for a in pairs[c]] for c in pairs.columns]
    return list(zip(*known, strict=True)) if any(known[0]) else None


def ld_alignment(
    names: Sequence[str],
    instruments: Sequence[str],
    where: str = "ld",
    alleles: Sequence[Alleles] | None = None,
) -> tuple[NDArray[np.int_], Array]:
    """Where each instrument stands among the names of a matrix, and the sign its correlations take.

    A name may carry alleles behind the instrument's own (``rs1_A_G``, ``rs1:A:G``, ``rs1_A``, the counted one
    first). Where both sides know them, an instrument that counts the other allele changes sign; letters of the
    other strand are understood. A name that is the instrument's own, alleles and all, says nothing about what was
    counted. Names that only count (V1, V2, ...) are no names: taken by position.

    Parameters
    ----------
    names : sequence of str
        Of the matrix.
    instruments : sequence (J,) of str
        Of the table.
    where : str
        What to call the matrix in messages.
    alleles : sequence (J,) of pairs of str, optional
        Effect and other allele in the table, "" where not known; else those in the instrument's own name.

    Returns
    -------
    order : ndarray (J,) of int
    sign : ndarray (J,)
        1 or -1.

    Raises
    ------
    InputError
        An instrument without a row, or with several; alleles that are not those of the table.
    """
    exact = {name: i for i, name in enumerate(names)}
    if len(exact) < len(names):
        twice = next(name for i, name in enumerate(names) if exact[name] != i)
        raise InputError(where, f"{twice!r} stands twice among its names", "Name every instrument once")
    by_stem: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        by_stem.setdefault(split_name(name)[0], []).append(i)
    missing = [name for name in instruments if name not in exact and split_name(name)[0] not in by_stem]
    if len(missing) == len(instruments) == len(names) and counted_names(names):
        return np.arange(len(names)), np.ones(len(names))
    if missing:
        raise InputError(
            where,
            f"{len(missing)} of {len(instruments)} instruments are not among its names, first {missing[0]!r}",
            near_misses(missing[0], names) or "Name its columns after the instruments of the table",
        )
    order, sign = np.empty(len(instruments), dtype=int), np.ones(len(instruments))
    for j, name in enumerate(instruments):
        if name in exact:
            order[j] = exact[name]
            continue
        stem, own = split_name(name)
        given = alleles[j] if alleles is not None and alleles[j][0] else own
        order[j], sign[j] = _place(name, by_stem[stem], given, names, where)
    if len(set(order.tolist())) < len(order):
        raise InputError(where, "two instruments of the table share a row", "Name every instrument once")
    return order, sign


def split_name(name: str) -> tuple[str, Alleles]:
    """A name without its alleles, and these ("" where there are none)."""
    match = _WITH_ALLELES.fullmatch(name)
    if match is None:
        return name, ("", "")
    return match[1], (match[2], match[3] or "")


def _place(
    instrument: str, candidates: list[int], given: Alleles, names: Sequence[str], where: str
) -> tuple[int, float]:
    """The one candidate that has the instrument's alleles, and the sign."""
    fits = [(i, s) for i in candidates if (s := _sign(given, split_name(names[i])[1]))]
    if len(fits) == 1:
        return fits[0]
    alleles = "/".join(a for a in given if a) or "not known"
    seen = ", ".join(repr(names[i]) for i in candidates[:3])
    raise InputError(
        f"{where}, instrument {instrument!r}",
        f"{seen}, while its alleles in the table are {alleles}",
        "Give table and matrix the same alleles, and each instrument one row"
        if not fits
        else "Give the alleles in the table, which tell rows of one name apart, or keep one of them",
    )


def _sign(given: Alleles, named: Alleles) -> float:
    """1 for the same counted allele, -1 for the other one, 0 for different alleles; 1 where a side has none."""
    if not given[0] or not named[0]:
        return 1.0
    for effect, other in (given, tuple(a.translate(_COMPLEMENT) for a in given)):
        for counted, rest, sign in ((*named, 1.0), (*named[::-1], -1.0)):
            if _may_be(counted, effect) and _may_be(rest, other) and (counted == effect or rest == other):
                return sign
    return 0.0


def _may_be(one: str, other: str) -> bool:
    """Whether two alleles are the same, as far as both are known."""
    return not one or not other or one == other


def _checked(ld: Array, instruments: Sequence[str], where: str, own: bool) -> Array:
    """The matrix made exactly symmetric (in place where it is our own), after checking that it is a correlation matrix."""
    J = len(instruments)
    dead = [str(instruments[j]) for j in range(J) if not np.isfinite(ld[j]).any() or ld[j, j] == 0.0]
    if dead:
        raise InputError(
            f"{where}, instrument {dead[0]!r}",
            f"monomorphic: no correlation with anything ({len(dead)} such instruments)",
            "Drop instruments that do not vary from the table and the matrix",
        )
    i = next((i for i in range(J) if not np.isfinite(ld[i]).all()), None)
    if i is not None:
        j = int(np.flatnonzero(~np.isfinite(ld[i]))[0])
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
    ld = _symmetric(ld, where, own)
    lowest = lowest_eigenvalue(ld, _MOST_NEGATIVE * max(J, 50))
    if lowest < _MOST_NEGATIVE * max(J, 50):
        raise InputError(
            where,
            f"not positive semidefinite (smallest eigenvalue {lowest:.3g})",
            "Compute all correlations on the same runs, without gaps, or shrink them toward the identity",
        )
    return ld


def _symmetric(ld: Array, where: str, own: bool) -> Array:
    """The mean of the matrix and its transpose, some rows at a time: in place, or in a copy where it is not our own."""
    for start in range(0, len(ld), _ROWS_AT_ONCE):
        rows, columns = ld[start : start + _ROWS_AT_ONCE, start:], ld[start:, start : start + _ROWS_AT_ONCE].T
        gap = np.abs(rows - columns)
        if gap.max() > 1e-5:
            i, j = np.unravel_index(int(gap.argmax()), gap.shape)
            raise InputError(
                f"{where}, row {start + i + 1}, column {start + j + 1}",
                f"not symmetric: {rows[i, j]:g} against {columns[i, j]:g} across the diagonal",
                "Compute the correlation matrix again; a one-sided triangle must be mirrored",
            )
        if not gap.any():
            continue
        mean = 0.5 * (rows + columns)
        ld, own = (ld if own else ld.copy()), True
        ld[start : start + _ROWS_AT_ONCE, start:] = mean
        ld[start:, start : start + _ROWS_AT_ONCE] = mean.T
    return ld


def lowest_eigenvalue(ld: Array, least: float) -> float:
    """The smallest eigenvalue of a symmetric matrix where it is below ``least``; else ``least`` or more.

    A Cholesky factor of the shifted matrix shows that none is below, at a tenth of the cost of eigenvalues.
    """
    shifted = ld.copy(order="F")
    shifted[np.diag_indices_from(shifted)] -= least
    _, failed = scipy.linalg.lapack.dpotrf(shifted, lower=1, overwrite_a=1)
    del shifted
    return float(np.linalg.eigvalsh(ld)[0]) if failed else max(least, 0.0)


@dataclass(frozen=True, eq=False)
class LDCheck:
    """Whether a correlation matrix belongs to the z-scores of T traits.

    ``share`` (T,) of the identity that it would need; ``reasons`` (T,) "" or why z-scores and matrix
    contradict each other; ``swapped`` (T,) names of instruments whose sign is the other one; ``unsized`` (T,)
    of bool where they agree only if effects are large, which needs the sample size.
    """

    share: Array
    reasons: tuple[str, ...]
    swapped: tuple[tuple[str, ...], ...]
    unsized: NDArray[np.bool_]


def check_ld(
    z: Array,
    ld: Array,
    instruments: Sequence[str],
    n: Array | None = None,
    *,
    dense: bool = False,
    decomposed: Spectrum | None = None,
) -> LDCheck:
    """Test z-scores against the correlation matrix that is said to be theirs.

    Parameters
    ----------
    z : ndarray (T, J)
        Marginal z-scores.
    ld : ndarray (J, J)
        Correlation of the instruments.
    instruments : sequence (J,) of str
        Names, for the reasons.
    n : ndarray (T,), optional
        Sample sizes: z-scores of large effects are adjusted. Where they are not known, a contradiction must
        hold whatever they are.
    dense : bool
        Whether most instruments may act, as in Mendelian randomization; else few, as in fine-mapping. (Effects
        of many look like a foreign matrix to a test that expects few.)
    decomposed : Spectrum, optional
        Of ``ld``, where it is at hand: most of the work on a large matrix.

    Returns
    -------
    LDCheck
    """
    decomposed, z = decomposed or spectrum(ld), np.clip(z, -LARGEST, LARGEST)
    known = n is not None and bool(np.all(np.isfinite(n) & (n > 2)))
    sizes = np.asarray(n, float) if known else None
    share, foreign, swapped = _tested(
        z if sizes is None else adjusted_z(z, sizes), ld, decomposed, sizes, dense
    )
    bad = foreign | swapped.any(-1)
    unsized = np.zeros(len(z), dtype=bool)
    for explained in () if known else EXPLAINED:
        open_ = np.flatnonzero(bad & ~unsized)
        if not len(open_):
            break
        size = (z[open_] ** 2).max(-1) * (1.0 - explained) / explained
        open_, size = open_[size > SMALLEST], size[size > SMALLEST]
        _, foreign_too, swapped_too = _tested(adjusted_z(z[open_], size), ld, decomposed, size, dense)
        unsized[open_] = ~foreign_too & ~swapped_too.any(-1)
    swapped &= ~unsized[:, None]
    names = tuple(tuple(str(instruments[int(j)]) for j in np.flatnonzero(row)) for row in swapped)
    reasons = tuple(
        _contradiction(float(one), found, known) if wrong else ""
        for one, found, wrong in zip(share, names, bad & ~unsized, strict=True)
    )
    return LDCheck(share, reasons, names, unsized)


def _tested(
    z: Array, ld: Array, decomposed: Spectrum, n: Array | None, dense: bool
) -> tuple[Array, NDArray[np.bool_], NDArray[np.bool_]]:
    """Share of the identity (T,), where it is too large (T,), and signs that contradict the others (T, J)."""
    share, foreign = _foreign(z, decomposed, dense)
    swapped, swap_gain = swapped_signs(z, decomposed)
    by_sign = swap_gain > _EVIDENCE
    # a few causes, near each other and opposite, look the same: the simpler account holds
    most = min(_FEW_CAUSES, len(ld) // 2)
    rows = np.flatnonzero(foreign | by_sign)
    if len(rows):
        size = None if n is None else n[rows]
        plain = causes_needed(z[rows], ld, decomposed, most, size)
        other = np.where(swapped[rows], -z[rows], z[rows])
        flipped = causes_needed(other, ld, decomposed, most, size) + swapped[rows].sum(-1)
        foreign[rows] &= plain > most
        by_sign[rows] &= (plain > most) | (flipped < plain)
        by_sign[rows] &= ~(
            foreign[rows] & _foreign(other, decomposed, dense)[1]
        )  # other signs do not help then
    swapped[~by_sign] = False
    return share, foreign, swapped


def _foreign(z: Array, decomposed: Spectrum, dense: bool) -> tuple[Array, NDArray[np.bool_]]:
    """Share of the identity that the matrix would need (T,), and whether it is large beyond chance."""
    if dense:
        share, gain = dense_inconsistency(z, decomposed)
    else:
        share = inconsistency(z, decomposed)
        gain = null_gain(z, decomposed, share)
    return share, (share >= TOLERATED) & (gain > _EVIDENCE)


def _contradiction(share: float, swapped: tuple[str, ...], sized: bool) -> str:
    if swapped:
        more = f" and {len(swapped) - 5} more" if len(swapped) > 5 else ""
        return (
            f"the sign of z contradicts the LD at {', '.join(swapped[:5])}{more}: alleles swapped? Give effects"
            " and LD for the same alleles"
        )
    return (
        f"the LD does not belong to these z-scores (inconsistency {share:.2f}): another order, other alleles,"
        " other data (or very many causes); use LD of the same data"
        + ("" if sized else ", and give the sample size")
    )
