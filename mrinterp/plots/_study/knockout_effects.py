"""Effects of one kind of knockout, one feature a row."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.errors import InputError
from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._knockout_effects import KnockoutEffects

__all__ = ["knockout_effects"]


def knockout_effects(
    result: KnockoutEffects, outcome: str | None = None, most: int = 30, ax: Axes | None = None
) -> Axes:
    """Effects per unit with 95% intervals, the largest first; hollow markers are flagged.

    Gray ticks on both sides of zero are each feature's noise floor: between them nothing is measurable.
    A sampled outcome has none: its noise is in the intervals.

    Parameters
    ----------
    result : KnockoutEffects
    outcome : str, optional
        Default the first.
    most : int
        Features shown.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        For an outcome that was not measured, or one on which no feature has an effect per unit.

    Examples
    --------
    >>> from mrinterp.plots import knockout_effects
    >>> from mrinterp.results import example
    >>> knockout_effects(example("KnockoutEffects")).get_title(loc="left")
    'mean of the clean values'
    """
    outcome, o = chosen_outcome(outcome, result.outcomes)
    effect = result.effect[:, o]
    if not np.isfinite(effect).any():
        raise InputError(f"outcome {outcome!r}", "no feature has an effect per unit", "Choose another")
    lower, upper = (end[:, o] for end in result.interval())
    sampled = outcome in result.meta.get("sampled_outcomes", [])
    floor = result.floor_per_unit[:, o]
    size = np.where(np.isfinite(effect), np.abs(effect), -1.0)
    shown = np.argsort(-size, kind="stable")[: min(most, int((size >= 0).sum()))]
    ax = axes(ax, 6.4, 0.24 * len(shown) + 1.4)
    ax.axvline(0, color="#bbbbbb", lw=0.8, zorder=1)
    rows = np.arange(len(shown))
    ax.plot(np.r_[-floor[shown], floor[shown]], np.r_[rows, rows], "|", ms=6, color="#888888", zorder=1)
    hollow = np.array([bool(words) for words in result.flags])[shown]
    spread = np.stack([effect - lower, upper - effect])[:, shown]
    ax.errorbar(effect[shown], rows, xerr=spread, fmt="none", ecolor=LINE_COLORS[0], elinewidth=1.2, zorder=2)
    for some, face in ((~hollow, LINE_COLORS[0]), (hollow, "white")):
        ax.plot(effect[shown][some], rows[some], "o", ms=4.5, mec=LINE_COLORS[0], mfc=face, zorder=3)
    ax.set_yticks(rows, [result.features[f] for f in shown], fontsize=8)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ticks = "its sampling noise included" if sampled else "gray ticks: noise floor"
    ax.set_xlabel(f"effect on {outcome} per unit of the feature\n95% interval; {ticks}")
    hidden = f" ({len(shown)} of {len(effect)})" if len(shown) < len(effect) else ""
    ax.set_title(f"{result.label}{hidden}", loc="left")
    spare(ax)
    return ax
