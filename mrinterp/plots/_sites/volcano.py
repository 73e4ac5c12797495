"""Effects against their evidence, one point a feature."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._many import points
from mrinterp.plots._style import VERDICT_COLORS, axes, spare
from mrinterp.results._estimates import Estimates

__all__ = ["volcano"]

NAMED = 8
"""Features whose names are written, those of the largest effects beyond the region."""


def _apart(
    largest: NDArray[np.int_], x: NDArray[np.float64], y: NDArray[np.float64], known: NDArray[np.bool_]
) -> list[int]:
    """Of the points with the largest effects those whose names do not lie on one another."""
    if not len(largest):
        return []
    wide, tall = (float(np.ptp(v[known])) or 1.0 for v in (x, y))
    named: list[int] = []
    for k in largest[: 8 * NAMED].tolist():
        near = any(abs(x[k] - x[j]) < 0.16 * wide and abs(y[k] - y[j]) < 0.055 * tall for j in named)
        if not near and len(named) < NAMED:
            named.append(k)
    return named


def volcano(result: Estimates, outcome: str | None = None, rope: float = 0.0, ax: Axes | None = None) -> Axes:
    """Effect across, minus log ten of p up; the region of practical equivalence as a band.

    Parameters
    ----------
    result : Estimates
        Of any number of features; beyond 20,000 those without evidence are drawn as a density.
    outcome : str, optional
        Default the first.
    rope : float
        Half width of the region of practical equivalence, in units of the effects; 0 draws none.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        For an outcome that the result does not have.

    Examples
    --------
    >>> from mrinterp.plots import volcano
    >>> from mrinterp.results import example
    >>> volcano(example("Estimates")).get_xlabel()[:6]
    'effect'
    """
    o = chosen_outcome(outcome, result.outcomes)[1]
    x, y = result.beta[:, o], np.asarray(result.neglog10p)[:, o]
    lower, upper = np.asarray(result.ci_lower)[:, o], np.asarray(result.ci_upper)[:, o]
    known = np.isfinite([x, y, lower, upper]).all(axis=0)
    ax = axes(ax, 3.5, 3.0)
    if rope > 0:
        ax.axvspan(-rope, rope, color="#e8e8e8", lw=0, zorder=0)
    beyond = known & (np.maximum(lower, -upper) > rope)
    points(ax, x[known & ~beyond], y[known & ~beyond], "#777777", marker="o", hollow=True)
    points(ax, x[beyond], y[beyond], VERDICT_COLORS["causal"], marker="o", every=True)
    largest = np.flatnonzero(beyond)[np.argsort(-np.abs(x[beyond]), kind="stable")]
    for k in _apart(largest, x, y, np.asarray(known)):
        name = result.exposures[k].rsplit(":", 1)[-1]
        ax.annotate(name[:18], (x[k], y[k]), fontsize=6, xytext=(3, 2), textcoords="offset points")
    ax.axvline(0, color="#bbbbbb", lw=0.8, zorder=0)
    ax.set_ylim(bottom=0)
    ax.set_xlabel(f"effect on {result.outcomes[o]}{f', {result.unit}' if result.unit else ''}")
    ax.set_ylabel("evidence, \N{MINUS SIGN}log\N{SUBSCRIPT ONE}\N{SUBSCRIPT ZERO} p")
    ax.set_title(f"{int(beyond.sum())} of {int(known.sum())} beyond the region", loc="left", fontsize=9)
    spare(ax)
    return ax
