"""How wide a network's sites are, block by block."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.plots._style import axes
from mrinterp.results._network_description import NetworkDescription

__all__ = ["network_sites"]


def network_sites(result: NetworkDescription, ax: Axes | None = None) -> Axes:
    """Width of every site over its block, one marker per kind of site; sites outside the blocks stand at -1.

    Parameters
    ----------
    result : NetworkDescription
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import network_sites
    >>> from mrinterp.results import example
    >>> network_sites(example("NetworkDescription")).get_ylabel()
    'width of the site'
    """
    ax = axes(ax, 6.0, 3.4)
    known = result.width > 0
    for kind in dict.fromkeys(result.site_kind[known].tolist()):
        of_kind = known & (result.site_kind == kind)
        ax.plot(
            result.block[of_kind],
            result.width[of_kind],
            "o",
            ms=4,
            alpha=0.7,
            label=str(kind).replace("_", " ") or "site",
        )
    if known.any():
        ax.legend(fontsize="x-small", frameon=False)
        ax.set_yscale("log")
    else:
        ax.text(0.5, 0.5, "no width is known", ha="center", transform=ax.transAxes)
    ax.set_xticks(np.unique(result.block))
    ax.set(xlabel="block (-1: outside the blocks)", ylabel="width of the site")
    return ax
