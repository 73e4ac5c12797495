"""Faithfulness and completeness over the size of the set."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.errors import InputError
from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._check import NotApplicable
from mrinterp.results._designs.faithfulness import Faithfulness

__all__ = ["faithfulness_curve"]


def faithfulness_curve(result: Faithfulness, outcome: str | None = None, ax: Axes | None = None) -> Axes:
    """f of the set and of its complement at every size, with their intervals; CPR and CMD in the title.

    The axis of sizes is logarithmic where the smallest is above zero, to show them; areas are taken on
    the proportions as they are.

    Parameters
    ----------
    result : Faithfulness
    outcome : str, optional
        Default the first.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        Where the curves do not apply to the outcome; says why.

    Examples
    --------
    >>> from mrinterp.plots import faithfulness_curve
    >>> from mrinterp.results import example
    >>> faithfulness_curve(example("Faithfulness")).get_title(loc="left")
    'CPR 1.026, CMD 0.658'
    """
    outcome, o = chosen_outcome(outcome, result.outcomes)
    areas = result[outcome]
    if isinstance(areas, NotApplicable):
        raise InputError("faithfulness_curve", areas.reason, "Choose an outcome that the features move")
    x = result.proportions
    ax = axes(ax, 4.6, 3.0)
    for height in (0, 1):
        ax.axhline(height, color="#bbbbbb", lw=0.8, zorder=0)
    for name, color in (("faithfulness", LINE_COLORS[0]), ("completeness", LINE_COLORS[1])):
        stem = "" if name == "faithfulness" else "completeness_"
        low, high = getattr(result, f"{stem}lower")[:, o], getattr(result, f"{stem}upper")[:, o]
        ax.fill_between(x, low, high, color=color, alpha=0.2, lw=0, zorder=1)
        label = "only the set" if name == "faithfulness" else "all but the set"
        ax.plot(x, getattr(result, name)[:, o], color=color, lw=1.4, marker="o", ms=3, label=label, zorder=2)
    if np.min(x) > 0:
        ax.set_xscale("log")
        ax.minorticks_off()
        ax.set_xticks(x, [f"{share:g}" for share in x], fontsize=8)
    ax.set_xlabel(f"share of {len(result.ranking)} features in the set")
    ax.set_ylabel(f"share of {outcome} kept")
    ax.set_title(f"CPR {areas.cpr:.3f}, CMD {areas.cmd:.3f}", loc="left")
    ax.legend(frameon=False)
    spare(ax)
    return ax
