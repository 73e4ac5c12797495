"""Points of any number: each by itself, or a density where they are very many."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

__all__ = ["EVERY", "MOST_BARS", "points"]

EVERY = 20_000
"""Points up to which each is drawn by itself."""
MOST_BARS = 400
"""Points up to which intervals are drawn: beyond it they hide the points."""


def points(
    ax: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    color: str,
    marker: str = "o",
    hollow: bool = False,
    every: bool = False,
    label: str | None = None,
) -> None:
    """Draw points; beyond 20,000 their density, unless ``every`` one is asked for."""
    if len(x) > EVERY and not every:
        counts, xs, ys = np.histogram2d(x, y, bins=(160, 120))
        shown = np.ma.masked_equal(np.log1p(counts).T, 0.0)
        ax.pcolormesh(xs, ys, shown, cmap="Greys", rasterized=True, vmin=-0.3 * float(shown.max()), zorder=2)
        return
    size = 10.0 if len(x) <= 500 else 4.0  # a cross has no edge of its own
    ax.scatter(
        x,
        y,
        s=size,
        marker=marker,
        facecolors="none" if hollow else color,
        edgecolors=None if marker == "x" else color,
        linewidths=0.6,
        label=label,
        zorder=3,
    )
