"""The marginal screen: effect of every instrument on every trait, from a Panel."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.core.panel import Panel
from mrinterp.core.sumstats import SumStats
from mrinterp.stats.clustered.least_squares import marginal_slopes

__all__ = ["marginal_scan"]


def marginal_scan(
    panel: Panel, kind: str | None = None, factorial: bool = True, covariance: str = "CR3"
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

    Returns
    -------
    SumStats
        Effects and errors of J instruments on F features and O outcomes, with their degrees of freedom.

    Raises
    ------
    InputError
        For an unknown kind of covariance.

    Notes
    -----
    An effect over its error follows t on ``dof`` degrees of freedom, not the normal distribution:
    with 40 families its mean square is 39/37, not 1. Estimators that take errors as known
    inherit that: it hardly matters with 40 families and matters with 10.

    Examples
    --------
    >>> from mrinterp.scan import marginal_scan
    >>> from mrinterp.worlds import linear_world
    >>> summary = marginal_scan(linear_world(seed=0).panel)
    >>> summary.beta.shape, summary.traits["trait"].tolist()
    ((6, 24), ['cause', 'twin', 'silent', 'bystander', 'copy', 'y'])
    """
    if covariance not in ("CR1", "CR3"):
        raise InputError("covariance", f"{covariance!r}", "Use 'CR3' or 'CR1'")
    chosen = panel if kind is None else panel.select(kinds=(kind,))
    change = chosen.deviations() if factorial else chosen.changes()
    traits = np.concatenate([change.features, change.outcomes], axis=1)
    beta, se, errors, dof = marginal_slopes(change.doses, traits, change.family, covariance)
    names = [*panel.feature_names, *panel.outcome_names]
    role = ["feature"] * len(panel.feature_names) + ["outcome"] * len(panel.outcome_names)
    labels = [*panel.labels, *[""] * len(panel.outcome_names)]
    return SumStats(
        beta=beta,
        se=se,
        traits=pd.DataFrame({"trait": names, "role": role, "label": labels}),
        instruments=panel.instruments,
        dof=dof,
        clusters=chosen.families,
        error_cov=errors,
        meta={
            "kind": kind or "all",
            "design": "paired",
            "runs": len(change.prompt),
            "covariance": covariance,
        },
        ld=_dose_correlation(change.doses),
    )


def _dose_correlation(doses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation (J, J) of dose changes; nan for doses that do not vary."""
    gram = doses.T @ doses
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1.0 / np.sqrt(np.diag(gram))
        correlation = gram * scale[:, None] * scale[None, :]
    correlation[~np.isfinite(correlation)] = np.nan
    np.fill_diagonal(correlation, np.where(np.isfinite(np.diag(correlation)), 1.0, np.nan))
    return np.asarray(correlation)
