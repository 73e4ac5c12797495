"""Coverage and cost of the rungs: how often each held against knockouts, and how many passes it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mrinterp.core.errors import InputError
from mrinterp.plots._style import LINE_COLORS, axes, legend_below, spare

__all__ = ["coverage_and_cost"]


def coverage_and_cost(rungs: pd.DataFrame, outcome: str | None = None, ax: Axes | None = None) -> Axes:
    """Share of features whose knockout both errors allow, one rung a row, with its passes in numbers on the right.

    Parameters
    ----------
    rungs : DataFrame
        `Study.rungs`.
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
        For an outcome that the table does not have.

    Examples
    --------
    >>> import pandas as pd
    >>> from mrinterp.plots import coverage_and_cost
    >>> row = {"rung": "rectified", "label": "rectified contrast", "outcome": "y", "estimand": "contrast", "coverage": 0.95}
    >>> row |= {"coverage_lower": 0.9, "coverage_upper": 0.99, "half_width": 0.4, "forward": 10, "resumed": 90, "backward": 10}
    >>> coverage_and_cost(pd.DataFrame([row])).get_title(loc="left")
    'Coverage of knockouts, and what it cost'
    """
    name = rungs["outcome"].iloc[0] if outcome is None else outcome
    table = rungs[rungs["outcome"] == name]
    if table.empty:
        raise InputError(
            "outcome", repr(name), f"Choose one of {', '.join(map(repr, rungs['outcome'].unique()))}"
        )
    y = np.arange(len(table))
    ax = axes(ax, 11.0, 0.34 * max(len(table), 3) + 1.5)
    ax.axvline(0.95, color="#bbbbbb", lw=0.9, ls="--", zorder=0)
    contrast = (table["estimand"] == "contrast").to_numpy()
    low, mid, high = (
        table[c].to_numpy(dtype=float) for c in ("coverage_lower", "coverage", "coverage_upper")
    )
    ax.hlines(y, low, high, color="#888888", lw=1.2, zorder=1)
    for some, color, words in (
        (contrast, LINE_COLORS[0], "contrast, against contrasts on other families"),
        (~contrast, LINE_COLORS[1], "local slope, against matched shifts"),
    ):
        ax.plot(mid[some], y[some], "o", ms=5, color=color, label=words, zorder=2)
    ax.set_yticks(y, [_named(r, w) for r, w in zip(table["label"], table["half_width"], strict=True)])
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.set_xlim(-0.02, 1.02)
    ax.set_xlabel(
        f"share of features covered, {name}\n95% is the aim; in brackets the median half width per natural sd"
    )
    right = ax.twinx()
    right.set_ylim(ax.get_ylim())
    right.set_yticks(y, [_cost(r) for r in table.to_dict("records")])
    right.tick_params(length=0)
    ax.set_title("Coverage of knockouts, and what it cost", loc="left")
    right.set_ylabel("passes of the network")
    legend_below(ax, columns=2)
    spare(ax)
    spare(right)
    return ax


def _named(label: str, width: float) -> str:
    return f"{label} ({width:.2g} ROPE)" if np.isfinite(width) else f"{label} (no estimate)"


def _cost(row: Mapping[Any, Any]) -> str:
    short = {"forward": "forward", "resumed": "resumed", "backward": "backward"}
    return ", ".join(f"{int(row[k]):,} {w}" for k, w in short.items() if row[k]) or "none of its own"
