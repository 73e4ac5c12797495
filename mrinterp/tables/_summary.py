"""Summary statistics of exposures and outcomes side by side: from one table, or from arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.array_checks import checked_array, checked_rows
from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.ld import validate_ld
from mrinterp.core.mrdata import MRData
from mrinterp.tables._alleles import Alleles, read_alleles, reject_unread_sets
from mrinterp.tables._effects import read_effects
from mrinterp.tables._matrix_file import NamedMatrix, read_matrix
from mrinterp.tables._own_alleles import align_own_alleles
from mrinterp.tables._schema import (
    Columns,
    instrument_names,
    plain_columns,
    reject_repeated,
    trait_columns,
    traits_of,
)
from mrinterp.tables._sheet import Sheet, Table, read_sheet

__all__ = ["read_correlation", "read_summary", "summary_from_arrays"]

_SHARED = ("effect_allele", "other_allele", "eaf", "locus", "kind", "chromosome", "position")


def read_summary(
    table: Table,
    exposures: Sequence[str] | None = None,
    outcomes: Sequence[str] | None = None,
    *,
    action: int = 2,
    no_alleles: bool = False,
) -> MRData:
    """Read one table with exposures and outcomes side by side.

    Parameters
    ----------
    table : str, Path or DataFrame
        CSV, TSV (also .gz), Parquet or data frame with ``SNP`` or ``instrument`` and, for every trait
        t, ``beta_<t>`` and ``se_<t>`` (or TwoSampleMR's ``beta.<t>``, ``se.<t>``).
    exposures, outcomes : sequence of str, optional
        Traits to use. By default ``outcome`` is the outcome and every other trait an exposure.
    action : {1, 2, 3}
        Palindromic alleles, see `harmonize`; only where traits carry alleles of their own.
    no_alleles : bool
        Take effects as they are, whatever alleles the columns name.

    Returns
    -------
    MRData
        Effects of shape (traits, instruments). An empty cell is nan: the instrument is missing for
        that trait only. Infinite values are kept; estimators set them aside and say so. Rows with
        ``mr_keep`` false are listed in ``dropped``.

    Raises
    ------
    InputError
        Naming file, line and column, what was found, and the fix.

    Notes
    -----
    Where traits carry alleles of their own (``effect_allele.exposure``, ``effect_allele.outcome``), effects are put
    on the first trait's; otherwise they are taken as they are. Rows of a table that has ``mr_keep`` were
    harmonized before: strands and palindromic alleles are left as they are. For two tables see `read`.

    Examples
    --------
    >>> import pandas as pd
    >>> from mrinterp import tables
    >>> rows = {"SNP": ["a", "b"], "beta_exposure": [0.1, 0.2], "se_exposure": [0.01, 0.01]}
    >>> rows |= {"beta_outcome": [0.05, 0.11], "se_outcome": [0.02, 0.02]}
    >>> tables.read_summary(pd.DataFrame(rows)).shape  # exposures, outcomes, instruments
    (1, 1, 2)
    """
    sheet = read_sheet(table)
    column, names = instrument_names(sheet)
    traits = traits_of(sheet.frame.columns)
    if not traits:
        plain = {"beta", "odds_ratio"} & set(plain_columns(sheet))
        found = "effects of a single trait" if plain else "no effects of exposure and outcome"
        raise InputError(
            sheet.where,
            found,
            "Give columns beta_exposure, se_exposure, beta_outcome, se_outcome, or two tables to harmonize",
        )
    xs, ys = _choose(sheet, traits, exposures, outcomes)
    kept, dropped = _keep(sheet, names)
    reject_repeated(sheet, column, names, kept)
    sheet, names = sheet.rows(kept), [n for n, k in zip(names, kept, strict=True) if k]
    columns = [trait_columns(sheet, trait) for trait in (*xs, *ys)]
    alleles = [read_alleles(sheet, Columns(sheet, trait), not no_alleles) for trait in (*xs, *ys)]
    shared = read_alleles(sheet, Columns(sheet), required=False)
    if not (no_alleles or shared.known or any(a.known for a in alleles)):
        reject_unread_sets(sheet)
    effects = [read_effects(sheet, c, a.eaf) for c, a in zip(columns, alleles, strict=True)]
    beta, se = (np.array([getattr(e, name) for e in effects]) for name in ("beta", "se"))
    beta[np.isnan(se)] = se[np.isnan(beta)] = np.nan
    n = [_typical(sheet.numbers(c["n"])) if "n" in c else np.nan for c in columns]
    F = len(xs)
    info = _info(sheet, names, shared)
    notes = [note for a in (*alleles, shared) if (note := a.note)] + [x for e in effects for x in e.notes]
    data = MRData(
        beta_x=beta[:F],
        se_x=se[:F],
        beta_y=beta[F:],
        se_y=se[F:],
        exposures=tuple(xs),
        outcomes=tuple(ys),
        instruments=tuple(names),
        n_x=None if np.isnan(n[:F]).all() else np.array(n[:F]),
        n_y=None if np.isnan(n[F:]).all() else np.array(n[F:]),
        info=info,
        dropped=dropped,
        meta={"notes": list(dict.fromkeys(notes))},
    )
    own = [a if a.known else shared for a in alleles]
    return align_own_alleles(data, own, 1 if "mr_keep" in sheet.frame else action, sheet.where, no_alleles)


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


def _keep(sheet: Sheet, instruments: list[str]) -> tuple[NDArray[np.bool_], pd.DataFrame]:
    empty = pd.DataFrame(columns=["instrument", "reason"])
    if "mr_keep" not in sheet.frame.columns:
        return np.ones(len(sheet.frame), bool), empty
    kept = np.array([v.lower() not in ("false", "f", "0") for v in sheet.text("mr_keep")])
    if not kept.any():
        raise InputError(sheet.where, "'mr_keep' is false in every row", "Keep at least one instrument")
    names = np.array(instruments, dtype=object)[~kept]
    return kept, pd.DataFrame({"instrument": names, "reason": "mr_keep is false in the table"}) if len(
        names
    ) else empty


def _info(sheet: Sheet, names: list[str], shared: Alleles) -> pd.DataFrame:
    """What else is known of the instruments; alleles where all traits share them."""
    info = pd.DataFrame({"instrument": names})
    if shared.known:
        info["effect_allele"], info["other_allele"], info["eaf"] = shared.effect, shared.other, shared.eaf
    lower = {str(c).lower(): str(c) for c in sheet.frame.columns}
    for name in _SHARED:
        column = lower.get(name) or lower.get(f"{name}_exposure") or lower.get(f"{name}.exposure")
        if column is not None and name not in info:
            info[name] = (
                sheet.numbers(column) if name == "eaf" else np.array(sheet.names(column), dtype=object)
            )
    places = Columns(sheet).roles() | Columns(sheet, "exposure").roles()
    for name in ("chromosome", "position"):
        if name in places and name not in info:
            info[name] = np.array(sheet.names(places[name]), dtype=object)
    return info


def summary_from_arrays(
    beta_x: ArrayLike,
    se_x: ArrayLike,
    beta_y: ArrayLike,
    se_y: ArrayLike,
    *,
    exposures: Sequence[str] | None = None,
    outcomes: Sequence[str] | None = None,
    instruments: Sequence[str] | None = None,
    ld: ArrayLike | None = None,
    error_corr: ArrayLike | None = None,
) -> MRData:
    """Summary statistics from arrays of effects and standard errors.

    Parameters
    ----------
    beta_x, se_x : array_like (J,) or (F, J)
        Effects of J instruments on one exposure, or on F exposures, and their standard errors.
    beta_y, se_y : array_like (J,) or (O, J)
        The same for the outcomes.
    exposures, outcomes, instruments : sequence of str, optional
        Names; by default ``exposure``, ``outcome`` and ``instrument 1``, ... (numbered where several).
    ld : array_like (J, J), optional
        Correlation between the instruments.
    error_corr : array_like (F + O, F + O), optional
        Correlation of the errors of one instrument's effects, exposures first.

    Returns
    -------
    MRData

    Raises
    ------
    InputError
        Where shapes disagree or a standard error is not positive.

    Examples
    --------
    >>> from mrinterp import run_mr, tables
    >>> data = tables.summary_from_arrays([0.1, 0.2, 0.3], [0.01] * 3, [0.05, 0.1, 0.15], [0.02] * 3)
    >>> round(run_mr(data)[0].to_frame()["estimate"].item(), 6)
    0.5
    """
    given = {"beta_x": beta_x, "se_x": se_x, "beta_y": beta_y, "se_y": se_y}
    checked_rows({name: value for name, value in given.items() if getattr(value, "ndim", 1) == 1})
    x, sx, y, sy = (np.atleast_2d(checked_array(a, n, missing=True)) for n, a in given.items())
    names = _numbered("instrument", instruments, y.shape[1], always=True)
    return MRData(
        beta_x=x,
        se_x=sx,
        beta_y=y,
        se_y=sy,
        exposures=_numbered("exposure", exposures, len(x)),
        outcomes=_numbered("outcome", outcomes, len(y)),
        instruments=names,
        error_corr=None if error_corr is None else checked_array(error_corr, "error_corr"),
        ld=None
        if ld is None
        else validate_ld(
            ld if isinstance(ld, pd.DataFrame) else checked_array(ld, "ld", missing=True), names
        ),
        info=pd.DataFrame({"instrument": names}),
    )


def _numbered(word: str, given: Sequence[str] | None, count: int, always: bool = False) -> tuple[str, ...]:
    """Names as given, or the word itself for one and numbered words for several."""
    if given is not None:
        return tuple(str(name) for name in given)
    return (word,) if count == 1 and not always else tuple(f"{word} {k + 1}" for k in range(count))


def read_correlation(table: Table, names: Sequence[str], what: str = "instruments") -> NDArray[np.float64]:
    """Read a square matrix of correlations by name, put into the order of ``names``.

    Parameters
    ----------
    table : str, Path or DataFrame
        The header names the columns, rows are in the same order; a first column of names is optional.
        It may hold more than ``names``, in any order.
    names : sequence of str
        The instruments (or traits) wanted.
    what : str
        What the names are, for messages.

    Returns
    -------
    ndarray (J, J)

    Raises
    ------
    InputError
        For a matrix that is not square, symmetric, within [-1, 1] with a unit diagonal, or lacks one
        of the names.

    See Also
    --------
    read_ld : for instruments, which understands alleles in names.

    Examples
    --------
    >>> import pandas as pd
    >>> from mrinterp import tables
    >>> tables.read_correlation(pd.DataFrame({"a": [1, 0.5], "b": [0.5, 1]}), ["b"])
    array([[1.]])
    """
    found = read_matrix(table)
    labels = list(found.columns)
    if len(labels) != len(found.values):
        raise InputError(
            found.where,
            f"{len(found.values)} rows and {len(labels)} columns",
            f"Give a square matrix with one row and one column for each of the {what}",
        )
    _check_correlation(found)
    place = {label: i for i, label in enumerate(labels)}
    missing = [n for n in names if n not in place]
    if missing:
        raise InputError(
            found.where,
            f"{len(missing)} of {len(names)} {what} are not in the header, first {missing[0]!r}",
            near_misses(missing[0], labels) or f"Name the columns after the {what}",
        )
    order = [place[n] for n in names]
    if order == list(range(len(labels))):
        return found.values
    return found.values[np.ix_(order, order)]


_ROWS_AT_ONCE = 256  # rows of a large matrix that are checked together


def _check_correlation(found: NamedMatrix) -> None:
    fix = "Give correlations: symmetric, 1 on the diagonal, between -1 and 1"
    matrix = found.values
    for start in range(0, len(matrix), _ROWS_AT_ONCE):
        rows = matrix[start : start + _ROWS_AT_ONCE]
        diagonal = np.arange(start, start + len(rows))[:, None] == np.arange(len(matrix))
        for bad, words in (
            (np.isnan(rows), "an empty cell"),
            (np.abs(rows) > 1 + 1e-8, "a correlation outside [-1, 1]"),
            (np.abs(rows - matrix[:, start : start + len(rows)].T) > 1e-6, "not symmetric"),
            (diagonal & (np.abs(rows - 1) > 1e-6), "a diagonal that is not 1"),
        ):
            if bad.any():
                row, col = np.argwhere(bad)[0]
                raise InputError(
                    found.place(start + int(row), int(col)), f"{words} ({rows[row, col]:g})", fix
                )
