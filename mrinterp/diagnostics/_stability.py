"""Do estimates by instruments stay where they are? Outlying families and single kinds of perturbation left out, twice the bypass rank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.panel import Panel
from mrinterp.mr._runs.run_level import RunData, run_data
from mrinterp.results._check import NotApplicable
from mrinterp.stats.clustered.least_squares import families_of
from mrinterp.stats.tests.tails import critical_value

__all__ = ["stability"]

Array = NDArray[np.float64]

NAME = "stability of estimates by instruments"
OUTLYING = 3.0
"""Median absolute deviations (times 1.4826) by which the residuals of an outlying family exceed those of the others."""
LEAST = 1e-9
"""Share of an estimate that a change must exceed to be one."""
FEWEST = 2
"""Ways to adjust otherwise of which stability can be shown; leaving out outliers, of which there may be none, is one."""


@dataclass(frozen=True, eq=False)
class _Fit:
    """Joint estimates (p, O) and what every family adds to them (G, p, O); residuals (N, O)."""

    beta: Array
    added: Array
    left: Array


def stability(panel: Panel, rope: ArrayLike, rank: int | None = None) -> pd.DataFrame | NotApplicable:
    """How far joint estimates move when they are adjusted otherwise, with the errors of these changes.

    Parameters
    ----------
    panel : Panel
        Perturbed runs with the clean run of their prompt, or several runs per prompt.
    rope : float, or array (O,)
        Half width of the region of practical equivalence, in units of the estimates.
    rank : int, optional
        Bypass components to adjust for; default the panel's chosen rank.

    Returns
    -------
    DataFrame or NotApplicable
        ``feature, outcome``; ``stable``: there are two changes or more, and the 95% interval of
        each lies within the region; ``unstable``: one of them moves
        the estimate out of its own 95% interval; ``moved_most``: the largest change in words. Changes: families whose residuals
        are outlying left out, each kind of perturbation left out (where there are several), and twice the bypass rank (where the
        panel has as many components).

    Notes
    -----
    A change's error is that of the two fits' difference, family by family, by what each family adds to both (their influence): the
    two share their families. Not valid with few families (40 are asked for in a study), nor where a kind that is left out carried all
    of a feature's changes: that feature then has no estimate, and the change is not counted.

    Examples
    --------
    >>> import mrinterp
    >>> panel = mrinterp.worlds.linear_world(0).panel
    >>> found = mrinterp.diagnostics.stability(panel, rope=0.2).set_index("feature")
    >>> bool(found.loc["cause", "unstable"]), found.loc["cause", "moved_most"].split(" +")[0]
    (False, 'without outlying families')
    """
    data = run_data(panel, rank)
    codes, names = families_of(data.change.family)
    held = data.X.shape[1] + data.R.shape[1]
    if len(names) < 3 or len(data.X) <= 2 * held or not data.X.shape[1]:
        return NotApplicable(f"{len(data.X)} runs of {len(names)} families for {held} columns", NAME)
    first = _fit(data.X, data.R, data.Y, codes, len(names))
    changes = {"without outlying families": _without_outliers(data, first, codes, len(names))}
    kinds = np.unique(data.change.kind)
    for kind in kinds if len(kinds) > 1 else ():
        rows = np.flatnonzero(data.change.kind != kind)
        changes[f"without {kind}"] = _fit(data.X, data.R, data.Y, codes, len(names), rows)
    twice = min(2 * max(data.R.shape[1], 1), panel.bypass.shape[1])
    if twice > data.R.shape[1] and len(data.X) > 2 * (data.X.shape[1] + twice):
        more = run_data(panel, twice)
        changes[f"at bypass rank {twice}"] = _fit(data.X, more.R, data.Y, codes, len(names))
    return _table(data, first, changes, np.broadcast_to(np.asarray(rope, dtype=float), data.Y.shape[1:]))


def _fit(
    X: Array, R: Array, Y: Array, codes: NDArray[np.int_], families: int, rows: NDArray[np.int_] | None = None
) -> _Fit:
    """Least squares on some rows, and each family's part in the estimates (zero for families without rows)."""
    rows = np.arange(len(X)) if rows is None else rows
    Z, y, of = np.concatenate([X[rows], R[rows]], axis=1), Y[rows], codes[rows]
    size = np.sqrt((Z**2).sum(axis=0))
    unit = np.where(size > 0, size, 1.0)
    inverse = np.linalg.pinv((Z / unit).T @ (Z / unit), hermitian=True) / np.outer(unit, unit)
    beta = inverse @ (Z.T @ y)
    left = y - Z @ beta
    p, O = X.shape[1], Y.shape[1]
    added = np.zeros((families, p, O))
    weights = Z @ inverse[:, :p]
    for o in range(O):
        np.add.at(added[:, :, o], of, weights * left[:, [o]])
    beta = beta[:p].copy()
    beta[size[:p] == 0] = np.nan
    return _Fit(beta, added, left)


def _without_outliers(data: RunData, first: _Fit, codes: NDArray[np.int_], families: int) -> _Fit:
    """The fit of every outcome without the families whose residuals are far larger than those of most."""
    beta, added = first.beta.copy(), first.added.copy()
    count = np.maximum(np.bincount(codes, minlength=families), 1)
    for o in range(data.Y.shape[1]):
        size = np.sqrt(np.bincount(codes, first.left[:, o] ** 2, families) / count)
        middle = np.median(size)
        bound = middle + OUTLYING * 1.4826 * np.median(np.abs(size - middle))
        out = np.flatnonzero(size > bound)
        rows = np.flatnonzero(~np.isin(codes, out))
        if len(out) and len(rows) > 2 * (data.X.shape[1] + data.R.shape[1]):
            one = _fit(data.X, data.R, data.Y[:, [o]], codes, families, rows)
            beta[:, o], added[:, :, o] = one.beta[:, 0], one.added[:, :, 0]
    return _Fit(beta, added, first.left)


def _table(data: RunData, first: _Fit, changes: dict[str, _Fit], rope: Array) -> pd.DataFrame:
    """A row per feature that was fitted and outcome: the largest change, and whether all are within bounds."""
    G = len(first.added)
    t, factor = float(critical_value(0.95, G - 1)), G / (G - 1)
    own = t * np.sqrt(factor * (first.added**2).sum(axis=0))
    stable, unstable = np.ones(own.shape, dtype=bool), np.zeros(own.shape, dtype=bool)
    words, most = np.full(own.shape, "nothing could be left out", dtype=object), np.full(own.shape, -1.0)
    for name, other in changes.items():
        change = other.beta - first.beta
        half = t * np.sqrt(factor * ((other.added - first.added) ** 2).sum(axis=0))
        known = np.isfinite(change)
        stable &= ~known | (np.abs(change) + half <= rope)
        unstable |= known & (np.abs(change) > own) & (np.abs(change) > LEAST * np.abs(first.beta))
        here = known & (np.abs(change) > most)
        said = np.array([f"{name} {c:+.3g} (+-{h:.2g})" for c, h in zip(change.ravel(), half.ravel(), strict=True)], dtype=object)  # fmt: skip
        words[here], most = said.reshape(change.shape)[here], np.where(here, np.abs(change), most)
    names = np.array(data.panel.feature_names, dtype=object)[data.columns]
    p, O = own.shape
    return pd.DataFrame(
        {
            "feature": np.repeat(names, O),
            "outcome": np.tile(np.array(data.panel.outcome_names, dtype=object), p),
            "stable": (stable & ~unstable & (len(changes) >= FEWEST)).ravel(),
            "unstable": unstable.ravel(),
            "moved_most": words.ravel(),
        }
    )
