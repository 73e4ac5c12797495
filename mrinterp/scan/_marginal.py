"""The marginal screen: effect of every instrument on every trait, from a Panel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.checks import checked_choice, checked_numbers_of, checked_type
from mrinterp.core.panel import Panel
from mrinterp.core.sumstats import SumStats
from mrinterp.stats.clustered.dependence import changes_beyond_rounding
from mrinterp.stats.clustered.least_squares import SCORES, marginal_slopes

__all__ = ["dose_correlation", "marginal_scan", "scan_bytes"]


WHOLE = 1 << 23
"""Entries (64 MB) up to which the errors' covariance is kept among all traits without being asked for."""


def marginal_scan(
    panel: Panel,
    kind: str | None = None,
    factorial: bool = True,
    covariance: str = "CR3",
    candidates: Sequence[str] | None = None,
) -> SumStats:
    """Marginal effect of every instrument on every feature and outcome, within prompts.

    Parameters
    ----------
    panel : Panel
        Runs with their doses, features and outcomes.
    kind : str, optional
        Use only runs under that kind of perturbation (placebo instruments have doses in all of them).
    factorial : bool
        True where several instruments act in one run: deviations from the mean of the prompt's
        runs. False where each run holds one perturbation paired with the clean run (saturation,
        clean/corrupted pairs): the change itself.
    covariance : {"CR3", "CR1"}
        Errors clustered by family: the jackknife over families, or the plain sandwich times C/(C-1).
    candidates : sequence of str, optional
        Features among which the covariance of errors is kept too, for joint estimates that use it: memory
        grows with their number squared times the instruments. By default all where that is at most 64 MB, else
        none: every trait then has its variance and its covariance with the outcomes.

    Returns
    -------
    SumStats
        Effects and errors of J instruments on F features and O outcomes, with their degrees of freedom. A trait
        that never changes beyond rounding (a dead or constant feature) has effects of 0 without error.

    Raises
    ------
    InputError
        For an unknown kind of covariance or perturbation, an unknown candidate, or anything but a panel.

    Notes
    -----
    An effect over its error follows t on ``dof`` degrees of freedom, not the normal distribution:
    with 40 families its mean square is 39/37, not 1. Estimators that take errors as known
    inherit that: it hardly matters with 40 families and matters with 10. Work and memory grow with traits times
    instruments times outcomes (``benchmarks/marginal_scan_memory.py``).

    Examples
    --------
    >>> from mrinterp.scan import marginal_scan
    >>> from mrinterp.worlds import linear_world
    >>> summary = marginal_scan(linear_world(seed=0).panel)
    >>> summary.beta.shape, summary.traits["trait"].tolist()
    ((6, 24), ['cause', 'twin', 'silent', 'bystander', 'copy', 'y'])
    """
    checked_type(panel, "panel", Panel, "mrinterp.from_arrays makes one of arrays")
    checked_choice(covariance, "covariance", ("CR3", "CR1"))
    if kind is not None:
        checked_choice(kind, "kind", sorted(set(panel.runs["kind"]) - {"clean"}))
    chosen = panel if kind is None else panel.select(kinds=(kind,))
    change = chosen.deviations() if factorial else chosen.changes()
    traits = np.concatenate([change.features, change.outcomes], axis=1)
    values = np.concatenate([np.asarray(chosen.features), np.asarray(chosen.outcomes)], axis=1)
    traits[:, ~changes_beyond_rounding(traits, values)] = 0.0
    F, T, J = change.features.shape[1], traits.shape[1], change.doses.shape[1]
    if candidates is None:
        among = np.arange(F if J * T * T <= WHOLE else 0)
    else:
        among = checked_numbers_of(candidates, "candidates", panel.feature_names, least=0)
    outcomes = np.arange(F, T)
    kept = np.concatenate([among, outcomes])
    whole = len(kept) == T
    beta, se, errors, dof = marginal_slopes(
        change.doses, traits, change.family, covariance, None if whole else outcomes
    )
    full = errors if whole else None
    if len(among) and not whole:
        full = marginal_slopes(change.doses, traits[:, kept], change.family, covariance)[2]
    names = [*panel.feature_names, *panel.outcome_names]
    role = ["feature"] * F + ["outcome"] * len(outcomes)
    labels = [*panel.labels, *[""] * len(outcomes)]
    return SumStats(
        beta=beta,
        se=se,
        traits=pd.DataFrame({"trait": names, "role": role, "label": labels}),
        instruments=panel.instruments,
        dof=dof,
        clusters=chosen.families,
        error_cov=full,
        error_traits=None if whole else tuple(names[t] for t in kept),
        outcome_cov=None if whole else errors,
        meta={
            "kind": kind or "all",
            "design": "paired",
            "runs": len(change.prompt),
            "covariance": covariance,
        },
        ld=dose_correlation(change.doses),
    )


def scan_bytes(features: int, outcomes: int, doses: int, families: int) -> float:
    """Bytes that `marginal_scan` needs beside the panel's changes: effects, errors, and what it works with."""
    T = features + outcomes
    kept = T if doses * T * T <= WHOLE else outcomes
    return 8.0 * doses * (2 * T + T * kept + (T if kept == T else outcomes) * families) + 2 * 8.0 * min(
        SCORES, doses * families * T
    )


def dose_correlation(doses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation (J, J) of dose changes; nan for doses that do not vary."""
    gram = doses.T @ doses
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1.0 / np.sqrt(np.diag(gram))
        correlation = gram * scale[:, None] * scale[None, :]
    correlation[~np.isfinite(correlation)] = np.nan
    np.fill_diagonal(correlation, np.where(np.isfinite(np.diag(correlation)), 1.0, np.nan))
    return np.asarray(correlation)
