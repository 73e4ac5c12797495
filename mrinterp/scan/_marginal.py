"""The marginal screen: effect of every instrument on every trait, from a Panel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.checks import checked_choice, checked_numbers_of, checked_type
from mrinterp.core.panel import Changes, Panel
from mrinterp.core.sumstats import SumStats
from mrinterp.stats.clustered.dependence import changes_beyond_rounding
from mrinterp.stats.clustered.least_squares import SCORES, marginal_slopes

__all__ = ["dose_correlation", "marginal_scan", "scan_bytes"]

Array = NDArray[np.float64]

FEATURES = 2048
"""Features whose changes are held at once, where the errors' covariance is not kept among all traits."""

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
    F, O, J = len(panel.feature_names), len(panel.outcome_names), panel.doses.shape[1]
    T = F + O
    if candidates is None:
        among = np.arange(F if J * T * T <= WHOLE else 0)
    else:
        among = checked_numbers_of(candidates, "candidates", panel.feature_names, least=0)
    outcomes = np.arange(F, T)
    kept = np.concatenate([among, outcomes])
    whole = len(kept) == T
    if whole:
        beta, se, errors, dof, change = _slopes(chosen, factorial, covariance)
    else:
        beta, se, errors, dof, change = _slopes_in_blocks(chosen, factorial, covariance)
    full = errors if whole else None
    if len(among) and not whole:
        full = _slopes(chosen.of_features(among), factorial, covariance)[2]
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


def _slopes(
    panel: Panel, factorial: bool, covariance: str, against_outcomes: bool = False
) -> tuple[Array, Array, Array, Array, Changes]:
    """`marginal_slopes` of all features and outcomes of a panel, and the changes that they are of."""
    change = panel.deviations() if factorial else panel.changes()
    traits = np.concatenate([change.features, change.outcomes], axis=1)
    values = np.concatenate([np.asarray(panel.features), np.asarray(panel.outcomes)], axis=1)
    traits[:, ~changes_beyond_rounding(traits, values)] = 0.0
    against = np.arange(change.features.shape[1], traits.shape[1]) if against_outcomes else None
    return *marginal_slopes(change.doses, traits, change.family, covariance, against), change


def _slopes_in_blocks(
    panel: Panel, factorial: bool, covariance: str
) -> tuple[Array, Array, Array, Array, Changes]:
    """The same, error covariance with the outcomes only, of some features after the other: their changes in double
    precision are several times the memory of the panel."""
    F, O = len(panel.feature_names), len(panel.outcome_names)
    found: list[tuple[Array, Array, Array]] = []
    for first in range(0, F, FEATURES):
        last = min(first + FEATURES, F)
        part = panel.of_features(np.arange(first, last))
        beta, se, errors, dof, change = _slopes(part, factorial, covariance, against_outcomes=True)
        count = last - first + (O if last == F else 0)
        found.append((beta[:count], se[:count], errors[:, :count]))
    beta, se = (np.concatenate([f[i] for f in found]) for i in (0, 1))
    return beta, se, np.concatenate([f[2] for f in found], axis=1), dof, change


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
