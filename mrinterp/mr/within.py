"""The within regression on the cut: outcome change on the changes of features and bypass together."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.core.estimates import Estimates
from mrinterp.core.panel import Changes, Panel
from mrinterp.stats.clustered import clustered_least_squares, families_of

__all__ = ["REFERENCE", "aliased_sets", "rank_path", "within"]

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
MIN_PARTIAL_VARIANCE = 1e-4


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
    Not valid where the cut is incomplete (a path from input to outcome that avoids it), and
    optimistic where d/N is large under CR1. Features whose changes are copies of each other are one
    exposure under several names: they are merged, and each reports the effect of the set.

    Source: the within (first-difference) estimator of panel econometrics; equal to two-stage least
    squares with every run its own instrument. CR3: Bell & McCaffrey 2002.
    """
    change = panel.changes()
    r = panel.rank if rank is None else rank
    if r > change.bypass.shape[1]:
        raise InputError("rank", f"{r}, the panel holds {change.bypass.shape[1]} bypass components", "Ask for fewer")
    sets = aliased_sets(change.features)
    representative = [s[0] for s in sets]
    Z = np.concatenate([change.features[:, representative], change.bypass[:, :r]], axis=1)
    _check_identified(Z, change)
    Y = change.outcomes
    if weights == "prompts":
        w = _prompt_weights(change)
        Z, Y = Z * w, Y * w
    elif weights != "runs":
        raise InputError("weights", f"{weights!r}", "Use 'runs' or 'prompts'")
    p = len(sets)
    kind = "CR3" if covariance == "bootstrap" else covariance
    fit = clustered_least_squares(Z, Y, change.family, p, kind, change.absorbed)
    se = _bootstrap_se(Z, Y, change.family, p, draws, seed) if covariance == "bootstrap" else fit.se
    position = {f: k for k, s in enumerate(sets) for f in s}
    index = np.array([position[f] for f in range(change.features.shape[1])])
    beta, se, partial = fit.beta[index], se[index], fit.partial_variance[index]
    status = _status(panel, sets, index, partial)
    blocked = partial < MIN_PARTIAL_VARIANCE
    beta, se = np.where(blocked[:, None], np.nan, beta), np.where(blocked[:, None], np.nan, se)
    shape = beta.shape
    details = {
        "partial_variance": np.broadcast_to(partial[:, None], shape),
        "columns": np.full(shape, fit.columns),
        "families": np.full(shape, fit.families),
        "leverage_max": np.full(shape, fit.leverage_max),
    }
    return Estimates(
        "within",
        f"within regression, bypass rank {r}",
        panel.feature_names,
        panel.outcome_names,
        beta,
        se,
        np.broadcast_to(status[:, None], shape),
        np.full(shape, fit.runs),
        df=np.full(shape, fit.df),
        details=details,
        assumes=ASSUMES,
        reference=REFERENCE,
        unit=f"{panel.units['outcome']} per {panel.units['feature']}",
        meta={"counted": "runs", "rank": r, "covariance": covariance, "weights": weights, "absorbed": change.absorbed, "seed": seed, "draws": draws},
    )


def rank_path(panel: Panel, ranks: list[int], covariance: str = "CR3") -> pd.DataFrame:
    """Estimate and interval of every feature at every bypass rank; always shown beside the primary.

    Returns
    -------
    DataFrame
        ``rank`` and the columns of `Estimates.to_frame`.
    """
    frames = []
    for rank in ranks:
        frame = within(panel, rank, covariance).to_frame()
        frame.insert(0, "rank", rank)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def aliased_sets(features: Array, tolerance: float = 1e-9) -> list[list[int]]:
    """Groups of columns that are copies of each other up to scale and sign, first column first."""
    norm = np.sqrt((features**2).sum(axis=0))
    unit = features / np.where(norm > 0, norm, 1.0)
    alike = np.abs(np.abs(unit.T @ unit) - 1.0) < tolerance
    sets: list[list[int]] = []
    taken: set[int] = set()
    for f in range(features.shape[1]):
        if f in taken:
            continue
        # A copy on another scale is another exposure unit; only same-unit copies share an effect.
        members = [g for g in np.flatnonzero(alike[f]).tolist() if np.allclose(features[:, g], features[:, f], rtol=1e-6, atol=0)]
        members = members or [f]
        sets.append(members)
        taken.update(members)
    return sets


def _check_identified(Z: Array, change: Changes) -> None:
    _, names = families_of(change.family)
    if len(names) < 2:
        raise InputError("family", f"{len(names)} family", "Errors are clustered by family: give at least 2 (40 for default inference)")
    N, d = Z.shape
    if d + change.absorbed >= N:
        raise InputError("panel", f"{N} perturbed runs for {d} columns and {change.absorbed} prompt means", "Add runs, or lower the bypass rank")


def _prompt_weights(change: Changes) -> Array:
    _, codes = np.unique(change.prompt, return_inverse=True)
    size = np.bincount(codes, weights=(change.features**2).sum(axis=1))
    size = np.where(size > 0, size, np.inf)
    return np.asarray(np.sqrt(np.median(size) / size[codes])[:, None])


def _status(panel: Panel, sets: list[list[int]], index: NDArray[np.int_], partial: Array) -> NDArray[np.object_]:
    out = np.full(len(index), "ok", dtype=object)
    for f, k in enumerate(index):
        if len(sets[k]) > 1:
            others = ", ".join(panel.feature_names[g] for g in sets[k] if g != f)
            out[f] = f"the data cannot tell it from {others}: this is the effect of the set"
        if partial[f] < MIN_PARTIAL_VARIANCE:
            out[f] = (
                f"not identified: the other columns explain all but {partial[f]:.1e} of its change;"
                " drop a near copy or lower the bypass rank"
            )
    return out


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

