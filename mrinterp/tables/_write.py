"""Writers: one wide table, TwoSampleMR's column names, GWAS-SSF; and files of any of them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd

from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.mrdata import MRData
from mrinterp.core.storage import whole_file
from mrinterp.stats.tests.tails import neglog10p_normal, two_sided_p

__all__ = ["to_ssf", "to_twosamplemr", "to_wide", "write"]


def to_wide(data: MRData) -> pd.DataFrame:
    """One row per instrument: ``instrument, beta_<t>, se_<t>`` for every trait t, alleles where known.

    A single exposure and a single outcome are called ``exposure`` and ``outcome``; with several
    exposures the columns carry their names, and a single outcome is still called ``outcome``.

    Parameters
    ----------
    data : MRData
        Summary statistics.

    Returns
    -------
    DataFrame
        `read_summary` reads it back.

    Examples
    --------
    >>> from mrinterp import tables
    >>> tables.to_wide(tables.summary_from_arrays([0.1], [0.01], [0.05], [0.02])).columns.tolist()
    ['instrument', 'beta_exposure', 'se_exposure', 'beta_outcome', 'se_outcome']
    """
    frame = pd.DataFrame({"instrument": list(data.instruments)})
    F, O, _ = data.shape
    xs = ["exposure"] if F == 1 else list(data.exposures)
    ys = ["outcome"] if O == 1 else list(data.outcomes)
    for names, beta, se in ((xs, data.beta_x, data.se_x), (ys, data.beta_y, data.se_y)):
        for name, b, s in zip(names, beta, se, strict=True):
            frame[f"beta_{name}"], frame[f"se_{name}"] = b, s
    if len(data.info) == len(frame):
        for name in data.info.columns.difference(frame.columns):
            frame[name] = data.info[name].to_numpy()
    return frame


def _cell(data: MRData, exposure: str, outcome: str) -> tuple[int, int]:
    for name, names in ((exposure, data.exposures), (outcome, data.outcomes)):
        if name not in names:
            raise InputError(
                f"trait {name!r}", "not in the data", near_misses(name, names) or f"Known: {list(names)[:8]}"
            )
    return data.exposures.index(exposure), data.outcomes.index(outcome)


def to_twosamplemr(data: MRData, exposure: str, outcome: str) -> pd.DataFrame:
    """A harmonized table of one pair with TwoSampleMR's column names (``mr_keep`` true throughout).

    Parameters
    ----------
    data : MRData
        Summary statistics.
    exposure, outcome : str
        The pair.

    Returns
    -------
    DataFrame
        One row per instrument.

    Raises
    ------
    InputError
        A trait that is not in the data.

    Examples
    --------
    >>> from mrinterp import tables
    >>> data = tables.summary_from_arrays([0.1], [0.01], [0.05], [0.02], instruments=["rs1"])
    >>> tables.to_twosamplemr(data, "exposure", "outcome")["beta.outcome"].tolist()
    [0.05]
    """
    f, o = _cell(data, exposure, outcome)
    frame = pd.DataFrame(
        {
            "SNP": list(data.instruments),
            "beta.exposure": data.beta_x[f],
            "se.exposure": data.se_x[f],
            "beta.outcome": data.beta_y[o],
            "se.outcome": data.se_y[o],
            "exposure": exposure,
            "outcome": outcome,
            "id.exposure": exposure,
            "id.outcome": outcome,
            "mr_keep": True,
        }
    )
    for name in ("effect_allele", "other_allele", "eaf"):
        if name in data.info and len(data.info) == len(frame):
            for side in ("exposure", "outcome"):
                frame[f"{name}.{side}"] = data.info[name].to_numpy()
    for side, n, i in (("exposure", data.n_x, f), ("outcome", data.n_y, o)):
        if n is not None:
            frame[f"samplesize.{side}"] = n[i]
    return frame


def to_ssf(data: MRData, trait: str) -> pd.DataFrame:
    """Effects on one trait with GWAS-SSF column names (p from the normal distribution).

    Parameters
    ----------
    data : MRData
        Summary statistics.
    trait : str
        An exposure or an outcome.

    Returns
    -------
    DataFrame
        One row per instrument; what is not known (chromosome, frequency, ...) is left empty.

    Raises
    ------
    InputError
        A trait that is not in the data.

    Examples
    --------
    >>> from mrinterp import tables
    >>> data = tables.summary_from_arrays([0.1], [0.05], [0.05], [0.02], instruments=["rs1"])
    >>> tables.to_ssf(data, "exposure")[["rsid", "beta", "standard_error"]].values.tolist()
    [['rs1', 0.1, 0.05]]
    """
    known = trait in data.exposures
    i = data.exposures.index(trait) if known else _cell(data, data.exposures[0], trait)[1]
    beta, se = (data.beta_x[i], data.se_x[i]) if known else (data.beta_y[i], data.se_y[i])
    n = data.n_x if known else data.n_y
    info = data.info if len(data.info) == len(beta) else pd.DataFrame(index=range(len(beta)))

    def column(name: str, default: object) -> object:
        return info[name].to_numpy() if name in info else default

    neglog10p = neglog10p_normal(beta / se)
    return pd.DataFrame(
        {
            "chromosome": column("chromosome", ""),
            "base_pair_location": column("position", ""),
            "effect_allele": column("effect_allele", ""),
            "other_allele": column("other_allele", ""),
            "beta": beta,
            "standard_error": se,
            "effect_allele_frequency": column("eaf", np.nan),
            "p_value": two_sided_p(neglog10p),
            "neg_log_10_p_value": neglog10p,
            "rsid": list(data.instruments),
            "n": np.nan if n is None else n[i],
        }
    )


def write(data: MRData | pd.DataFrame, path: str | Path) -> None:
    """Write CSV, TSV (also .gz) or Parquet by the ending of the name, whole or not at all.

    Parameters
    ----------
    data : MRData or DataFrame
        Summary statistics are written as `to_wide` lays them out.
    path : str or Path
        Ends in .csv, .tsv, .txt (also with .gz) or .parquet.

    Raises
    ------
    InputError
        For any other ending.

    Notes
    -----
    Numbers are printed so that they read back as the same doubles, and the same data give the same bytes.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from mrinterp import tables
    >>> data = tables.summary_from_arrays([0.1], [0.01], [0.05], [0.02])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "data.csv.gz"
    ...     tables.write(data, path)
    ...     tables.read(path).beta_x
    array([[0.1]])
    """
    frame = to_wide(data) if isinstance(data, MRData) else data
    path = Path(path)
    suffixes = [s.lower() for s in path.suffixes]
    gz = bool(suffixes) and suffixes[-1] == ".gz"
    kind = suffixes[-2 if gz else -1] if len(suffixes) > gz else ""
    if kind not in (".csv", ".tsv", ".txt", ".parquet") or (gz and kind == ".parquet"):
        raise InputError(
            str(path),
            f"cannot write {kind or 'a file without an ending'}",
            "End the name in .csv, .tsv or .parquet",
        )
    with whole_file(path) as partial:
        if kind == ".parquet":
            frame.to_parquet(partial, index=False, compression="zstd")
        else:
            text = frame.to_csv(None, index=False, sep="," if kind == ".csv" else "\t", na_rep="").encode()
            partial.write_bytes(gzip.compress(text, mtime=0) if gz else text)
