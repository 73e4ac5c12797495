"""Tables of one trait (GWAS-SSF, one side of TwoSampleMR, or plain): read into one form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mrinterp.core.errors import InputError
from mrinterp.tables._alleles import Alleles, read_alleles
from mrinterp.tables._effects import read_effects
from mrinterp.tables._schema import Columns, instrument_names, listed_columns, trait_columns, traits_of
from mrinterp.tables._sheet import Sheet, Table, read_sheet
from mrinterp.tables._vcf import unpacked

__all__ = ["TraitTable", "read_trait"]


@dataclass(frozen=True, eq=False)
class TraitTable:
    """Effects of instruments on one trait.

    Parameters
    ----------
    trait : str
        Its name.
    frame : DataFrame
        Columns ``instrument, beta, se``, and ``effect_allele, other_allele`` (upper case, empty
        where unknown), ``eaf, n, p, chromosome, position, dose`` (nan or empty where unknown).
    where : str
        The file, as messages name it.
    notes : tuple of str
        What was converted, taken by convention, or looks odd, in sentences.

    Examples
    --------
    >>> import pandas as pd
    >>> from mrinterp import tables
    >>> bmi = tables.read_trait(pd.DataFrame({"SNP": ["a"], "beta": [0.1], "se": [0.01]}), "bmi")
    >>> type(bmi).__name__, bmi.trait, len(bmi.frame)
    ('TraitTable', 'bmi', 1)
    """

    trait: str
    frame: pd.DataFrame
    where: str
    notes: tuple[str, ...] = ()

    @property
    def alleles_known(self) -> bool:
        """Whether the table names the alleles that its effects belong to."""
        return bool((self.frame["effect_allele"] != "").any() or (self.frame["other_allele"] != "").any())


def read_trait(
    table: Table, trait: str | None = None, prefer: str = "", *, no_alleles: bool = False
) -> TraitTable:
    """Read a table of one trait under the column names of any usual program or archive.

    Effects come from ``beta`` or the logarithm of ``odds_ratio``, errors from ``se``, a 95% interval, z or p: see
    docs/tables.md for the names that are understood.

    Parameters
    ----------
    table : str, Path or DataFrame
        One row per instrument; alleles and frequencies are read where the table has them.
    trait : str, optional
        Name of the trait; in a table with several (``beta_<t>`` columns, or a column ``trait``), which one.
        By default the table's own, or the stem of the file's name. A data frame may get any name.
    prefer : str
        Trait to take from a table with several when none is asked for (``"exposure"``, ``"outcome"``).
    no_alleles : bool
        Whether alleles may stay unknown where columns hold them under names that are not understood.

    Returns
    -------
    TraitTable

    Raises
    ------
    InputError
        Naming file, line and column, what was found, and the fix; for alleles whose column names leave
        open which of them the effects belong to.

    Examples
    --------
    >>> import pandas as pd
    >>> from mrinterp import tables
    >>> frame = pd.DataFrame({"rsid": ["a", "b"], "beta": [0.1, 0.2], "standard_error": [0.01, 0.02]})
    >>> tables.read_trait(frame, "bmi").frame["se"].tolist()
    [0.01, 0.02]
    """
    frame_given = isinstance(table, pd.DataFrame)
    sheet = _additive(unpacked(read_sheet(table)))
    default = (prefer or "trait") if frame_given else Path(str(table)).name.split(".")[0]
    columns, label, sheet = _choose_trait(sheet, trait, prefer, default, frame_given)
    side = label[1]
    name = label[0] or default
    found = trait_columns(sheet, side) if side else columns.roles()
    alleles = _alleles_of(sheet, side, not no_alleles)
    effects = read_effects(sheet, found, alleles.eaf)
    frame = pd.DataFrame({"instrument": instrument_names(sheet)[1]})
    frame["beta"], frame["se"] = effects.beta, effects.se
    frame["effect_allele"], frame["other_allele"], frame["eaf"] = alleles.effect, alleles.other, alleles.eaf
    for ours in ("n", "p", "position", "dose"):
        frame[ours] = sheet.numbers(found[ours]) if ours in found else np.nan
    frame["chromosome"] = (
        [v.upper() for v in sheet.names(found["chromosome"])] if "chromosome" in found else ""
    )
    _check_dose(sheet, found, frame)
    notes = [alleles.note] * bool(alleles.note) + effects.notes
    where = f"the data frame of {name}" if frame_given else sheet.where
    notes = [n.replace("data frame:", f"{where}:", 1) for n in notes] if frame_given else notes
    return TraitTable(name, frame, where, tuple(notes))


def _additive(sheet: Sheet) -> Sheet:
    """Rows of the additive model, where a program lists its covariates and other models too (a column TEST)."""
    column = Columns(sheet).get("test")
    if column is None:
        return sheet
    tests = np.array([t.upper() for t in sheet.text(column)], dtype=object)
    kept = tests == "ADD"
    if len(set(tests) - {""}) < 2:
        return sheet
    if not kept.any():
        raise InputError(
            f"{sheet.where}, column {column!r}",
            f"several models per instrument ({', '.join(sorted(set(tests) - {''})[:4])})",
            "Keep the rows of one model",
        )
    return sheet.rows(kept)


def _alleles_of(sheet: Sheet, side: str | None, required: bool) -> Alleles:
    """Alleles of one side of a wide table, or those that its traits share."""
    if side is not None:
        own = read_alleles(sheet, Columns(sheet, side), required)
        if own.known:
            return own
    return read_alleles(sheet, Columns(sheet), required)


def _choose_trait(
    sheet: Sheet, trait: str | None, prefer: str, default: str, frame_given: bool
) -> tuple[Columns, tuple[str | None, str | None], Sheet]:
    """Columns, (name of the trait, its suffix in a wide table), and the rows that are its own."""
    columns = Columns(sheet)
    wide = {t.lower(): t for t in traits_of(sheet.frame.columns)}
    plain = bool({"beta", "odds_ratio", *([] if wide else ["z"])} & set(columns.roles()))
    asked = None if trait is None else wide.get(trait.lower())
    if asked is not None:
        return columns, (trait, asked), sheet
    if plain:
        own, sheet = _rows_of(sheet, trait, prefer)
        if (
            trait is not None
            and not frame_given
            and trait.lower()
            not in {w.lower() for w in (default, Path(default).stem, own or "", prefer) if w}
        ):
            raise InputError(
                f"trait {trait!r}",
                f"{sheet.where} has the effects of a single trait, which is not called so",
                f"Leave the name out, or call it {own or default!r}"
                + (f" (several: {', '.join(list(wide.values())[:6])})" if wide else ""),
            )
        return Columns(sheet), (trait or None, None), sheet
    side = wide.get(prefer) or (next(iter(wide.values())) if len(wide) == 1 else None)
    named = None if side is None else _named(sheet, side)
    known = {w.lower() for w in (default, named or "", side or "") if w}
    if side is None or (trait is not None and not frame_given and trait.lower() not in known):
        several = f"effects of several traits: {', '.join(list(wide.values())[:8])}"
        found = several if wide else f"no column 'beta' among {listed_columns(sheet.frame.columns)}"
        fix = "Give a table of one trait (beta, se), or say which trait"
        raise InputError(sheet.where, found if trait is None else f"no trait {trait!r}; {found}", fix)
    return columns, (trait or named or side, side), sheet


def _rows_of(sheet: Sheet, trait: str | None, prefer: str) -> tuple[str | None, Sheet]:
    """The trait's name by the table's own column of names, and its rows where the column has several."""
    lower = {str(c).lower(): str(c) for c in sheet.frame.columns}
    for word in dict.fromkeys((prefer, "trait", "phenotype", "exposure", "outcome")):
        column = lower.get(word)
        if column is None or sheet.frame[column].dtype.kind in "iuf":
            continue
        cells = np.array(sheet.names(column), dtype=object)
        names = list(dict.fromkeys(c for c in cells if c))
        if len(names) == 1:
            return names[0], sheet
        if len(names) > 1:
            chosen = [n for n in names if trait is not None and n.lower() == trait.lower()]
            if not chosen:
                raise InputError(
                    f"{sheet.where}, column {column!r}",
                    f"several traits ({', '.join(names[:4])})"
                    + (f", none of them {trait!r}" if trait is not None else ""),
                    "Say which trait, or give a table of one",
                )
            return chosen[0], sheet.rows(cells == chosen[0])
    return None, sheet


def _named(sheet: Sheet, side: str) -> str | None:
    """TwoSampleMR keeps the trait's name in a column called ``exposure`` or ``outcome``."""
    if side in sheet.frame.columns:
        names = set(sheet.text(side)) - {""}
        if len(names) > 1:
            shown = ", ".join(sorted(names)[:3])
            raise InputError(
                sheet.where, f"column {side!r} names several traits ({shown})", "Give one trait per table"
            )
        return names.pop() if names else None
    return None


def _check_dose(sheet: Sheet, columns: dict[str, str], frame: pd.DataFrame) -> None:
    zero = np.flatnonzero(frame["dose"].to_numpy(float) == 0)
    if len(zero):
        raise InputError(
            sheet.place(int(zero[0]), columns["dose"]), "dose 0", "Give the dose that the effect is per"
        )
