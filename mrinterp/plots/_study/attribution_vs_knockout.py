"""What cheaper methods say against what the knockout did, one point a feature and method."""

from __future__ import annotations

from textwrap import fill

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.errors import InputError
from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._many import MOST_BARS
from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._attribution_table import AttributionTable

__all__ = ["attribution_vs_knockout"]

MARKERS = "osD^vP"


def attribution_vs_knockout(
    result: AttributionTable, outcome: str | None = None, ax: Axes | None = None
) -> Axes:
    """Effects per unit by every method (up) against the knockout's (across, with its 95% interval).

    Parameters
    ----------
    result : AttributionTable
    outcome : str, optional
        Default the first. A method without a number stands in the legend with its reason.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        For an outcome that was not compared, or no feature with a knockout's effect.

    Examples
    --------
    >>> from mrinterp.plots import attribution_vs_knockout
    >>> from mrinterp.results import example
    >>> attribution_vs_knockout(example("AttributionTable")).get_title(loc="left")
    'Cheaper methods against the knockout'
    """
    outcome, _ = chosen_outcome(outcome, list(dict.fromkeys(result.table["outcome"])))
    table = result.table[result.table["outcome"] == outcome]
    table = table[np.isfinite(table["knockout"])]
    if not len(table):
        raise InputError(f"outcome {outcome!r}", "no feature has a knockout's effect", "Choose another")
    scores = result.scores[result.scores["outcome"] == outcome].set_index("method")
    ax = axes(ax, 7.2, 4.6)
    x = table["knockout"]
    ends = [x - table["knockout_lower"], table["knockout_upper"] - x]
    many = len(table) > MOST_BARS
    if not many:
        ax.errorbar(x, x, xerr=ends, fmt="none", ecolor="#bbbbbb", elinewidth=0.9, zorder=1)
    for k, method in enumerate(result.methods):
        row = scores.loc[method]
        words = f"{method}: {row['status']}"
        if np.isfinite(row["correlation"]):
            words = f"{method}: r {row['correlation']:.2f}, slope {row['slope']:.2g}"
        ax.plot(
            x,
            table[method],
            MARKERS[k % len(MARKERS)],
            ms=1.5 if many else 4,
            color=LINE_COLORS[k % len(LINE_COLORS)],
            alpha=0.8,
            label=fill(words, 44),  # a reason may be long
            zorder=3,
        )
    ax.axline((0, 0), slope=1, color="#444444", lw=0.8, ls="--", zorder=2)
    ax.axhline(0, color="#dddddd", lw=0.8, zorder=0)
    ax.axvline(0, color="#dddddd", lw=0.8, zorder=0)
    ax.set_xlabel(
        f"knockout ({result.knockout}): effect on {outcome} per unit"
        + ("" if many else "\ngray: its 95% interval, on the line of equality")
    )
    ax.set_ylabel("what the method says, per unit")
    ax.set_title("Cheaper methods against the knockout", loc="left")
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2)
    spare(ax)
    return ax
