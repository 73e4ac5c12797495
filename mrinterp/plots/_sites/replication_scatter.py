"""An estimate against the same on other families."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mrinterp.core.errors import InputError
from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._many import EVERY, MOST_BARS, points
from mrinterp.plots._style import VERDICT_COLORS, axes, spare
from mrinterp.results._estimates import Estimates

__all__ = ["replication_scatter"]


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
    others = set(again.exposures)
    shared = [n for n in result.exposures if n in others]
    if not shared:
        raise InputError("again", "no feature of the first estimate", "Give estimates of the same features")
    f, g = (pd.Index(e.exposures).get_indexer(pd.Index(shared)) for e in (result, again))
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
    if known.sum() > EVERY:  # a density, in which signs have no colors
        points(ax, x[known], y[known], VERDICT_COLORS["causal"])
    else:
        for here, color, marker, label in (
            (known & same, VERDICT_COLORS["causal"], "o", "same sign"),
            (known & ~same, "#d55e00", "x", "other sign"),
        ):
            if here.any():
                points(ax, x[here], y[here], color, marker, label=label)
        ax.legend(frameon=False, fontsize=7, loc="upper left")
    low, high = float(np.nanmin([x, y])), float(np.nanmax([x, y]))
    ax.plot([low, high], [low, high], color="#888888", lw=0.9, ls="--", zorder=1)
    ax.set_xlabel(f"effect on {result.outcomes[o]}")
    ax.set_ylabel("on other families")
    ax.set_title(
        f"{int((same & known).sum())} of {int(known.sum())} with the same sign", loc="left", fontsize=9
    )
    spare(ax)
    return ax
