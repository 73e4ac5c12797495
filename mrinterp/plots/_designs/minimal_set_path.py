"""The search for a minimal set, step by step, and what the set is worth on other families."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._designs.minimal_set import MinimalSet

__all__ = ["minimal_set_path"]


def minimal_set_path(result: MinimalSet, ax: Axes | None = None) -> Axes:
    """Share after every step on the families searched; at the end the share on held-out families with its
    interval, and random sets of the same size as gray dots. A search without a set has no held-out share.

    Parameters
    ----------
    result : MinimalSet
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import minimal_set_path
    >>> from mrinterp.results import example
    >>> minimal_set_path(example("MinimalSet")).get_title(loc="left")
    'sufficiency: 3 of 10 features'
    """
    path = result.path
    ax = axes(ax, 0.28 * len(path) + 3.0, 3.6)
    ax.axhline(result.wanted, color="#bbbbbb", lw=0.8, ls=(0, (4, 2)), zorder=0)
    ax.axhline(0, color="#bbbbbb", lw=0.8, zorder=0)
    steps = path["step"].to_numpy()
    ax.plot(steps, path["share"], color=LINE_COLORS[0], lw=1.4, marker="o", ms=3.5, label="families searched")
    names = [
        f"{'+' if a == 'add' else '-'} {f}" for a, f in zip(path["action"], path["feature"], strict=True)
    ]
    last = float(steps.max(initial=0)) + 1.5
    ticks = [*steps.tolist()]
    if result.status == "ok":
        spread = np.abs(np.array([[result.lower], [result.upper]]) - result.share)
        place = np.full(len(result.random_share), last)
        ax.plot(
            place, result.random_share, "o", ms=3, color="#bbbbbb", label="random sets of that size", zorder=1
        )
        ax.errorbar(
            [last],
            [result.share],
            yerr=spread,
            fmt="D",
            ms=5,
            color=LINE_COLORS[1],
            label="held-out families",
        )
        ticks.append(last)
        names.append(f"the {len(result.chosen)}")
    ax.set_xticks(ticks, names, rotation=90, fontsize=8)
    ax.set_ylabel(f"share of {result.outcome} carried")
    found = f"{len(result.chosen)} of {result.candidates} features" if result.chosen else "no set found"
    ax.set_title(f"{result.mode}: {found}", loc="left", pad=42 if result.status == "ok" else 18)
    ax.legend(frameon=False, fontsize=7, loc="lower left", bbox_to_anchor=(0.0, 1.0))
    spare(ax)
    return ax
