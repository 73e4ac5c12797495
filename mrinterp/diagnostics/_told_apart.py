"""Is it this feature, or one that is active together with it? A sum of single effects over the features of a panel."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.coloc._finemap import finemap_sufficient
from mrinterp.coloc._susie_fit import SusieOptions
from mrinterp.core.panel import Panel
from mrinterp.mr._runs.run_level import run_data
from mrinterp.results._check import NotApplicable
from mrinterp.results._fine_mapping import FineMapping
from mrinterp.stats.clustered.least_squares import clustered_least_squares, families_of

__all__ = ["told_apart"]

Array = NDArray[np.float64]

NAME = "which of the features that are active together"
MOST = 2000
"""Features beyond which no joint fit is tried: their products alone take F * F numbers."""
MOST_CAUSES = 40
"""Effects that the fit may hold, at most; with as many causes as that nothing is said of the others."""
LEFT = 1e-4
"""Share of the outcome's variance that counts as unexplained beside what is: without it, a network without noise is fitted exactly,
and the fit never ends."""
CARRIES, COMPANY = 0.9, 0.5
"""Posterior probability of one that carries an effect; correlation of changes from which features are company."""


def told_apart(panel: Panel, rank: int | None = None) -> pd.DataFrame | NotApplicable:
    """Posterior probability that each feature has an effect of its own, given all others and the bypass.

    Parameters
    ----------
    panel : Panel
        Perturbed runs with the clean run of their prompt, or several runs per prompt.
    rank : int, optional
        Bypass components to adjust for; default the panel's chosen rank.

    Returns
    -------
    DataFrame or NotApplicable
        ``feature, outcome, pip`` (posterior inclusion probability), ``set`` (size of the smallest 95% set that holds it and one
        cause, 0 for none), ``company`` (a feature of posterior .9 whose changes correlate at least .5 with its own, or "") and
        ``company_pip``. Features that do not change, or that others determine, have none (nan).

    Notes
    -----
    A sum of single effects (SuSiE) on the cross-products of the within-prompt changes, the bypass taken out of both sides. Runs of
    one family resemble each other: cross-products and number of runs are divided by the median ratio of the family-clustered to
    the plain variance of the joint estimates, where that is above 1. Not valid where more than 40 features are causes (nothing
    is then said: ``status``), nor of effects that are not linear: what a knockout does far from the clean value is not asked here.

    Source: Wang et al. 2020, 10.1111/rssb.12388; on exposures in place of variants, Zuber et al. 2020, 10.1038/s41467-019-13870-3.

    Examples
    --------
    >>> import mrinterp
    >>> world = mrinterp.worlds.linear_world(0)
    >>> found = mrinterp.diagnostics.told_apart(world.panel).set_index("feature")["pip"]
    >>> bool(found["cause"] > 0.9), bool(found["twin"] < 0.1)
    (True, True)
    """
    if len(panel.feature_names) > MOST:
        return NotApplicable(f"more than {MOST} features are held against one another", NAME)
    data = run_data(panel, rank)
    if not len(data.columns) or data.flat.all():
        return NotApplicable("no feature, or no outcome, changes in these runs", NAME)
    Z = np.concatenate([data.X, data.R], axis=1)
    runs, held = len(Z) - data.change.absorbed, Z.shape[1]
    if runs <= held + 2 or len(families_of(data.change.family)[1]) < 2:
        return NotApplicable(f"{runs} runs for {held} columns, or fewer than two families", NAME)
    live = np.flatnonzero(~data.flat)
    X, Y = (_without(part, data.R) for part in (data.X, data.Y[:, live]))
    fat = _design_effect(Z, data.Y[:, live], data.change.family, data.X.shape[1], data.change.absorbed)
    size = np.maximum((runs - data.R.shape[1]) / fat, 3.0)
    options = SusieOptions(max_effects=min(MOST_CAUSES, X.shape[1]), min_abs_corr=COMPANY, max_iter=1000)
    names = [panel.feature_names[c] for c in data.columns]
    made = [
        finemap_sufficient(
            X.T @ X / fat[o], Y[:, o] @ X / fat[o], (1 + LEFT) * (Y[:, o] @ Y[:, o]) / fat[o], size[o], traits=["it"],
            instruments=names, options=options,
        )
        for o in range(len(live))
    ]  # fmt: skip
    return _table(panel, data.columns, live, made, _correlation(X))


def _without(part: Array, bypass: Array) -> Array:
    """What the bypass leaves of some columns."""
    if not bypass.shape[1]:
        return part
    return np.asarray(part - bypass @ np.linalg.lstsq(bypass, part, rcond=None)[0])


def _design_effect(Z: Array, Y: Array, family: NDArray[np.int_], p: int, absorbed: int) -> Array:
    """How much larger the variance of joint estimates is by family than run by run, per outcome; 1 at least."""
    fit = clustered_least_squares(Z, Y, family, p, "CR1", absorbed)
    inverse = np.linalg.pinv(Z.T @ Z)
    beta = inverse @ (Z.T @ Y)
    spread = ((Y - Z @ beta) ** 2).sum(axis=0) / max(len(Z) - absorbed - Z.shape[1], 1)
    plain = np.sqrt(np.maximum(np.diag(inverse)[:p, None] * spread, np.finfo(float).tiny))
    return np.maximum(np.nan_to_num(np.nanmedian((fit.se / plain) ** 2, axis=0), nan=1.0), 1.0)


def _correlation(X: Array) -> Array:
    """Correlation of the features' changes, which have mean zero by their design."""
    size = np.sqrt((X**2).sum(axis=0))
    return np.asarray(X.T @ X / np.outer(size, size))


def _table(
    panel: Panel, columns: NDArray[np.int_], live: NDArray[np.int_], made: list[FineMapping], alike: Array
) -> pd.DataFrame:
    """A row per feature and outcome, in the panel's order."""
    F, O = len(panel.feature_names), len(panel.outcome_names)
    pip, size = np.full((F, O), np.nan), np.zeros((F, O))
    company, its = np.full((F, O), "", dtype=object), np.full((F, O), np.nan)
    names = np.array(panel.feature_names, dtype=object)
    near = np.abs(alike) - 2.0 * np.eye(len(alike))  # nobody is company of itself
    for o, one in zip(live, made, strict=True):
        if not one.converged[0]:
            continue
        pip[columns, o] = one.pip[0]
        for found in one.sets[0]:
            for k in columns[list(found.positions)]:
                size[k, o] = min(size[k, o] or np.inf, len(found.members))
        carries = np.where((near >= COMPANY) & (one.pip[0] >= CARRIES)[None, :], near, -1.0)
        best = carries.argmax(axis=1)
        there = carries[np.arange(len(best)), best] > 0
        company[columns[there], o] = names[columns[best[there]]]
        its[columns[there], o] = one.pip[0][best[there]]
    index = np.repeat(np.arange(F), O)
    return pd.DataFrame(
        {
            "feature": names[index],
            "outcome": np.tile(np.array(panel.outcome_names, dtype=object), F),
            "pip": pip.ravel(),
            "set": size.ravel().astype(int),
            "company": company.ravel(),
            "company_pip": its.ravel(),
        }
    )
