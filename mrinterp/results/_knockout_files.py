"""Knockout effects on disk: one table, the arrays by input, and a header."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.storage import (
    FORMAT_VERSION,
    read_header,
    read_table,
    whole_folder,
    write_json,
    write_table,
)

if TYPE_CHECKING:
    from mrinterp.results._knockout_effects import KnockoutEffects

__all__ = ["read_knockouts", "write_knockouts"]

Array = NDArray[np.float64]

CELLS = ("effect", "se", "mean", "mean_se", "r2", "changed", "typical")
"""Columns of the table that are numbers of shape (F, O)."""

ROWS = (
    "read_back_error",
    "leakage",
    "off_support",
    "outside_range",
    "effect_df",
    "moved_by",
    "feature_sd",
)
"""Columns of the table that are numbers of shape (F,)."""

ARRAYS = ("per_prompt", "per_input", "weight", "outside", "massive")
"""What lies in files of its own."""

NAMES = ("features", "outcomes", "positions", "flags")
"""Words in the header."""


def write_knockouts(effects: KnockoutEffects, folder: Path) -> None:
    """Write effects into ``folder``, whole or not at all."""
    with whole_folder(folder) as partial:
        write_table(partial / "effects.parquet", effects.to_frame())
        write_table(partial / "prompts.parquet", effects.prompts)
        for name in ARRAYS:
            np.save(partial / f"{name}.npy", getattr(effects, name))
        header = {"kind": "knockouts", "format_version": FORMAT_VERSION, "knockout": effects.kind}
        header |= {n: list(getattr(effects, n)) for n in NAMES}
        plain = ("label", "df", "mean_df", "noise_floor", "outcome_sd", "meta")
        write_json(partial / "knockouts.json", header | {n: getattr(effects, n) for n in plain})


def read_knockouts(folder: Path) -> dict[str, Any]:
    """Fields of the effects in ``folder``; what an older version did not write is left to its default."""
    header = read_header(folder / "knockouts.json", "knockouts")
    frame = read_table(folder / "effects.parquet")
    shape = len(header["features"]), len(header["outcomes"])
    table = {c: frame[c].to_numpy(dtype=float).reshape(shape) for c in frame.select_dtypes("number")}
    given: dict[str, Any] = {n: table[n] for n in CELLS if n in table}
    given |= {n: table[n][:, 0] for n in ROWS if n in table}
    for field, column in (("effect_bootstrap", "boot"), ("mean_bootstrap", "mean_boot")):
        if f"{column}_lower" in table:
            given[field] = np.stack([table[f"{column}_lower"], table[f"{column}_upper"]])
    for name in ARRAYS:
        if (folder / f"{name}.npy").exists():
            given[name] = np.load(folder / f"{name}.npy")
    given |= {n: tuple(header.get(n, ())) for n in NAMES}
    if header.get("outcome_sd") is not None:
        given["outcome_sd"] = np.array([np.nan if x is None else x for x in header["outcome_sd"]])
    return given | {
        "kind": header["knockout"],
        "label": header["label"],
        "df": float(header["df"]),
        "mean_df": float(header.get("mean_df", header["df"])),
        "prompts": read_table(folder / "prompts.parquet"),
        "noise_floor": np.asarray(header["noise_floor"], dtype=float),
        "meta": header["meta"],
    }
