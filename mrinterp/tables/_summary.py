"""Summary statistics of exposures and outcomes side by side: read, checked, written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.mrdata import MRData
from mrinterp.tables._schema import (
    INSTRUMENT_NAMES,
    instrument_column,
    plain_columns,
    trait_columns,
    traits_of,
)
from mrinterp.tables._sheet import Sheet, frame_sheet, read_sheet

__all__ = ["from_arrays", "read_correlation", "read_summary", "summary_from_frame"]

_SHARED = ("effect_allele", "other_allele", "eaf", "locus", "kind", "chromosome", "position")


def read_summary(
    path: str | Path, exposures: Sequence[str] | None = None, outcomes: Sequence[str] | None = None
) -> MRData:
    """Read a table with exposures and outcomes side by side.

    Parameters
    ----------
    path : str or Path
        CSV, TSV (also .gz) or Parquet with ``SNP`` or ``instrument`` and, for every trait t,
        ``beta_<t>`` and ``se_<t>`` (or TwoSampleMR's ``beta.<t>``, ``se.<t>``).
    exposures, outcomes : sequence of str, optional
        Traits to use. By default ``outcome`` is the outcome and every other trait an exposure.

    Returns
    -------
    MRData
        Effects of shape (traits, instruments). A cell left empty is nan there: the instrument
        counts as missing for that trait only; infinite ones are kept, and set aside
        with a word by estimators. Rows with ``mr_keep`` false are in ``dropped``.

    Raises
    ------
    InputError
        Naming file, line and column, what was found, and the fix.
    """
    return _summary(read_sheet(path), exposures, outcomes)


def summary_from_frame(
    frame: pd.DataFrame,
    exposures: Sequence[str] | None = None,
    outcomes: Sequence[str] | None = None,
    where: str = "data frame",
) -> MRData:
    """The same as `read_summary` for a data frame in hand."""
    return _summary(frame_sheet(frame, where), exposures, outcomes)


def _summary(sheet: Sheet, exposures: Sequence[str] | None, outcomes: Sequence[str] | None) -> MRData:
    column = instrument_column(sheet)
    traits = traits_of(sheet.frame.columns)
    if not traits:
        found = (
            "effects of a single trait"
            if "beta" in plain_columns(sheet)
            else "no effects of exposure and outcome"
        )
        raise InputError(
            sheet.where,
            found,
            "Give columns beta_exposure, se_exposure, beta_outcome, se_outcome, or two tables to harmonize",
        )
    xs, ys = _choose(sheet, traits, exposures, outcomes)
    kept, dropped = _keep(sheet, column)
    names = [n for n, k in zip(sheet.text(column), kept, strict=True) if k]
    _unique(sheet, column, kept)
    beta = np.empty((len(xs) + len(ys), int(kept.sum())))
    se = np.empty_like(beta)
    n: list[float] = []
    for t, trait in enumerate([*xs, *ys]):
        columns = trait_columns(sheet, trait)
        beta[t] = sheet.numbers(columns["beta"], infinite=True)[kept]
        se[t] = sheet.positive(columns["se"], infinite=True)[kept]
        n.append(_typical(sheet.numbers(columns["n"])[kept]) if "n" in columns else np.nan)
    absent = np.isnan(beta) | np.isnan(se)
    beta[absent] = se[absent] = np.nan
    F = len(xs)
    return MRData(
        beta_x=beta[:F],
        se_x=se[:F],
        beta_y=beta[F:],
        se_y=se[F:],
        exposures=tuple(xs),
        outcomes=tuple(ys),
        instruments=tuple(names),
        n_x=None if np.isnan(n[:F]).all() else np.array(n[:F]),
        n_y=None if np.isnan(n[F:]).all() else np.array(n[F:]),
        info=_info(sheet, names, kept),
        dropped=dropped,
    )


def _typical(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else np.nan


def _choose(
    sheet: Sheet, traits: list[str], exposures: Sequence[str] | None, outcomes: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    lower = {t.lower(): t for t in traits}
    for name in [*(exposures or ()), *(outcomes or ())]:
        if name.lower() not in lower:
            raise InputError(
                sheet.where,
                f"no trait {name!r} (columns 'beta_{name}', 'se_{name}')",
                near_misses(name, traits) or "The table has the traits " + ", ".join(traits[:8]),
            )
    if outcomes:
        ys = [lower[o.lower()] for o in outcomes]
    elif "outcome" in lower:
        ys = [lower["outcome"]]
    else:
        raise InputError(
            sheet.where,
            f"no column 'beta_outcome'; the traits are {', '.join(traits[:8])}",
            "Name the outcome's columns 'beta_outcome' and 'se_outcome', or say which trait is the outcome",
        )
    xs = [lower[x.lower()] for x in exposures] if exposures else [t for t in traits if t not in ys]
    if not xs:
        raise InputError(sheet.where, "no exposure", "Add columns 'beta_exposure' and 'se_exposure'")
    both = [x for x in xs if x in ys]
    if both:
        raise InputError(
            sheet.where, f"{both[0]!r} is both exposure and outcome", "Name two different traits"
        )
    return xs, ys


def _keep(sheet: Sheet, column: str) -> tuple[NDArray[np.bool_], pd.DataFrame]:
    empty = pd.DataFrame(columns=["instrument", "reason"])
    if "mr_keep" not in sheet.frame.columns:
        return np.ones(len(sheet.frame), bool), empty
    kept = np.array([v.lower() not in ("false", "f", "0") for v in sheet.text("mr_keep")])
    if not kept.any():
        raise InputError(sheet.where, "'mr_keep' is false in every row", "Keep at least one instrument")
    names = np.array(sheet.text(column), dtype=object)[~kept]
    return kept, pd.DataFrame({"instrument": names, "reason": "mr_keep is false in the table"}) if len(
        names
    ) else empty


def _unique(sheet: Sheet, column: str, kept: NDArray[np.bool_]) -> None:
    seen: dict[str, int] = {}
    for row, name in enumerate(sheet.text(column)):
        if not kept[row]:
            continue
        if name in seen:
            raise InputError(
                sheet.place(row, column),
                f"instrument {name!r} appears again (first on line {sheet.lines[seen[name]]})",
                "Keep one row per instrument",
            )
        seen[name] = row


def _info(sheet: Sheet, names: list[str], kept: NDArray[np.bool_]) -> pd.DataFrame:
    info = pd.DataFrame({"instrument": names})
    lower = {str(c).lower(): str(c) for c in sheet.frame.columns}
    for name in _SHARED:
        column = lower.get(name) or lower.get(f"{name}_exposure") or lower.get(f"{name}.exposure")
        if column is not None:
            values = sheet.numbers(column) if name == "eaf" else np.array(sheet.text(column), dtype=object)
            info[name] = values[kept]
    return info


def from_arrays(
    bx: ArrayLike,
    bxse: ArrayLike,
    by: ArrayLike,
    byse: ArrayLike,
    *,
    correlation: ArrayLike | None = None,
    exposure: str | Sequence[str] = "exposure",
    outcome: str = "outcome",
    snps: Sequence[str] | None = None,
) -> MRData:
    """Summary statistics from arrays, in the shape MendelianRandomization's inputs have.

    Parameters
    ----------
    bx, bxse : array (J,) or (J, K)
        Effects of J instruments on the exposure (or on K exposures), and their standard errors.
    by, byse : array (J,)
        The same for the outcome.
    correlation : array (J, J), optional
        Correlation between the instruments.

    Raises
    ------
    InputError
        Where shapes disagree or a standard error is not positive.
    """
    x, sx = np.atleast_2d(np.asarray(bx, float).T), np.atleast_2d(np.asarray(bxse, float).T)
    y, sy = np.atleast_2d(np.asarray(by, float)), np.atleast_2d(np.asarray(byse, float))
    J = y.shape[1]
    names = tuple(snps) if snps is not None else tuple(f"snp_{j + 1}" for j in range(J))
    if isinstance(exposure, str):
        exposures = (exposure,) if len(x) == 1 else tuple(f"{exposure}_{k + 1}" for k in range(len(x)))
    else:
        exposures = tuple(exposure)
    ld = None if correlation is None else np.asarray(correlation, float)
    return MRData(
        beta_x=x,
        se_x=sx,
        beta_y=y,
        se_y=sy,
        exposures=exposures,
        outcomes=(outcome,),
        instruments=names,
        ld=ld,
        info=pd.DataFrame({"instrument": names}),
    )


def read_correlation(
    path: str | Path, names: Sequence[str], what: str = "instruments"
) -> NDArray[np.float64]:
    """Read a square matrix of correlations, put into the order of ``names``.

    The header names the columns; a first column of names is optional. Where the header holds all
    of ``names``, rows and columns are selected and ordered by it; a matrix of the right size with
    other names is refused.

    Raises
    ------
    InputError
        For a matrix that is not square, symmetric, within [-1, 1] with a unit diagonal, or does
        not know every name.
    """
    sheet = read_sheet(path)
    columns = [str(c) for c in sheet.frame.columns]
    lower = [c.lower() for c in columns]
    labels = columns
    if len(columns) == len(sheet.frame) + 1 and (lower[0] in INSTRUMENT_NAMES or lower[0] in ("", "trait")):
        labels = columns[1:]
    if len(labels) != len(sheet.frame):
        raise InputError(
            sheet.where,
            f"{len(sheet.frame)} rows and {len(labels)} columns",
            f"Give a square matrix with one row and one column for each of the {what}",
        )
    matrix = np.stack([sheet.numbers(c) for c in labels], axis=1)
    _check_correlation(sheet, labels, matrix)
    missing = [n for n in names if n not in labels]
    if missing:
        raise InputError(
            sheet.where,
            f"{len(missing)} of {len(names)} {what} are not in the header, first {missing[0]!r}",
            near_misses(missing[0], labels) or f"Name the columns after the {what}",
        )
    order = [labels.index(n) for n in names]
    return matrix[np.ix_(order, order)]


def _check_correlation(sheet: Sheet, labels: list[str], matrix: NDArray[np.float64]) -> None:
    fix = "Give correlations: symmetric, 1 on the diagonal, between -1 and 1"
    for bad, found in (
        (np.isnan(matrix), "an empty cell"),
        (np.abs(matrix) > 1 + 1e-8, "a correlation outside [-1, 1]"),
        (np.abs(matrix - matrix.T) > 1e-6, "not symmetric"),
        (np.abs(np.diag(np.diag(matrix) - 1)) > 1e-6, "a diagonal that is not 1"),
    ):
        if bad.any():
            row, col = np.argwhere(bad)[0]
            raise InputError(sheet.place(int(row), labels[int(col)]), f"{found} ({matrix[row, col]:g})", fix)
