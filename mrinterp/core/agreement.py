"""Estimates held against knockouts, method by method."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mrinterp.core.storage import (
    FORMAT_VERSION,
    check_format,
    read_json,
    read_table,
    whole_folder,
    write_json,
    write_table,
)

__all__ = ["Agreement"]


@dataclass(frozen=True, eq=False)
class Agreement:
    """How well each method predicted the knockouts.

    Parameters
    ----------
    summary : DataFrame
        One row per (method, outcome): ``n, missing, correlation, slope, coverage`` with intervals.
    joined : DataFrame
        One row per (method, feature, outcome): estimate and knockout with intervals and verdicts.
    misled : DataFrame
        Features that univariable MR calls significant and the knockout finds negligible.
    """

    summary: pd.DataFrame
    joined: pd.DataFrame
    misled: pd.DataFrame
    meta: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write three Parquet tables and a header."""
        with whole_folder(folder) as partial:
            for name in ("summary", "joined", "misled"):
                write_table(partial / f"{name}.parquet", getattr(self, name))
            header = {
                "kind": "agreement",
                "format_version": FORMAT_VERSION,
                "meta": self.meta,
                "summary": self.summary.to_dict(orient="records"),
            }
            write_json(partial / "agreement.json", header)

    @classmethod
    def load(cls, folder: Path) -> Agreement:
        """Reopen what `save` wrote."""
        folder = Path(folder)
        header = read_json(folder / "agreement.json")
        check_format(str(folder), header, "agreement")
        summary, joined, misled = (
            read_table(folder / f"{n}.parquet") for n in ("summary", "joined", "misled")
        )
        return cls(summary, joined, misled, header["meta"])
