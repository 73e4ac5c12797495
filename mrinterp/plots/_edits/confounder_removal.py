"""What editing a spurious feature out changed, where its cue misleads and elsewhere."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._edits.confounder_removal import ConfounderRemoval

__all__ = ["confounder_removal"]

_GRAY = "#999999"
_WORDS = {"agrees": "cue agrees", "conflicts": "cue conflicts", "absent": "no cue"}


def confounder_removal(result: ConfounderRemoval, outcome: str | None = None, ax: Axes | None = None) -> Axes:
    """One outcome before (open) and after (filled), a row a group; bars are the interval of the change.

    Parameters
    ----------
    result : ConfounderRemoval
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
        For an outcome that was not measured.

    Examples
    --------
    >>> from mrinterp.plots import confounder_removal
    >>> from mrinterp.results import example
    >>> confounder_removal(example("ConfounderRemoval")).get_xlabel()
    'outcome 0 before (open) and after (filled)'
    """
    outcome, _ = chosen_outcome(outcome, result.outcomes)
    rows = [r for r in (result.row(g, outcome) for g in ("conflicts", "agrees", "absent")) if r["inputs"]]
    ax = axes(ax, 4.8, 0.42 * len(rows) + 1.3)
    for place, r in enumerate(rows):
        color = LINE_COLORS[0] if r["group"] == "conflicts" else _GRAY
        if np.isfinite(r["lower"]):
            ends = [r["before"] + r["lower"], r["before"] + r["upper"]]
            ax.plot(ends, [place, place], color=color, lw=5, alpha=0.35, solid_capstyle="butt", zorder=1)
        ax.plot([r["before"], r["after"]], [place, place], color=color, lw=1, zorder=2)
        ax.plot(r["before"], place, "o", ms=6, mfc="white", mec=color, zorder=3)
        ax.plot(r["after"], place, "o", ms=6, color=color, zorder=3)
    ax.set_yticks(range(len(rows)), [f"{_WORDS[r['group']]} ({r['inputs']})" for r in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel(f"{outcome} before (open) and after (filled)")
    several = f"{result.features[0]} and {len(result.features) - 1} more features"
    words = f"{result.features[0] if len(result.features) == 1 else several} edited out ({result.how})"
    ax.set_title(f"{words}\nbars: {result.level:.0%} interval of the change", loc="left", fontsize=9)
    spare(ax)
    return ax
