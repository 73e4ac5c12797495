"""Jackknife instrumental variables: first-stage fits that leave the run itself out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.panel import Panel
from mrinterp.mr._engine.registry import estimator
from mrinterp.mr._runs.run_iv import carried_rank
from mrinterp.mr._runs.run_level import RunData, run_data
from mrinterp.results._estimates import Estimates
from mrinterp.stats.clustered.least_squares import families_of

__all__ = ["jive", "ujive"]

Array = NDArray[np.float64]

ASSUMES = (
    "the doses act on the outcome only through the features and the bypass components listed",
    "runs other than the run itself predict its exposures (many weak instruments are allowed)",
)


@estimator(
    "jive",
    "jackknife instrumental variables",
    kind="run",
    assumes=ASSUMES,
    reference="Angrist, Imbens & Krueger 1999, 10.1002/(SICI)1099-1255(199901/02)14:1<57::AID-JAE501>3.0.CO;2-G",
)
def jive(panel: Panel, rank: int | None = None) -> Estimates:
    """JIVE1 on changes against the clean run; errors clustered by family.

    Parameters
    ----------
    panel : Panel
        Perturbed runs with the clean run of their prompt, or several runs per prompt.
    rank : int, optional
        Bypass components; lowered to what the doses can identify (the status says so).

    Returns
    -------
    Estimates
        (F, O), every feature given the others; ``n_instruments`` counts the doses.

    Raises
    ------
    InputError
        With fewer doses that vary than features and five.

    Notes
    -----
    xhat_i = ((P x)_i - h_i x_i) / (1 - h_i) with P the projection on the doses; theta = (Xhat'X)^-1
    Xhat'y. Takes away the bias that two-stage least squares has towards least squares with many
    weak doses, at the price of a larger error. Not valid where doses act around the cut.

    Examples
    --------
    >>> import mrinterp
    >>> found = mrinterp.mr.jive(mrinterp.worlds.linear_world(0).panel)
    >>> round(float(found["cause", "y"].beta), 1)
    1.0
    """
    return _jackknife("jive", panel, rank, unbiased=False)


@estimator(
    "ujive",
    "unbiased jackknife instrumental variables",
    kind="run",
    assumes=ASSUMES,
    reference="Kolesar 2013, Estimation in an instrumental variables model with treatment effect heterogeneity",
)
def ujive(panel: Panel, rank: int | None = None) -> Estimates:
    """UJIVE with prompt effects as covariates: both projections leave the run itself out.

    Parameters
    ----------
    panel : Panel
        Perturbed runs with the clean run of their prompt, or several runs per prompt.
    rank : int, optional
        Bypass components; lowered to what the doses can identify (the status says so).

    Returns
    -------
    Estimates
        (F, O), every feature given the others; ``n_instruments`` counts the doses.

    Raises
    ------
    InputError
        With fewer doses that vary than features and five.

    Notes
    -----
    xhat_i = ((P_ZW x)_i - h^ZW_i x_i)/(1 - h^ZW_i) - ((P_W x)_i - h^W_i x_i)/(1 - h^W_i), W the
    prompt dummies of the perturbed runs. Not defined for prompts with a single perturbed run, which
    weigh nothing.

    Examples
    --------
    >>> import mrinterp
    >>> found = mrinterp.mr.ujive(mrinterp.worlds.linear_world(0).panel)
    >>> round(float(found["cause", "y"].beta), 1)
    1.0
    """
    return _jackknife("ujive", panel, rank, unbiased=True)


def _jackknife(method: str, panel: Panel, rank: int | None, unbiased: bool) -> Estimates:
    data = run_data(panel, rank, deviations=unbiased)
    Z = data.doses()
    Y = data.Y
    J = int(np.linalg.matrix_rank(Z.T @ Z)) if Z.shape[1] else 0
    data, note = carried_rank(data, J)
    left = data.partial_variance()
    data = data.full_rank()
    X = np.concatenate([data.X, data.R], axis=1)
    p, C = data.X.shape[1], data.families
    values, vectors = np.linalg.eigh(Z.T @ Z)
    keep = values > values[-1] * 1e-11
    root = Z @ (vectors[:, keep] / np.sqrt(values[keep]))
    h = np.einsum("nj,nj->n", root, root)
    fitted = root @ (root.T @ X)
    if unbiased:
        # X is centered on prompt means; adding 1/n_p to the leverage is the projection on the dummies.
        _, codes = np.unique(data.change.prompt, return_inverse=True)
        share = 1.0 / np.bincount(codes)[codes]
        first = _leave_out(fitted, X, h + share)
        second = _leave_out(np.zeros_like(X), X, share)
        instrument = first - second
        # The moment takes levels: a prompt mean holds the other runs, which the fit has seen.
        X, Y = _levels(panel, data)
    else:
        instrument = _leave_out(fitted, X, h)
    cross = instrument.T @ X
    theta = np.linalg.solve(cross, instrument.T @ Y)
    residual = Y - X @ theta
    bread = np.linalg.inv(cross)[:p]
    codes, _ = families_of(data.change.family)
    scores = np.zeros((C, p, Y.shape[1]))
    np.add.at(scores, codes, (instrument @ bread.T)[:, :, None] * residual[:, None, :])
    N, d = X.shape
    small = C / (C - 1) * (N - 1) / max(N - d - data.change.absorbed, 1)
    return data.estimates(
        method,
        f"{method.upper()} on {J} doses, bypass rank {data.R.shape[1]}",
        theta[:p],
        np.sqrt((scores**2).sum(axis=0) * small),
        df=float(C - 1),
        count=J,
        counted="instruments",
        note=note,
        partial=left,
        meta={"rank": data.R.shape[1], "instruments": J, "covariance": "CR1"},
    )


def _levels(panel: Panel, data: RunData) -> tuple[Array, Array]:
    """Features with bypass, and outcomes, of the perturbed runs: against the clean run where there is
    one (a constant per prompt, as the dummies are), else as they are."""
    if (panel.runs["kind"] == "clean").any():
        change = panel.changes()
        return np.concatenate(
            [change.features[:, data.columns], change.bypass[:, data.carried]], axis=1
        ), change.outcomes
    parts = [
        np.asarray(panel.features, float)[:, data.columns],
        np.asarray(panel.bypass, float)[:, data.carried],
    ]
    return np.concatenate(parts, axis=1), np.asarray(panel.outcomes, float)


def _leave_out(fitted: Array, X: Array, leverage: Array) -> Array:
    """Fits without the run's own value; runs that determine their own fit weigh nothing."""
    alone = leverage > 1 - 1e-10
    room = np.where(alone, 1.0, 1 - leverage)[:, None]
    return np.where(alone[:, None], 0.0, (fitted - leverage[:, None] * X) / room)
