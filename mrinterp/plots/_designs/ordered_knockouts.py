"""Effect of knockouts one after the other, against random orders."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._designs.ordered_knockouts import OrderedKnockouts

__all__ = ["ordered_knockouts_curve"]


def ordered_knockouts_curve(
    result: OrderedKnockouts, outcome: str | None = None, ax: Axes | None = None
) -> Axes:
    """The given order with its interval; random orders as a gray line (mean) and band (single orders).

    Parameters
    ----------
    result : OrderedKnockouts
    outcome : str, optional
        Default the first.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import ordered_knockouts_curve
    >>> from mrinterp.results import example
    >>> ordered_knockouts_curve(example("OrderedKnockouts")).get_title(loc="left")
    ''
    """
    outcome, o = chosen_outcome(outcome, result.outcomes)
    k = np.arange(len(result.order) + 1)
    ax = axes(ax, 4.4, 3.0)
    ax.axhline(0, color="#bbbbbb", lw=0.8, zorder=0)
    if result.random_orders:
        label = f"{result.random_orders} random orders"
        ax.fill_between(k, result.random_low[:, o], result.random_high[:, o], color="#dddddd", lw=0, zorder=1)
        ax.plot(k, result.random[:, o], color="#777777", lw=1.2, zorder=2, label=label)
    color = LINE_COLORS[0]
    ax.fill_between(k, result.lower[:, o], result.upper[:, o], color=color, alpha=0.2, lw=0, zorder=3)
    ax.plot(k, result.effect[:, o], color=color, lw=1.4, marker="o", ms=3, zorder=4, label="given order")
    ax.set_xlabel("features knocked out")
    ax.set_ylabel(f"change of {outcome}")
    ax.legend(frameon=False)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    spare(ax)
    return ax
