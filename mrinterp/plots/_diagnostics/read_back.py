"""What writing each feature of a dictionary moves."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from mrinterp.plots._style import axes
from mrinterp.results._read_back import ReadBack

__all__ = ["read_back_matrix"]


def read_back_matrix(result: ReadBack, most: int = 30, ax: Axes | None = None) -> Axes:
    """Readings of all features (rows) after one unit of each was written (columns), the diagonal framed.

    Parameters
    ----------
    result : ReadBack
    most : int
        Features shown: those that move another one most or are moved most, in their own order; how many are left out is said.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import read_back_matrix
    >>> from mrinterp.results import example
    >>> read_back_matrix(example("ReadBack")).get_title(loc="left")
    'one unit written; framed: read back of its own'
    """
    away = np.abs(result.others)
    reach = np.maximum(away.max(axis=0, initial=0.0), away.max(axis=1, initial=0.0))
    rows = np.sort(np.argsort(-reach, kind="stable")[:most])
    shown, K = result.matrix[np.ix_(rows, rows)], len(rows)
    names = [result.features[k].rpartition(":")[2] for k in rows]
    ax = axes(ax, 2.4 + 0.26 * K, 1.6 + 0.26 * K)
    limit = float(np.abs(shown).max()) or 1.0
    image = ax.imshow(shown, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    for k in range(K):
        ax.add_patch(Rectangle((k - 0.5, k - 0.5), 1, 1, fill=False, lw=0.8, ec="#222222"))
        if K <= 12:
            ink = "white" if abs(shown[k, k]) > 0.6 * limit else "#222222"
            ax.text(k, k, f"{shown[k, k]:.2f}", ha="center", va="center", fontsize=6, color=ink)
    ax.set_xticks(range(K), names, rotation=90, fontsize=7)
    ax.set_yticks(range(K), names, fontsize=7)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    left = len(result.features) - K
    ax.set_xlabel("written" + (f" ({left} more move less)" if left else ""))
    ax.set_ylabel("read")
    ax.figure.colorbar(image, ax=ax, shrink=0.8, pad=0.03).set_label("change in its own units")
    ax.set_title("one unit written; framed: read back of its own", loc="left", fontsize=8)
    return ax
