"""Interactions of all pairs of features."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._style import axes
from mrinterp.results._designs.epistasis import Epistasis

__all__ = ["epistasis_matrix"]

MARKS = {"synergy": "S", "buffering": "B", "opposed": "O", "negligible": "·", "indeterminate": ""}


def epistasis_matrix(result: Epistasis, outcome: str | None = None, ax: Axes | None = None) -> Axes:
    """Interactions below the diagonal, colored by sign and size, marked where they are called.

    Parameters
    ----------
    result : Epistasis
    outcome : str, optional
        Default the first. Empty: not run.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import epistasis_matrix
    >>> from mrinterp.results import example
    >>> epistasis_matrix(example("Epistasis")).get_title(loc="left")
    'S synergy, B buffering, O opposed, · negligible'
    """
    outcome, o = chosen_outcome(outcome, result.outcomes)
    matrix, K = result.matrix(outcome), len(result.features)
    ax = axes(ax, 1.8 + 0.36 * K, 1.2 + 0.34 * K)
    shown = np.where(np.tri(K, k=-1, dtype=bool), matrix, np.nan)[1:, :-1]
    most = float(np.nanmax(np.abs(matrix))) or 1.0
    ax.set_facecolor("white")
    image = ax.imshow(shown, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
    for m, (i, j) in enumerate(np.sort(result.pairs, axis=1).tolist()):
        ink = "white" if abs(result.interaction[m, o]) > 0.6 * most else "#222222"
        ax.text(i, j - 1, MARKS[str(result.call[m, o])], ha="center", va="center", fontsize=8, color=ink)
    ax.set_xticks(range(K - 1), result.features[:-1], rotation=90 if K > 3 else 0, fontsize=8)
    ax.set_yticks(range(K - 1), result.features[1:], fontsize=8)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.8, pad=0.03)
    bar.set_label(f"interaction on {outcome}")
    ax.set_title("S synergy, B buffering, O opposed, · negligible", loc="left", fontsize=8)
    return ax
