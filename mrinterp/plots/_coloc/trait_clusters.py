"""Which traits share a cause, cluster by cluster."""

from __future__ import annotations

from textwrap import shorten

import numpy as np
from matplotlib.axes import Axes

from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._trait_clusters import TraitClusters

__all__ = ["trait_clusters"]

WIDEST = 46
"""Characters of a row's names."""


def trait_clusters(result: TraitClusters, most: int = 30, ax: Axes | None = None) -> Axes:
    """One bar per cluster, as long as the posterior that its traits share one cause; traits set aside are named.

    The filled part is what the likeliest cause explains of it.

    Parameters
    ----------
    result : TraitClusters
    most : int
        Clusters and traits set aside that are shown, in the order in which they were found.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import trait_clusters
    >>> from mrinterp.results import example
    >>> trait_clusters(example("TraitClusters")).get_title(loc="left")
    'Clusters of traits that share a cause: 1'
    """
    shown = result.clusters[:most]
    found = sum(bool(c.traits) for c in result.clusters)
    ax = axes(ax, 6.4, 0.32 * max(len(shown), 1) + 1.3)
    for row, c in enumerate(shown):
        if not c.traits:
            ax.text(
                0.01,
                row,
                "shares its cause with none of the others",
                va="center",
                fontsize=8,
                color="#777777",
            )
            continue
        known = float(np.nan_to_num(c.explained))
        ax.barh(row, c.posterior, color="white", edgecolor=LINE_COLORS[0], height=0.6)
        ax.barh(row, c.posterior * known, color=LINE_COLORS[0], height=0.6, alpha=0.8)
        ax.text(1.02, row, f"{c.candidate}", transform=ax.get_yaxis_transform(), va="center", fontsize=8)
    if not shown:
        ax.text(0.01, 0, "no traits share a cause", va="center", fontsize=8, color="#777777")
    names = [shorten(", ".join(c.traits) or c.dropped, WIDEST, placeholder=" ...") for c in shown]
    ax.set_yticks(range(len(shown)), names, fontsize=8)
    ax.set_ylim(max(len(shown), 1) - 0.4, -0.6)
    ax.set_xlim(0, 1)
    ax.set_xlabel("posterior of one shared cause; filled: explained by the likeliest one, named on the right")
    hidden = f" ({len(shown)} rows of {len(result.clusters)})" if len(shown) < len(result.clusters) else ""
    ax.set_title(f"Clusters of traits that share a cause: {found}{hidden}", loc="left")
    spare(ax)
    return ax
