"""How a search for subspaces went: the loss of every variable on the way."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.plots._style import LINE_COLORS, axes, legend_below, spare
from mrinterp.results._abstraction.alignment_search import AlignmentSearch

__all__ = ["alignment_search"]


def alignment_search(search: AlignmentSearch, ax: Axes | None = None) -> Axes:
    """Cross-entropy of each step's batch (thin) and its running mean over a twentieth of the steps.

    A curve that still falls at the end asks for more steps. How good the result is, held-out accuracies say
    (`mrinterp.plots._abstraction.interchange_accuracy`), not the loss.

    Parameters
    ----------
    search : AlignmentSearch
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import alignment_search
    >>> from mrinterp.results import example
    >>> alignment_search(example("AlignmentSearch")).get_title(loc="left")
    'Search at site site'
    """
    ax = axes(ax, 4.8, 2.8 + 0.09 * len(search.rotation))
    steps = len(search.losses)
    window = max(steps // 20, 1)
    for v, variable in enumerate(search.rotation):
        color, loss = LINE_COLORS[v % len(LINE_COLORS)], search.losses[:, v]
        ax.plot(np.arange(1, steps + 1), loss, color=color, lw=0.5, alpha=0.4)
        mean = np.convolve(loss, np.full(window, 1 / window), mode="valid")
        right = f"{search.held_out[variable].accuracy:.0%} of held-out pairs"
        ax.plot(np.arange(window, steps + 1), mean, color=color, lw=1.5, label=f"{variable}: {right}")
    ax.set_ylim(bottom=0)
    ax.set_xlabel("step")
    ax.set_ylabel("cross-entropy")
    ax.set_title(f"Search at site {search.site}", loc="left")
    legend_below(ax, columns=2, fontsize=7)
    spare(ax)
    return ax
