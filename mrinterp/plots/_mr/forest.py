"""Every instrument's own ratio, and the estimates below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.mrdata import MRData
from mrinterp.plots._mr.scatter import oriented, pair_of, short_label
from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._estimates import Estimates
from mrinterp.stats.tests.tails import critical_value

__all__ = ["mr_forest"]


def mr_forest(
    data: MRData,
    results: Sequence[Estimates] = (),
    exposure: str | None = None,
    outcome: str | None = None,
    most: int = 60,
    ax: Axes | None = None,
) -> Axes:
    """Ratios g/b with their first-order intervals, sorted, and the estimates with theirs.

    Parameters
    ----------
    data : MRData
    results : sequence of Estimates
        Univariable estimates, in the order of the legend.
    exposure : str, optional
        Default the first.
    outcome : str, optional
        Default the first.
    most : int
        Largest number of instruments shown; beyond it those of least error.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import MRData
    >>> from mrinterp.plots import mr_forest
    >>> beta, se = np.array([[0.1, 0.2, 0.3]]), np.full((1, 3), 0.02)
    >>> data = MRData(
    ...     beta_x=beta, se_x=se, beta_y=0.5 * beta, se_y=se,
    ...     exposures=("size",), outcomes=("loss",), instruments=("a", "b", "c"),
    ... )
    >>> mr_forest(data).get_title(loc="left")
    'One ratio per instrument'
    """
    exposure, outcome = pair_of(data, exposure, outcome)
    b, _, g, t, names = oriented(data, exposure, outcome)
    moves = np.flatnonzero(b > 0)
    shown = moves[np.argsort((t / np.where(b > 0, b, 1.0))[moves], kind="stable")][:most]
    shown = shown[np.argsort((g / np.where(b > 0, b, 1.0))[shown])]
    ratio, error = g[shown] / b[shown], t[shown] / b[shown]
    half = critical_value(results[0].level if results else 0.95) * error
    count, methods = len(shown), len(results)
    ax = axes(ax, 6.0, 0.17 * (count + 1.6 * methods) + 1.2)
    ax.errorbar(ratio, np.arange(count), xerr=half, fmt="o", ms=3, color="#444444", elinewidth=0.8, lw=0)
    for k, result in enumerate(results):
        f, o = result.exposures.index(exposure), result.outcomes.index(outcome)
        x, low, high = result.beta[f, o], result.ci_lower[f, o], result.ci_upper[f, o]
        color = LINE_COLORS[k % len(LINE_COLORS)]
        if np.isfinite(x):
            ax.errorbar(
                x,
                count + 1 + 1.6 * k,
                xerr=[[x - low], [high - x]],
                fmt="D",
                ms=5,
                color=color,
                elinewidth=1.8,
            )
    ticks = [*range(count), *(count + 1 + 1.6 * k for k in range(methods))]
    ax.set_yticks(
        ticks,
        [names[j] for j in shown] + [short_label(r) for r in results],
        fontsize=6.5 if count > 25 else 8,
    )
    ax.set_ylim(count + 1.6 * methods + 0.6, -0.8)
    ax.axvline(0, color="#bbbbbb", lw=0.8, zorder=0)
    _limit(ax, ratio, half)
    hidden = f" ({count} of {len(moves)}, those of least error)" if count < len(moves) else ""
    ax.set_xlabel(f"effect on {outcome} per unit of {exposure}")
    ax.set_title(f"One ratio per instrument{hidden}", loc="left")
    spare(ax)
    return ax


def _limit(ax: Axes, ratio: np.ndarray, half: np.ndarray) -> None:
    """Let a few ratios run off the axis, marked at its edge, rather than squeeze all others."""
    if len(ratio) <= 8:
        return
    left, right = np.quantile(ratio - half, 0.05), np.quantile(ratio + half, 0.95)
    room = 0.15 * (right - left)
    low, high = min(left - room, 0.0), max(right + room, 0.0)
    for row in np.flatnonzero((ratio < low) | (ratio > high)):
        edge, mark = (low, "<") if ratio[row] < low else (high, ">")
        ax.plot(edge, row, mark, ms=4, color="#444444", clip_on=False)
    ax.set_xlim(low, high)
