"""Which columns hold the allele that an effect belongs to, the other one, and the frequency of the first."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.tables._schema import INSTRUMENT_NAMES, ROLES, Columns, normal
from mrinterp.tables._sheet import Sheet

__all__ = ["Alleles", "read_alleles", "reject_unread_sets"]

EFFECT = (
    "effectallele", "ea", "effallele", "testedallele", "testallele", "assessedallele", "codedallele", "riskallele",
    "alleleeffect", "effectall", "modelledallele", "allelecoded", "countedallele", "incallele",
)  # fmt: skip
OTHER = (
    "otherallele", "oa", "nea", "noneffectallele", "nonea", "noneffallele", "noncodedallele", "nontestedallele",
    "noncountedallele", "baselineallele", "nonriskallele", "omitted", "untestedallele", "otherall",
    "unmodelledallele",
)  # fmt: skip
ONE, TWO, ZERO = ("a1", "allele1"), ("a2", "allele2"), ("a0", "allele0", "ax")
REFERENCE = ("ref", "refallele", "referenceallele")
ALTERNATIVE = ("alt", "altallele", "alternateallele", "alternativeallele")
_SECOND = {
    "markerid",
    "missingrate",
    "tstat",
    "imputationinfo",
    "afallele2",
    "acallele2",
    "af2",
    "freq2",
    "freqallele2",
    "freqa2",
    "a2freq",
    "afa2",
}
"""What SAIGE writes, whose effects belong to Allele2."""
_FIRST = {"markername", "effect", "stderr", "freq1", "freqse", "minfreq", "maxfreq", "zscore", "weight", "direction", "hetisq", "hetpval",
          "af1", "a1freq", "freqa1", "afallele1", "freqallele1", "afa1", "a1frq"}  # fmt: skip
"""What METAL and its like write, whose effects belong to Allele1."""
FREQUENCIES: dict[str, tuple[str, ...]] = {
    "effect": (
        "eaf", "effectallelefrequency", "effectallelefreq", "freqeffectallele", "effectaf", "freqeffect", "efffreq",
        "testedallelefreq", "testedallelefrequency", "freqtestedallele", "freqtestedalleleinhrs", "codedallelefreq",
        "codedallelefrequency", "riskallelefrequency", "riskallelefreq", "freq", "frq", "af", "frequency",
        "allelefrequency", "allelefreq",
    ),
    "1": ("freq1", "a1freq", "freqa1", "af1", "afa1", "a1frq", "afallele1", "allele1freq", "freqallele1", "a1af"),
    "2": ("afallele2", "a2freq", "freqa2", "af2", "afa2", "freq2", "allele2freq", "freqallele2"),
    "alt": ("afalt", "altfreq", "altfreqs", "altaf", "altallelefreq", "altallelefrequency", "aaf"),
    "ref": ("afref", "reffreq", "refaf", "refallelefreq"),
}  # fmt: skip
"""Columns of frequencies, by the allele that is counted."""
_ALLELE = re.compile(r"[ACGT]+|[IDR]|INS|DEL|-|<[^>]+>|\*|[ACGT]+(,[ACGT]+)+", re.IGNORECASE)
_LOOKED_AT = 500  # cells that show what a column holds


@dataclass(frozen=True, eq=False)
class Alleles:
    """Alleles of every row in capitals, empty where not known, and the frequency of the first.

    Parameters
    ----------
    effect, other : ndarray (rows,) of str
        The allele that the effect belongs to, and the other one.
    eaf : ndarray (rows,)
        Frequency of the effect allele, nan where not known.
    known : bool
        Whether the table names the effect allele at all.
    note : str
        Which columns were taken, where their names leave it to convention.
    frequency_column : str or None
        For messages.
    """

    effect: NDArray[np.object_]
    other: NDArray[np.object_]
    eaf: NDArray[np.float64]
    known: bool
    note: str = ""
    frequency_column: str | None = None


def read_alleles(sheet: Sheet, columns: Columns, required: bool = True) -> Alleles:
    """Alleles and frequencies of a table's rows, or of one trait of a wide table.

    Parameters
    ----------
    sheet : Sheet
        The table.
    columns : Columns
        Its columns, or those of one trait.
    required : bool
        Whether columns that hold alleles under names that are not understood are refused.

    Raises
    ------
    InputError
        For alleles that cannot be told apart into effect and other; frequencies outside [0, 1].
    """
    effect, others, convention = _roles(sheet, columns, required)
    if effect is None and required:
        unknown = _unread_alleles(sheet, columns)
        if unknown:
            raise _not_understood(sheet, unknown)
    count = len(sheet.frame)
    if effect is None:
        blank = np.full(count, "", dtype=object)
        return Alleles(blank, blank.copy(), np.full(count, np.nan), False)
    cells = _cells(sheet, effect)
    rest = _other_of(cells, [_cells(sheet, c) for c in others])
    eaf, column = _frequency(sheet, columns, effect, cells, rest)
    note = ""
    if convention:
        against = f" against {' or '.join(map(repr, others))}" if others else ""
        note = f"{sheet.where}: effects are taken as those of the allele in column {effect!r}{against} ({convention})."
    return Alleles(cells, rest, eaf, bool((cells != "").any()), note, column)


def _roles(sheet: Sheet, columns: Columns, required: bool) -> tuple[str | None, list[str], str]:
    """Column of the effect allele, columns among which the other one is, and by which convention."""
    explicit, other = columns.first(EFFECT), columns.first(OTHER)
    one, two, zero = columns.first(ONE), columns.first(TWO), columns.first(ZERO)
    reference, alternative = columns.first(REFERENCE), columns.first(ALTERNATIVE)
    pairs = [
        [c for c in pair if c is not None] for pair in ((reference, alternative), (one, two), (one, zero))
    ]
    if explicit is not None:
        return explicit, [other] if other is not None else next((p for p in pairs if p), []), ""
    if other is not None and normal(other) != "omitted":
        left = [c for c in (reference, alternative, one, two) if c is not None]
        if len(left) == 1:
            return left[0], [other], f"{other!r} is the other allele"
    if one is not None and (normal_of(columns, one) == "a1" or zero is not None or two is None):
        second = [c for c in (other, two, zero) if c is not None][:1] or pairs[0]
        return one, second, "as PLINK, GCTA, BOLT-LMM and REGENIE write it"
    if one is not None and two is not None:
        return _numbered(sheet, columns, one, two, required)
    if alternative is not None:
        return alternative, [] if reference is None else [reference], "the alternative allele, as in a VCF"
    return None, [], ""


def normal_of(columns: Columns, column: str) -> str:
    """The `normal` name under which a column was found."""
    return next(name for name in columns if columns[name] == column)


def _numbered(
    sheet: Sheet, columns: Columns, one: str, two: str, required: bool
) -> tuple[str | None, list[str], str]:
    """Allele1 and Allele2: METAL's effects belong to the first, SAIGE's to the second."""
    whole = set(columns) | set(Columns(sheet))
    first = bool(whole & _FIRST) or any(name.startswith("freqallele1") for name in whole)
    second = bool(whole & _SECOND)
    if first != second:
        return (one, [two], "as METAL writes it") if first else (two, [one], "as SAIGE writes it")
    if not required:
        return None, [], ""
    raise InputError(
        sheet.where,
        f"columns {one!r} and {two!r}: some programs' effects belong to the first (METAL), others' to the second (SAIGE)",
        "Name the allele that the effects belong to 'effect_allele' and the other one 'other_allele'",
    )


def _cells(sheet: Sheet, column: str) -> NDArray[np.object_]:
    """Alleles in capitals; a dash is an allele (a deletion), a 0 is none."""
    cells = np.array([v.upper() for v in sheet.text(column, keep=("-", "?"))], dtype=object)
    cells[np.isin(cells, ("0", "?"))] = ""
    return cells


def _other_of(effect: NDArray[np.object_], others: list[NDArray[np.object_]]) -> NDArray[np.object_]:
    """The other allele: of one column, or of two the one that is not the effect allele."""
    if not others:
        return np.full(len(effect), "", dtype=object)
    if len(others) == 1:
        return others[0]
    first, second = others
    out = np.full(len(effect), "", dtype=object)
    out = np.where(effect == second, first, np.where(effect == first, second, out))
    several = np.array(["," in a for a in out], dtype=bool)  # of many alternatives: not known which
    out[several] = ""
    return np.asarray(out, dtype=object)


def _frequency(
    sheet: Sheet,
    columns: Columns,
    effect: str,
    cells: NDArray[np.object_],
    rest: NDArray[np.object_],
) -> tuple[NDArray[np.float64], str | None]:
    """Frequency of the effect allele, whichever allele the column counts."""
    for counted, names in FREQUENCIES.items():
        column = columns.first(names) or next(
            (columns[n] for n in columns if counted in "12" and n.startswith(f"freqallele{counted}")), None
        )
        if column is None:
            continue
        values = sheet.numbers(column)
        bad = np.flatnonzero((values < 0) | (values > 1))
        if len(bad):
            found = f"frequency {values[bad[0]]:g}"
            raise InputError(sheet.place(int(bad[0]), column), found, "Frequencies lie between 0 and 1")
        if counted == "effect":
            return values, column
        of = columns.first({"1": ONE, "2": TWO, "alt": ALTERNATIVE, "ref": REFERENCE}[counted])
        if of is None and counted == "1":
            return values, column
        if of is not None:
            allele = _cells(sheet, of)
            if of == effect:
                return values, column
            return np.where(allele == cells, values, np.where(allele == rest, 1.0 - values, np.nan)), column
    return np.full(len(cells), np.nan), None


def _unread_alleles(sheet: Sheet, columns: Columns) -> list[str]:
    """Columns that hold alleles, by name or by content, and are none of the known ones."""
    roles = {name for names in ROLES.values() for name in names} | set(INSTRUMENT_NAMES)
    out = []
    for name in columns:
        column = columns[name]
        if name in roles or sheet.frame[column].dtype.kind in "iufb":
            continue
        cells = [c for c in sheet.text(column, keep=("-",))[:_LOOKED_AT] if c]
        alike = [bool(_ALLELE.fullmatch(c)) for c in cells]
        if not cells or not any(len(c) == 1 for c in cells):
            continue
        by_name = "allele" in name or name in (*ONE, *TWO, *ZERO, *REFERENCE, *ALTERNATIVE, *OTHER)
        letters = {c.upper() for c in cells} & set("ACGT")
        if (by_name and np.mean(alike) > 0.5) or (all(alike) and len(letters) > 1):
            out.append(column)
    return out


def reject_unread_sets(sheet: Sheet) -> None:
    """Refuse a table of several traits with more than one pair of alleles that are not understood.

    Raises
    ------
    InputError
        Naming the columns.
    """
    unknown = _unread_alleles(sheet, Columns(sheet))
    if len(unknown) > 2:
        raise _not_understood(sheet, unknown)


def _not_understood(sheet: Sheet, unknown: list[str]) -> InputError:
    named = ", ".join(map(repr, unknown[:4]))
    return InputError(
        f"{sheet.where}, column{'s' * (len(unknown) > 1)} {named}",
        "alleles, and which of them the effects belong to is not known",
        "Name the column of the effect's allele 'effect_allele' and the other one 'other_allele'"
        " (or match by name alone: --no-alleles, in Python no_alleles=True)",
    )
