"""Effects of candidate features against those of random directions."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._against_random import AgainstRandom

__all__ = ["against_random"]


def against_random(
    result: AgainstRandom, outcome: str | None = None, most: int = 30, ax: Axes | None = None
) -> Axes:
    """One row per feature with its interval; below them all random directions. The band is as wide as the largest
    of their effects, on both sides. Hollow markers are flagged.

    Parameters
    ----------
    result : AgainstRandom
    outcome : str, optional
        Default the first.
    most : int
        Features shown, those with the largest effects. On the right their ranks.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import against_random
    >>> from mrinterp.results import example
    >>> against_random(example("AgainstRandom")).get_title(loc="left")
    'mean: features against random directions'
    """
    outcome, o = chosen_outcome(outcome, result.outcomes)
    effect, control = result.effect[:, o], result.control[:, o]
    control = control[np.isfinite(control)]
    shown = np.argsort(-np.nan_to_num(np.abs(effect), nan=-1.0), kind="stable")[:most]
    ax = axes(ax, 7.2, 0.24 * (len(shown) + 1) + 1.3)
    widest = float(np.abs(control).max(initial=0.0))
    ax.axvspan(-widest, widest, color="#eeeeee", zorder=0)
    ax.axvline(0, color="#bbbbbb", lw=0.8, zorder=0)
    rows = np.arange(len(shown))
    spread = np.abs(np.stack([result.lower[shown, o], result.upper[shown, o]]) - effect[shown])
    color = LINE_COLORS[0]
    ax.errorbar(effect[shown], rows, xerr=spread, fmt="none", ecolor=color, elinewidth=1.2, zorder=2)
    hollow = np.array([bool(words) for words in result.flags])[shown]
    for some, face in ((~hollow, color), (hollow, "white")):
        ax.plot(effect[shown][some], rows[some], "o", ms=4, mec=color, mfc=face, zorder=3)
    ax.plot(control, np.full(len(control), len(shown)), "|", ms=9, color="#777777", zorder=3)
    for row, f in enumerate(shown):
        words = "" if np.isnan(result.rank[f, o]) else f"{int(result.rank[f, o])}"
        ax.text(1.02, row, words, transform=ax.get_yaxis_transform(), va="center", fontsize=8)
    ax.text(1.02, -0.75, "rank", transform=ax.get_yaxis_transform(), va="bottom", fontsize=8)
    names = [*(result.features[f] for f in shown), f"{len(control)} random"]
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.set_ylim(len(shown) + 0.6, -0.6)
    ax.set_xlabel(
        f"effect on {outcome}\n{result.unit}; gray: no larger than the largest of a random direction"
    )
    hidden = f" ({len(shown)} of {len(effect)})" if len(shown) < len(effect) else ""
    ax.set_title(f"{result.knockout}: features against random directions{hidden}", loc="left", pad=14)
    spare(ax)
    return ax
