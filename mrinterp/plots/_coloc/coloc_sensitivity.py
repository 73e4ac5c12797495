"""How the posterior of a shared cause depends on its prior."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.errors import InputError
from mrinterp.plots._style import axes, spare
from mrinterp.results._coloc import Coloc

__all__ = ["coloc_sensitivity"]


def coloc_sensitivity(
    coloc: Coloc, exposure: str, outcome: str, locus: str | None = None, ax: Axes | None = None
) -> Axes:
    """Plot PP.H3 and PP.H4 over the prior odds of one shared cause against two.

    Parameters
    ----------
    coloc : Coloc
    exposure, outcome : str
    locus : str, optional
        Default the first.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import coloc_sensitivity
    >>> from mrinterp.results import example
    >>> coloc_sensitivity(example("Coloc"), "exposure 0", "outcome 1").get_title(loc="left")
    'exposure 0 and outcome 1, loci 0'
    """
    ax = axes(ax, 4.6, 3.2)
    place = coloc.loci[0] if locus is None else locus
    for name, known, what in (
        (exposure, coloc.exposures, "feature"),
        (outcome, coloc.outcomes, "outcome"),
        (place, coloc.loci, "locus"),
    ):
        if name not in known:
            raise InputError("coloc_sensitivity", f"no {what} {name!r}", f"Known: {list(known)[:8]}")
    f, o, k = coloc.exposures.index(exposure), coloc.outcomes.index(outcome), coloc.loci.index(place)
    logit = np.log(coloc.shares / (1.0 - coloc.shares))
    for column, label, color in (
        (0, "PP.H3: two causes", "#e69f00"),
        (1, "PP.H4: one shared cause", "#0072b2"),
    ):
        ax.plot(logit, coloc.sensitivity[f, o, k, :, column], "o-", ms=4, color=color, label=label)
    p1, p2, p12 = coloc.priors[k]
    n = int((coloc.locus == k).sum())
    used = p12 / (p12 + max(n - 1, 1) * p1 * p2)
    ax.axvline(
        np.log(used / (1.0 - used)), color="#444444", lw=0.9, ls="--", label=f"prior used ({used:.2g})"
    )
    ax.set_xticks(logit, [f"{s:g}" for s in coloc.shares], fontsize=7)
    ax.set_ylim(-0.03, 1.03)
    ax.set_xlabel("prior of one shared cause, given that both have one")
    ax.set_ylabel("posterior")
    status = coloc.status[f, o, k]
    ax.set_title(f"{exposure} and {outcome}" + (f", {place}" if place else ""), loc="left")
    if status != "ok":
        ax.text(
            0.02,
            0.5,
            "does not apply: one sparse cause misfits",
            transform=ax.transAxes,
            color="#d55e00",
            fontsize=8,
        )
    ax.legend(frameon=False, loc="best")
    spare(ax)
    return ax
