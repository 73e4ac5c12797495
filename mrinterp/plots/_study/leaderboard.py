"""The board of the truth benchmark: how every method ranks causes, and how much of what it calls is wrong."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.plots._style import LINE_COLORS, axes, legend_below
from mrinterp.results._leaderboard import ALL, Leaderboard

__all__ = ["leaderboard"]

DRAWN = (
    ("auroc", "AUROC, causes against features that accompany them"),
    ("fdr", "false discoveries among what is called"),
)


def leaderboard(board: Leaderboard, family: str = ALL, ax: Axes | None = None) -> Axes:
    """AUROC and false discovery rate of every method, means over worlds with 95% intervals over them.

    Parameters
    ----------
    board : Leaderboard
    family : str
        Of worlds; default all.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import leaderboard
    >>> from mrinterp.results import example
    >>> leaderboard(example("Leaderboard")).get_title(loc="left")
    'Who finds the causes'
    """
    y = np.arange(len(board.order))
    ax = axes(ax, 7.2, 0.3 * max(len(y), 3) + 1.8)
    for x in (0.05, 0.5):
        ax.axvline(x, color="#bbbbbb", lw=0.9, ls="--", zorder=0)
    for k, (score, words) in enumerate(DRAWN):
        cells = [board.cell(family, m, score) for m in board.order]
        value, lower, upper = (np.array([getattr(c, n) for c in cells]) for n in ("value", "lower", "upper"))
        place = y + (k - 0.5) * 0.24
        ax.hlines(place, lower, upper, color=LINE_COLORS[k], lw=1.1, zorder=1)
        ax.plot(value, place, "o", ms=4.5, color=LINE_COLORS[k], label=words, zorder=2)
    ax.set_yticks(y, board.order)
    ax.set_ylim(len(y) - 0.4, -0.6)
    ax.set_xlim(-0.02, 1.02)
    ax.set_xlabel("dashed: chance, and a false discovery rate of .05\nno mark: the method has no such number")
    ax.set_title("Who finds the causes", loc="left")
    legend_below(ax, columns=1)
    return ax
