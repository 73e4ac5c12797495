"""Precision against ratio: a lopsided funnel is directional pleiotropy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from mrinterp.core.mrdata import MRData
from mrinterp.plots._many import points
from mrinterp.plots._mr.scatter import drawn_estimates, oriented, pair_of, short_label
from mrinterp.plots._style import axes, legend_below, spare
from mrinterp.results._estimates import Estimates

__all__ = ["mr_funnel"]


def mr_funnel(
    data: MRData,
    results: Sequence[Estimates] = (),
    exposure: str | None = None,
    outcome: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """1 / error of each ratio g/b against the ratio, one vertical line per estimate.

    Where no instrument acts around the exposure the points spread evenly about the effect, more
    widely the lower they lie: 95% of them inside the dotted lines about the first estimate.

    Parameters
    ----------
    data : MRData
    results : sequence of Estimates
        Univariable estimates, in the order of the legend.
    exposure : str, optional
        Default the first.
    outcome : str, optional
        Default the first.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import MRData
    >>> from mrinterp.plots import mr_funnel
    >>> beta, se = np.array([[0.1, 0.2, 0.3]]), np.full((1, 3), 0.02)
    >>> data = MRData(
    ...     beta_x=beta, se_x=se, beta_y=0.5 * beta, se_y=se,
    ...     exposures=("size",), outcomes=("loss",), instruments=("a", "b", "c"),
    ... )
    >>> mr_funnel(data).get_title(loc="left")
    'Funnel: precise instruments on top'
    """
    exposure, outcome = pair_of(data, exposure, outcome)
    ax = axes(ax, 5.6, 4.4)
    b, _, g, t, _ = oriented(data, exposure, outcome)
    moves = b > 0
    ratio, precision = g[moves] / b[moves], b[moves] / t[moves]
    left, right = _sides(ratio)
    seen = (ratio >= left) & (ratio <= right)
    points(ax, ratio[seen], precision[seen], "#444444")
    for k, (result, f, o, color) in enumerate(drawn_estimates(results, exposure, outcome)):
        beta = result.beta[f, o]
        ax.axvline(beta, color=color, lw=1.4, label=short_label(result), zorder=2)
        if k == 0 and len(precision):
            heights = np.linspace(precision.max() / 40.0, precision.max() * 1.05, 200)
            for side in (-1.959964, 1.959964):
                ax.plot(beta + side / heights, heights, ":", color=color, lw=1.0, zorder=1)
    if len(ratio) > 2:
        ax.set_xlim(left, right)
    ax.set_ylim(0, 1.08 * precision.max() if len(precision) else 1.0)
    ax.set_xlabel(f"ratio of one instrument: effect on {outcome} per unit of {exposure}")
    ax.set_ylabel("1 / error of the ratio")
    ax.set_title("Funnel: precise instruments on top", loc="left")
    legend_below(ax)
    spare(ax)
    return ax


def _sides(ratio: NDArray[np.float64]) -> tuple[float, float]:
    """Ends of the axis across: ratios of weak instruments lie anywhere and do not stretch it."""
    if len(ratio) < 3:
        return -np.inf, np.inf
    left, right = np.quantile(ratio, [0.02, 0.98])
    room = 0.35 * (right - left) + 1e-12
    return float(left - room), float(right + room)
