"""The within estimate at two scales of the noise: where the two differ, the effect is curved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.panel import Panel
from mrinterp.mr._runs.run_level import run_data
from mrinterp.stats.clustered.least_squares import clustered_least_squares
from mrinterp.stats.tests.tails import critical_value

__all__ = ["at_levels", "scale_path", "with_runs_of"]

Array = NDArray[np.float64]

ROUNDING = 1e-5
"""Share of an effect that single precision may change it by."""


def scale_path(whole: Panel, half: Panel, runs_per_column: float, level: float = 0.95) -> pd.DataFrame:
    """Effects at full and at half the scale of the noise, or at a large and a small level, and their difference, on the same
    families and draws.

    Parameters
    ----------
    whole, half : Panel
        The same prompts and draws of noise (kind ``noise``) at the scale and at half of it (at two levels: `at_levels`), with the
        same clean runs.
    runs_per_column : float
        Fewest runs per regressor, which limits the bypass as in the study's own estimate.
    level : float
        Confidence level of what counts as a difference.

    Returns
    -------
    DataFrame
        One row per feature and outcome: ``feature, outcome, half, half_se, full, full_se, change`` (half less full),
        ``change_se, curvature`` (whether it is beyond its errors), ``families, rank``.

    Notes
    -----
    Both sets of runs stand in one regression, in which the half ones have coefficients of their own beside the common
    ones: these are the differences, and their errors (CR3 by family) know that families and draws are the same. Of
    features whose effect is a constant slope one in twenty is marked by chance. nan where a feature does not change, or
    is determined by others.
    """
    F, names = len(whole.feature_names), whole.feature_names
    change = whole.changes()
    rank = min(whole.rank, max(int(len(change.prompt) / runs_per_column) - F, 0))
    data, other = run_data(whole, rank), half.changes()
    columns = data.columns
    X, R = data.X, data.R
    Xh, Rh = other.features[:, columns], other.bypass[:, data.carried]
    usable = (Xh != 0).any(axis=0)
    columns, X, Xh = columns[usable], X[:, usable], Xh[:, usable]
    Y, Yh, family = change.outcomes, other.outcomes, change.family
    p = len(columns)
    zero = np.zeros_like
    both = clustered_least_squares(
        np.block([[X, zero(X), R, zero(R)], [Xh, Xh, Rh, Rh]]),
        np.concatenate([Y, Yh]),
        np.concatenate([family, family]),
        2 * p,
    )
    full, less = (
        clustered_least_squares(np.concatenate(z, axis=1), y, family, p)
        for z, y in (((X, R), Y), ((Xh, Rh), Yh))
    )
    wide = {
        "half": less.beta,
        "half_se": less.se,
        "full": full.beta,
        "full_se": full.se,
        "change": both.beta[p:],
        "change_se": both.se[p:],
    }
    found = {name: _placed(value, columns, F) for name, value in wide.items()}
    size = np.abs(found["change"])
    beyond = size > critical_value(level, both.df) * found["change_se"]
    # Where a network is exactly linear the difference is rounding, and so is its error.
    beyond &= size > ROUNDING * (np.abs(found["half"]) + np.abs(found["full"]))
    O = len(whole.outcome_names)
    return pd.DataFrame(
        {
            "feature": np.repeat(np.array(names, dtype=object), O),
            "outcome": np.tile(np.array(whole.outcome_names, dtype=object), F),
            **{name: value.ravel() for name, value in found.items()},
            "curvature": beyond.ravel(),
            "families": len(set(family)),
            "rank": rank,
        }
    )


def with_runs_of(whole: Panel, other: Panel) -> tuple[Panel, Panel]:
    """The prompts of ``other``'s runs, once as they stand in ``whole``, once with ``other``'s values; clean runs are the
    same in both."""
    runs = whole.runs
    place = {run: i for i, run in enumerate(runs["run"].tolist())}
    at = np.array([place[r] for r in other.runs["run"].tolist()])
    clean = (runs["kind"] == "clean") & runs["prompt"].isin(set(other.runs["prompt"]))
    rows = np.sort(np.concatenate([np.flatnonzero(clean.to_numpy()), at]))
    where = np.searchsorted(rows, at)
    arrays = {n: np.asarray(getattr(whole, n))[rows].copy() for n in ("features", "bypass", "outcomes")}
    taken = replace(
        whole, runs=runs.iloc[rows].reset_index(drop=True), doses=np.asarray(whole.doses)[rows], **arrays
    )
    changed = {n: value.copy() for n, value in arrays.items()}
    for name, value in changed.items():
        value[where] = np.asarray(getattr(other, name))
    return taken, replace(taken, **changed)


def at_levels(panel: Panel, series: Sequence[float]) -> tuple[Panel, Panel]:
    """The runs of noise at the largest of the levels, and the same draws at the smallest, with the same clean runs.

    Parameters
    ----------
    series : sequence of float
        What each draw was multiplied by, run after run (`NoiseSection.series`).
    """
    noise = np.flatnonzero((panel.runs["kind"] == "noise").to_numpy())
    number = panel.runs.iloc[noise].groupby("prompt", sort=False).cumcount().to_numpy()
    size = np.abs(np.asarray(series))[number % len(series)]
    strong, weak = (noise[size == level] for level in (size.max(), size.min()))
    own = panel.runs["run"].iloc[strong].to_numpy()
    arrays = {n: np.asarray(getattr(panel, n))[weak] for n in ("doses", "features", "bypass", "outcomes")}
    return with_runs_of(panel, replace(panel, runs=panel.runs.iloc[weak].assign(run=own), **arrays))


def _placed(values: Array, columns: NDArray[np.int_], count: int) -> Array:
    found = np.full((count, values.shape[1]), np.nan)
    found[columns] = values
    return found
