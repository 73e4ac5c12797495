"""What pruning did to the outcomes, on inputs held out."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.plots._style import VERDICT_COLORS, axes, spare
from mrinterp.results._edits.pruning import Pruning

__all__ = ["pruning"]


def pruning(result: Pruning, ax: Axes | None = None) -> Axes:
    """Change of every outcome with its interval, as a share of the region of practical equivalence.

    Outcomes of different units stand side by side: the band is each one's own region, from -1 to 1.

    Parameters
    ----------
    result : Pruning
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import pruning
    >>> from mrinterp.results import example
    >>> pruning(example("Pruning")).get_xlabel()
    'change / half-width of practical equivalence, 95% interval'
    """
    table = result.table
    ax = axes(ax, 6.4, 0.4 * len(table) + 1.5)
    ax.axvspan(-1, 1, color="#eeeeee", zorder=0)
    ax.axvline(0, color="#bbbbbb", lw=0.8, zorder=0)
    for place, r in enumerate(table.to_dict(orient="records")):
        color = VERDICT_COLORS.get(r["verdict"], "#999999")
        if np.isfinite(r["lower"]):
            ends = np.array([r["lower"], r["upper"]]) / r["rope"]
            ax.plot(ends, [place, place], color=color, lw=1.4, zorder=2)
        ax.plot(r["change"] / r["rope"], place, "o", ms=5, color=color, zorder=3)
    words = [
        f"{r['outcome']}\n{r['before']:.4g} to {r['after']:.4g}" for r in table.to_dict(orient="records")
    ]
    ax.set_yticks(range(len(table)), words)
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.set_xlabel(f"change / half-width of practical equivalence, {result.level:.0%} interval")
    size = f"{result.parameters_before:,} parameters to {result.parameters_after:,}"
    ax.set_title(
        f"{result.label}\n{size}; on {table['inputs'].iloc[0]} inputs held out", loc="left", fontsize=9
    )
    spare(ax)
    return ax
