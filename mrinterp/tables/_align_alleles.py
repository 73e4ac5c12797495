"""Which allele an effect belongs to: the second trait of a pair is put on the alleles of the first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["align_alleles"]

_COMPLEMENT = str.maketrans("ACGT", "TGCA")  # the base that each pairs with on the other strand

Mask = NDArray[np.bool_]
Words = NDArray[np.object_]


@dataclass(frozen=True)
class _Reading:
    """One way to read the second trait's pair of alleles."""

    swapped: bool
    other_strand: bool


_AS_GIVEN = (_Reading(False, False), _Reading(True, False))
_ON_THE_OTHER_STRAND = (_Reading(False, True), _Reading(True, True))


def align_alleles(
    pair: pd.DataFrame, action: int = 2, tolerance: float = 0.08, *, by_name: bool = False
) -> pd.DataFrame:
    """Put the effects of the second trait on the effect alleles of the first.

    Parameters
    ----------
    pair : DataFrame
        ``instrument, beta_y, effect_allele_x, other_allele_x, eaf_x, effect_allele_y,
        other_allele_y, eaf_y``, one row per instrument; unknown alleles are empty.
    action : {1, 2, 3}
        1: all alleles are on the forward strand. 2: strands are inferred, those of palindromic alleles (A/T, C/G) from the frequencies. 3: strands are
        inferred and palindromic alleles dropped.
    tolerance : float
        Palindromic alleles with a frequency within this of 0.5 are ambiguous (action 2 drops them).
    by_name : bool
        Whether rows are taken as they are, whatever their alleles.

    Returns
    -------
    DataFrame
        The rows of ``pair`` with the second trait aligned and the columns ``swapped, flipped,
        palindromic, ambiguous, remove, keep, reason`` (empty where kept). Rows that match in no
        reading (``remove``) are left as they came.

    Notes
    -----
    A pair of alleles can be read in four ways: as given, swapped (effect and frequency change
    sign and side), on the other strand (complement, in reverse order), or both. The first that
    agrees with the first trait's pair is taken. Where some of the alleles are unknown, a reading
    agrees if one known pair is equal and no known pair differs, and only the strand as given is
    tried; they count as palindromic where the known pair of either trait is. A row of which one trait has no
    allele at all is removed. Insertions and deletions are compared by what they do, whether they come as
    sequences, as I, D and R, as ``<DEL>``, or as a dash.

    References
    ----------
    Hemani et al. 2018, eLife, doi:10.7554/eLife.34408 (what each action does).
    """
    given = _words(pair)
    a1, a2, b1, b2 = same_coding(*given)
    known = [alleles != "" for alleles in (a1, a2, b1, b2)]
    complete = np.logical_and.reduce(known)
    swapped, flipped, decided = (
        np.zeros(len(pair), bool),
        np.zeros(len(pair), bool),
        np.full(len(pair), by_name),
    )
    for reading in _AS_GIVEN + (() if action == 1 else _ON_THE_OTHER_STRAND):
        c1, c2 = _read(b1, b2, reading)
        fits = ~decided & _agree(a1, a2, c1, c2) & (complete | (not reading.other_strand))
        b1, b2 = np.where(fits, c1, b1), np.where(fits, c2, b2)
        swapped |= fits & reading.swapped
        flipped |= fits & reading.other_strand
        decided |= fits
    f_x, f_y = (pair[f"eaf_{side}"].to_numpy(float) for side in "xy")
    f_y = np.where(swapped, 1.0 - f_y, f_y)
    palindromic = decided & (_palindromic(a1, a2) | _palindromic(b1, b2)) & (not by_name)
    ambiguous = palindromic & ~(_tells(f_x, tolerance) & _tells(f_y, tolerance))
    # Swapped and on the other strand, palindromic alleles look as given: their frequencies are on two sides.
    two_sides = _tells(f_x, tolerance) & _tells(f_y, tolerance) & ((f_x > 0.5) != (f_y > 0.5)) & (not by_name)
    opposite = palindromic & two_sides & (action == 2)
    flipped |= opposite
    out = pair.copy()
    out["beta_y"] = np.where(swapped ^ opposite, -1.0, 1.0) * pair["beta_y"].to_numpy(float)
    out["eaf_y"] = np.where(opposite, 1.0 - f_y, f_y)
    out["effect_allele_x"], out["other_allele_x"] = a1, a2
    out["effect_allele_y"], out["other_allele_y"] = b1, b2
    out["swapped"], out["flipped"] = swapped, flipped
    out["palindromic"], out["ambiguous"], out["remove"] = palindromic, ambiguous, ~decided
    out["contrary"] = palindromic & two_sides & complete & (action == 1)
    one_each = ~(known[0] & known[1]) & ~(known[2] & known[3])
    unsure = decided & ~complete & two_sides & (one_each | (palindromic & (action == 1)))
    out["reason"] = _reasons(out, action, given, unsure)
    out["keep"] = out["reason"] == ""
    return out


def _words(pair: pd.DataFrame) -> tuple[Words, Words, Words, Words]:
    """Effect and other allele of the first trait, then of the second."""
    a1, a2, b1, b2 = (
        pair[f"{name}_allele_{side}"].to_numpy(dtype=object)
        for side in ("x", "y")
        for name in ("effect", "other")
    )
    return a1, a2, b1, b2


def _palindromic(first: Words, second: Words) -> Mask:
    """Pairs that read the same on both strands."""
    return np.asarray((first != "") & (first == _other_strand(second)) & (first != second), dtype=bool)


def _tells(frequency: NDArray[np.float64], tolerance: float) -> Mask:
    """Frequencies far enough from 0.5 to tell which allele is which (unknown ones are not)."""
    return np.asarray(np.abs(frequency - 0.5) >= tolerance)


def _read(first: Words, second: Words, reading: _Reading) -> tuple[Words, Words]:
    if reading.other_strand:
        first, second = _other_strand(first), _other_strand(second)
    return (second, first) if reading.swapped else (first, second)


def _agree(a1: Words, a2: Words, b1: Words, b2: Words) -> Mask:
    """Whether at least one known pair of alleles is equal and no known pair differs."""
    both = [(x != "") & (y != "") for x, y in ((a1, b1), (a2, b2))]
    equal = [a1 == b1, a2 == b2]
    return np.asarray(
        ((both[0] & equal[0]) | (both[1] & equal[1])) & ~(both[0] & ~equal[0]) & ~(both[1] & ~equal[1]),
        dtype=bool,
    )


def _other_strand(alleles: Words) -> Words:
    """Alleles as read on the other strand: complement, in reverse order; codes stay."""
    return np.array(
        [a.translate(_COMPLEMENT)[::-1] if set(a) <= set("ACGT") else a for a in alleles], dtype=object
    )


def same_coding(a1: Words, a2: Words, b1: Words, b2: Words) -> tuple[Words, Words, Words, Words]:
    """Alleles of both traits; insertions and deletions that two traits write in two ways, as I and D in both."""
    x, y = _change_of_length(a1, a2), _change_of_length(b1, b2)
    alike = ((a1 == b1) & (a2 == b2)) | ((a1 == b2) & (a2 == b1))
    comparable = (
        ~np.isnan(x) & ~np.isnan(y) & (np.isinf(x) | np.isinf(y) | (_dashed(a1, a2) ^ _dashed(b1, b2)))
    )
    rows = ~alike & comparable & (np.isinf(x) | np.isinf(y) | (np.abs(x) == np.abs(y)))
    return (*_as_codes(a1, a2, x, rows), *_as_codes(b1, b2, y, rows))


def _dashed(first: Words, second: Words) -> Mask:
    return np.asarray((first == "-") | (second == "-"), dtype=bool)


def _as_codes(first: Words, second: Words, change: NDArray[np.float64], rows: Mask) -> tuple[Words, Words]:
    return (
        np.where(rows, np.where(change > 0, "I", "D"), first).astype(object),
        np.where(rows, np.where(change > 0, "D", "I"), second).astype(object),
    )


_INSERTED = frozenset({"I", "INS", "INSERTION"})
_DELETED = frozenset({"D", "DEL", "DELETION"})


def _change_of_length(first: Words, second: Words) -> NDArray[np.float64]:
    """How much longer the first allele is than the second: infinite for codes, nan where neither is an indel."""
    return np.array([_change(p, q) for p, q in zip(first, second, strict=True)], dtype=float)


def _change(p: str, q: str) -> float:
    """Of one pair. R is whatever the other is not; N, or any base, beside ``<DEL>`` stands for what was there."""
    if not p or not q or p == q:
        return np.nan
    if len(p) == len(q) == 1 and p in "ACGT" and q in "ACGT":
        return np.nan
    longer = [_code(p), _code(q)]
    if longer[0] and longer[0] != longer[1]:
        return longer[0] * np.inf
    if longer[1] and longer[0] != longer[1]:
        return -longer[1] * np.inf
    sizes = [0 if a == "-" else len(a) if set(a) <= set("ACGTN") else None for a in (p, q)]
    if None in sizes or sizes[0] == sizes[1]:
        return np.nan
    return float(sizes[0] - sizes[1])  # type: ignore[operator]


def _code(allele: str) -> int:
    """1 for a code of an insertion, -1 of a deletion, 0 for anything else."""
    word = allele.strip("<>").split(":")[0]
    if word in _INSERTED or (allele != word and word in ("DUP", "CNV2", "CN2", "CN3", "CN4")):
        return 1
    return -1 if word in _DELETED or (allele != word and word in ("CN0", "CN1")) else 0


def _reasons(
    out: pd.DataFrame, action: int, given: tuple[Words, Words, Words, Words], unsure: Mask
) -> list[str]:
    reasons = []
    a1, a2, b1, b2 = given
    for i, row in enumerate(out.itertuples(index=False)):
        alleles, theirs = _slashed(a1[i], a2[i]), _slashed(b1[i], b2[i])
        if row.remove and "" in (alleles, theirs):
            other = f" ({alleles or theirs} in the other)" if alleles or theirs else ""
            reasons.append(f"alleles not known in {'one of the tables' if other else 'the tables'}{other}")
        elif row.remove:
            hint = " (action 1 does not try the other strand)" if action == 1 else ""
            reasons.append(f"alleles do not match: {alleles} and {theirs}{hint}")
        elif action == 3 and row.palindromic:
            reasons.append(f"palindromic alleles {alleles} and {theirs} (action 3 drops them)")
        elif unsure[i]:
            reasons.append(
                f"of the alleles only {alleles} and {theirs} are known, and the frequencies"
                f" ({row.eaf_x:g} and {row.eaf_y:g}) say that they are not the same ones"
            )
        elif action == 2 and row.ambiguous:
            seen = (
                f"{row.eaf_x:g} and {row.eaf_y:g}"
                if np.isfinite(np.array([row.eaf_x, row.eaf_y], float)).all()
                else "not given"
            )
            reasons.append(f"palindromic alleles {alleles}, the frequencies do not tell the strand ({seen})")
        else:
            reasons.append("")
    return reasons


def _slashed(first: str, second: str) -> str:
    return f"{first or '?'}/{second or '?'}" if first or second else ""
