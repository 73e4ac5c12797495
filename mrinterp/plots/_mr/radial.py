"""Radial plot: every instrument by its precision, outliers at a glance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from scipy.stats import chi2

from mrinterp.core.mrdata import MRData
from mrinterp.plots._many import points
from mrinterp.plots._mr.scatter import drawn_estimates, oriented, pair_of, short_label
from mrinterp.plots._style import axes, legend_below, spare
from mrinterp.results._estimates import Estimates

__all__ = ["mr_radial"]

NAMED = 6


def mr_radial(
    data: MRData,
    results: Sequence[Estimates] = (),
    exposure: str | None = None,
    outcome: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Square root of an instrument's weight across, ratio times that up: an estimate is a slope through the origin.

    Parameters
    ----------
    data : MRData
    results : sequence of Estimates
        Univariable estimates, drawn as slopes.
    exposure, outcome : str, optional
        Default the first.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        For an exposure or outcome that the data do not have.

    Notes
    -----
    Weights are first-order, the inverse variance of the ratio. Instruments whose squared distance from the weighted mean is
    beyond the 5% point of chi squared, divided by their number, are crosses. Source: Bowden et al. 2018, doi:10.1093/ije/dyy101.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import MRData
    >>> from mrinterp.plots import mr_radial
    >>> beta, se = np.array([[0.1, 0.2, 0.3]]), np.full((1, 3), 0.02)
    >>> data = MRData(
    ...     beta_x=beta, se_x=se, beta_y=0.5 * beta, se_y=se,
    ...     exposures=("size",), outcomes=("loss",), instruments=("a", "b", "c"),
    ... )
    >>> mr_radial(data).get_title(loc="left")
    'Radial plot, 0 of 3 outlying'
    """
    exposure, outcome = pair_of(data, exposure, outcome)
    b, _, g, t, names = oriented(data, exposure, outcome)
    moved = np.flatnonzero(b > 0)
    x, y = b[moved] / t[moved], g[moved] / t[moved]
    mean = float((x @ y) / (x @ x)) if len(x) else np.nan
    far = (y - mean * x) ** 2
    bar = chi2.isf(0.05 / max(len(x), 1), 1)
    out = far > bar
    ax = axes(ax, 3.5, 3.3)
    points(ax, x[~out], y[~out], "#444444")
    ax.scatter(x[out], y[out], s=18, color="#d55e00", marker="x", linewidths=1.0)
    for k in np.flatnonzero(out)[np.argsort(-far[out], kind="stable")][:NAMED]:
        ax.annotate(names[moved[k]][:18], (x[k], y[k]), fontsize=6, xytext=(3, 2), textcoords="offset points")
    end = float(x.max(initial=1.0)) * 1.05
    for result, f, o, color in drawn_estimates(results, exposure, outcome):
        ax.plot([0, end], [0, end * result.beta[f, o]], color=color, lw=1.2, label=short_label(result))
    if not len(results):
        ax.plot([0, end], [0, end * mean], color="#0072b2", lw=1.2, label="inverse-variance weighted")
    ax.set_xlim(0, end)
    ax.axhline(0, color="#bbbbbb", lw=0.8, zorder=0)
    ax.set_xlabel("square root of the weight")
    ax.set_ylabel("ratio times square root of the weight")
    ax.set_title(f"Radial plot, {int(out.sum())} of {len(x)} outlying", loc="left", fontsize=9)
    legend_below(ax)
    spare(ax)
    return ax
