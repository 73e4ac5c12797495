"""Effects of features that were set at random together, and of the strongest alone."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._designs.site_experiment import DEPENDS, SiteExperiment

__all__ = ["joint_effects"]


def joint_effects(
    result: SiteExperiment, outcome: str | None = None, most: int = 30, ax: Axes | None = None
) -> Axes:
    """Joint effects with intervals, largest first; below them, in another color, the same features one at a time.

    Parameters
    ----------
    result : SiteExperiment
    outcome : str, optional
        Default the first. The band is the region of practical equivalence; a feature that depends on the others is
        marked by a star.
    most : int
        Features shown, those with the largest effects.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import joint_effects
    >>> from mrinterp.results import example
    >>> joint_effects(example("SiteExperiment")).get_xlabel()
    'effect on outcome 0 per natural sd'
    """
    outcome, o = chosen_outcome(outcome, result.outcomes)
    size = np.nan_to_num(np.abs(result.effect[:, o]), nan=-1.0)
    shown = np.argsort(-size, kind="stable")[:most]
    ax = axes(ax, 5.0, 0.24 * len(shown) + 1.4)
    ax.axvspan(-result.rope[o], result.rope[o], color="#eeeeee", zorder=0)
    ax.axvline(0, color="#bbbbbb", lw=0.8, zorder=0)
    rows = np.arange(len(shown), dtype=float)
    for color, below, prefix, label in (
        (LINE_COLORS[0], 0.0, "", result.averaged),
        (LINE_COLORS[1], 0.3, "alone_", "one at a time"),
    ):
        value = (result.alone if prefix else result.effect)[shown, o]
        ends = [getattr(result, f"{prefix}{end}")[shown, o] for end in ("lower", "upper")]
        spread = np.nan_to_num(np.abs(np.stack(ends) - value))
        ax.errorbar(
            value, rows + below, xerr=spread, fmt="o", ms=3.5, color=color, elinewidth=1.2, label=label
        )
    starred = result.verdict[shown, o] == DEPENDS
    names = [result.features[k] + " *" * bool(star) for k, star in zip(shown, starred, strict=True)]
    ax.set_yticks(rows, names, fontsize=8)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_xlabel(f"effect on {outcome} per natural sd" + (f"\n* {DEPENDS}" if starred.any() else ""))
    ax.legend(frameon=False, fontsize=7, loc="lower left", bbox_to_anchor=(0, 1))
    spare(ax)
    return ax
