"""Every claim's assumptions at a glance: what was checked, what is doubtful, what failed."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from mrinterp.plots._style import axes
from mrinterp.results._diagnosis import ASSUMPTIONS, COLOURS, Diagnosis

__all__ = ["assumption_cards"]

SHADES = {"green": "#c7e0d4", "grey": "#f2f2f2", "amber": "#f0b429", "red": "#a50f15"}
MARKS = {"green": "", "grey": "", "amber": "?", "red": "x"}
"""Beside the shade, for readers who see no colors."""


def assumption_cards(diagnosis: Diagnosis, top: int = 40, ax: Axes | None = None) -> Axes:
    """Claims against assumptions, worst claims first; a question mark is doubtful, a cross failed.

    Parameters
    ----------
    diagnosis : Diagnosis
    top : int
        Claims shown; the title counts the others.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import assumption_cards
    >>> from mrinterp.results import example
    >>> len(assumption_cards(example("Diagnosis")).get_yticks())
    2
    """
    cards = diagnosis.to_frame()
    order = np.argsort([-list(COLOURS).index(c) for c in cards["colour"]], kind="stable")
    shown = cards.iloc[order[:top]]
    columns = ["colour", *ASSUMPTIONS]
    grid = np.array([[list(COLOURS).index(c) for c in shown[name]] for name in columns], dtype=int).T
    grid = grid.reshape(-1, len(columns))
    ax = axes(ax, 6.4, max(1.6 + 0.24 * len(shown), 2.6))
    ax.imshow(grid, cmap=ListedColormap([SHADES[c] for c in COLOURS]), vmin=0, vmax=3, aspect="auto")
    for row, column in np.argwhere(grid > 1):
        mark = MARKS[list(COLOURS)[grid[row, column]]]
        color = "w" if mark == "x" else "k"
        ax.text(column, row, mark, ha="center", va="center", fontsize=8, color=color)
    several = cards["outcome"].nunique() > 1
    names = [f"{r['feature']}, {r['outcome']}" if several else r["feature"] for r in shown.to_dict("records")]
    ax.set_yticks(range(len(shown)), names, fontsize=8)
    ax.set_xticks(range(len(columns)), ["the claim", *ASSUMPTIONS], rotation=30, ha="right")
    ax.axvline(0.5, color="k", linewidth=0.8)
    ax.tick_params(length=0)
    more = f"; {len(cards) - len(shown)} more" if len(cards) > len(shown) else ""
    ax.set_title(f"Assumptions of {len(shown)} claims{more}", loc="left")
    keys = [
        Patch(facecolor=SHADES[c], edgecolor="#999999", label=f"{MARKS[c]} {COLOURS[c]}".strip())
        for c in COLOURS
    ]
    ax.legend(handles=keys, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=8)
    return ax
