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


def align_alleles(pair: pd.DataFrame, action: int = 2, tolerance: float = 0.08) -> pd.DataFrame:
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
    tried; where a trait has no alleles, instruments are matched by name alone. Insertions and deletions
    given as sequences are compared as I and D with a trait that codes them so.

    References
    ----------
    Hemani et al. 2018, eLife, doi:10.7554/eLife.34408 (what each action does).
    """
    a1, a2, b1, b2 = _same_coding(pair)
    known = [alleles != "" for alleles in (a1, a2, b1, b2)]
    complete = np.logical_and.reduce(known)
    by_name = ~(known[0] | known[1]) | ~(known[2] | known[3])
    swapped, flipped, decided = (np.zeros(len(pair), bool) for _ in range(3))
    decided |= by_name
    for reading in _AS_GIVEN + (() if action == 1 else _ON_THE_OTHER_STRAND):
        c1, c2 = _read(b1, b2, reading)
        fits = ~decided & _agree(a1, a2, c1, c2) & (complete | (not reading.other_strand))
        b1, b2 = np.where(fits, c1, b1), np.where(fits, c2, b2)
        swapped |= fits & reading.swapped
        flipped |= fits & reading.other_strand
        decided |= fits
    f_x, f_y = (pair[f"eaf_{side}"].to_numpy(float) for side in "xy")
    f_y = np.where(swapped, 1.0 - f_y, f_y)
    palindromic = complete & (a1 == _other_strand(a2)) & (a1 != a2)
    ambiguous = palindromic & ~(_tells(f_x, tolerance) & _tells(f_y, tolerance))
    # Swapped and on the other strand, palindromic alleles look as given: their frequencies are on two sides.
    opposite = palindromic & decided & ~ambiguous & ((f_x > 0.5) != (f_y > 0.5)) & (action == 2)
    flipped |= opposite
    out = pair.copy()
    out["beta_y"] = np.where(swapped ^ opposite, -1.0, 1.0) * pair["beta_y"].to_numpy(float)
    out["eaf_y"] = np.where(opposite, 1.0 - f_y, f_y)
    out["effect_allele_x"], out["other_allele_x"] = a1, a2
    out["effect_allele_y"], out["other_allele_y"] = b1, b2
    out["swapped"], out["flipped"] = swapped, flipped
    out["palindromic"], out["ambiguous"], out["remove"] = palindromic, ambiguous, ~decided
    out["reason"] = _reasons(out, action)
    out["keep"] = out["reason"] == ""
    return out


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


def _same_coding(pair: pd.DataFrame) -> tuple[Words, Words, Words, Words]:
    """Alleles of both traits; sequences of unequal length as I and D where the other trait has these codes."""
    a1, a2, b1, b2 = (
        pair[f"{name}_allele_{side}"].to_numpy(dtype=object)
        for side in ("x", "y")
        for name in ("effect", "other")
    )
    x_coded, y_coded = (np.isin(p, ("I", "D")) | np.isin(q, ("I", "D")) for p, q in ((a1, a2), (b1, b2)))
    a1, a2 = _as_indel(a1, a2, y_coded & ~x_coded)
    b1, b2 = _as_indel(b1, b2, x_coded & ~y_coded)
    return a1, a2, b1, b2


def _as_indel(first: Words, second: Words, rows: Mask) -> tuple[Words, Words]:
    """The longer of two sequences is I, the shorter D."""
    sizes = [np.array([len(a) for a in alleles], dtype=int) for alleles in (first, second)]
    rows = rows & (sizes[0] > 0) & (sizes[1] > 0) & (sizes[0] != sizes[1])
    longer = sizes[0] > sizes[1]
    return (
        np.where(rows, np.where(longer, "I", "D"), first).astype(object),
        np.where(rows, np.where(longer, "D", "I"), second).astype(object),
    )


def _reasons(out: pd.DataFrame, action: int) -> list[str]:
    reasons = []
    for row in out.itertuples(index=False):
        alleles = f"{row.effect_allele_x}/{row.other_allele_x}"
        if row.remove:
            hint = " (action 1 does not try the other strand)" if action == 1 else ""
            theirs = f"{row.effect_allele_y}/{row.other_allele_y}"
            reasons.append(f"alleles do not match: {alleles} and {theirs}{hint}")
        elif action == 3 and row.palindromic:
            reasons.append(f"palindromic alleles {alleles} (action 3 drops them)")
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
