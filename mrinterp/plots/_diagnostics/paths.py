"""From which features a path leads to which outcome."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from mrinterp.plots._style import axes
from mrinterp.results._designs.paths_to_outcome import PathsToOutcome

__all__ = ["paths_found"]

SHADES = ("#c7e0d4", "#a50f15")


def paths_found(result: PathsToOutcome, top: int = 40, ax: Axes | None = None) -> Axes:
    """Features against outcomes, those without a path first; a cross where there is none, else what showed it.

    Parameters
    ----------
    result : PathsToOutcome
    top : int
        Features shown; the title counts the others.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import paths_found
    >>> from mrinterp.results import example
    >>> paths_found(example("PathsToOutcome")).get_title(loc="left")
    'Paths from 3 features'
    """
    none = ~result.path
    order = np.argsort(-none.sum(axis=1), kind="stable")[:top]
    ax = axes(ax, 2.6 + 1.2 * len(result.outcomes), max(1.4 + 0.24 * len(order), 2.0))
    ax.imshow(none[order].astype(int), cmap=ListedColormap(list(SHADES)), vmin=0, vmax=1, aspect="auto")
    for row, f in enumerate(order):
        for o in range(len(result.outcomes)):
            word, color = ("x", "w") if none[f, o] else (str(result.found_by[f, o]), "k")
            ax.text(o, row, word, ha="center", va="center", fontsize=8, color=color)
    ax.set_yticks(range(len(order)), [result.features[f] for f in order], fontsize=8)
    ax.set_xticks(range(len(result.outcomes)), list(result.outcomes), rotation=30, ha="right")
    ax.tick_params(length=0)
    more = f" of {len(none)}" if len(order) < len(none) else ""
    ax.set_title(f"Paths from {len(order)}{more} features", loc="left")
    return ax
