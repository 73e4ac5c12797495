"""Claims by grade: points of every kind of evidence, the best supported first."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.plots._style import axes
from mrinterp.results._claims import DOMAINS, GRADES, Claims

__all__ = ["graded_claims"]


def graded_claims(claims: Claims, top: int = 40, ax: Axes | None = None) -> Axes:
    """Claims against domains of evidence, with their points; a dot does not apply.

    Parameters
    ----------
    claims : Claims
    top : int
        Claims shown; the title counts the others.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import graded_claims
    >>> from mrinterp.results import example
    >>> len(graded_claims(example("Claims")).get_yticks())
    2
    """
    frame = claims.to_frame()
    order = np.argsort([list(GRADES).index(g) for g in frame["grade"]], kind="stable")
    shown = frame.iloc[order[:top]]
    grid = shown[list(DOMAINS)].to_numpy(dtype=float).reshape(-1, len(DOMAINS))
    ax = axes(ax, 5.6, max(1.6 + 0.24 * len(shown), 2.6))
    ax.imshow(np.nan_to_num(grid), cmap="PuOr", vmin=-4, vmax=4, aspect="auto")
    for row, column in np.ndindex(*grid.shape):
        value = grid[row, column]
        ax.text(column, row, "\u00b7" if np.isnan(value) else f"{value:+.0f}" if value else "0", ha="center", va="center", fontsize=8)  # fmt: skip
    several = frame["outcome"].nunique() > 1
    names = [
        f"{r['grade']}  {r['feature']}{', ' + r['outcome'] if several else ''}"
        for r in shown.to_dict("records")
    ]
    ax.set_yticks(range(len(shown)), names, fontsize=8)
    ax.set_xticks(range(len(DOMAINS)), DOMAINS)
    ax.tick_params(length=0)
    more = f"; {len(frame) - len(shown)} more" if len(frame) > len(shown) else ""
    ax.set_title(f"Points of {len(shown)} claims{more}", loc="left")
    return ax
