"""Columns of a locus: effects, error variances, frequencies and alleles of its traits, complete or refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.stats.bayes_factors.wakefield import variance_from_frequency
from mrinterp.tables._align_alleles import align_alleles
from mrinterp.tables._alleles import read_alleles
from mrinterp.tables._effects import neglog10_p, z_of_p
from mrinterp.tables._schema import Columns
from mrinterp.tables._sheet import Sheet

__all__ = [
    "LARGEST",
    "complete",
    "converted",
    "effects_of",
    "frequencies_of",
    "from_p_values",
    "on_one_allele",
    "reject_empty",
    "reject_flat",
    "reject_standard_errors",
    "variances_of",
]

Array = NDArray[np.float64]

LARGEST = 1e50
"""Effects, errors and sizes beyond it (or below its inverse) are slips: their squares leave what a double holds."""

# A column of variances whose z-scores are far below chance, while read as standard errors they would be
# ordinary, was mislabeled. Null effects have a median squared z of 0.45.
_LOWEST_TYPICAL_Z2, _HIGHEST_TYPICAL_Z2 = 0.05, 100.0
_ENOUGH_ROWS = 8  # fewer rows do not show the scale of a column
# Where every effect is strong, other numbers tell: variances go with 1 / (2 f (1 - f)), standard errors with its root.
_SPREAD = 0.1  # standard deviation of logarithms below which a column is too even to tell
_CLEARLY = 0.5  # scatter around the one line, relative to the other's, at which it is the one
_RAREST, _COMMON = 0.01, (0.02, 0.6)  # dose variances: of all variants rarer than .5%, and of usual ones


def on_one_allele(sheet: Sheet, names: tuple[str, ...], beta: Array) -> tuple[Array, list[str]]:
    """Effects of the second trait on the alleles of the first, where each trait has alleles of its own."""
    own = [read_alleles(sheet, Columns(sheet, trait)) for trait in ("1", "2")]
    if not any(a.known for a in own):
        return beta, []
    shared = read_alleles(sheet, Columns(sheet), required=False)
    x, y = (a if a.known else shared for a in own)
    if not (x.known and y.known):
        lacking = "1" if not x.known else "2"
        raise InputError(
            sheet.where,
            f"alleles of one trait, and none of trait {lacking}",
            f"Add 'effect_allele_{lacking}' and 'other_allele_{lacking}'",
        )
    pair = pd.DataFrame({"instrument": names, "beta_y": beta})
    for side, of in (("x", x), ("y", y)):
        pair[f"effect_allele_{side}"], pair[f"other_allele_{side}"], pair[f"eaf_{side}"] = (
            of.effect,
            of.other,
            of.eaf,
        )
    aligned = align_alleles(pair)
    bad = np.flatnonzero(aligned["remove"])
    if len(bad):
        raise InputError(
            f"{sheet.where}, {sheet.line(int(bad[0]))}",
            f"instrument {names[bad[0]]!r}: {aligned['reason'].iloc[bad[0]]}",
            "Correct the alleles, or remove the row from table and LD",
        )
    return aligned["beta_y"].to_numpy(), [a.note for a in (x, y) if a.note]


def converted(sheet: Sheet, trait: str, columns: dict[str, str]) -> list[str]:
    """What of a trait was not taken as it is."""
    if not {"beta", "odds_ratio"} & set(columns):
        return [
            f"Effects of trait {trait} come from p-values and have no sign: take nothing from a direction."
        ]
    out = []
    if "odds_ratio" in columns and "beta" not in columns:
        out.append(f"Effects of trait {trait} are the logarithms of {columns['odds_ratio']!r}.")
    if f"varbeta_{trait}" not in sheet.frame.columns and "se" not in columns:
        p = columns["neglog10p" if "neglog10p" in columns else "p"]
        out.append(f"Standard errors of trait {trait} are taken from effect and {p!r} (two-sided, normal).")
    return out


def effects_of(sheet: Sheet, trait: str, columns: dict[str, str]) -> Array:
    """Effects from ``beta_<t>``, or the logarithms of ``odds_ratio_<t>``."""
    if "odds_ratio" in columns and "beta" not in columns:
        ratio = complete(sheet, columns["odds_ratio"])
        bad = np.flatnonzero(ratio <= 0)
        if len(bad):
            raise InputError(
                sheet.place(int(bad[0]), columns["odds_ratio"]),
                f"{ratio[bad[0]]:g}",
                "Odds ratios are above 0",
            )
        return np.log(ratio)
    return complete(sheet, columns.get("beta") or _column(sheet, f"beta_{trait}"))


def variances_of(sheet: Sheet, trait: str, columns: dict[str, str], beta: Array) -> Array:
    """Error variances from ``varbeta_<t>``, or from ``se_<t>`` squared, or from effect and p."""
    name = f"varbeta_{trait}"
    if name not in sheet.frame.columns and "se" in columns:
        se = complete(sheet, columns["se"])
        reject_flat(sheet, columns["se"], se)
        return se * se
    if name not in sheet.frame.columns and {"p", "neglog10p"} & set(columns):
        neglog = neglog10_p(sheet, columns)
        column = columns["neglog10p" if "neglog10p" in columns else "p"]
        with np.errstate(divide="ignore", invalid="ignore"):
            se = np.abs(beta) / z_of_p(neglog)  # type: ignore[arg-type]
        reject_empty(sheet, column, np.where(np.isfinite(se) & (se > 0), se, np.nan))
        return se * se
    values = complete(sheet, _column(sheet, name))
    reject_flat(sheet, name, values)
    if len(beta) >= _ENOUGH_ROWS:
        with np.errstate(all="ignore"):  # of effects that no variance explains
            typical, squared = np.median(beta**2 / values), np.median(beta**2 / values**2)
        if typical < _LOWEST_TYPICAL_Z2 and _LOWEST_TYPICAL_Z2 < squared < _HIGHEST_TYPICAL_Z2:
            raise InputError(
                f"{sheet.where}, column {name!r}",
                f"standard errors by their scale: as variances the median squared z is {typical:.2g}, as"
                f" standard errors {squared:.2g}",
                f"Name the column 'se_{trait}', or square it",
            )
    return values


def reject_standard_errors(
    sheet: Sheet,
    variance: list[Array],
    frequency: list[Array],
    n: tuple[float | None, float | None],
    sd: tuple[float | None, float | None],
) -> None:
    """Refuse a column ``varbeta_<t>`` that holds standard errors, as frequencies, the other trait or n tell.

    Raises
    ------
    InputError
        Naming the column and what tells.
    """
    for t, trait in enumerate(("1", "2")):
        name = f"varbeta_{trait}"
        if name not in sheet.frame.columns or len(variance[t]) < _ENOUGH_ROWS:
            continue
        column, other = np.log(variance[t]), np.log(variance[1 - t])
        dose = np.log(2.0 * frequency[t] * (1.0 - frequency[t]))
        size, spread = n[t], sd[t]
        found = ""
        if np.isfinite(dose).all() and _goes_with_root(column, -dose):
            found = "they go with the root of 1 / (2 f (1 - f)), f the allele frequencies"
        elif np.isfinite(other).all() and _goes_with_root(column, other):
            found = f"they go with the root of the error variances of trait {'21'[t]}"
        elif size is not None and spread is not None:
            implied = (
                spread**2 / (size * np.median(variance[t])),
                spread**2 / (size * np.median(variance[t]) ** 2),
            )
            if implied[0] < _RAREST and _COMMON[0] < implied[1] < _COMMON[1]:
                found = f"as variances, n and sd make every variant rarer than {_RAREST / 2:.1%}"
        if found:
            raise InputError(
                f"{sheet.where}, column {name!r}",
                f"standard errors by their scale: {found}",
                f"Name the column 'se_{trait}', or square it",
            )


def _goes_with_root(column: Array, other: Array) -> bool:
    """Whether the logarithms of a column have half the slope on those of another, clearly rather than the same."""
    x, y = other - other.mean(), column - column.mean()
    if x.std() < _SPREAD or y.std() < _SPREAD / 2:
        return False
    return bool(np.std(y - 0.5 * x) < _CLEARLY * np.std(y - x))


def from_p_values(
    sheet: Sheet,
    trait: str,
    columns: dict[str, str],
    frequency: Array,
    n: float | None,
    case_fraction: float | None,
) -> tuple[Array, Array]:
    if n is None or np.isnan(frequency).any():
        raise InputError(
            f"{sheet.where}, column 'p_{trait}'",
            "p-values without sample size or allele frequencies",
            f"Give the sample size of trait {trait} (n; --n-{trait} on the command line) and the column"
            f" 'maf_{trait}', or 'beta_{trait}' and 'varbeta_{trait}'",
        )
    neglog = neglog10_p(sheet, columns)
    assert neglog is not None
    reject_empty(sheet, columns["neglog10p" if "neglog10p" in columns else "p"], neglog)
    variance = variance_from_frequency(frequency, n, case_fraction)
    return z_of_p(neglog) * np.sqrt(variance), variance


def frequencies_of(sheet: Sheet, trait: str, count: int) -> Array:
    column = next((c for c in (f"maf_{trait}", "maf") if c in sheet.frame.columns), None)
    if column is None:
        return np.full(count, np.nan)
    values = sheet.numbers(column)
    flat = np.flatnonzero((values <= 1e-12) | (values >= 1))
    if len(flat):
        found = values[flat[0]]
        what = f"frequency {found:g}" + (" (the instrument is monomorphic)" if found in (0.0, 1.0) else "")
        raise InputError(
            sheet.place(int(flat[0]), column),
            what,
            "Remove instruments that do not vary; frequencies lie between 0 and 1",
        )
    return values


def _column(sheet: Sheet, name: str) -> str:
    if name not in sheet.frame.columns:
        raise InputError(
            sheet.where,
            f"no column {name!r} among {[str(c) for c in sheet.frame.columns][:12]}",
            f"Add the column {name!r}",
        )
    return name


def complete(sheet: Sheet, column: str) -> Array:
    values = sheet.numbers(column)
    reject_empty(sheet, column, values)
    large = np.flatnonzero(np.abs(values) > LARGEST)
    if len(large):
        raise InputError(
            sheet.place(int(large[0]), column),
            f"{values[large[0]]:g}",
            "Check the unit, or remove the row from table and LD",
        )
    return values


def reject_empty(sheet: Sheet, column: str, values: Array) -> None:
    empty = np.flatnonzero(np.isnan(values))
    if len(empty):
        raise InputError(
            sheet.place(int(empty[0]), column),
            "no value",
            "Fill the cell, or remove the row from table and LD",
        )


def reject_flat(sheet: Sheet, column: str, values: Array) -> None:
    flat = np.flatnonzero(values <= 1 / LARGEST)
    if len(flat):
        raise InputError(
            sheet.place(int(flat[0]), column),
            f"{values[flat[0]]:g}",
            "Errors must be above 0; remove the row of an instrument that does not vary (monomorphic)",
        )
