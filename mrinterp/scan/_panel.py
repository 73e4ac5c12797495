"""Scan a split into a Panel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.basis import Basis
from mrinterp.core.design import Design
from mrinterp.core.panel import Panel
from mrinterp.models._cut import CutNetwork, CutReading
from mrinterp.scan._reader import read_runs

__all__ = ["scan_panel"]


def scan_panel(
    network: CutNetwork,
    design: Design,
    basis: Basis,
    split: str,
    folder: Path | None = None,
    rows: NDArray[np.int_] | None = None,
) -> Panel:
    """Run a split, or some rows of it, and keep features, bypass scores (nested order) and outcomes of every run."""
    rows = design.rows(split) if rows is None else rows

    def project(reading: CutReading) -> dict[str, np.ndarray]:
        return {
            "features": reading.features,
            "bypass": basis.bypass(reading.parts),
            "outcome": reading.outcome,
        }

    viewed = network.viewing(basis.dictionary)
    read = read_runs(viewed, design, rows, project, folder, split)
    runs = design.runs.iloc[rows][["run", "prompt", "family", "split", "kind"]].reset_index(drop=True)
    return Panel(
        runs=runs,
        doses=np.asarray(design.doses[rows]),
        features=read["features"],
        bypass=read["bypass"],
        outcomes=read["outcome"],
        instruments=design.instruments,
        feature_names=basis.dictionary.names,
        outcome_names=network.outcome.names,
        bypass_names=tuple(basis.bypass_names),
        labels=basis.dictionary.labels,
        rank=basis.rank,
        units={"feature": basis.dictionary.unit, "outcome": "outcome unit"},
        meta={"outcome_sd": basis.meta["outcome_sd"]},
    )
