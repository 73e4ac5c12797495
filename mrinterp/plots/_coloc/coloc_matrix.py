"""Posterior of a shared cause for every feature and outcome of a locus."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from mrinterp.core.errors import InputError
from mrinterp.plots._style import axes
from mrinterp.results._coloc import Coloc

__all__ = ["coloc_matrix"]


def coloc_matrix(coloc: Coloc, locus: str | None = None, most: int = 40, ax: Axes | None = None) -> Axes:
    """Plot PP.H4 as a matrix, signed by the direction of the shared effect; hatched where it does not apply.

    Parameters
    ----------
    coloc : Coloc
    locus : str, optional
        Default the first.
    most : int
        The features with the largest posterior are shown.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import coloc_matrix
    >>> from mrinterp.results import example
    >>> coloc_matrix(example("Coloc")).get_title(loc="left")
    'Shared cause, loci 0'
    """
    place = coloc.loci[0] if locus is None else locus
    if place not in coloc.loci:
        raise InputError("coloc_matrix", f"no locus {place!r}", f"Known: {list(coloc.loci)[:8]}")
    k = coloc.loci.index(place)
    h4, sign = coloc.posterior[:, :, k, 4], coloc.sign[:, :, k]
    applies = coloc.status[:, :, k] == "ok"
    shown = np.sort(np.argsort(-np.where(applies, h4, -1).max(1), kind="stable")[:most])
    ax = axes(ax, 1.9 + 0.62 * len(coloc.outcomes), 1.3 + 0.3 * len(shown))
    signed = np.where(applies, h4 * np.where(sign < 0, -1.0, 1.0), np.nan)[shown]
    image = ax.imshow(signed, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    for row, f in enumerate(shown):
        for o in range(len(coloc.outcomes)):
            if not applies[f, o]:
                ax.add_patch(
                    Rectangle((o - 0.5, row - 0.5), 1, 1, fill=False, hatch="////", ec="#aaaaaa", lw=0)
                )
            else:
                ink = "white" if h4[f, o] > 0.6 else "#222222"
                ax.text(o, row, f"{h4[f, o]:.2f}", ha="center", va="center", fontsize=7, color=ink)
    ax.set_xticks(range(len(coloc.outcomes)), coloc.outcomes, rotation=35, ha="right", fontsize=8)
    ax.set_yticks(range(len(shown)), [coloc.exposures[f] for f in shown], fontsize=8)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.8, pad=0.03)
    bar.set_label("PP.H4, signed by direction")
    ax.set_title("Shared cause" + (f", {place}" if place else ""), loc="left")
    return ax
