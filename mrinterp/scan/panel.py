"""Scan a split into a Panel, and a Panel into marginal summary statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mrinterp.core.basis import Basis
from mrinterp.core.design import Design
from mrinterp.core.panel import Panel
from mrinterp.core.sumstats import SumStats
from mrinterp.models.cut import CutNetwork, CutReading
from mrinterp.models.text import TokenArrays
from mrinterp.scan.reader import read_runs
from mrinterp.stats.clustered import marginal_slopes

__all__ = ["marginal_scan", "scan_panel"]


def scan_panel(
    network: CutNetwork,
    design: Design,
    tokens: TokenArrays,
    basis: Basis,
    split: str,
    folder: Path | None = None,
) -> Panel:
    """Run a split and keep features, bypass scores (nested order) and outcomes of every run."""
    rows = design.rows(split)

    def project(reading: CutReading) -> dict[str, np.ndarray]:
        return {
            "features": basis.features(reading.mean),
            "bypass": basis.bypass(reading.mean, reading.deviation),
            "outcome": reading.outcome,
        }

    read = read_runs(network, design, tokens, rows, project, folder, split)
    runs = design.runs.iloc[rows][["run", "prompt", "family", "split", "kind"]].reset_index(drop=True)
    return Panel(
        runs,
        np.asarray(design.doses[rows]),
        read["features"],
        read["bypass"],
        read["outcome"],
        design.instruments,
        basis.dictionary.names,
        network.outcome.names,
        tuple(basis.bypass_names),
        basis.dictionary.labels,
        basis.rank,
        {"feature": basis.dictionary.unit, "outcome": "outcome unit"},
        {"outcome_sd": basis.meta["outcome_sd"]},
    )


def marginal_scan(panel: Panel, kind: str | None = None, factorial: bool = True) -> SumStats:
    """Marginal effect of every instrument on every feature and outcome, within prompts.

    Parameters
    ----------
    kind : str, optional
        Only runs of that kind (placebo instruments ride along in all of them).
    factorial : bool
        True where several instruments act in one run: deviations from the mean of the prompt's
        runs. False where each run holds one perturbation paired with the clean run (saturation,
        clean/corrupted pairs): the change itself.
    """
    chosen = panel if kind is None else panel.select(kinds=(kind,))
    change = chosen.deviations() if factorial else chosen.changes()
    traits = np.concatenate([change.features, change.outcomes], axis=1)
    beta, se, covariance, dof = marginal_slopes(change.doses, traits, change.family)
    names = [*panel.feature_names, *panel.outcome_names]
    role = ["feature"] * len(panel.feature_names) + ["outcome"] * len(panel.outcome_names)
    labels = [*panel.labels, *[""] * len(panel.outcome_names)]
    return SumStats(
        beta,
        se,
        pd.DataFrame({"trait": names, "role": role, "label": labels}),
        panel.instruments,
        dof,
        chosen.families,
        covariance,
        {"kind": kind or "all", "design": "paired", "runs": len(change.prompt)},
    )
