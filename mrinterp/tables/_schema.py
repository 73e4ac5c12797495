"""Names of columns: ours, TwoSampleMR's and GWAS-SSF's, and how each becomes ours."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError, near_misses
from mrinterp.tables._sheet import Sheet

__all__ = [
    "INSTRUMENT_NAMES",
    "ONE_TRAIT",
    "instrument_column",
    "plain_columns",
    "reject_repeated",
    "trait_columns",
    "traits_of",
]

INSTRUMENT_NAMES = ("instrument", "snp", "rsid", "rs_id", "variant_id", "variant", "markername", "id")
"""Columns that may name the instrument, first match wins (letter case ignored)."""

ONE_TRAIT: dict[str, tuple[str, ...]] = {
    "beta": ("beta", "b", "effect"),
    "se": ("se", "standard_error", "stderr"),
    "effect_allele": ("effect_allele", "ea", "a1"),
    "other_allele": ("other_allele", "non_effect_allele", "oa", "a2"),
    "eaf": ("eaf", "effect_allele_frequency"),
    "n": ("n", "samplesize", "sample_size"),
    "p": ("p", "pval", "p_value", "pvalue"),
    "chromosome": ("chromosome", "chr", "chrom"),
    "position": ("position", "pos", "base_pair_location", "bp"),
    "dose": ("dose",),
}
"""Our name of each column of a table of one trait, and the names it is known by elsewhere."""


def instrument_column(sheet: Sheet) -> str:
    """The column that names the instruments.

    Raises
    ------
    InputError
        Where there is none, or a cell of it is empty.
    """
    lower = {str(c).lower(): str(c) for c in sheet.frame.columns}
    for name in INSTRUMENT_NAMES:
        if name in lower:
            column = lower[name]
            empty = [i for i, v in enumerate(sheet.text(column)) if not v]
            if empty:
                raise InputError(
                    sheet.place(empty[0], column),
                    "no instrument name",
                    "Name every instrument, or remove the row",
                )
            return column
    raise InputError(
        sheet.where,
        f"no column 'SNP' or 'instrument' among {_listed(sheet.frame.columns)}",
        "Name the column of the instruments 'SNP' or 'instrument'",
    )


def reject_repeated(sheet: Sheet, column: str, kept: NDArray[np.bool_] | None = None) -> None:
    """Refuse a table that names an instrument twice among the rows ``kept`` (default all).

    Raises
    ------
    InputError
        Naming both rows.
    """
    first: dict[str, int] = {}
    for row, name in enumerate(sheet.text(column)):
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
    """Names t with a column ``beta_<t>`` or ``beta.<t>``, in the order of the table."""
    names = [str(c) for c in columns]
    return list(
        dict.fromkeys(c[5:] for c in names if c.lower().startswith(("beta_", "beta.")) and len(c) > 5)
    )


def trait_columns(sheet: Sheet, trait: str) -> dict[str, str]:
    """Columns of one trait of a wide table: our name to the table's, ``beta`` and ``se`` always there.

    Raises
    ------
    InputError
        Where ``beta_<trait>`` or ``se_<trait>`` is missing.
    """
    lower = {str(c).lower(): str(c) for c in sheet.frame.columns}
    found: dict[str, str] = {}
    for ours, known in ONE_TRAIT.items():
        for name in known:
            for joined in (f"{name}_{trait}", f"{name}.{trait}"):
                if joined.lower() in lower:
                    found.setdefault(ours, lower[joined.lower()])
    for ours in ("beta", "se"):
        if ours not in found:
            wanted = f"{ours}_{trait}"
            raise InputError(
                sheet.where,
                f"no column {wanted!r} among {_listed(sheet.frame.columns)}",
                near_misses(wanted, sheet.frame.columns) or f"Add the column {wanted!r}",
            )
    return found


def plain_columns(sheet: Sheet) -> dict[str, str]:
    """Columns of a table of one trait (``beta``, ``se`` ...): our name to the table's."""
    lower = {str(c).lower(): str(c) for c in sheet.frame.columns}
    found: dict[str, str] = {}
    for ours, known in ONE_TRAIT.items():
        for name in known:
            if name in lower:
                found.setdefault(ours, lower[name])
    return found


def _listed(columns: Iterable[object]) -> str:
    names = [str(c) for c in columns]
    return ", ".join(repr(n if len(n) <= 30 else n[:27] + "...") for n in names[:12]) + (
        ", ..." if len(names) > 12 else ""
    )
