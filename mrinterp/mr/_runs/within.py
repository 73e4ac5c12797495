"""The within regression on the cut: outcome change on the changes of features and bypass together."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.checks import (
    checked_choice,
    checked_count,
    checked_draws,
    checked_number,
    checked_seed,
    shown,
)
from mrinterp.core.errors import InputError
from mrinterp.core.panel import Changes, Panel
from mrinterp.core.shown import counted
from mrinterp.mr._engine.registry import estimator
from mrinterp.mr._runs.run_level import run_data
from mrinterp.results._estimates import Estimates
from mrinterp.stats.clustered.least_squares import clustered_least_squares, families_of

__all__ = ["rank_path", "within", "within_partialled"]

Array = NDArray[np.float64]

REFERENCE = (
    "Wooldridge 2010, Econometric Analysis of Cross Section and Panel Data, chapter 10;"
    " within-family MR: Brumpton et al. 2020, 10.1038/s41467-020-17117-4"
)
ASSUMES = (
    "every path from the perturbation to the outcome runs through the cut",
    "what of the cut is neither feature nor bypass component does not move with the features",
    "effects are linear over the size of the perturbation, and alike across prompts or unrelated to how far a prompt moves",
)


@estimator("within", "within regression", kind="run", assumes=ASSUMES, reference=REFERENCE)
def within(
    panel: Panel,
    rank: int | None = None,
    covariance: str = "CR3",
    weights: str = "runs",
    draws: int = 200,
    seed: int = 0,
) -> Estimates:
    """Effects of all features on all outcomes, jointly, the bypass held fixed.

    Parameters
    ----------
    panel : Panel
        Perturbed runs with the clean run of their prompt, or several runs per prompt.
    rank : int, optional
        Bypass components to adjust for; default the panel's chosen rank.
    covariance : {"CR3", "CR1", "bootstrap"}
        Errors clustered by family; ``bootstrap`` resamples families.
    weights : {"runs", "prompts"}
        ``runs``: least squares as it is, prompts weigh by how far they moved. ``prompts``: every
        prompt's changes are scaled to the same total size, so that prompts weigh alike.
    draws, seed : int
        Of the family bootstrap.

    Returns
    -------
    Estimates
        ``n_instruments`` counts the runs. ``details``: ``partial_variance`` (share of the feature's
        change that the other columns leave), ``columns``, ``families``, ``leverage_max``.

    Raises
    ------
    InputError
        If there are fewer than two families, or not more runs than columns.

    Notes
    -----
    Not valid where the cut is incomplete (a path from input to outcome that avoids it): in simulation
    type-I error is .04 to .08 (Monte-Carlo error .02) while the cut is complete, and .64 to .82 where doses act around
    it or paths beside the features are not listed (``benchmarks/results/mr_simulations.md``). Also
    optimistic where d/N is large under CR1. Features whose changes are copies of each other are one
    exposure under several names: they are merged, and each reports the effect of the set; of features that are sums
    of others none has an effect of its own (``meta["dependent_sets"]``).

    Source: the within (first-difference) estimator of panel econometrics; equal to two-stage least
    squares with every run its own instrument. CR3: Bell & McCaffrey 2002.

    Examples
    --------
    >>> import mrinterp
    >>> found = mrinterp.mr.within(mrinterp.worlds.linear_world(0).panel)
    >>> round(float(found["cause", "y"].beta), 1), round(float(found["twin", "y"].beta), 1)
    (1.0, 0.0)
    """
    checked_choice(weights, "weights", ("runs", "prompts"))
    checked_choice(covariance, "covariance", ("CR3", "CR1", "bootstrap"))
    draws, seed = checked_draws(draws), checked_seed(seed)
    data = run_data(panel, rank)
    change = data.change
    Z, Y = np.concatenate([data.X, data.R], axis=1), data.Y
    _check_identified(Z, change)
    if weights == "prompts":
        w = _prompt_weights(change)
        Z, Y = Z * w, Y * w
    p, r = data.X.shape[1], data.R.shape[1]
    fit = clustered_least_squares(
        Z, Y, change.family, p, "CR1" if covariance == "CR1" else "CR3", change.absorbed
    )
    se = _bootstrap_se(Z, Y, change.family, p, draws, seed) if covariance == "bootstrap" else fit.se
    return data.estimates(
        "within",
        f"within regression, bypass rank {r}",
        fit.beta,
        se,
        df=fit.df,
        count=fit.runs,
        counted="runs",
        partial=fit.partial_variance,
        details={"columns": fit.columns, "leverage_max": fit.leverage_max},
        meta={
            "rank": r,
            "covariance": covariance,
            "weights": weights,
            "absorbed": change.absorbed,
            "seed": seed,
            "draws": draws,
        },
    )


@estimator(
    "within_partialled",
    "within regression, bypass shrunk and partialled out",
    kind="run",
    assumes=ASSUMES,
    reference="Chernozhukov et al. 2018, 10.1111/ectj.12097",
)
def within_partialled(
    panel: Panel, rank: int | None = None, folds: int = 5, ridge: float | None = None
) -> Estimates:
    """The within regression with a shrunk bypass: ridge predictions of outcome and features, cross-fitted.

    Parameters
    ----------
    panel : Panel
        Perturbed runs with the clean run of their prompt, or several runs per prompt.
    rank : int, optional
        Bypass components; here it may be all the panel holds, since they are shrunk.
    folds : int
        Families are divided into folds; predictions for a fold come from the others.
    ridge : float, optional
        Penalty in units of the mean eigenvalue of the bypass Gram matrix; by default chosen by
        out-of-fold error of the outcome among a fixed grid.

    Returns
    -------
    Estimates
        (F, O), all features jointly; ``n_instruments`` counts the runs.

    Raises
    ------
    InputError
        With fewer families than folds.

    Notes
    -----
    Residuals of the outcome are regressed on residuals of the features (both out of fold), CR3 by
    family. Neyman-orthogonal: errors of the two predictions enter only as a product, so shrinkage
    does not bias the effect to first order. Not valid when the bypass predicts the features almost
    perfectly (see ``partial_variance``).

    Examples
    --------
    >>> import mrinterp
    >>> found = mrinterp.mr.within_partialled(mrinterp.worlds.linear_world(0).panel)
    >>> round(float(found["cause", "y"].beta), 1)
    1.0
    """
    folds = checked_count(folds, "folds", least=2)
    if ridge is not None:
        checked_number(ridge, "ridge", least=0)
    data = run_data(panel, rank)
    codes, names = families_of(data.change.family)
    if len(names) < folds:
        raise InputError("folds", f"{folds} for {len(names)} families", "Ask for at most one fold per family")
    fold = codes % folds
    targets = np.concatenate([data.Y, data.X], axis=1)
    O = data.Y.shape[1]
    grid = [ridge] if ridge is not None else [1e-3, 1e-2, 1e-1, 1.0]
    candidates = [_out_of_fold(data.R, targets, fold, folds, g) for g in grid]
    errors = [float((c[:, :O] ** 2).sum()) for c in candidates]
    best = int(np.argmin(errors))
    rest = candidates[best]
    fit = clustered_least_squares(rest[:, O:], rest[:, :O], data.change.family, data.X.shape[1], "CR3")
    left = (rest[:, O:] ** 2).sum(axis=0) / np.maximum((data.X**2).sum(axis=0), 1e-300)
    return data.estimates(
        "within_partialled",
        f"within regression, {data.R.shape[1]} bypass components shrunk and partialled out",
        fit.beta,
        fit.se,
        df=fit.df,
        count=fit.runs,
        counted="runs",
        partial=fit.partial_variance * np.minimum(left, 1.0),
        meta={"rank": data.R.shape[1], "ridge": grid[best], "folds": folds},
    )


def rank_path(panel: Panel, ranks: list[int], covariance: str = "CR3") -> pd.DataFrame:
    """Estimate and interval of every feature at every bypass rank; always shown beside the primary.

    Parameters
    ----------
    panel : Panel
        Perturbed runs with the clean run of their prompt, or several runs per prompt.
    ranks : list of int
        Numbers of bypass components to adjust for.
    covariance : {"CR3", "CR1", "bootstrap"}
        Errors clustered by family, as in `within`.

    Returns
    -------
    DataFrame
        ``rank`` and the columns of `Estimates.to_frame`.

    Raises
    ------
    InputError
        As `within`.

    Notes
    -----
    A path that still moves at the largest rank says that the cut is not complete: the estimate is then *not
    valid* as the effect of the feature alone.

    Examples
    --------
    >>> import mrinterp
    >>> path = mrinterp.mr.rank_path(mrinterp.worlds.linear_world(0).panel, [0, 3])
    >>> path.groupby("rank")["estimate"].max().round(1).to_dict()
    {0: 1.4, 3: 1.0}
    """
    if not np.iterable(ranks) or isinstance(ranks, str):
        raise InputError("ranks", shown(ranks), "Give a list of ranks, such as [0, 3]")
    frames = []
    for rank in counted(list(ranks), "rank path", "rank"):
        frame = within(panel, rank, covariance).to_frame()
        frame.insert(0, "rank", rank)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _out_of_fold(R: Array, targets: Array, fold: NDArray[np.int_], folds: int, ridge: float) -> Array:
    """Residuals of the targets after ridge predictions from the other folds' runs."""
    if not R.shape[1]:
        return targets
    out = np.empty_like(targets)
    grams = [R[fold == k].T @ R[fold == k] for k in range(folds)]
    crosses = [R[fold == k].T @ targets[fold == k] for k in range(folds)]
    gram, cross = sum(grams), sum(crosses)
    for k in range(folds):
        G = gram - grams[k]
        penalty = ridge * np.trace(G) / len(G)
        coefficients = np.linalg.solve(G + penalty * np.eye(len(G)), cross - crosses[k])
        out[fold == k] = targets[fold == k] - R[fold == k] @ coefficients
    return out


def _check_identified(Z: Array, change: Changes) -> None:
    N, d = Z.shape
    if d + change.absorbed >= N:
        features = change.features.shape[1]
        bare = min(features, d) + change.absorbed
        fix = "Add runs" if bare >= N else f"Lower the bypass rank to at most {N - 1 - bare}, or add runs"
        raise InputError(
            "panel", f"{N} perturbed runs for {d} columns and {change.absorbed} prompt means", fix
        )


def _prompt_weights(change: Changes) -> Array:
    _, codes = np.unique(change.prompt, return_inverse=True)
    size = np.bincount(codes, weights=(change.features**2).sum(axis=1))
    size = np.where(size > 0, size, np.inf)
    return np.asarray(np.sqrt(np.median(size) / size[codes])[:, None])


def _bootstrap_se(Z: Array, Y: Array, family: NDArray, p: int, draws: int, seed: int) -> Array:
    """Standard deviation over draws of families with replacement."""
    codes, names = families_of(family)
    C, d, O = len(names), Z.shape[1], Y.shape[1]
    gram = np.empty((C, d, d))
    cross = np.empty((C, d, O))
    for c in range(C):
        rows = codes == c
        gram[c], cross[c] = Z[rows].T @ Z[rows], Z[rows].T @ Y[rows]
    rng = np.random.default_rng(seed)
    out = np.empty((draws, p, O))
    flat = gram.reshape(C, -1)
    for b in range(draws):
        count = np.bincount(rng.integers(0, C, C), minlength=C).astype(float)
        G = (count @ flat).reshape(d, d)
        out[b] = np.linalg.lstsq(G, np.einsum("c,cdo->do", count, cross), rcond=1e-12)[0][:p]
    return np.asarray(out.std(axis=0, ddof=1))
