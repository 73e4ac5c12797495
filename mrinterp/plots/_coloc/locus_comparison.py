"""Strength of every instrument of a locus on the feature against its strength on the outcome."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.mrdata import MRData
from mrinterp.plots._many import points
from mrinterp.plots._style import axes, spare
from mrinterp.stats.tests.tails import neglog10p_normal

__all__ = ["locus_comparison"]


def locus_comparison(data: MRData, exposure: str, outcome: str, ax: Axes | None = None) -> Axes:
    """Plot -log10 p on the outcome (up) against the feature (across), colored by r2 with the leader.

    With one shared cause the points rise together to one corner; with two causes they run along
    both axes.

    Parameters
    ----------
    data : MRData
        The instruments of one locus (``data.select(instruments=...)``).
    exposure, outcome : str
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import MRData
    >>> from mrinterp.plots import locus_comparison
    >>> beta, se = np.array([[0.1, 0.2, 0.3]]), np.full((1, 3), 0.02)
    >>> data = MRData(
    ...     beta_x=beta, se_x=se, beta_y=0.5 * beta, se_y=se,
    ...     exposures=("size",), outcomes=("loss",), instruments=("a", "b", "c"),
    ... )
    >>> locus_comparison(data, "size", "loss").get_ylabel()
    '-log10 p, loss'
    """
    ax = axes(ax, 4.4, 3.8)
    one = data.select([exposure], [outcome])
    x = neglog10p_normal(one.beta_x[0] / one.se_x[0])
    y = neglog10p_normal(one.beta_y[0] / one.se_y[0])
    lead = int(np.argmax(x + y))
    if one.ld is None:
        points(ax, x, y, "#0072b2")
    else:
        order = np.argsort(one.ld[lead] ** 2, kind="stable")
        drawn = ax.scatter(
            x[order], y[order], c=one.ld[lead][order] ** 2, s=22, cmap="viridis_r", vmin=0, vmax=1, lw=0
        )
        bar = ax.figure.colorbar(drawn, ax=ax, shrink=0.7, pad=0.02)
        bar.set_label(f"r² with {one.instruments[lead]}")
    ax.scatter(x[lead], y[lead], marker="D", s=46, color="#d55e00", zorder=4, clip_on=False)
    left = x[lead] > 0.6 * x.max()
    ax.annotate(
        one.instruments[lead],
        (x[lead], y[lead]),
        xytext=(-7 if left else 7, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center",
        fontsize=8,
    )
    ax.margins(0.06)
    ax.set_xlabel(f"-log10 p, {exposure}")
    ax.set_ylabel(f"-log10 p, {outcome}")
    ax.set_title("Locus comparison", loc="left")
    spare(ax)
    return ax
