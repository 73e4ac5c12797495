"""From what a user names (files, data frames, traits, a correlation) to data ready for an estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.errors import InputError
from mrinterp.core.ld import alleles_of, validate_ld
from mrinterp.core.mrdata import MRData
from mrinterp.tables._harmonize import harmonize
from mrinterp.tables._locus import read_ld
from mrinterp.tables._select import associated, cautions, independent
from mrinterp.tables._sheet import Table, is_table
from mrinterp.tables._summary import read_correlation, read_summary
from mrinterp.tables._traits import TraitTable, read_trait

__all__ = ["read"]

Given = Table | Sequence[Table] | Mapping[str, Table]
"""One or several names of traits or tables; a mapping names the traits of the tables."""

_ENDINGS = (
    ".csv",
    ".tsv",
    ".txt",
    ".gz",
    ".bgz",
    ".parquet",
    ".pq",
    ".ssf",
    ".vcf",
    ".linear",
    ".logistic",
    ".assoc",
)
_ROUNDING = -1e-12  # an eigenvalue that is lower is no rounding error


def read(
    table: Table,
    *,
    exposure: Given = (),
    outcome: Given = (),
    ld: Table | ArrayLike | None = None,
    error_corr: Table | ArrayLike | None = None,
    action: int = 2,
    no_alleles: bool = False,
    p_threshold: float | None = None,
    clump: bool = False,
    clump_r2: float = 0.001,
    clump_kb: float = 10_000.0,
    unit: str = "",
) -> MRData:
    """Read summary statistics; exposure and outcome from different tables are harmonized by allele.

    Parameters
    ----------
    table : str, Path or DataFrame
        A table with exposures and outcomes side by side (see `read_summary`); or the exposure's table,
        where ``outcome`` is a table of its own (see `read_trait`).
    exposure, outcome : str, Path, DataFrame, or sequence or mapping of these
        Names of traits in ``table``; or tables of one trait each, to be harmonized with it (a text that
        ends like a file, or names one, is a file). A mapping gives the traits their names:
        ``outcome={"chd": frame}``. By default ``outcome`` is the outcome of the table and every other
        trait an exposure.
    ld : str, Path, DataFrame or array_like (J, J), optional
        Correlation between the instruments: a table with their names in its header, or an array in
        the order of the instruments that are kept.
    error_corr : float, str, Path, DataFrame or array_like (T, T), optional
        Correlation of the errors of every exposure with every outcome; or the correlation among all
        traits, exposures first, as a table or an array.
    action : {1, 2, 3}
        What to do with palindromic alleles, see `harmonize`.
    no_alleles : bool
        Match instruments by name alone, whatever alleles the tables name. Effects may then have the wrong sign.
    p_threshold : float, optional
        Only instruments whose association with some exposure has a smaller p.
    clump : bool
        Of correlated instruments, keep the one most associated with an exposure: those with a squared
        correlation above ``clump_r2`` where ``ld`` is given, else those within ``clump_kb`` kilobases.
    clump_r2, clump_kb : float
        See ``clump``.
    unit : str
        Unit of the outcomes, for sentences.

    Returns
    -------
    MRData
        ``dropped`` lists every instrument that was lost, with the reason; ``meta["notes"]`` what was
        converted or taken by convention, and what looks odd.

    Raises
    ------
    InputError
        For any input that cannot be used: names the file, the line and the column.

    Examples
    --------
    >>> import pandas as pd
    >>> from mrinterp import run_mr, tables
    >>> bmi = pd.DataFrame({"SNP": ["a", "b", "c"], "beta": [0.1, 0.2, 0.4], "se": [0.01, 0.01, 0.01]})
    >>> chd = pd.DataFrame({"SNP": ["a", "b"], "beta": [0.05, 0.1], "se": [0.02, 0.02]})
    >>> data = tables.read(bmi, exposure="bmi", outcome={"chd": chd})
    >>> data.dropped["reason"].tolist()
    ['not in the data frame of chd']
    >>> round(run_mr(data)[0].to_frame()["estimate"].item(), 6)
    0.5
    """
    x_names, x_tables = _given(exposure)
    y_names, y_tables = _given(outcome)
    for names, tables in ((x_names, x_tables), (y_names, y_tables)):
        if names and tables:
            raise InputError(
                f"trait {names[0]!r}", "no such file", "Name either traits of the table, or files"
            )
    if x_tables and not y_tables:
        where = x_tables[0][1]
        found = "a data frame" if isinstance(where, pd.DataFrame) else repr(str(where))
        raise InputError(
            "exposure", f"{found}, without a table of the outcome", "Give the outcome's table too"
        )
    if y_tables:
        own = [read_trait(t, name, "exposure", no_alleles=no_alleles) for name, t in x_tables]
        ys = [read_trait(t, name, "outcome", no_alleles=no_alleles) for name, t in y_tables]
        xs = [*_exposures(table, x_names, no_alleles), *own]
        data = harmonize(xs, ys, action=action, no_alleles=no_alleles)
    else:
        data = read_summary(table, x_names or None, y_names or None, action=action, no_alleles=no_alleles)
    if ld is not None and not is_table(ld):  # in the order of all instruments
        data, ld = replace(data, ld=_instrument_correlation(data, ld)), None
    data = data if p_threshold is None else associated(data, p_threshold)
    if ld is not None:
        data = replace(data, ld=_instrument_correlation(data, ld))
    data = independent(data, clump_r2, clump_kb) if clump else data
    notes = [*data.meta.get("notes", []), *cautions(data)]
    meta = {**data.meta, "notes": notes}
    return replace(data, error_corr=_error_correlation(data, error_corr), unit=unit, meta=meta)


def _given(given: Given) -> tuple[list[str], list[tuple[str | None, Table]]]:
    """Names of traits, and tables with the names of their traits (None where not given)."""
    if isinstance(given, Mapping):
        return [], list(given.items())
    names: list[str] = []
    tables: list[tuple[str | None, Table]] = []
    for each in [given] if isinstance(given, str | Path | pd.DataFrame) else given:
        if isinstance(each, str) and not _is_file(each):
            names.append(each)
        else:
            tables.append((None, each))
    return names, tables


def _is_file(text: str) -> bool:
    return text.lower().endswith(_ENDINGS) or Path(text).is_file()


def _exposures(table: Table, names: Sequence[str], no_alleles: bool) -> list[TraitTable]:
    """The exposures of the first table: the ones named, or the one it has."""
    if len(names) < 2:
        return [read_trait(table, names[0] if names else None, "exposure", no_alleles=no_alleles)]
    found = [read_trait(table, name, no_alleles=no_alleles) for name in names]
    if all(found[0].frame[["beta", "se"]].equals(other.frame[["beta", "se"]]) for other in found[1:]):
        raise InputError(
            f"exposures {', '.join(map(repr, names))}",
            f"{found[0].where} has the effects of a single trait",
            "Name one exposure, or give one table for each",
        )
    return found


def _instrument_correlation(data: MRData, given: Any) -> NDArray[np.float64] | None:
    if given is None:
        return None
    if is_table(given):
        return read_ld(given, data.instruments, alleles_of(data.info))
    return validate_ld(given, data.instruments)


def _error_correlation(data: MRData, given: Any) -> NDArray[np.float64] | None:
    if given is None:
        return None
    F, O, _ = data.shape
    if isinstance(given, Path | pd.DataFrame) or np.ndim(given) == 2:
        if is_table(given):
            return read_correlation(given, [*data.exposures, *data.outcomes], "traits")
        return validate_ld(
            np.asarray(given, dtype=float), [*data.exposures, *data.outcomes], where="error_corr"
        )
    try:
        rho = float(given)
    except ValueError:
        return read_correlation(str(given), [*data.exposures, *data.outcomes], "traits")
    if not -1 < rho < 1:
        raise InputError("error correlation", f"{given}", "Give a correlation between -1 and 1, or a file")
    corr = np.eye(F + O)
    corr[:F, F:] = corr[F:, :F] = rho
    if np.linalg.eigvalsh(corr)[0] < _ROUNDING:
        raise InputError(
            "error correlation",
            f"{given} for {F} exposures and {O} outcomes is impossible (not positive semidefinite)",
            "Give a file with the correlation among all traits",
        )
    return corr
