"""The observational slope: what one gets by regressing the outcome on the feature across sentences."""

from __future__ import annotations

import numpy as np

from mrinterp.core.checks import checked_type
from mrinterp.core.errors import InputError
from mrinterp.core.panel import Panel
from mrinterp.mr._engine.registry import estimator
from mrinterp.results._estimates import Estimates
from mrinterp.stats.clustered.dependence import changes_beyond_rounding
from mrinterp.stats.clustered.least_squares import families_of

__all__ = ["observational"]


ASSUMES = ("nothing else differs between sentences in which the feature differs (it does)",)


@estimator(
    "observational", "observational slope", kind="run", assumes=ASSUMES, reference="ordinary least squares"
)
def observational(panel: Panel) -> Estimates:
    """Slope of each outcome on each feature over the unperturbed runs, errors clustered by family.

    Parameters
    ----------
    panel : Panel
        Its clean runs are used; all runs where there are none.

    Returns
    -------
    Estimates
        (F, O), one feature at a time; ``n_instruments`` counts the runs.

    Raises
    ------
    InputError
        With fewer than two families.

    Notes
    -----
    Confounded by construction: it is shown as the first rung of the ladder, not as an effect.
    Simple regression with intercept, one feature at a time; CR1, t on C - 1.
    Never valid as an effect where anything else differs between sentences in which the feature differs.

    Examples
    --------
    >>> import mrinterp
    >>> found = mrinterp.mr.observational(mrinterp.worlds.linear_world(0).panel)
    >>> found.beta.shape
    (5, 1)
    """
    checked_type(panel, "panel", Panel, "mrinterp.from_arrays makes one of arrays")
    chosen = panel.clean() if (panel.runs["kind"] == "clean").any() else panel
    x = np.asarray(chosen.features, dtype=float)
    y = np.asarray(chosen.outcomes, dtype=float)
    codes, names = families_of(chosen.runs["family"].to_numpy())
    C, N = len(names), len(x)
    if C < 2:
        raise InputError("family", f"{C} family", "Errors are clustered by family: give at least 2")
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    sxx = (x**2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        beta = (x.T @ y) / sxx[:, None]
    score_xy = np.zeros((C, x.shape[1], y.shape[1]))
    score_xx = np.zeros((C, x.shape[1]))
    np.add.at(score_xy, codes, x[:, :, None] * y[:, None, :])
    np.add.at(score_xx, codes, x**2)
    score = score_xy - score_xx[:, :, None] * beta
    with np.errstate(divide="ignore", invalid="ignore"):
        se = np.sqrt((score**2).sum(axis=0) * C / (C - 1) * (N - 1) / (N - 2)) / sxx[:, None]
    status = np.full(beta.shape, "ok", dtype=object)
    still = ~changes_beyond_rounding(x, np.asarray(chosen.features, dtype=float))
    flat = ~changes_beyond_rounding(y, np.asarray(chosen.outcomes, dtype=float))
    status[still] = "the feature does not vary over these sentences"
    status[:, flat] = "not applicable: the outcome does not vary over these sentences"
    beta[still], se[still], beta[:, flat], se[:, flat] = np.nan, np.nan, np.nan, np.nan
    return Estimates(
        method="observational",
        label="observational slope",
        exposures=panel.feature_names,
        outcomes=panel.outcome_names,
        beta=beta,
        se=se,
        status=status,
        n_instruments=np.full(beta.shape, N),
        df=np.full(beta.shape, float(C - 1)),
        assumes=ASSUMES,
        reference="",
        unit=f"{panel.units['outcome']} per {panel.units['feature']}",
        meta={"counted": "runs"},
    )
