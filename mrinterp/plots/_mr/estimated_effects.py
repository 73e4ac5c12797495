"""Estimates of one method, one feature a row."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.errors import InputError
from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._style import METHOD_COLORS, axes, spare
from mrinterp.results._estimates import Estimates

__all__ = ["estimated_effects"]


def estimated_effects(
    result: Estimates, outcome: str | None = None, most: int = 30, ax: Axes | None = None
) -> Axes:
    """Estimates with their intervals, the largest first; hollow where the cell has a note.

    Parameters
    ----------
    result : Estimates
    outcome : str, optional
        Default the first.
    most : int
        Features shown.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        For an outcome that was not estimated, or one without an estimate; says why.

    Examples
    --------
    >>> from mrinterp.plots import estimated_effects
    >>> from mrinterp.results import example
    >>> ax = estimated_effects(example("Estimates"))
    >>> ax.get_title(loc="left")
    'inverse-variance weighted'
    """
    outcome, o = chosen_outcome(outcome, result.outcomes)
    beta = result.beta[:, o]
    known = np.isfinite(beta)
    if not known.any():
        reasons = "; ".join(dict.fromkeys(map(str, result.status[:, o])))
        raise InputError(f"outcome {outcome!r}", f"no estimate: {reasons}", "Choose another")
    order = np.argsort(-np.where(known, np.abs(beta), -1.0), kind="stable")
    shown = order[: min(most, int(known.sum()))]
    ax = axes(ax, 6.4, 0.24 * len(shown) + 1.4)
    ax.axvline(0, color="#bbbbbb", lw=0.8, zorder=0)
    rows = np.arange(len(shown))
    color = METHOD_COLORS.get(result.method, "#0072b2")
    ends = np.stack([beta - result.ci_lower[:, o], result.ci_upper[:, o] - beta])[:, shown]
    spread = np.where(np.isfinite(ends), ends, 0.0)  # an unbounded end is not drawn
    ax.errorbar(beta[shown], rows, xerr=spread, fmt="none", ecolor=color, elinewidth=1.2, zorder=2)
    noted = result.status[shown, o] != "ok"
    for some, face in ((~noted, color), (noted, "white")):
        ax.plot(beta[shown][some], rows[some], "o", ms=4.5, mec=color, mfc=face, zorder=3)
    ax.set_yticks(rows, [result.exposures[f] for f in shown], fontsize=8)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    unit = f", {result.unit} per unit" if result.unit else " per unit"
    ax.set_xlabel(f"effect on {outcome}{unit} of the feature\n{100 * result.level:.4g}% interval")
    hidden = f" ({len(shown)} of {len(beta)})" if len(shown) < len(beta) else ""
    ax.set_title(f"{result.label}{hidden}", loc="left")
    spare(ax)
    return ax
