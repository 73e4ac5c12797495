"""An estimate against the same on other families."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.errors import InputError
from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._style import VERDICT_COLORS, axes, spare
from mrinterp.results._estimates import Estimates

__all__ = ["replication_scatter"]

MOST_BARS = 300


def replication_scatter(
    result: Estimates, again: Estimates, outcome: str | None = None, rope: float = 0.0, ax: Axes | None = None
) -> Axes:
    """First estimate across, replication up, 95% intervals both ways; on the dashed line they are equal.

    Parameters
    ----------
    result, again : Estimates
        Of features that they share, on one scale.
    outcome : str, optional
        Default the first.
    rope : float
        Half width of the region of practical equivalence; 0 draws none.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        Where they share no feature, or lack the outcome.

    Notes
    -----
    A replication by the same specification repeats its bias: agreement here says that families do not matter, not that the
    estimate is right.

    Examples
    --------
    >>> from mrinterp.plots import replication_scatter
    >>> from mrinterp.results import example
    >>> replication_scatter(example("Estimates"), example("Estimates", seed=1)).get_ylabel()
    'on other families'
    """
    o, p = chosen_outcome(outcome, result.outcomes)[1], chosen_outcome(outcome, again.outcomes)[1]
    shared = [n for n in result.exposures if n in set(again.exposures)]
    if not shared:
        raise InputError("again", "no feature of the first estimate", "Give estimates of the same features")
    where = {n: k for k, n in enumerate(again.exposures)}
    f = np.array([result.exposures.index(n) for n in shared])
    g = np.array([where[n] for n in shared])
    x, y = result.beta[f, o], again.beta[g, p]
    ends = [
        np.asarray(a)[i, c] for e, i, c in ((result, f, o), (again, g, p)) for a in (e.ci_lower, e.ci_upper)
    ]
    ax = axes(ax, 3.5, 3.5)
    known = np.isfinite([x, y]).all(axis=0)
    if rope > 0:
        ax.axvspan(-rope, rope, color="#eeeeee", lw=0, zorder=0)
        ax.axhspan(-rope, rope, color="#eeeeee", lw=0, zorder=0)
    if known.sum() <= MOST_BARS:
        bars = np.nan_to_num(np.abs(np.array([x - ends[0], ends[1] - x, y - ends[2], ends[3] - y])))[:, known]
        ax.errorbar(
            x[known], y[known], xerr=bars[:2], yerr=bars[2:], fmt="none", ecolor="#bbbbbb", elinewidth=0.7
        )
    same = np.sign(x) == np.sign(y)
    for here, color, marker, label in (
        (known & same, VERDICT_COLORS["causal"], "o", "same sign"),
        (known & ~same, "#d55e00", "x", "other sign"),
    ):
        if here.any():
            ax.scatter(
                x[here],
                y[here],
                s=12,
                color=color,
                marker=marker,
                linewidths=0.9,
                zorder=3,
                label=label,
                rasterized=len(x) > 2000,
            )
    low, high = float(np.nanmin([x, y])), float(np.nanmax([x, y]))
    ax.plot([low, high], [low, high], color="#888888", lw=0.9, ls="--", zorder=1)
    ax.legend(frameon=False, fontsize=7, loc="upper left")
    ax.set_xlabel(f"effect on {result.outcomes[o]}")
    ax.set_ylabel("on other families")
    ax.set_title(
        f"{int((same & known).sum())} of {int(known.sum())} with the same sign", loc="left", fontsize=9
    )
    spare(ax)
    return ax
