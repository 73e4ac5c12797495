"""A map of clusters of features that move together."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from mrinterp.plots._style import LINE_COLORS, axes
from mrinterp.results._co_activation_map import CoActivationMap

__all__ = ["co_activation_clusters"]

JOINED = 0.35
"""Cosine of two clusters from which on a line joins them."""


def co_activation_clusters(result: CoActivationMap, most: int = 30, ax: Axes | None = None) -> Axes:
    """One disk per cluster, as large as the number of its features, named after the one in its middle; clusters whose
    profiles are alike lie near each other, and a line joins them.

    Parameters
    ----------
    result : CoActivationMap
    most : int
        Clusters shown, the largest.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import co_activation_clusters
    >>> from mrinterp.results import example
    >>> co_activation_clusters(example("CoActivationMap")).get_title(loc="left")
    'Features that move together: 3 in 4 clusters'
    """
    ax = axes(ax, 7.2, 6.0)
    sizes = result.sizes[:most]
    cosines = result.cosines[: len(sizes), : len(sizes)]
    place = _laid_out(cosines)
    for a, b in np.argwhere(np.triu(cosines, 1) >= JOINED):
        ax.plot(*place[[a, b]].T, color="#cccccc", lw=4 * cosines[a, b] ** 2, zorder=1)
    area = 40 + 2500 * sizes / max(int(sizes.max(initial=1)), 1)
    colors = [LINE_COLORS[k % len(LINE_COLORS)] for k in range(len(sizes))]
    ax.scatter(place[:, 0], place[:, 1], s=area, c=colors or None, alpha=0.55, lw=0, zorder=2)
    for k, (x, y) in enumerate(place):
        more = f" +{sizes[k] - 1:,}" if sizes[k] > 1 else ""
        ax.annotate(f"{result.leads[k]}{more}", (x, y), ha="center", va="center", fontsize=7, zorder=3)
    ax.margins(0.15)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    hidden = f" ({len(sizes)} shown)" if len(sizes) < len(result.leads) else ""
    count = f"{len(result.features):,} in {len(result.leads):,} clusters{hidden}"
    ax.set_title(f"Features that move together: {count}", loc="left")
    ax.set_xlabel("near: the same instruments move them, in the same or the opposite direction")
    return ax


def _laid_out(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places in the plane (K, 2) whose distances follow 1 - cosine (classical scaling)."""
    K = len(cosines)
    square = (1.0 - np.minimum(cosines, 1.0)) ** 2
    centered = square - square.mean(axis=0) - square.mean(axis=1)[:, None] + square.mean()
    values, vectors = np.linalg.eigh(-0.5 * centered)
    out = np.zeros((K, 2))
    for axis, i in enumerate(np.argsort(-values)[:2]):
        direction = vectors[:, i] * np.sqrt(max(values[i], 0.0))
        out[:, axis] = direction * (1.0 if direction[np.argmax(np.abs(direction))] >= 0 else -1.0)
    return out
