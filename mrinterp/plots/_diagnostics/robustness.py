"""How strong an unmeasured feature each claim withstands."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._sensitivity import Sensitivity

__all__ = ["robustness_values"]


def robustness_values(
    result: Sensitivity, outcome: str | None = None, most: int = 30, ax: Axes | None = None
) -> Axes:
    """One bar per claim: its robustness value; 0 where the interval touches the region of practical equivalence.

    Parameters
    ----------
    result : Sensitivity
    outcome : str, optional
        Default the first.
    most : int
        Claims shown, the most robust.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import robustness_values
    >>> from mrinterp.results import example
    >>> robustness_values(example("Sensitivity")).get_title(loc="left")
    'What claims on outcome 0 withstand'
    """
    outcome, o = chosen_outcome(outcome, result.outcomes)
    value = result.robustness[:, o]
    shown = np.argsort(-np.nan_to_num(value, nan=-1.0), kind="stable")[:most]
    ax = axes(ax, 6.4, 0.28 * max(len(shown), 1) + 1.4)
    ax.barh(np.arange(len(shown)), np.nan_to_num(value[shown]), height=0.6, color=LINE_COLORS[0])
    ax.set_yticks(np.arange(len(shown)), [result.exposures[f] for f in shown], fontsize=8)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_xlabel(
        "partial R\u00b2, with feature and outcome, of an unmeasured feature\nthat brings the interval to the region"
    )
    hidden = f" ({len(shown)} of {len(value)})" if len(shown) < len(value) else ""
    ax.set_title(f"What claims on {outcome} withstand{hidden}", loc="left")
    spare(ax)
    return ax
