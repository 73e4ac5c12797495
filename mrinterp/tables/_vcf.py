"""Summary statistics in a VCF: one sample column per trait, its numbers behind one another as FORMAT says."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mrinterp.core.errors import InputError
from mrinterp.tables._sheet import Sheet

__all__ = ["unpacked"]

_FIELDS = {"ES": "beta", "SE": "se", "LP": "neglog10_p", "AF": "alt_freq", "SS": "n", "EZ": "z"}
"""Fields of a GWAS-VCF and our names: effect of the alternative allele, its error, -log10 p, frequency, sample size."""


def unpacked(sheet: Sheet) -> Sheet:
    """The same table with one column per field, where it has a column FORMAT and samples behind it.

    Raises
    ------
    InputError
        Where there are several samples, or a row does not have the fields that its FORMAT names.
    """
    names = [str(c) for c in sheet.frame.columns]
    if "FORMAT" not in names or not {"REF", "ALT"} <= set(names):
        return sheet
    samples = names[names.index("FORMAT") + 1 :]
    if len(samples) != 1:
        found = f"{len(samples)} samples behind FORMAT"
        raise InputError(sheet.where, found, "Give a file with the summary statistics of one trait")
    columns: dict[str, list[str]] = {ours: [""] * len(sheet.frame) for ours in _FIELDS.values()}
    pairs = zip(sheet.text("FORMAT"), sheet.text(samples[0]), strict=True)
    for row, (form, cell) in enumerate(pairs):
        fields, values = form.split(":"), cell.split(":")
        if len(values) > len(fields) or not {"ES", "SE"} & set(fields):
            raise InputError(
                sheet.place(row, samples[0]),
                f"{cell[:40]!r} under FORMAT {form[:40]!r}",
                "Give one value per field of FORMAT, among them ES (effect) and SE (its error)",
            )
        for name, value in zip(fields, values, strict=False):
            if name in _FIELDS:
                columns[_FIELDS[name]][row] = value
    shared = sheet.frame[[c for c in ("CHROM", "#CHROM", "POS", "ID", "REF", "ALT") if c in names]]
    numbers = pd.DataFrame({c: np.array(v, dtype=object) for c, v in columns.items() if any(v)})
    return Sheet(sheet.where, pd.concat([shared, numbers], axis=1), sheet.lines)
