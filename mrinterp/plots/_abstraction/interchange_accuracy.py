"""Interchange-intervention accuracy of an alignment, above the controls that it must stand out from."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mrinterp.plots._style import LINE_COLORS, axes, legend_below, spare
from mrinterp.results._abstraction.interchange_accuracy import ALIGNED, InterchangeAccuracy

__all__ = ["interchange_accuracy"]

_GRAY = "#777777"
_MARKS = (("", "o", "all pairs"), ("informative_", "D", "informative pairs"))


def interchange_accuracy(accuracy: InterchangeAccuracy, ax: Axes | None = None) -> Axes:
    """Accuracy with intervals, one row a kind of arm, every draw or variable of it a point.

    Filled circles: all pairs. Open diamonds: pairs whose counterfactual label is not the base input's own,
    on which an edit that does nothing is always wrong. The dashed line is the majority label. Arms that do
    not apply keep their row, with the reason.

    Parameters
    ----------
    accuracy : InterchangeAccuracy
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import interchange_accuracy
    >>> from mrinterp.results import example
    >>> interchange_accuracy(example("InterchangeAccuracy")).get_title(loc="left")
    'Interchanging variable: place'
    """
    table = accuracy.to_frame()
    kinds = [k for k in table["alignment"].drop_duplicates() if k != "majority label"]
    ax = axes(ax, 6.4, 0.42 * len(kinds) + 1.5)
    for place, kind in enumerate(kinds):
        rows = table[table["alignment"] == kind]
        color = LINE_COLORS[0] if kind == ALIGNED else _GRAY
        if rows["accuracy"].notna().any():
            for shift, (prefix, mark, _) in zip((-0.17, 0.17), _MARKS, strict=True):
                _points(ax, rows, prefix, mark, color, place + shift)
        else:
            ax.text(0.02, place, str(rows["status"].iloc[0]), va="center", fontsize=7, color=_GRAY)
    majority = table.loc[table["alignment"] == "majority label", "accuracy"]
    if len(majority):
        ax.axvline(
            float(majority.iloc[0]), color="#444444", lw=0.8, ls="--", zorder=1, label="majority label"
        )
    for _, mark, words in _MARKS:
        fill = _GRAY if mark == "o" else "white"
        ax.plot([], [], mark, ms=4, mfc=fill, mec=_GRAY, label=words)
    ax.set_yticks(range(len(kinds)), kinds)
    ax.set_ylim(len(kinds) - 0.4, -0.6)
    ax.set_xlim(-0.02, 1.02)
    ax.set_xlabel(f"share of pairs with the counterfactual label, {accuracy.level:.0%} interval")
    ax.set_title(f"Interchanging {accuracy.variable}: {accuracy.place}", loc="left")
    legend_below(ax)
    spare(ax)
    return ax


def _points(ax: Axes, rows: pd.DataFrame, prefix: str, mark: str, color: str, center: float) -> None:
    """The points of one kind, spread a little so that their intervals stay apart."""
    x, low, high = (rows[f"{prefix}{n}"].to_numpy(float) for n in ("accuracy", "lower", "upper"))
    seen = np.isfinite(x)
    y = center + (np.arange(len(x)) - (len(x) - 1) / 2) * min(0.05, 0.25 / len(x))
    ends = np.nan_to_num(np.abs(np.stack([x - low, high - x])))
    ax.errorbar(
        x[seen],
        y[seen],
        xerr=ends[:, seen],
        fmt=mark,
        ms=4 if len(x) == 1 else 3,
        lw=0,
        elinewidth=1.2 if len(x) == 1 else 0.6,
        color=color,
        mfc=color if mark == "o" else "white",
        zorder=3,
    )
