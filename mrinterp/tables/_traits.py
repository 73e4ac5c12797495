"""Tables of one trait (GWAS-SSF, one side of TwoSampleMR, or plain): read into one form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mrinterp.core.errors import InputError
from mrinterp.tables._schema import ONE_TRAIT, instrument_column, plain_columns, trait_columns, traits_of
from mrinterp.tables._sheet import Sheet, Table, read_sheet

__all__ = ["TraitTable", "read_trait"]

_TEXT = ("effect_allele", "other_allele", "chromosome")


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


def read_trait(table: Table, trait: str | None = None, prefer: str = "") -> TraitTable:
    """Read a table of one trait: ``beta, se``, GWAS-SSF or TwoSampleMR column names.

    Parameters
    ----------
    table : str, Path or DataFrame
        One row per instrument; alleles and frequencies are read where the table has them.
    trait : str, optional
        Name of the trait; in a table with several (``beta_<t>`` columns), which one. By default
        the table's own, or the stem of the file's name.
    prefer : str
        Trait to take from a table with several when none is asked for (``"exposure"``, ``"outcome"``).

    Returns
    -------
    TraitTable

    Raises
    ------
    InputError
        Naming file, line and column, what was found, and the fix.

    Examples
    --------
    >>> import pandas as pd
    >>> from mrinterp import tables
    >>> frame = pd.DataFrame({"rsid": ["a", "b"], "beta": [0.1, 0.2], "standard_error": [0.01, 0.02]})
    >>> tables.read_trait(frame, "bmi").frame["se"].tolist()
    [0.01, 0.02]
    """
    sheet = read_sheet(table)
    default = (prefer or "trait") if isinstance(table, pd.DataFrame) else Path(table).name.split(".")[0]
    column = instrument_column(sheet)
    columns = plain_columns(sheet)
    wide = traits_of(sheet.frame.columns)
    label = trait
    if "beta" not in columns or (trait is not None and trait in wide):
        if trait is not None and trait in wide:
            side: str | None = trait
        else:
            side = prefer if prefer in wide else (wide[0] if len(wide) == 1 else None)
        if side is None:
            found = f"effects of several traits: {', '.join(wide[:8])}" if wide else "no column 'beta'"
            raise InputError(sheet.where, found, "Give a table of one trait (beta, se), or say which trait")
        columns = trait_columns(sheet, side)
        label = trait if trait not in (None, side) else _named(sheet, side) or side
    if "se" not in columns:
        raise InputError(
            sheet.where, f"column {columns['beta']!r} without its standard error", "Add a column 'se'"
        )
    frame = pd.DataFrame({"instrument": sheet.text(column)})
    frame["beta"] = sheet.numbers(columns["beta"], infinite=True)
    frame["se"] = sheet.positive(columns["se"], infinite=True)
    for name in ONE_TRAIT:
        if name in ("beta", "se"):
            continue
        if name not in columns:
            frame[name] = "" if name in _TEXT else np.nan
        elif name in _TEXT:
            frame[name] = [v.upper() for v in sheet.text(columns[name])]
        else:
            frame[name] = sheet.numbers(columns[name])
    _check_range(sheet, columns, frame)
    name = label or default
    return TraitTable(
        name, frame, f"the data frame of {name}" if isinstance(table, pd.DataFrame) else sheet.where
    )


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


def _check_range(sheet: Sheet, columns: dict[str, str], frame: pd.DataFrame) -> None:
    eaf = frame["eaf"].to_numpy(float)
    bad = np.flatnonzero((eaf < 0) | (eaf > 1))
    if len(bad):
        raise InputError(
            sheet.place(int(bad[0]), columns["eaf"]),
            f"frequency {eaf[bad[0]]:g}",
            "Frequencies lie between 0 and 1",
        )
    dose = frame["dose"].to_numpy(float)
    zero = np.flatnonzero(dose == 0)
    if len(zero):
        raise InputError(
            sheet.place(int(zero[0]), columns["dose"]), "dose 0", "Give the dose that the effect is per"
        )
