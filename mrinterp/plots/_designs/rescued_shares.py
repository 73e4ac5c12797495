"""Shares of a corruption's effect that restoring each feature recovers."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.errors import InputError
from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._designs.rescue import STILL, Rescue

__all__ = ["rescued_shares"]


def rescued_shares(
    result: Rescue, outcome: str | None = None, most: int = 40, ax: Axes | None = None
) -> Axes:
    """Shares with Fieller's intervals, largest first; lines at nothing and at everything recovered.

    Hollow: what the corruption had not moved.

    Parameters
    ----------
    result : Rescue
    outcome : str, optional
        Default the first.
    most : int
        Features shown, those with the largest effects.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        Where the corruption's effect on the outcome was not measurable; says why.

    Examples
    --------
    >>> from mrinterp.plots import rescued_shares
    >>> from mrinterp.results import example
    >>> rescued_shares(example("Rescue")).get_title(loc="left")
    'corruption'
    """
    outcome, o = chosen_outcome(outcome, result.outcomes)
    if result.status[o] != "ok":
        raise InputError("rescued_shares", str(result.status[o]), "Corrupt more, or choose another outcome")
    share = result.share[:, o]
    shown = np.argsort(-share, kind="stable")[:most]
    ax = axes(ax, 4.6, 0.2 * len(shown) + 1.2)
    for place in (0, 1):
        ax.axvline(place, color="#bbbbbb", lw=0.8, zorder=0)
    spread = np.abs(np.stack([result.lower[shown, o], result.upper[shown, o]]) - share[shown])
    rows = np.arange(len(shown))
    ax.errorbar(share[shown], rows, xerr=spread, fmt="o", ms=4, color=LINE_COLORS[0], elinewidth=1.2)
    still = result.moved[shown] <= STILL
    ax.plot(share[shown][still], rows[still], "o", ms=4, mfc="white", color=LINE_COLORS[0], zorder=3)
    ax.set_yticks(rows, [result.restored[s] for s in shown], fontsize=8)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    beside = "\nhollow: not moved by the corruption, nothing to give back" if still.any() else ""
    ax.set_xlabel(f"share of the corruption's effect on {outcome} recovered{beside}")
    hidden = f" ({len(shown)} of {len(share)})" if len(shown) < len(share) else ""
    ax.set_title(f"{result.corruption}{hidden}", loc="left", fontsize=9)
    spare(ax)
    return ax
