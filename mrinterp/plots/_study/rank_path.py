"""Estimate and interval of one feature over the number of bypass components adjusted for."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from mrinterp.plots._style import METHOD_COLORS, axes, spare

__all__ = ["rank_path"]


def rank_path(
    path: pd.DataFrame,
    feature: str,
    outcome: str | None = None,
    rank: int | None = None,
    rope: float = 0.0,
    knockout: float | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Primary estimate with its 95% interval at every bypass rank.

    An estimate that drifts as the rank grows was carried by paths around the feature; one that stands
    still was not. The rank of the study is marked.

    Parameters
    ----------
    path : DataFrame
        ``rank, exposure, outcome, estimate, ci_lower, ci_upper``, one row per rank and feature.
    feature, outcome : str
        Which rows; the outcome may be left out where there is one.
    rank : int, optional
        The rank chosen before estimation was read: a vertical line.
    rope : float
        Half width of the region of practical equivalence: a gray band.
    knockout : float, optional
        Effect of the matched knockout: a dashed line.
    title : str
        Words above the panel; the feature's name by default.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> import pandas as pd
    >>> from mrinterp.plots import rank_path
    >>> path = pd.DataFrame({"rank": [0, 4], "exposure": "size", "outcome": "loss", "estimate": [0.5, 0.4],
    ...     "ci_lower": [0.3, 0.2], "ci_upper": [0.7, 0.6]})
    >>> rank_path(path, "size", rank=4).get_title(loc="left")
    'size'
    """
    ax = axes(ax, 3.1, 2.3)
    rows = path[path["exposure"] == feature]
    outcome = rows["outcome"].iloc[0] if outcome is None else outcome
    rows = rows[rows["outcome"] == outcome].sort_values("rank")
    color = METHOD_COLORS["within"]
    ax.axhspan(-rope, rope, color="#eeeeee", lw=0, zorder=0)
    ax.axhline(0, color="#bbbbbb", lw=0.8, zorder=1)
    if rank is not None:
        ax.axvline(rank, color="#999999", lw=0.8, zorder=1)
    if knockout is not None:
        ax.axhline(knockout, color=METHOD_COLORS["knockout"], lw=1, ls=(0, (4, 2)), zorder=2)
    ax.fill_between(rows["rank"], rows["ci_lower"], rows["ci_upper"], color=color, alpha=0.2, lw=0, zorder=3)
    ax.plot(rows["rank"], rows["estimate"], color=color, lw=1.4, marker="o", ms=3, zorder=4)
    ax.tick_params(labelsize=8)
    ax.set_xlabel("bypass rank", fontsize=8)
    ax.set_title(title or feature, loc="left", fontsize=9)
    ax.margins(x=0.04)
    spare(ax)
    return ax
