"""Effects and their standard errors, from whatever of a trait's columns has them: converted, and said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri_exp

from mrinterp.core.errors import InputError
from mrinterp.tables._schema import listed_columns
from mrinterp.tables._sheet import Sheet

__all__ = ["neglog10_p", "read_effects", "z_of_p"]

Array = NDArray[np.float64]

_Z95 = 1.959963984540054
_EXACT = 1e-290  # below it a double loses digits, or the value
_ENOUGH = 3  # rows that show what a column is
_NEAR_ONE = (0.7, 1.4)  # where the median odds ratio lies
_FAR_FROM_ONE = (0.1, 10.0)  # beyond any usual odds ratio


@dataclass(frozen=True, eq=False)
class Effects:
    """Effects of one trait.

    Parameters
    ----------
    beta, se : ndarray (rows,)
        nan where missing.
    notes : list of str
        What was converted, and what looks odd, in sentences.
    """

    beta: Array
    se: Array
    notes: list[str] = field(default_factory=list)


def neglog10_p(sheet: Sheet, columns: Mapping[str, str], zero: bool = False) -> Array | None:
    """-log10 p of every row, nan where missing, from the column of it or from that of p; None without both.

    p-values that a double cannot hold (1e-400) are read exactly from text. Where ``zero``, p = 0 counts as missing.

    Raises
    ------
    InputError
        For p outside [0, 1], or p = 0, which says no more than that it was too small for the program that
        wrote it; for a negative -log10 p.
    """
    if "neglog10p" in columns:
        values = sheet.numbers(columns["neglog10p"])
        low = np.flatnonzero(values < 0)
        if len(low):
            raise InputError(
                sheet.place(int(low[0]), columns["neglog10p"]),
                f"{values[low[0]]:g}",
                "-log10 of a p-value is at least 0; change the sign if the column holds log10 of it",
            )
        if not np.isnan(values).all():
            return values
    if "p" not in columns:
        return None
    column = columns["p"]
    values = sheet.numbers(column)
    with np.errstate(divide="ignore", invalid="ignore"):
        out = -np.log10(values)
    small = np.flatnonzero(np.abs(values) < _EXACT)
    cells = sheet.text(column) if len(small) and sheet.frame[column].dtype.kind not in "iuf" else None
    for row in small:
        digits = _decimal(cells[row]) if cells is not None else Decimal(float(values[row]))
        if zero and digits == 0:
            out[row] = np.nan
            continue
        if digits is None or digits <= 0:
            raise InputError(
                sheet.place(int(row), column),
                f"p = {values[row]:g}" if cells is None else f"p = {cells[row]}",
                "A p-value is above 0: give it as text (1e-400), or its -log10 in a column 'neglog10_p'",
            )
        out[row] = -float(digits.log10())
    bad = np.flatnonzero((values < 0) | (values > 1))
    if len(bad):
        raise InputError(
            sheet.place(int(bad[0]), column), f"p = {values[bad[0]]:g}", "p-values lie above 0 and up to 1"
        )
    return np.asarray(np.where(out == 0, 0.0, out))


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def z_of_p(neglog10p: Array) -> Array:
    """The size of a normal z-score with this two-sided -log10 p, any size of it."""
    log_half = -np.asarray(neglog10p, dtype=float) * np.log(10.0) - np.log(2.0)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(ndtri_exp(log_half)))


def read_effects(sheet: Sheet, columns: Mapping[str, str], frequency: Array | None = None) -> Effects:
    """Effects and standard errors of one trait.

    Parameters
    ----------
    sheet : Sheet
        The table.
    columns : mapping of str
        Our name of each column to the table's.
    frequency : ndarray (rows,), optional
        Allele frequencies, for effects from z-scores.

    Returns
    -------
    Effects
        From ``beta`` or the logarithm of ``odds_ratio``; the error from ``se``, a 95% interval, ``z`` or p. From
        ``z`` alone with sample size and frequency, in standard deviations of the trait.

    Raises
    ------
    InputError
        Naming file, line and column.
    """
    columns = {ours: c for ours, c in columns.items() if not _empty(sheet, c) or ours in ("beta", "se")}
    if "odds_ratio" in columns and ("beta" not in columns or _empty(sheet, columns["beta"])):
        return _of_odds_ratios(sheet, columns)
    if "beta" in columns:
        beta = sheet.numbers(columns["beta"], infinite=True)
        se, notes = _error(sheet, columns, beta)
        return Effects(beta, se, notes + _looks_like_odds_ratios(sheet, columns["beta"], beta))
    if "z" in columns:
        return _of_z(sheet, columns, frequency)
    raise InputError(
        sheet.where,
        f"no column 'beta' among {listed_columns(sheet.frame.columns)}",
        "Add effects and their standard errors as 'beta' and 'se' (or 'odds_ratio')",
    )


def _empty(sheet: Sheet, column: str) -> bool:
    values = sheet.frame[column]
    return bool(values.isna().all()) if values.dtype.kind in "iuf" else not any(sheet.text(column))


def _error(sheet: Sheet, columns: Mapping[str, str], beta: Array) -> tuple[Array, list[str]]:
    """Standard errors of effects on their own scale, and what was done."""
    name = columns["beta"]
    if "se" in columns and not (
        _empty(sheet, columns["se"]) and {"ci_lower", "z", "p", "neglog10p"} & set(columns)
    ):
        return sheet.positive(columns["se"], infinite=True), []
    if {"ci_lower", "ci_upper"} <= set(columns):
        lower, upper = (sheet.numbers(columns[c], infinite=True) for c in ("ci_lower", "ci_upper"))
        _reject_outside(sheet, columns, name, beta, lower, upper)
        return _positive((upper - lower) / (2 * _Z95)), [
            f"{sheet.where}: standard errors of {name!r} are taken from the 95% interval."
        ]
    if "z" in columns:
        z = sheet.numbers(columns["z"])
        opposite = np.flatnonzero(z * beta < 0)
        if len(opposite):
            raise InputError(
                sheet.place(int(opposite[0]), columns["z"]),
                f"z = {z[opposite[0]]:g} of an effect of {beta[opposite[0]]:g}",
                "Effect and z have one sign; correct them, or give standard errors ('se')",
            )
        return _ratio(beta, np.abs(z)), [f"{sheet.where}: standard errors are {name!r} divided by z."]
    neglog = neglog10_p(sheet, columns)
    if neglog is not None:
        p = columns.get("p", columns.get("neglog10p"))
        return _ratio(beta, z_of_p(neglog)), [
            f"{sheet.where}: standard errors are taken from {name!r} and {p!r} (two-sided, normal)."
        ]
    raise InputError(
        sheet.where,
        f"column {name!r} without its standard error",
        "Add a column 'se' (or 'p_value', 'neglog10_p', 'z', or 'ci_lower' and 'ci_upper')",
    )


def _ratio(beta: Array, z: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return _positive(np.abs(beta) / z)


def _positive(se: Array) -> Array:
    """Errors that came out as 0, infinite or undefined are not known."""
    return np.where(np.isfinite(se) & (se > 0), se, np.nan)


def _reject_outside(
    sheet: Sheet, columns: Mapping[str, str], name: str, value: Array, lower: Array, upper: Array
) -> None:
    bad = np.flatnonzero((lower > value) | (value > upper))
    if len(bad):
        row = int(bad[0])
        raise InputError(
            sheet.place(row, columns["ci_lower"]),
            f"the interval from {lower[row]:g} to {upper[row]:g} does not hold {name!r} = {value[row]:g}",
            "Give the interval on the scale of the effect, or standard errors ('se')",
        )


def _of_odds_ratios(sheet: Sheet, columns: Mapping[str, str]) -> Effects:
    name = columns["odds_ratio"]
    ratio = sheet.numbers(name)
    bad = np.flatnonzero(ratio <= 0)
    if len(bad):
        raise InputError(
            sheet.place(int(bad[0]), name),
            f"{ratio[bad[0]]:g}",
            "Odds ratios are above 0; name the column 'beta' if it holds their logarithms",
        )
    beta = np.log(ratio)
    said = f"{sheet.where}: effects are the logarithms of {name!r}"
    if "se" in columns and not _empty(sheet, columns["se"]):
        se = sheet.positive(columns["se"], infinite=True)
        neglog = neglog10_p(sheet, columns, zero=True) if "log" not in columns["se"].lower() else None
        if neglog is not None and _on_the_ratio_scale(beta, se, ratio, z_of_p(neglog)):
            return Effects(beta, se / ratio, [f"{said}; {columns['se']!r} is divided by them, as p asks."])
        return Effects(beta, se, [f"{said}; {columns['se']!r} is taken as the error of the logarithm."])
    if {"ci_lower", "ci_upper"} <= set(columns):
        lower, upper = (sheet.numbers(columns[c], infinite=True) for c in ("ci_lower", "ci_upper"))
        _reject_outside(sheet, columns, name, ratio, lower, upper)
        low = np.flatnonzero(lower <= 0)
        if len(low):
            raise InputError(
                sheet.place(int(low[0]), columns["ci_lower"]),
                f"{lower[low[0]]:g}",
                "Bounds of odds ratios are above 0",
            )
        se = _positive((np.log(upper) - np.log(lower)) / (2 * _Z95))
        return Effects(beta, se, [f"{said}, their errors from the 95% interval."])
    converted = dict(columns) | {"beta": name}
    se, notes = _error(sheet, {k: c for k, c in converted.items() if k != "se"}, beta)
    return Effects(beta, se, [f"{said}.", *notes])


def _on_the_ratio_scale(beta: Array, se: Array, ratio: Array, z: Array) -> bool:
    """Whether errors are those of the ratios themselves: then z agrees with p once they are divided by them."""
    known = np.isfinite(beta) & np.isfinite(se) & np.isfinite(z) & (z > 0.5)
    if known.sum() < _ENOUGH:
        return False
    off = [np.median(np.abs(np.abs(beta) / s - z)[known] / z[known]) for s in (se, se / ratio)]
    return bool(off[1] < 0.5 * off[0] and off[0] > 0.02)


def _of_z(sheet: Sheet, columns: Mapping[str, str], frequency: Array | None) -> Effects:
    z = sheet.numbers(columns["z"])
    if frequency is None or np.isnan(frequency).all():
        frequency = sheet.numbers(columns["maf"]) if "maf" in columns else None
    if frequency is None or "n" not in columns:
        lacking = "allele frequency ('eaf')" if "n" in columns else "sample size ('n')"
        raise InputError(
            sheet.where,
            f"z-scores ({columns['z']!r}) without {lacking}",
            "Add 'beta' and 'se'; or 'n' and 'eaf', from which z gives them in standard deviations of the trait",
        )
    n = sheet.numbers(columns["n"])
    with np.errstate(divide="ignore", invalid="ignore"):
        se = 1.0 / np.sqrt(2.0 * frequency * (1.0 - frequency) * (n + z * z))
    se = _positive(se)
    return Effects(
        z * se,
        se,
        [
            f"{sheet.where}: effects are taken from z, sample size and frequency, in standard deviations of the trait."
        ],
    )


def _looks_like_odds_ratios(sheet: Sheet, column: str, beta: Array) -> list[str]:
    """A word about effects that are all positive and near 1."""
    known = beta[np.isfinite(beta)]
    if len(known) < _ENOUGH or (known <= 0).any():
        return []
    low, high = _FAR_FROM_ONE
    near = _NEAR_ONE[0] < np.median(known) < _NEAR_ONE[1] and low < known.min() and known.max() < high
    if not near:
        return []
    return [
        f"Careful: every effect in {sheet.where}, column {column!r}, is positive and near 1"
        f" ({known.min():.3g} to {known.max():.3g}), as odds ratios are. Name the column 'odds_ratio' if it holds"
        " them: the numbers below take it as it is."
    ]
