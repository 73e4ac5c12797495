"""What a method predicted against what the knockout did, one point a feature."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.errors import InputError, near_misses
from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._many import MOST_BARS, points
from mrinterp.plots._style import METHOD_COLORS, axes, spare
from mrinterp.results._agreement import Agreement

__all__ = ["predicted_vs_knockout", "predicted_vs_knockout_grid"]


def predicted_vs_knockout(
    agreement: Agreement, method: str = "within", ax: Axes | None = None, outcome: str | None = None
) -> Axes:
    """Estimates of one method (up) against matched knockouts (across), with both intervals.

    Parameters
    ----------
    agreement : Agreement
    method : str
        Its name in ``agreement.scores``.
    ax : Axes, optional
        Where to draw; a new figure by default.
    outcome : str, optional
        Default the first.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        For a method or outcome that was not compared, or one without a feature that has both numbers.

    Examples
    --------
    >>> from mrinterp.plots import predicted_vs_knockout
    >>> from mrinterp.results import example
    >>> predicted_vs_knockout(example("Agreement")).get_title(loc="left")
    'within'
    """
    methods = list(dict.fromkeys(agreement.joined["method"]))
    if method not in methods:
        raise InputError(f"method {method!r}", "not compared", near_misses(method, methods) or f"{methods}")
    outcome, o = chosen_outcome(outcome, list(dict.fromkeys(agreement.joined["outcome"])))
    chosen = [
        t[(t["method"] == method) & (t["outcome"] == outcome)] for t in (agreement.joined, agreement.scores)
    ]
    table, row = chosen[0], chosen[1].iloc[0]
    if not row["n"]:
        raise InputError(f"method {method!r}, {outcome}", "no feature has both numbers", "Choose another")
    ax = axes(ax, 4.4, 4.4)
    color = METHOD_COLORS.get(method, "#0072b2")
    x, y = table["knockout"], table["estimate"]
    rope = float(agreement.meta["rope"][o])
    ax.axvspan(-rope, rope, color="#eeeeee", zorder=0)
    if len(table) > MOST_BARS:
        known = np.isfinite(x.to_numpy(float)) & np.isfinite(y.to_numpy(float))
        points(ax, x.to_numpy(float)[known], y.to_numpy(float)[known], color)
    else:
        ax.errorbar(
            x,
            y,
            xerr=[x - table["knockout_lower"], table["knockout_upper"] - x],
            yerr=[y - table["ci_lower"], table["ci_upper"] - y],
            fmt="o",
            ms=3.5,
            lw=0,
            elinewidth=0.8,
            color=color,
            alpha=0.85,
            zorder=3,
        )
    limit = 1.08 * float(np.nanmax(np.abs(np.r_[x, y])))
    ax.plot([-limit, limit], [-limit, limit], color="#444444", lw=0.8, ls="--", zorder=2)
    ax.set_xlim(-limit, limit)
    ax.set_ylim(-limit, limit)
    ax.set_aspect("equal")
    ax.text(
        0.03,
        0.97,
        f"correlation {row['correlation']:.2f}\nslope {row['slope']:.2f}\n"
        f"coverage {row['coverage']:.2f} ({row['coverage_lower']:.2f} to {row['coverage_upper']:.2f})",
        transform=ax.transAxes,
        va="top",
        fontsize=8,
    )
    ax.set_xlabel("knockout effect, outcome units per sd")
    ax.set_ylabel("predicted effect, outcome units per sd")
    ax.set_title(str(row["label"]).split(",")[0], loc="left")
    spare(ax)
    return ax


def predicted_vs_knockout_grid(agreement: Agreement, methods: list[str], ax: Axes | None = None) -> Axes:
    """One panel a method, side by side.

    Parameters
    ----------
    agreement : Agreement
    methods : list of str
        Their names in ``agreement.scores``.
    ax : Axes, optional
        Takes the first method alone; a new figure with all of them by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import predicted_vs_knockout_grid
    >>> from mrinterp.results import example
    >>> ax = predicted_vs_knockout_grid(example("Agreement"), ["within", "gradient"])
    >>> len(ax.figure.axes)
    2
    """
    import matplotlib.pyplot as plt

    if ax is not None:
        return predicted_vs_knockout(agreement, methods[0], ax)
    figure, panels = plt.subplots(
        1, len(methods), figsize=(3.6 * len(methods), 3.9), layout="constrained", squeeze=False
    )
    for method, panel in zip(methods, panels[0], strict=True):
        predicted_vs_knockout(agreement, method, panel)
        panel.set_title(panel.get_title(loc="left"), loc="left", fontsize=9)
    return panels[0][0]
