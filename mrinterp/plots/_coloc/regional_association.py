"""Association along a locus, with inclusion probabilities and credible sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from mrinterp.plots._many import points
from mrinterp.plots._style import axes, spare
from mrinterp.results._fine_mapping import FineMapping
from mrinterp.stats.tests.tails import neglog10p_normal

__all__ = ["regional_association"]

_SET_COLORS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def regional_association(
    fit: FineMapping,
    trait: str | None = None,
    position: Sequence[float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot -log10 p (above) and inclusion probability (below) of every instrument, credible sets colored.

    Parameters
    ----------
    fit : FineMapping
    trait : str, optional
        Default the first.
    position : sequence of float, optional
        Place of each instrument; default its row.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import regional_association
    >>> from mrinterp.results import example
    >>> regional_association(example("FineMapping")).get_title(loc="left")
    'trait 0: association and credible sets'
    """
    ax = axes(ax, 6.4, 4.0)
    t = 0 if trait is None else fit.position(trait)
    place = np.arange(1.0, len(fit.instruments) + 1) if position is None else np.asarray(position, float)
    strength = neglog10p_normal(fit.z[t])
    strip = ax.inset_axes((0.0, 0.0, 1.0, 0.21))
    points(ax, place, strength, "#bbbbbb", every=True)
    strip.vlines(place, 0, fit.pip[t], color="#bbbbbb", lw=1.0)
    for number, found in enumerate(fit.sets[t]):
        members, color = list(found.positions), _SET_COLORS[number % len(_SET_COLORS)]
        quality = f"coverage {found.coverage:.2f}, purity {found.min_abs_corr:.2f}"
        label = f"set {number + 1}: {len(members)} of {len(place)}, {quality}"
        ax.scatter(place[members], strength[members], s=30, color=color, lw=0, label=label, zorder=3)
        strip.vlines(place[members], 0, fit.pip[t, members], color=color, lw=1.8)
        top = members[int(np.argmax(fit.pip[t, members]))]
        ax.annotate(
            fit.instruments[top],
            (place[top], strength[top]),
            xytext=(5, 3),
            textcoords="offset points",
            fontsize=8,
        )
    high = max(float(strength.max()), 1.0)
    room = 1.08 + 0.09 * len(fit.sets[t])  # for the legend
    ax.set_ylim(-0.5 * high, room * high)
    ax.set_yticks([v for v in ax.get_yticks() if 0 <= v <= 1.05 * high])
    ax.set_xticks([])
    ax.set_ylabel("evidence, \u2212log\u2081\u2080 p", y=0.66)
    strip.set_xlim(ax.get_xlim())
    strip.set_ylim(0, 1.05)
    strip.set_yticks([0, 1])
    strip.set_ylabel("PIP")
    strip.set_xlabel("instrument" if position is None else "position")
    spare(strip)
    if fit.sets[t]:
        ax.legend(loc="upper right", frameon=False, fontsize=7)
    ax.set_title(
        f"{fit.traits[t]}: " + (fit.status[t] if fit.status[t] != "ok" else "association and credible sets"),
        loc="left",
    )
    spare(ax)
    ax.spines["bottom"].set_visible(False)
    return ax
