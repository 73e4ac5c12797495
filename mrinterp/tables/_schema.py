"""Names of columns: ours, and those of the programs and archives whose tables are read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError, near_misses
from mrinterp.tables._sheet import Sheet

__all__ = [
    "INSTRUMENT_NAMES",
    "Columns",
    "instrument_names",
    "listed_columns",
    "normal",
    "plain_columns",
    "reject_repeated",
    "trait_columns",
    "traits_of",
]

INSTRUMENT_NAMES = (
    "instrument", "snp", "rsid", "rsids", "hmrsid", "rs", "rsnumber", "variantid", "hmvariantid", "variant",
    "markername", "markerid", "marker", "snpid", "id",
)  # fmt: skip
"""Columns that may name the instrument, first match wins (as `normal` writes them)."""

ROLES: dict[str, tuple[str, ...]] = {
    "beta": ("beta", "b", "effect", "effectsize", "logodds", "logor", "lnor", "logoddsratio", "loghr", "es"),
    "odds_ratio": ("oddsratio", "or", "hazardratio", "hr"),
    "se": (
        "se", "standarderror", "stderr", "stderror", "sebeta", "betase", "logorse", "selogor", "selnor", "seeffect",
        "effectse", "selog", "stderrlogor",
    ),
    "ci_lower": (
        "cilower", "l95", "lower95", "lowerci", "lci", "cilow", "ci95lower", "or95l", "orlower", "lower", "cil", "orl95",
        "orcilower", "or95cilower", "lower95ci", "95lower", "ci95low", "or95low",
    ),
    "ci_upper": (
        "ciupper", "u95", "upper95", "upperci", "uci", "cihigh", "ci95upper", "or95u", "orupper", "upper", "ciu", "oru95",
        "orciupper", "or95ciupper", "upper95ci", "95upper", "ci95high", "or95high",
    ),
    "p": (
        "pbolt", "pboltlmm", "pboltlmminf", "p", "pval", "pvalue", "pwald", "gcpvalue", "pvalueassociation",
        "frequentistaddpvalue",
    ),
    "neglog10p": (
        "neglog10p", "neglog10pvalue", "log10p", "mlog10p", "mlogp", "minuslog10p", "nlog10p", "neglogp", "negativelog10p",
        "neglog10pval", "log10pvalue", "mlog10pvalue", "lp",
    ),
    "z": ("z", "zscore", "zstat", "zval", "zvalue", "zstatistic"),
    "n": (
        "n", "samplesize", "obsct", "ntotal", "totaln", "totalsamplesize", "ncompletesamples", "neff", "nmiss",
        "nobs", "ntot", "effectivesamplesize",
    ),
    "maf": ("maf", "minorallelefrequency", "minoraf", "minorallelefreq"),
    "chromosome": ("chromosome", "chr", "chrom", "hmchrom", "chrid"),
    "position": (
        "position", "pos", "basepairlocation", "bp", "hmpos", "ps", "chromstart", "bphg19", "poshg19", "bphg38", "posb37",
        "posb38", "genpos",
    ),
    "dose": ("dose",),
}  # fmt: skip
"""Our name of each column of a table of one trait, and the names it is known by elsewhere (as `normal` writes them)."""

_NEVER = frozenset({"n_miss", "n_studies"})  # GEMMA: how many are *missing*; GWAMA: studies, not people
_HARMONISED = ("beta", "oddsratio", "cilower", "ciupper", "effectallele", "otherallele",
               "effectallelefrequency")  # fmt: skip
_NOT_TRAITS = frozenset(name for role in ROLES for name in ROLES[role]) - {"effect", "b"}
_SPREADS = ("beta_", "beta.", "odds_ratio_", "odds_ratio.")


def normal(name: str) -> str:
    """A column's name in small letters and digits alone: Effect_Allele, effectAllele, effect.allele are one name."""
    return re.sub(r"[^a-z0-9]", "", str(name).lower().replace("\u03b2", "beta"))


class Columns(Mapping[str, str]):
    """The columns of a table by `normal` name; those of one trait where its name is a suffix.

    Raises
    ------
    InputError
        When a name is looked up that several columns have, with different cells.
    """

    def __init__(self, sheet: Sheet, trait: str | None = None) -> None:
        self.sheet, self.trait = sheet, trait
        self._found: dict[str, list[str]] = {}
        for column in map(str, sheet.frame.columns):
            base = column if trait is None else _without(column, trait)
            if base is not None and base.lower() not in _NEVER:
                self._found.setdefault(normal(base), []).append(column)
        if trait is None:
            _prefer_harmonised(sheet, self._found)

    def __getitem__(self, name: str) -> str:
        columns = self._found[name]
        for other in columns[1:]:
            if self.sheet.text(other) != self.sheet.text(columns[0]):
                raise InputError(
                    self.sheet.where,
                    f"columns {columns[0]!r} and {other!r} have one name and different cells",
                    "Keep the one that is meant",
                )
        return columns[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def first(self, names: Iterable[str]) -> str | None:
        """The table's column of the first of several names that it has."""
        return next((self[name] for name in names if name in self._found), None)

    def roles(self) -> dict[str, str]:
        """Our name of each column that is known to the table's."""
        found = {ours: self.first(names) for ours, names in ROLES.items()}
        return {ours: column for ours, column in found.items() if column is not None}


def _without(column: str, trait: str) -> str | None:
    """A column's name without the trait it ends in; None where it does not."""
    tails = (f"_{trait}".lower(), f".{trait}".lower())
    return column[: -len(trait) - 1] if column.lower().endswith(tails) else None


def _prefer_harmonised(sheet: Sheet, found: dict[str, list[str]]) -> None:
    """The archive's harmonised columns (hm_beta, hm_effect_allele ...) are a set: taken whole, or not at all."""
    effects = [found[name][0] for name in ("hmbeta", "hmoddsratio") if name in found]
    if "hmeffectallele" not in found or not any(any(sheet.text(c)) for c in effects):
        return
    for name in _HARMONISED:
        found.pop(name, None)
        if f"hm{name}" in found:
            found[name] = found[f"hm{name}"]


def instrument_names(sheet: Sheet) -> tuple[str, list[str]]:
    """The column that names the instruments, and the names; chromosome:position where a row has none.

    Raises
    ------
    InputError
        Where neither is there for some row, or a name holds control characters.
    """
    columns = Columns(sheet)
    column = columns.first(INSTRUMENT_NAMES)
    places = _places(sheet, columns)
    if column is None and places is None:
        raise InputError(
            sheet.where,
            f"no column 'SNP' or 'instrument' among {listed_columns(sheet.frame.columns)}",
            "Name the column of the instruments 'SNP' or 'instrument'",
        )
    names = [""] * len(sheet.frame) if column is None else sheet.names(column)
    if column is not None and normal(column) == "rsids":
        names = [name.split(",")[0].strip() for name in names]
    if places is not None:
        names = [name or place for name, place in zip(names, places, strict=True)]
    shown = column or columns["position" if "position" in columns else next(iter(columns))]
    empty = next((i for i, name in enumerate(names) if not name), None)
    if empty is not None:
        raise InputError(
            sheet.place(empty, shown), "no instrument name", "Name every instrument, or remove the row"
        )
    return shown, names


def _places(sheet: Sheet, columns: Columns) -> list[str] | None:
    """chromosome:position of every row, empty where not known."""
    chromosome, position = (columns.first(ROLES[role]) for role in ("chromosome", "position"))
    if chromosome is None or position is None:
        return None
    pairs = zip(sheet.names(chromosome), sheet.names(position), strict=True)
    return [f"{c.removeprefix('chr')}:{p}" if c and p else "" for c, p in pairs]


def reject_repeated(
    sheet: Sheet, column: str, names: list[str], kept: NDArray[np.bool_] | None = None
) -> None:
    """Refuse a table that names an instrument twice among the rows ``kept`` (default all).

    Raises
    ------
    InputError
        Naming both rows.
    """
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        if kept is not None and not kept[row]:
            continue
        if name in first:
            raise InputError(
                sheet.place(row, column),
                f"instrument {name!r} appears again (first on {sheet.line(first[name])})",
                "Keep one row per instrument",
            )
        first[name] = row


def traits_of(columns: Iterable[str]) -> list[str]:
    """Names t with a column ``beta_<t>``, ``beta.<t>`` or ``odds_ratio_<t>``, in the order of the table."""
    found = []
    for name in map(str, columns):
        start = next((s for s in _SPREADS if name.lower().startswith(s)), "")
        trait = name[len(start) :]
        if start and trait and (normal(trait) not in _NOT_TRAITS or f"se_{trait}" in map(str, columns)):
            found.append(trait)
    return list(dict.fromkeys(found))


def trait_columns(sheet: Sheet, trait: str) -> dict[str, str]:
    """Columns of one trait of a wide table: our name to the table's, an effect always there.

    Raises
    ------
    InputError
        Where ``beta_<trait>``, or everything that an error could be taken from, is missing.
    """
    found = Columns(sheet, trait).roles()
    shared = Columns(sheet).roles()
    found = {name: shared[name] for name in ("chromosome", "position", "maf") if name in shared} | found
    wanted = None
    if not {"beta", "odds_ratio", "z"} & set(found):
        wanted = f"beta_{trait}"
    elif not {"se", "ci_lower", "p", "neglog10p", "z"} & set(found):
        wanted = f"se_{trait}"
    if wanted is not None:
        raise InputError(
            sheet.where,
            f"no column {wanted!r} among {listed_columns(sheet.frame.columns)}",
            near_misses(wanted, sheet.frame.columns) or f"Add the column {wanted!r}",
        )
    return found


def plain_columns(sheet: Sheet) -> dict[str, str]:
    """Columns of a table of one trait (``beta``, ``se`` ...): our name to the table's."""
    return Columns(sheet).roles()


def listed_columns(columns: Iterable[object]) -> str:
    """The first names of columns, for a message."""
    names = [str(c) for c in columns]
    return ", ".join(repr(n if len(n) <= 30 else n[:27] + "...") for n in names[:12]) + (
        ", ..." if len(names) > 12 else ""
    )
