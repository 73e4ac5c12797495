"""Effects on the outcomes meant beside those on negative controls."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._designs.specificity import Specificity

__all__ = ["specificity"]


def specificity(result: Specificity, most: int = 20, ax: Axes | None = None) -> Axes:
    """One row per feature: effects on targets (full) and controls (hollow) in sd of each, with intervals.

    Within the gray band a control counts as untouched. On the right the verdict on the first target.

    Parameters
    ----------
    result : Specificity
    most : int
        Features shown, those with the largest effects on a target.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import specificity
    >>> from mrinterp.results import example
    >>> specificity(example("Specificity")).get_title(loc="left")
    'Specificity for target 0'
    """
    T = len(result.targets)
    names = [*result.targets, *result.controls]
    size = np.nan_to_num(np.abs(result.effect[:, :T])).max(axis=1)
    shown = np.argsort(-size, kind="stable")[:most]
    ax = axes(ax, 5.4, (0.1 * len(names) + 0.14) * len(shown) + 1.4)
    ax.axvspan(-result.margin, result.margin, color="#eeeeee", zorder=0)
    ax.axvline(0, color="#bbbbbb", lw=0.8, zorder=0)
    for k, name in enumerate(names):
        rows = np.arange(len(shown)) + (k - (len(names) - 1) / 2) * 0.7 / len(names)
        color, x = LINE_COLORS[k % len(LINE_COLORS)], result.effect[shown, k]
        spread = np.abs(np.stack([result.lower[shown, k], result.upper[shown, k]]) - x)
        face = color if k < T else "white"
        label = name if k < T else f"{name} (control)"
        ax.errorbar(
            x, rows, xerr=spread, fmt="o", ms=4, color=color, mfc=face, elinewidth=1.1, label=label, zorder=2
        )
    for row, f in enumerate(shown):
        ax.text(
            1.02, row, str(result.verdict[f, 0]), transform=ax.get_yaxis_transform(), va="center", fontsize=8
        )
    ax.set_yticks(range(len(shown)), [result.features[f] for f in shown], fontsize=8)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_xlabel(
        f"effect of the knockout, sd of each outcome\n{result.level:.0%} intervals; gray: untouched"
    )
    hidden = f" ({len(shown)} of {len(size)})" if len(shown) < len(size) else ""
    columns = 3
    ax.set_title(
        f"Specificity for {result.targets[0]}{hidden}", loc="left", pad=6 + 14 * -(-len(names) // columns)
    )
    ax.legend(frameon=False, fontsize=7, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns)
    spare(ax)
    return ax
