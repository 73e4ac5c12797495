"""Low to high natural value of every feature, token group by token group: what a contrast writes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.errors import InputError
from mrinterp.plots._style import LINE_COLORS, axes, legend_below, spare
from mrinterp.results._contrast_levels import ContrastLevels

__all__ = ["contrast_ranges"]

GROUPS = 6
"""Groups drawn; the rest is counted."""


def contrast_ranges(levels: ContrastLevels, most: int = 12, ax: Axes | None = None) -> Axes:
    """A line from the low to the high value in every group of tokens, one feature a row, widest range first.

    Parameters
    ----------
    levels : ContrastLevels
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
        Where no feature varies in any group.

    Examples
    --------
    >>> from mrinterp.plots import contrast_ranges
    >>> from mrinterp.results import example
    >>> contrast_ranges(example("ContrastLevels")).get_title(loc="left")
    'Low and high natural values'
    """
    width = np.nan_to_num(levels.high - levels.low).max(axis=1)
    if not width.any():
        raise InputError("levels", "no feature varies", "Give levels of features that vary between inputs")
    chosen = np.argsort(-width, kind="stable")[:most]
    groups = [*range(min(len(levels.groups) - 1, GROUPS)), len(levels.groups) - 1]
    ax = axes(ax, 6.8, max(0.42 * len(chosen), 1.8) + 1.4)
    rows = np.arange(len(chosen))
    for k, g in enumerate(groups):
        y = rows + (k - (len(groups) - 1) / 2) * 0.75 / len(groups)
        whole = g == groups[-1]
        color = "#888888" if whole else LINE_COLORS[k % len(LINE_COLORS)]
        ax.hlines(y, levels.low[chosen, g], levels.high[chosen, g], color=color, lw=3 if whole else 1.6)
        ax.plot([], [], color=color, lw=3 if whole else 1.6, label=levels.groups[g])
    rare = levels.rare[chosen]
    names = [
        levels.features[f].rsplit(":", 1)[-1] + (" (rarely fires)" if r else "")
        for f, r in zip(chosen, rare, strict=True)
    ]
    ax.set_yticks(rows, names)
    ax.set_ylim(len(chosen) - 0.4, -0.6)
    low, high = levels.quantiles
    ax.set_xlabel(f"value of the feature, quantile {low:g} to {high:g}")
    ax.set_title("Low and high natural values", loc="left")
    left_out = len(levels.groups) - 1 - GROUPS
    legend_below(ax, columns=4, fontsize=7, title=f"{left_out} more groups" if left_out > 0 else None)
    spare(ax)
    return ax
