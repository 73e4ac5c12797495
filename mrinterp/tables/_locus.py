"""Tables of one locus: two traits side by side for colocalization, one trait for fine-mapping, and LD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.checks import checked_number
from mrinterp.core.errors import InputError
from mrinterp.core.ld import alleles_of, counted_names, row_order, validate_ld
from mrinterp.core.mrdata import MRData
from mrinterp.stats.bayes_factors.wakefield import trait_sd_from_frequency
from mrinterp.tables._alleles import read_alleles
from mrinterp.tables._effects import read_effects
from mrinterp.tables._locus_columns import (
    LARGEST,
    complete,
    converted,
    effects_of,
    frequencies_of,
    from_p_values,
    on_one_allele,
    reject_empty,
    reject_flat,
    reject_standard_errors,
    variances_of,
)
from mrinterp.tables._matrix_file import read_matrix
from mrinterp.tables._schema import Columns, instrument_names, plain_columns, reject_repeated
from mrinterp.tables._sheet import Sheet, Table, is_table, read_sheet

__all__ = ["ColocTable", "FinemapTable", "read_coloc_table", "read_finemap_table", "read_ld"]

Array = NDArray[np.float64]
Pair = tuple[float | None, float | None]


@dataclass(frozen=True, eq=False)
class ColocTable:
    """Effects of the J instruments of a locus (or of several loci) on two traits.

    Parameters
    ----------
    instruments : tuple of str
        Names, in the order of the table.
    beta, variance : ndarray (2, J)
        Effects on the two traits, and the variances of their errors.
    frequency : ndarray (2, J)
        Allele frequencies, nan where the table has none.
    position : ndarray (J,), optional
        Position of each instrument along the locus.
    locus : tuple (J,) of str, optional
        Locus of each instrument, where the table has several.
    n, sd : pair of float or None
        Sample size and standard deviation of each trait.
    ld : ndarray (J, J), optional
        Correlation of the instruments.
    traits : pair of str
        Names of the traits.
    notes : tuple of str
        What was converted or taken by convention, in sentences.
    alleles : sequence (J,) of pairs of str, optional
        Effect and other allele of each instrument, where the table names them.

    Examples
    --------
    >>> import pandas as pd
    >>> from mrinterp import tables
    >>> rows = {"snp": ["a", "b"], "beta_1": [0.1, 0.2], "se_1": [0.1, 0.1]}
    >>> rows |= {"beta_2": [0.3, 0.1], "se_2": [0.1, 0.1]}
    >>> locus = tables.read_coloc_table(pd.DataFrame(rows))
    >>> type(locus).__name__, locus.to_mrdata().shape
    ('ColocTable', (1, 1, 2))
    """

    instruments: tuple[str, ...]
    beta: Array
    variance: Array
    frequency: Array
    position: Array | None = None
    locus: tuple[str, ...] | None = None
    n: Pair = (None, None)
    sd: Pair = (None, None)
    ld: Array | None = None
    traits: tuple[str, str] = ("trait 1", "trait 2")
    notes: tuple[str, ...] = ()
    alleles: Sequence[tuple[str, str]] | None = None

    def to_mrdata(self) -> MRData:
        """The first trait as the exposure, the second as the outcome."""
        se = np.sqrt(self.variance)
        info = pd.DataFrame({"instrument": list(self.instruments)})
        if self.locus is not None:
            info["locus"] = list(self.locus)
        n_x, n_y = (None if n is None else np.array([n], dtype=float) for n in self.n)
        return MRData(
            beta_x=self.beta[:1],
            se_x=se[:1],
            beta_y=self.beta[1:],
            se_y=se[1:],
            exposures=self.traits[:1],
            outcomes=self.traits[1:],
            instruments=self.instruments,
            ld=self.ld,
            n_x=n_x,
            n_y=n_y,
            info=info,
        )


@dataclass(frozen=True, eq=False)
class FinemapTable:
    """z-scores of the J instruments of a locus on one trait.

    Parameters
    ----------
    instruments : tuple of str
        Names, in the order of the table.
    z : ndarray (J,)
        Marginal z-scores.
    beta, se : ndarray (J,), optional
        Effects and standard errors, where the table has them.
    position : ndarray (J,), optional
        Position of each instrument along the locus.
    ld : ndarray (J, J), optional
        Correlation of the instruments.
    notes : tuple of str
        What was converted, in sentences.

    Examples
    --------
    >>> import pandas as pd
    >>> from mrinterp import tables
    >>> tables.read_finemap_table(pd.DataFrame({"snp": ["a", "b"], "z": [1.0, 5.0]})).instruments
    ('a', 'b')
    """

    instruments: tuple[str, ...]
    z: Array
    beta: Array | None = None
    se: Array | None = None
    position: Array | None = None
    ld: Array | None = None
    notes: tuple[str, ...] = ()


def read_coloc_table(
    table: Table,
    *,
    ld: Table | ArrayLike | None = None,
    n: Pair = (None, None),
    sd: Pair = (None, None),
    case_fraction: Pair = (None, None),
    traits: tuple[str, str] = ("trait 1", "trait 2"),
) -> ColocTable:
    """Read two traits of a locus side by side: ``snp, beta_1, varbeta_1 (or se_1), beta_2, varbeta_2``.

    Parameters
    ----------
    table : str, Path or DataFrame
        CSV, TSV, Parquet or data frame; one row per instrument. The columns ``maf_1, maf_2`` (allele
        frequencies), ``position`` and ``locus`` are optional.
    ld : str, Path, DataFrame or array_like (J, J), optional
        Correlation of the instruments, matched by name: see `read_ld`.
    n : pair of float or None
        Sample size of each trait.
    sd : pair of float or None
        Standard deviation of each trait, in the units of the effects. Where it is not given, it is
        derived from errors, frequencies and ``n``; with p-values (``p_1`` or ``neglog10_p_1``) only, the scale is that of the standard
        deviation, so that it is 1.
    case_fraction : pair of float or None
        Share of cases, where a trait is a diagnosis. A trait with only ``p_1`` and ``maf_1`` gets its
        errors from it and ``n``; its effects then have no sign.
    traits : pair of str
        Names of the traits.

    Returns
    -------
    ColocTable

    Raises
    ------
    InputError
        Naming file, line and column: missing columns or cells, infinite values, repeated or monomorphic
        instruments, variances that are standard errors by their scale; or a matrix that is no
        correlation matrix of these instruments.

    Examples
    --------
    >>> import pandas as pd
    >>> from mrinterp import tables
    >>> rows = {"snp": ["a", "b"], "beta_1": [0.1, 0.2], "se_1": [0.1, 0.1]}
    >>> rows |= {"beta_2": [0.3, 0.1], "se_2": [0.1, 0.1]}
    >>> locus = tables.read_coloc_table(pd.DataFrame(rows), ld=[[1, 0.5], [0.5, 1]], sd=(1.0, 1.0))
    >>> locus.ld.shape, locus.sd
    ((2, 2), (1.0, 1.0))
    """
    sheet = read_sheet(table)
    names = _instruments(sheet)
    notes: list[str] = []
    for what, pair, least in (("n", n, 2.0), ("sd", sd, 1 / LARGEST)):
        for t, value in enumerate(pair):
            if value is not None:
                checked_number(value, f"{what} of trait {t + 1}", least=least, most=LARGEST)
    beta, variance, frequency = [], [], []
    spread: list[float | None] = []
    for t, trait in enumerate(("1", "2")):
        frequency.append(frequencies_of(sheet, trait, len(names)))
        columns = Columns(sheet, trait).roles()
        if {"p", "neglog10p"} & set(columns) and not {"beta", "odds_ratio"} & set(columns):
            effects = from_p_values(sheet, trait, columns, frequency[-1], n[t], case_fraction[t])
            beta.append(effects[0])
            variance.append(effects[1])
            spread.append(1.0)
        else:
            beta.append(effects_of(sheet, trait, columns))
            variance.append(variances_of(sheet, trait, columns, beta[-1]))
            if t == 1:
                beta[1], said = on_one_allele(sheet, names, beta[1])
                notes += said
            spread.append(_trait_sd(sd[t], variance[-1], frequency[-1], n[t]))
        notes += converted(sheet, trait, columns)
    reject_standard_errors(sheet, variance, frequency, n, sd)
    return ColocTable(
        names,
        np.array(beta),
        np.array(variance),
        np.array(frequency),
        _numbers_if_there(sheet, "position"),
        tuple(sheet.text("locus")) if "locus" in sheet.frame.columns else None,
        n,
        (spread[0], spread[1]),
        None if ld is None else read_ld(ld, names, _alleles(sheet, "1")),
        traits,
        tuple(notes),
        _alleles(sheet, "1"),
    )


def _trait_sd(given: float | None, variance: Array, frequency: Array, n: float | None) -> float | None:
    """Standard deviation of a trait: as given, else from errors, frequencies and n, else not known."""
    if given is not None or n is None or np.isnan(frequency).any():
        return given
    return float(trait_sd_from_frequency(variance, frequency, n))


def read_finemap_table(table: Table, *, ld: Table | ArrayLike | None = None) -> FinemapTable:
    """Read one trait of a locus: ``snp`` with ``z``, or with ``bhat, shat`` (or ``beta, se``).

    Parameters
    ----------
    table : str, Path or DataFrame
        CSV, TSV, Parquet or data frame; one row per instrument. The column ``position`` is optional.
    ld : str, Path, DataFrame or array_like (J, J), optional
        Correlation of the instruments, matched by name: see `read_ld`.

    Returns
    -------
    FinemapTable

    Raises
    ------
    InputError
        Naming file, line and column.

    Examples
    --------
    >>> import pandas as pd
    >>> from mrinterp import tables
    >>> tables.read_finemap_table(pd.DataFrame({"snp": ["a"], "bhat": [0.2], "shat": [0.1]})).z
    array([2.])
    """
    sheet = read_sheet(table)
    names = _instruments(sheet)
    columns = set(sheet.frame.columns)
    beta = se = None
    for b, s in (("bhat", "shat"), ("beta", "se")):
        if {b, s} <= columns:
            beta, se = complete(sheet, b), complete(sheet, s)
            reject_flat(sheet, s, se)
            break
    known = plain_columns(sheet)
    notes: tuple[str, ...] = ()
    if beta is None and "z" not in columns and {"beta", "odds_ratio"} & set(known):
        found = read_effects(sheet, known)
        beta, se, notes = found.beta, found.se, tuple(found.notes)
        for values in (beta, se):
            reject_empty(sheet, known.get("beta") or known["odds_ratio"], values)
    if "z" in columns:
        z = complete(sheet, "z")
    elif beta is not None and se is not None:
        z = beta / se
    else:
        raise InputError(
            sheet.where,
            f"no column 'z', and no pair 'bhat', 'shat', among {sorted(columns)[:12]}",
            "Add z, or bhat and shat",
        )
    position = _numbers_if_there(sheet, "position")
    matrix = None if ld is None else read_ld(ld, names, _alleles(sheet))
    return FinemapTable(names, z, beta, se, position, matrix, notes)


def read_ld(
    table: Table | ArrayLike,
    instruments: Sequence[str],
    alleles: Sequence[tuple[str, str]] | None = None,
) -> Array:
    """Read a correlation matrix and align it, by name, with the instruments of a table.

    Parameters
    ----------
    table : str, Path, DataFrame or array_like (J, J)
        A header row of names, or a plain array. A first column of names is accepted; other orders and more
        instruments than the table's too. Alleles behind a name (``rs1_A_G``) are understood. Only headers
        that count (V1, V2, ...) are taken by position.
    instruments : sequence of str
        Instruments of the table, in its order.
    alleles : sequence of pairs of str, optional
        Effect and other allele of each in the table: where the matrix names alleles too, correlations get the
        table's signs.

    Returns
    -------
    ndarray (J, J)

    Raises
    ------
    InputError
        A matrix that lacks an instrument, or that is no correlation matrix: not symmetric, not
        positive semidefinite, a diagonal that is not 1, instruments that do not vary.

    Examples
    --------
    >>> import pandas as pd
    >>> from mrinterp import tables
    >>> tables.read_ld(pd.DataFrame({"a": [1, 0.5], "b": [0.5, 1]}), ["a", "b"])
    array([[1. , 0.5],
           [0.5, 1. ]])
    """
    if not is_table(table):
        return validate_ld(np.asarray(table, dtype=float), instruments)
    if isinstance(table, pd.DataFrame) and not isinstance(table.index, pd.RangeIndex):
        return validate_ld(table, instruments, alleles=alleles)
    found = read_matrix(table)
    rows, names = found.rows, list(found.columns)
    if len(names) != len(found.values):
        raise InputError(
            found.where,
            f"{len(found.values)} rows and {len(names)} columns for {len(instruments)} instruments",
            "Give one row and one column per instrument of the table",
        )
    matrix, where = found.values, found.where
    if rows is not None and not counted_names(rows):
        if counted_names(names):
            names = list(rows)
        order = row_order(rows, names, where)
        matrix = matrix if (order == np.arange(len(order))).all() else matrix[order]
    del found  # a large matrix is held once
    own = not isinstance(table, pd.DataFrame)  # a data frame stays as it is
    return validate_ld(matrix, instruments, names, where, alleles=alleles, overwrite=own)


def _alleles(sheet: Sheet, trait: str | None = None) -> list[tuple[str, str]] | None:
    """Effect and other allele of each row, of a trait (whose alleles the effects are on) or of the table."""
    found = read_alleles(sheet, Columns(sheet), required=False)
    if trait is not None:
        own = read_alleles(sheet, Columns(sheet, trait), required=False)
        found = own if own.known else found
    frame = pd.DataFrame({"effect_allele": found.effect, "other_allele": found.other})
    return alleles_of(frame) if found.known else None


def _instruments(sheet: Sheet) -> tuple[str, ...]:
    column, names = instrument_names(sheet)
    reject_repeated(sheet, column, names)
    return tuple(names)


def _numbers_if_there(sheet: Sheet, column: str) -> Array | None:
    return sheet.numbers(column) if column in sheet.frame.columns else None
