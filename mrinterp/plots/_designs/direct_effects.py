"""Total against direct effects, and what the layers downstream make of the difference."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._designs.direct_effect import DOWNSTREAM, DirectEffect

__all__ = ["direct_effects"]

COLORS = dict(
    zip(DOWNSTREAM, (*LINE_COLORS[1:2], *LINE_COLORS[2:3], LINE_COLORS[0], "#999999", "#cccccc"), strict=True)
)


def direct_effects(
    result: DirectEffect, outcome: str | None = None, most: int = 30, ax: Axes | None = None
) -> Axes:
    """One line per feature from its direct effect (hollow) to its total one (full), colored by verdict; around
    the total one the interval of the gap between the two.

    Parameters
    ----------
    result : DirectEffect
    outcome : str, optional
        Default the first.
    most : int
        Features shown, those with the largest effects.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import direct_effects
    >>> from mrinterp.results import example
    >>> direct_effects(example("DirectEffect")).get_title(loc="left")
    'Knockouts with downstream frozen and free'
    """
    outcome, o = chosen_outcome(outcome, result.outcomes)
    direct, total = result.direct[:, o], result.total[:, o]
    shown = np.argsort(-np.maximum(np.abs(direct), np.abs(total)), kind="stable")[:most]
    ax = axes(ax, 5.0, 0.22 * len(shown) + 1.3)
    ax.axvline(0, color="#bbbbbb", lw=0.8, zorder=0)
    for row, f in enumerate(shown):
        color = COLORS[str(result.downstream[f, o])]
        ends = direct[f] + np.array([result.lower[f, o], result.upper[f, o]])
        ax.plot(ends, [row, row], "|-", ms=6, color=color, lw=0.8, alpha=0.7, zorder=2)
        ax.plot([direct[f], total[f]], [row, row], color=color, lw=1.6, zorder=1)
        ax.plot(direct[f], row, "o", ms=5, mfc="white", color=color, zorder=2)
        ax.plot(total[f], row, "o", ms=5, color=color, zorder=3)
    ax.set_yticks(range(len(shown)), [result.features[f] for f in shown], fontsize=8)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    present = [w for w in DOWNSTREAM if (result.downstream[shown, o] == w).any()]
    marks = [Line2D([], [], color=COLORS[w], lw=1.6, label=w) for w in present]
    marks += [
        Line2D([], [], color="#444444", marker="o", mfc="white", lw=0, label="direct"),
        Line2D([], [], color="#444444", marker="o", lw=0, label="total"),
        Line2D([], [], color="#444444", marker="|", lw=0.8, label=f"{result.level:.0%} interval of the gap"),
    ]
    ax.legend(handles=marks, frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    ax.set_xlabel(f"change of {outcome}")
    hidden = f" ({len(shown)} of {len(direct)})" if len(shown) < len(direct) else ""
    ax.set_title(f"Knockouts with downstream frozen and free{hidden}", loc="left")
    spare(ax)
    return ax
