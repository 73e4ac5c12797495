"""What every attribution method says of each feature, side by side."""

from __future__ import annotations

from textwrap import fill

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.errors import InputError
from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._attribution_scores import AttributionScores
from mrinterp.results._check import NotApplicable

__all__ = ["attribution_scores"]

MARKERS = "osD^vPX<>"


def attribution_scores(
    result: AttributionScores, outcome: str | None = None, most: int = 14, ax: Axes | None = None
) -> Axes:
    """Effects per unit by every method with their intervals, for the features with the largest ones.

    Parameters
    ----------
    result : AttributionScores
    outcome : str, optional
        Default the first. A method that does not apply stands in the legend with its reason.
    most : int
        Features shown.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        For an outcome that no method has, or where no method applies; says why.

    Examples
    --------
    >>> from mrinterp.plots import attribution_scores
    >>> from mrinterp.results import example
    >>> ax = attribution_scores(example("AttributionScores"))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['gradient', 'linear_probe: there is one class only']
    """
    found = result.estimates
    if not found:
        reasons = "; ".join(str(v) for _, v in result.items())
        raise InputError("attribution scores", reasons or "no method", "Choose methods that apply")
    first = next(iter(found.values()))
    outcome, o = chosen_outcome(outcome, first.outcomes)
    table = np.stack([e.beta[:, o] for e in found.values()])
    size = np.where(np.isfinite(table), np.abs(table), -1.0).max(axis=0)
    shown = np.argsort(-size, kind="stable")[:most]
    ax = axes(ax, 7.2, (0.1 * len(found) + 0.16) * len(shown) + 1.4)
    ax.axvline(0, color="#bbbbbb", lw=0.8, zorder=0)
    number = 0
    for k, (method, e) in enumerate(result.items()):
        if isinstance(e, NotApplicable):
            ax.errorbar([], [], fmt=" ", label=fill(f"{method}: {e.reason}", 40))
            continue
        y = np.arange(len(shown)) + (number - (len(found) - 1) / 2) * 0.7 / len(found)
        number += 1
        x = e.beta[shown, o]
        ends = np.stack([x - e.ci_lower[shown, o], e.ci_upper[shown, o] - x])
        ax.errorbar(
            x, y, xerr=np.where(np.isfinite(ends), ends, 0.0), fmt=MARKERS[k % len(MARKERS)], ms=4, lw=0,
            elinewidth=1.0, color=LINE_COLORS[k % len(LINE_COLORS)], label=method, zorder=3,
        )  # fmt: skip
    for row in range(len(shown) - 1):
        ax.axhline(row + 0.5, color="#eeeeee", lw=0.8, zorder=0)
    ax.set_yticks(range(len(shown)), [first.exposures[f] for f in shown], fontsize=8)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_xlabel(f"effect on {outcome} per unit of the feature, with intervals")
    hidden = f" ({len(shown)} of {len(size)})" if len(shown) < len(size) else ""
    ax.set_title(f"What attribution methods say{hidden}", loc="left")
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    spare(ax)
    return ax
