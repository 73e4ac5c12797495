"""Tables of one locus: two traits side by side for colocalization, one trait for fine-mapping, and LD."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from mrinterp.core.errors import InputError
from mrinterp.core.ld import validate_ld
from mrinterp.core.mrdata import MRData
from mrinterp.stats.bayes_factors.wakefield import trait_sd_from_frequency, variance_from_frequency
from mrinterp.tables._schema import instrument_column
from mrinterp.tables._sheet import Sheet, read_sheet

__all__ = ["ColocTable", "FinemapTable", "read_coloc_table", "read_finemap_table", "read_ld"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ColocTable:
    """Effects of J instruments on two traits: ``beta, variance, frequency`` (2, J), nan where absent."""

    instruments: tuple[str, ...]
    beta: Array
    variance: Array
    frequency: Array
    position: Array | None
    locus: tuple[str, ...] | None
    standardized: tuple[bool, bool] = (False, False)

    def to_mrdata(self, ld: Array | None = None, traits: tuple[str, str] = ("trait 1", "trait 2")) -> MRData:
        """The two traits as one exposure and one outcome."""
        se = np.sqrt(self.variance)
        info = pd.DataFrame({"instrument": list(self.instruments)})
        if self.locus is not None:
            info["locus"] = list(self.locus)
        return MRData(
            beta_x=self.beta[:1],
            se_x=se[:1],
            beta_y=self.beta[1:],
            se_y=se[1:],
            exposures=traits[:1],
            outcomes=traits[1:],
            instruments=self.instruments,
            ld=ld,
            info=info,
        )

    def trait_sd(self, trait: int, given: float | None, n: float | None) -> float | None:
        """Standard deviation of trait 0 or 1: as given, from frequencies and n, or 1 (from p-values)."""
        if self.standardized[trait]:
            return 1.0
        if given is not None or n is None or np.isnan(self.frequency[trait]).any():
            return given
        return float(trait_sd_from_frequency(self.variance[trait], self.frequency[trait], n))


@dataclass(frozen=True, eq=False)
class FinemapTable:
    """z-scores of J instruments, with effects and errors where the table has them."""

    instruments: tuple[str, ...]
    z: Array
    beta: Array | None
    se: Array | None
    position: Array | None


def read_coloc_table(
    path: str | Path,
    n: tuple[float | None, float | None] = (None, None),
    case_fraction: tuple[float | None, float | None] = (None, None),
) -> ColocTable:
    """Read ``snp, beta_1, varbeta_1 (or se_1), beta_2, varbeta_2`` and optional ``maf_1, maf_2, locus``.

    Parameters
    ----------
    path : str or Path
        CSV, TSV or Parquet; one row per instrument.
    n, case_fraction : pair
        Sample size and case fraction of each trait: a trait with only ``p_1`` and ``maf_1`` gets its
        errors from them, on the scale of its standard deviation (no sign then).

    Raises
    ------
    InputError
        Naming file, line and column: missing columns or cells, infinite values, repeated or monomorphic
        instruments, variances that are standard errors by their scale.
    """
    sheet = read_sheet(path)
    names = _instruments(sheet)
    beta, variance, frequency, standardized = [], [], [], []
    for t, trait in enumerate(("1", "2")):
        frequency.append(_frequency(sheet, trait, len(names)))
        from_p = f"p_{trait}" in sheet.frame.columns and f"beta_{trait}" not in sheet.frame.columns
        standardized.append(from_p)
        if from_p:
            effects = _from_p_values(sheet, trait, frequency[-1], n[t], case_fraction[t])
            beta.append(effects[0])
            variance.append(effects[1])
        else:
            beta.append(_complete(sheet, _column(sheet, f"beta_{trait}")))
            variance.append(_variance(sheet, trait, beta[-1]))
    position = _numbers_if_there(sheet, "position")
    locus = tuple(sheet.text("locus")) if "locus" in sheet.frame.columns else None
    return ColocTable(
        names,
        np.array(beta),
        np.array(variance),
        np.array(frequency),
        position,
        locus,
        (standardized[0], standardized[1]),
    )


def read_finemap_table(path: str | Path) -> FinemapTable:
    """Read ``snp`` with ``z``, or with ``bhat, shat`` (or ``beta, se``).

    Raises
    ------
    InputError
        Naming file, line and column.
    """
    sheet = read_sheet(path)
    names = _instruments(sheet)
    columns = set(sheet.frame.columns)
    beta = se = None
    for b, s in (("bhat", "shat"), ("beta", "se")):
        if {b, s} <= columns:
            beta, se = _complete(sheet, b), _complete(sheet, s)
            _reject_flat(sheet, s, se)
            break
    if "z" in columns:
        z = _complete(sheet, "z")
    elif beta is not None and se is not None:
        z = beta / se
    else:
        raise InputError(
            sheet.where,
            f"no column 'z', and no pair 'bhat', 'shat', among {sorted(columns)[:12]}",
            "Add z, or bhat and shat",
        )
    return FinemapTable(names, z, beta, se, _numbers_if_there(sheet, "position"))


def read_ld(path: str | Path, instruments: tuple[str, ...]) -> Array:
    """Read a correlation matrix with a header row of names, rows in the order of the table.

    A first column of names is accepted. Header names that are none of the table's (V1, V2 ...) are taken
    by position.

    Raises
    ------
    InputError
        See `mrinterp.core.ld.validate_ld`.
    """
    sheet = read_sheet(path)
    names = [str(c) for c in sheet.frame.columns]
    if len(names) == len(instruments) + 1:
        rows = sheet.text(names[0])
        known = set(instruments)
        if rows != list(instruments) and known & set(rows):
            j = next(j for j, (a, b) in enumerate(zip(rows, instruments, strict=False)) if a != b)
            raise InputError(
                sheet.place(j, names[0]),
                f"{rows[j]!r} where the table has {instruments[j]!r}: rows in another order than the table",
                "Sort both by the same instrument names",
            )
        names = names[1:]
    if len(names) != len(instruments) or len(sheet.frame) != len(instruments):
        raise InputError(
            sheet.where,
            f"{len(sheet.frame)} rows and {len(names)} columns for {len(instruments)} instruments",
            "Give one row and one column per instrument of the table",
        )
    return validate_ld(_matrix(sheet, names), instruments, names, where=sheet.where)


def _matrix(sheet: Sheet, names: list[str]) -> Array:
    """All cells as numbers at once; nan (a monomorphic instrument) stays for `validate_ld`."""
    try:
        return sheet.frame[names].to_numpy(dtype=object).astype(float)
    except ValueError:
        return np.column_stack([sheet.numbers(name) for name in names])  # names the cell, or reads 'NA'


def _instruments(sheet: Sheet) -> tuple[str, ...]:
    column = instrument_column(sheet)
    names = tuple(sheet.text(column))
    seen: dict[str, int] = {}
    for row, name in enumerate(names):
        if name in seen:
            raise InputError(
                sheet.place(row, column),
                f"{name!r} again (first in line {sheet.lines[seen[name]]})",
                "Keep one row per instrument",
            )
        seen[name] = row
    return names


def _column(sheet: Sheet, name: str) -> str:
    if name not in sheet.frame.columns:
        raise InputError(
            sheet.where,
            f"no column {name!r} among {[str(c) for c in sheet.frame.columns][:12]}",
            f"Add the column {name!r}",
        )
    return name


def _complete(sheet: Sheet, column: str) -> Array:
    values = sheet.numbers(column)
    empty = np.flatnonzero(np.isnan(values))
    if len(empty):
        raise InputError(
            sheet.place(int(empty[0]), column),
            "no value",
            "Fill the cell, or remove the row from table and LD",
        )
    return values


def _numbers_if_there(sheet: Sheet, column: str) -> Array | None:
    return sheet.numbers(column) if column in sheet.frame.columns else None


def _reject_flat(sheet: Sheet, column: str, values: Array) -> None:
    flat = np.flatnonzero(values <= 0)
    if len(flat):
        raise InputError(
            sheet.place(int(flat[0]), column),
            f"{values[flat[0]]:g}",
            "Errors must be above 0; an instrument that does not vary (monomorphic) has none: remove its row",
        )


def _frequency(sheet: Sheet, trait: str, count: int) -> Array:
    column = next((c for c in (f"maf_{trait}", "maf") if c in sheet.frame.columns), None)
    if column is None:
        return np.full(count, np.nan)
    values = sheet.numbers(column)
    flat = np.flatnonzero((values <= 0) | (values >= 1))
    if len(flat):
        found = values[flat[0]]
        what = (
            "monomorphic instrument (frequency " + f"{found:g})"
            if found in (0.0, 1.0)
            else f"frequency {found:g}"
        )
        raise InputError(
            sheet.place(int(flat[0]), column),
            what,
            "Remove instruments that do not vary; frequencies lie between 0 and 1",
        )
    return values


def _from_p_values(
    sheet: Sheet, trait: str, frequency: Array, n: float | None, case_fraction: float | None
) -> tuple[Array, Array]:
    if n is None or np.isnan(frequency).any():
        raise InputError(
            f"{sheet.where}, column 'p_{trait}'",
            "p-values without sample size or allele frequencies",
            f"Give --n-{trait} and the column 'maf_{trait}', or 'beta_{trait}' and 'varbeta_{trait}'",
        )
    p = _complete(sheet, f"p_{trait}")
    bad = np.flatnonzero((p <= 0) | (p > 1))
    if len(bad):
        raise InputError(
            sheet.place(int(bad[0]), f"p_{trait}"), f"{p[bad[0]]:g}", "p-values lie above 0 and up to 1"
        )
    variance = variance_from_frequency(frequency, n, case_fraction)
    return norm.isf(p / 2.0) * np.sqrt(variance), variance


def _variance(sheet: Sheet, trait: str, beta: Array) -> Array:
    """Error variances from ``varbeta_<t>``, or from ``se_<t>`` squared."""
    name = f"varbeta_{trait}"
    if name not in sheet.frame.columns and f"se_{trait}" in sheet.frame.columns:
        se = _complete(sheet, f"se_{trait}")
        _reject_flat(sheet, f"se_{trait}", se)
        return se * se
    values = _complete(sheet, _column(sheet, name))
    _reject_flat(sheet, name, values)
    if len(beta) >= 8:
        typical, squared = np.median(beta**2 / values), np.median(beta**2 / values**2)
        if typical < 0.05 and 0.05 < squared < 100.0:
            raise InputError(
                f"{sheet.where}, column {name!r}",
                f"standard errors by their scale: as variances the median squared z is {typical:.2g}, as"
                f" standard errors {squared:.2g}",
                f"Name the column 'se_{trait}', or square it",
            )
    return values
