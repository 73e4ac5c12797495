"""Necessity and sufficiency of sets of features."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.errors import InputError
from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._designs.set_effects import SetEffects

__all__ = ["set_shares"]


def set_shares(result: SetEffects, outcome: str | None = None, ax: Axes | None = None) -> Axes:
    """Two shares with Fieller's intervals per set: what goes without it, and what stays with it alone.

    Parameters
    ----------
    result : SetEffects
    outcome : str, optional
        Default the first.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        Where knocking everything out does not move the outcome; says why.

    Examples
    --------
    >>> from mrinterp.plots import set_shares
    >>> from mrinterp.results import example
    >>> set_shares(example("SetEffects")).get_title(loc="left")
    ''
    """
    outcome, o = chosen_outcome(outcome, result.outcomes)
    if result.status[o] != "ok":
        raise InputError("set_shares", str(result.status[o]), "Choose an outcome that the features move")
    S = len(result.sets)
    ax = axes(ax, 4.8, 0.36 * S + 1.4)
    for place in (0, 1):
        ax.axvline(place, color="#bbbbbb", lw=0.8, zorder=0)
    parts = (("necessity", "lost without the set"), ("sufficiency", "kept with only the set"))
    for k, (name, words) in enumerate(parts):
        share, lower, upper = getattr(result, name)[:, :, o]
        rows = np.arange(S) + 0.3 * (k - 0.5)
        spread = np.abs(np.stack([lower, upper]) - share)
        label = f"{name}: {words}"
        ax.errorbar(
            share, rows, xerr=spread, fmt="o", ms=4, color=LINE_COLORS[k], elinewidth=1.2, label=label
        )
    ticks = [f"{name} ({size})" for name, size in zip(result.sets, result.sizes, strict=True)]
    ax.set_yticks(range(S), ticks, fontsize=8)
    ax.set_ylim(S - 0.4, -0.6)
    ax.set_xlabel(f"share of what all {len(result.universe)} features do to {outcome}")
    ax.legend(frameon=False, fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    spare(ax)
    return ax
