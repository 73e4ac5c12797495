"""Which way an early feature's effect takes through a later site."""

from __future__ import annotations

from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.errors import InputError, near_misses
from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._style import axes
from mrinterp.results._designs.mediated_effects import MediatedEffects

__all__ = ["mediated_paths"]

WIDEST = 4.0


def mediated_paths(
    result: MediatedEffects,
    feature: str | None = None,
    outcome: str | None = None,
    most: int = 4,
    ax: Axes | None = None,
) -> Axes:
    """Path diagram of one early feature: arrows through the later features that carry most, the rest of their site, and past it.

    Parameters
    ----------
    result : MediatedEffects
    feature, outcome : str, optional
        Default the feature with the largest total effect, and the first outcome.
    most : int
        Later features shown.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        For a feature or outcome that the result does not have.

    Notes
    -----
    An arrow is as wide as its part is of the largest; blue adds to the outcome, orange takes away, and parts whose interval
    holds 0 are dashed.

    Examples
    --------
    >>> from mrinterp.plots import mediated_paths
    >>> from mrinterp.results import example
    >>> mediated_paths(example("MediatedEffects"), "feature 0").get_title(loc="left")
    'How feature 0 reaches outcome 0'
    """
    if feature is not None and feature not in result.features:
        raise InputError(
            "feature", repr(feature), near_misses(feature, list(result.features)) or "Name one of the result"
        )
    outcome, o = chosen_outcome(outcome, result.outcomes)
    f = (
        result.features.index(feature)
        if feature
        else int(np.argmax(np.abs(np.nan_to_num(result.total[:, o]))))
    )
    order = np.argsort(-np.abs(np.nan_to_num(result.through[f, :, o])), kind="stable")[:most]
    ways = [(result.mediators[m], result.through[f, m, o], result.through_se[f, m, o]) for m in order]
    ways += [("the rest of\nthe later site", result.rest[f, o], result.rest_se[f, o])]
    ways += [("past it", result.direct[f, o], result.direct_se[f, o])]
    ax = axes(ax, 6.4, 0.75 * len(ways) + 0.8)
    ax.set_xlim(0, 10)
    ax.set_ylim(-0.6, len(ways) - 0.4)
    ax.axis("off")
    largest = max(max(abs(v) for _, v, _ in ways), 1e-300)
    middle = (len(ways) - 1) / 2
    box = {"boxstyle": "round,pad=0.4", "edgecolor": "#666666"}
    for y, (name, value, se) in zip(range(len(ways) - 1, -1, -1), ways, strict=True):
        half = result.half * se
        style = {
            "arrowstyle": "-|>",
            "color": "#0072b2" if value >= 0 else "#d55e00",
            "linewidth": 0.6 + WIDEST * abs(float(np.nan_to_num(value))) / largest,
            "linestyle": "-" if abs(value) > half else "--",
            "shrinkA": 30,
            "shrinkB": 26,
        }
        ax.annotate("", (5.0, y), (1.2, middle), arrowprops=style, zorder=1)
        ax.annotate("", (8.9, middle), (5.0, y), arrowprops=style, zorder=1)
        words = f"{chr(10).join(wrap(name, 22)[:2])}\n{value:+.2g} [{value - half:+.2g}, {value + half:+.2g}]"
        ax.text(
            5.0, y, words, ha="center", va="center", fontsize=7, bbox=box | {"facecolor": "#ffffff"}, zorder=3
        )
    for x, name, colour in ((1.2, result.features[f], "#d7e6f2"), (8.9, outcome, "#e8e8e8")):
        words = "\n".join(wrap(name, 16)[:3])
        ax.text(
            x, middle, words, ha="center", va="center", fontsize=8, bbox=box | {"facecolor": colour}, zorder=3
        )
    ax.set_title(f"How {result.features[f]} reaches {outcome}", loc="left", fontsize=9)
    return ax
