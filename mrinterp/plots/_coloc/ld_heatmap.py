"""Correlation of instruments: the design's linkage disequilibrium."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.core.sumstats import SumStats
from mrinterp.plots._style import axes

__all__ = ["ld_heatmap"]

MOST = 400
NAMED, ROOM = 30, 16


def ld_heatmap(data: SumStats | MRData, ax: Axes | None = None) -> Axes:
    """Correlations of the instruments' doses, blue below and red above 0.

    Parameters
    ----------
    data : SumStats or MRData
        With ``ld``.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        For data that know no correlation.

    Notes
    -----
    Beyond 400 instruments a cell is the largest correlation, by size, of a block of them.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import MRData
    >>> from mrinterp.plots import ld_heatmap
    >>> beta, se = np.array([[0.1, 0.2, 0.3]]), np.full((1, 3), 0.02)
    >>> data = MRData(
    ...     beta_x=beta, se_x=se, beta_y=0.5 * beta, se_y=se, ld=np.eye(3),
    ...     exposures=("size",), outcomes=("loss",), instruments=("a", "b", "c"),
    ... )
    >>> ld_heatmap(data).get_title(loc="left")
    '3 instruments, largest |r| 0.00'
    """
    if data.ld is None:
        raise InputError("data", "no correlation of instruments (ld)", "Give summary statistics with ld")
    r = np.asarray(data.ld, float)
    n = len(r)
    off = np.abs(np.where(np.eye(n, dtype=bool), 0.0, np.nan_to_num(r)))
    shown = r if n <= MOST else _blocks(r, -(-n // MOST))
    names = [
        str(i) for i in (data.instruments["instrument"] if isinstance(data, SumStats) else data.instruments)
    ]
    ax = axes(ax, 3.5, 3.2)
    image = ax.imshow(shown, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    if ax.figure is not None:
        ax.figure.colorbar(image, ax=ax, shrink=0.8, label="correlation of doses")
    if n <= NAMED:
        each = -(-n // ROOM)  # names of 6 points need their room
        shown_names = [m[:14] for m in names[::each]]
        ax.set_xticks(range(0, n, each), shown_names, rotation=90, fontsize=6)
        ax.set_yticks(range(0, n, each), shown_names, fontsize=6)
    ax.set_title(f"{n} instruments, largest |r| {off.max(initial=0.0):.2f}", loc="left", fontsize=9)
    return ax


def _blocks(r: np.ndarray, size: int) -> np.ndarray:
    """The correlation of largest size in every block of a matrix."""
    count = -(-len(r) // size)
    padded = np.zeros((count * size, count * size))
    padded[: len(r), : len(r)] = np.nan_to_num(r)
    cells = padded.reshape(count, size, count, size).transpose(0, 2, 1, 3).reshape(count, count, -1)
    at = np.abs(cells).argmax(axis=2)
    return np.take_along_axis(cells, at[..., None], axis=2)[..., 0]
