"""Which features can be shown to do nothing: their least favorable effect, compared with practical equivalence."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mrinterp.core.errors import InputError
from mrinterp.plots._style import LINE_COLORS, axes, legend_below, spare
from mrinterp.results._edits.vestigial_features import VestigialFeatures

__all__ = ["vestigial_features"]

GROUPS = (
    ("shown to do nothing", LINE_COLORS[0]),
    ("dead on these inputs", "#999999"),
    ("not shown", LINE_COLORS[1]),
)


def vestigial_features(result: VestigialFeatures, ax: Axes | None = None) -> Axes:
    """One point a feature, by size: the effect with the least evidence of equivalence, as a share of its region.

    Inside the band alone is not enough: the interval must lie inside too, for all features together.
    Features without a test are counted in the title.

    Parameters
    ----------
    result : VestigialFeatures
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        Where no feature could be tested.

    Examples
    --------
    >>> from mrinterp.plots import vestigial_features
    >>> from mrinterp.results import example
    >>> vestigial_features(example("VestigialFeatures")).get_title(loc="left")
    '2 of 3 features shown to do nothing'
    """
    table = result.table
    dead = (table["status"] == "dead").to_numpy()
    share = np.where(dead, 0.0, (table["effect"].abs() / table["rope"]).to_numpy(float))
    known = np.isfinite(share)
    if not known.any():
        raise InputError("vestigial features", "none could be tested", "See its table for the reasons")
    order = np.flatnonzero(known)[np.argsort(share[known], kind="stable")]
    shown = table["vestigial"].to_numpy(bool)
    group = np.where(dead, 1, np.where(shown, 0, 2))
    ax = axes(ax, 6.4, 3.4)
    ax.axhspan(0, 1, color="#eeeeee", zorder=0, label="practical equivalence")
    for g, (words, color) in enumerate(GROUPS):
        place = np.flatnonzero(group[order] == g)
        if len(place):
            ax.plot(place + 1, share[order][place], "o", ms=4, color=color, label=f"{words} ({len(place)})")
    ax.set_yscale("symlog", linthresh=1.0)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_ylim(bottom=-0.03)
    ax.set_xlabel("features, by size of effect")
    ax.set_ylabel("size of effect / half-width\nof practical equivalence")
    untested = int((~known).sum())
    hidden = f"; {untested} without a test" if untested else ""
    ax.set_title(
        f"{len(result.names)} of {len(result.features)} features shown to do nothing{hidden}", loc="left"
    )
    legend_below(ax)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    spare(ax)
    return ax
