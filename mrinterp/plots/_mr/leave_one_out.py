"""The estimate without each instrument in turn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from mrinterp.plots._mr.scatter import pair_of, short_label
from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._estimates import Estimates

__all__ = ["mr_leave_one_out"]


def mr_leave_one_out(
    whole: Estimates,
    repeats: Sequence[tuple[str, Estimates]],
    exposure: str | None = None,
    outcome: str | None = None,
    most: int = 60,
    ax: Axes | None = None,
) -> Axes:
    """One row per instrument left out, sorted by the estimate, and the estimate with all of them below.

    Parameters
    ----------
    whole : Estimates
        Of one method on all instruments.
    repeats : sequence of (str, Estimates)
        Name of the instrument left out, and the same method without it.
    exposure : str, optional
        Default the first.
    outcome : str, optional
        Default the first.
    most : int
        Largest number of rows; beyond it those that move the estimate most.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import mr_leave_one_out
    >>> from mrinterp.results import example
    >>> whole, without = example("Estimates"), example("Estimates", seed=1)
    >>> mr_leave_one_out(whole, [("a", without)]).get_title(loc="left")
    'inverse-variance weighted: leave one out'
    """
    exposure, outcome = pair_of(whole, exposure, outcome)
    f, o = whole.exposures.index(exposure), whole.outcomes.index(outcome)

    def cell(e: Estimates) -> tuple[float, float, float]:
        return float(e.beta[f, o]), float(e.ci_lower[f, o]), float(e.ci_upper[f, o])

    rows = [(name, *cell(e)) for name, e in repeats if np.isfinite(e.beta[f, o])]
    x, low, high = cell(whole)
    rows = sorted(rows, key=lambda r: -abs(r[1] - x))[:most]
    rows.sort(key=lambda r: r[1])
    count = len(rows)
    ax = axes(ax, 6.0, 0.17 * (count + 2) + 1.2)
    at = np.array([r[1:] for r in rows]).reshape(count, 3).T
    xerr = np.abs(at[1:] - at[0])
    ax.errorbar(at[0], np.arange(count), xerr=xerr, fmt="o", ms=3, color="#444444", elinewidth=0.8, lw=0)
    if np.isfinite(x):
        ax.errorbar(
            x, count + 1, xerr=[[x - low], [high - x]], fmt="D", ms=5, color=LINE_COLORS[0], elinewidth=1.8
        )
        ax.axvline(x, color=LINE_COLORS[0], lw=0.8, ls=":", zorder=0)
    labels = [f"without {r[0]}" for r in rows] + ["all instruments"]
    ax.set_yticks([*range(count), count + 1], labels, fontsize=6.5 if count > 25 else 8)
    ax.set_ylim(count + 1.8, -0.8)
    ax.axvline(0, color="#bbbbbb", lw=0.8, zorder=0)
    hidden = f" ({count} of {len(repeats)}, those that matter most)" if count < len(repeats) else ""
    ax.set_xlabel(f"effect on {outcome} per unit of {exposure}, with interval")
    ax.set_title(f"{short_label(whole)}: leave one out{hidden}", loc="left")
    spare(ax)
    return ax
