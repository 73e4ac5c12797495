"""A map of a sweep: where along the network, and at which tokens, features move the outcome."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.errors import InputError, near_misses
from mrinterp.plots._style import axes
from mrinterp.results._sweep_results import SweepResults

__all__ = ["sweep_map"]


def sweep_map(sweep: SweepResults, outcome: str | None = None, ax: Axes | None = None) -> Axes:
    """Sites against positions (and dictionaries): the largest effect that stands, and how many stand of those tested.

    Color is the largest effect in half widths of the region of practical equivalence, on a scale of its logarithm; a cell
    in which nothing stands is white, one whose study could not be carried out is hatched.

    Parameters
    ----------
    sweep : SweepResults
    outcome : str, optional
        Default the first.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import sweep_map
    >>> from mrinterp.results import example
    >>> sweep_map(example("SweepResults")).get_title(loc="left")
    'Where y is moved: largest effect that stands'
    """
    outcomes = list(dict.fromkeys(sweep.claims["outcome"]))
    name = (outcomes[0] if outcomes else "") if outcome is None else outcome
    if name not in outcomes and outcome is not None:
        fix = near_misses(name, outcomes) or f"Known: {', '.join(outcomes)}"
        raise InputError("outcome", repr(name), fix)
    table = sweep.by_study
    rows = list(dict.fromkeys(sweep.studies["site"]))
    several = sweep.studies["dictionary"].nunique() > 1
    column = [_column(r, several) for r in sweep.studies.to_dict("records")]
    columns = list(dict.fromkeys(column))
    ax = axes(ax, max(3.2 + 1.2 * len(columns), 6.0), max(1.3 + 0.34 * len(rows), 2.6))
    size = np.full((len(rows), len(columns)), np.nan)
    for r in table.to_dict("records"):
        place = rows.index(r["site"]), columns.index(_column(r, several))
        y, x = place
        if r["status"] != "finished":
            ax.fill_between(
                [x - 0.5, x + 0.5], y - 0.5, y + 0.5, facecolor="none", hatch="////", edgecolor="#bbbbbb"
            )
        elif r["outcome"] == name:
            size[place] = abs(r["in_ropes"])
            dark = bool(size[place] > 10)
            ax.text(
                x,
                y,
                f"{r['stand']} of {r['tested']}",
                ha="center",
                va="center",
                fontsize=8,
                color="w" if dark else "k",
            )
    with np.errstate(invalid="ignore"):
        shown = ax.imshow(np.log10(np.maximum(size, 1.0)), cmap="viridis_r", vmin=0, vmax=2, aspect="auto")
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xlim(-0.5, len(columns) - 0.5)
    ax.set_ylim(-0.5, len(rows) - 0.5)  # the input below, the output above
    ax.tick_params(length=0)
    title = f"Where {name} is moved: largest effect that stands"
    ax.set_title("\n".join(wrap(title, 46)), loc="left")
    bar = ax.figure.colorbar(shown, ax=ax, ticks=[0, 1, 2], fraction=0.06, pad=0.02)
    bar.ax.set_yticklabels(["1", "10", "100"])
    bar.set_label("effect / half width of the\nregion of equivalence", fontsize=8)
    return ax


def _column(row: Mapping[Hashable, Any], several: bool) -> str:
    return f"{row['position']}\n{row['dictionary']}" if several else str(row["position"])
