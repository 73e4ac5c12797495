"""What features respond to: tokens by how far they move each feature."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._feature_profiles import FeatureProfiles

__all__ = ["responses"]


def responses(profiles: FeatureProfiles, most: int = 12, ax: Axes | None = None) -> Axes:
    """Tokens that features respond to, one feature a row: how far each moves it, in its standard deviations.

    Parameters
    ----------
    profiles : FeatureProfiles
    most : int
        Features shown, those first that a token moves most.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import responses
    >>> from mrinterp.results import example
    >>> responses(example("FeatureProfiles")).get_title(loc="left")
    'What features respond to'
    """
    told = profiles.tokens
    size = told.groupby("feature")["difference"].agg(lambda d: d.abs().max())
    order = sorted(profiles.features, key=lambda f: -float(size.get(f, 0.0)))[:most]
    ax = axes(ax, 6.8, 0.42 * max(len(order), 3) + 1.1)
    ax.axvline(0, color="#bbbbbb", lw=0.8, zorder=1)
    for row, name in enumerate(order):
        own = told[told["feature"] == name].head(4).sort_values("difference")
        x = own["difference"].to_numpy(dtype=float)
        ax.plot(x, np.full(len(x), row), "o", ms=4, color=LINE_COLORS[0], zorder=3)
        for k, (at, word) in enumerate(zip(x, own["token"], strict=True)):
            # Neighbors are written above and below by turns, so that words do not lie on each other.
            up = k % 2 == 0
            ax.annotate(
                str(word)[:16], (at, row), (0, 4 if up else -4), textcoords="offset points", fontsize=7,
                ha="center", va="bottom" if up else "top", color="#333333",
            )  # fmt: skip
        if not len(x):
            ax.annotate(
                "no token",
                (0, row),
                (4, 0),
                textcoords="offset points",
                fontsize=7,
                va="center",
                color="#777777",
            )
    ax.set_yticks(range(len(order)), [f.rsplit(":", 1)[-1] for f in order])
    ax.set_ylim(len(order) - 0.4, -0.6)
    ax.margins(x=0.15)
    ax.set_xlabel("mean at the token less the mean over all, in sd of the feature")
    ax.set_title("What features respond to", loc="left")
    spare(ax)
    return ax
