"""From what a user names (files, traits, a correlation) to data ready for an estimator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.tables._harmonize import harmonize
from mrinterp.tables._summary import read_correlation, read_summary
from mrinterp.tables._traits import read_trait

__all__ = ["load"]


def load(
    table: str | Path,
    *,
    exposures: Sequence[str] = (),
    outcomes: Sequence[str] = (),
    ld: str | Path | None = None,
    error_corr: str | float | None = None,
    action: int = 2,
    unit: str = "",
) -> MRData:
    """Read summary statistics, harmonizing where exposure and outcome lie in different tables.

    Parameters
    ----------
    table : str or Path
        A table with exposures and outcomes side by side; or the exposure's table, where
        ``outcomes`` are files.
    exposures, outcomes : sequence of str
        Names of traits in ``table``; or files of one trait each, to be harmonized (with exposure
        files, only instruments that every table has are kept).
    ld : str or Path, optional
        File with the correlation between the instruments.
    error_corr : float or str, optional
        Correlation of the errors of every exposure with every outcome, or a file with the
        correlation among all traits.
    action : {1, 2, 3}
        Palindromic alleles, see `harmonize`.
    unit : str
        Unit of the outcomes, for sentences.

    Raises
    ------
    InputError
        For any input that cannot be used.
    """
    x_files, y_files = _files(exposures), _files(outcomes)
    for names, files in ((exposures, x_files), (outcomes, y_files)):
        if files and len(files) != len(names):
            other = next(n for n in names if n not in files)
            raise InputError(f"trait {other!r}", "no such file", "Name either traits of the table, or files")
    if x_files and not y_files:
        raise InputError(
            f"exposure {x_files[0]!r}", "a file, without a file of the outcome", "Give the outcome's file too"
        )
    if y_files:
        side = exposures[0] if exposures and not x_files else None
        xs = [read_trait(table, side, "exposure"), *(read_trait(f, None, "exposure") for f in x_files)]
        data = harmonize(xs, [read_trait(f, None, "outcome") for f in y_files], action)
    else:
        data = read_summary(table, list(exposures) or None, list(outcomes) or None)
    matrix = None if ld is None else read_correlation(ld, data.instruments)
    return replace(data, ld=matrix, error_corr=_error_correlation(data, error_corr), unit=unit)


def _files(names: Sequence[str]) -> list[str]:
    endings = (".csv", ".tsv", ".txt", ".gz", ".parquet")
    return [n for n in names if n.lower().endswith(endings) or Path(n).is_file()]


def _error_correlation(data: MRData, given: str | float | None) -> NDArray[np.float64] | None:
    if given is None:
        return None
    F, O, _ = data.shape
    try:
        rho = float(given)
    except ValueError:
        return read_correlation(str(given), [*data.exposures, *data.outcomes], "traits")
    if not -1 < rho < 1:
        raise InputError("error correlation", f"{given}", "Give a correlation between -1 and 1, or a file")
    corr = np.eye(F + O)
    corr[:F, F:] = corr[F:, :F] = rho
    if np.linalg.eigvalsh(corr)[0] < -1e-12:
        raise InputError(
            "error correlation",
            f"{given} for {F} exposures and {O} outcomes is impossible (not positive semidefinite)",
            "Give a file with the correlation among all traits",
        )
    return corr
