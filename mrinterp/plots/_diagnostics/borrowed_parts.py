"""What features show, in bars: their own part, and what they borrow from whom."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._borrowed_effects import BYPASS, BorrowedEffects
from mrinterp.stats.tests.tails import critical_value

__all__ = ["borrowed_parts"]

NAMED = 5
"""Sources that have a color of their own; the others share one."""


def borrowed_parts(
    result: BorrowedEffects, outcome: str | None = None, most: int = 25, ax: Axes | None = None
) -> Axes:
    """One row per feature: its own part, the parts borrowed from each source, from the bypass, and what is left, added
    up to both sides of zero; the black mark is the univariable estimate with its interval.

    Parameters
    ----------
    result : BorrowedEffects
    outcome : str, optional
        Default the first.
    most : int
        Features shown, those with the largest univariable effects.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import borrowed_parts
    >>> from mrinterp.results import example
    >>> borrowed_parts(example("BorrowedEffects")).get_title(loc="left")
    'Whose effect on outcome 0 the features show'
    """
    outcome, o = chosen_outcome(outcome, result.outcomes)
    total = result.total[:, o]
    shown = np.argsort(-np.nan_to_num(np.abs(total), nan=-1.0), kind="stable")[:most]
    ax = axes(ax, 7.6, 0.3 * max(len(shown), 1) + 1.6)
    rows = np.arange(len(shown))
    up, down = np.zeros(len(shown)), np.zeros(len(shown))
    for name, color, values in _parts(result, o, shown):
        start = np.where(values >= 0, up, down)
        ax.barh(rows, values, left=start, height=0.62, color=color, label=name)
        up, down = up + np.maximum(values, 0), down + np.minimum(values, 0)
    half = critical_value(result.level, result.df) * result.total_se[shown, o]
    ax.errorbar(
        total[shown], rows, xerr=half, fmt="|", ms=9, color="black", elinewidth=1, label="as measured"
    )
    ax.axvline(0, color="#777777", lw=0.8)
    ax.set_yticks(rows, [result.features[f] for f in shown], fontsize=8)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_xlabel(f"univariable effect {f'({result.unit})' if result.unit else ''}".strip())
    hidden = f" ({len(shown)} of {len(total)})" if len(shown) < len(total) else ""
    ax.set_title(f"Whose effect on {outcome} the features show{hidden}", loc="left")
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    spare(ax)
    return ax


def _parts(result: BorrowedEffects, o: int, shown: np.ndarray) -> list[tuple[str, str, np.ndarray]]:
    """Name, color and size of every part: own, the sources that matter most, the others, the bypass, what is left."""
    borrowed = np.nan_to_num(result.borrowed[shown, :, o])
    features = [s for s, name in enumerate(result.sources) if name != BYPASS]
    order = sorted(features, key=lambda s: -np.abs(borrowed[:, s]).sum())
    parts = [("its own", LINE_COLORS[0], np.nan_to_num(result.own[shown, o]))]
    for color, s in zip(LINE_COLORS[1 : NAMED + 1], order, strict=False):
        parts.append((f"from {result.sources[s]}", color, borrowed[:, s]))
    if len(order) > NAMED:
        parts.append(("from others", "#b0b0b0", borrowed[:, order[NAMED:]].sum(axis=1)))
    if BYPASS in result.sources:
        parts.append((f"from {BYPASS}", "#555555", borrowed[:, result.sources.index(BYPASS)]))
    left = np.nan_to_num(result.left[shown, o])
    if np.abs(left).max(initial=0.0) > 1e-9 * max(
        np.abs(np.nan_to_num(result.total)).max(initial=0.0), 1e-300
    ):
        parts.append(("unexplained or sampling error", "#dddddd", left))
    return parts
