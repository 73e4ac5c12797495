"""Evidence of every feature, site after site."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._many import points
from mrinterp.plots._style import axes, spare
from mrinterp.results._estimates import Estimates

__all__ = ["manhattan"]

SITE_COLORS = ("#0072b2", "#7a7a7a")
MOST_NAMED = 16


def manhattan(result: Estimates, outcome: str | None = None, ax: Axes | None = None) -> Axes:
    """Features across in their order, site after site (what stands before the last colon of a name); evidence up.

    Parameters
    ----------
    result : Estimates
        Of features of one site or of many, joined.
    outcome : str, optional
        Default the first.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        For an outcome that the result does not have.

    Notes
    -----
    The dashed line is 5% divided by the number of features (Bonferroni): few are beyond it by chance.

    Examples
    --------
    >>> from mrinterp.plots import manhattan
    >>> from mrinterp.results import example
    >>> manhattan(example("Estimates")).get_xlabel()
    'features, in their order'
    """
    o = chosen_outcome(outcome, result.outcomes)[1]
    y = np.asarray(result.neglog10p)[:, o]
    known = np.isfinite(y)
    parts = [n.rsplit(":", 1)[0] if ":" in n else "" for n in result.exposures]
    sites = list(dict.fromkeys(parts))
    place = {s: k for k, s in enumerate(sites)}
    code = np.array([place[p] for p in parts])
    at = np.argsort(code, kind="stable")
    x = np.empty(len(parts))
    x[at] = np.arange(len(parts))
    ax = axes(ax, 7.0, 2.6)
    for k, color in enumerate(SITE_COLORS):
        here = known & (code % 2 == k)
        points(ax, x[here], y[here], color)
    line = -np.log10(0.05 / max(int(known.sum()), 1))
    ax.axhline(line, color="#d55e00", lw=0.9, ls="--")
    if sites != [""] and len(sites) <= MOST_NAMED:
        middles = [float(x[code == k].mean()) for k in range(len(sites))]
        ax.set_xticks(middles, [s[-22:] for s in sites], fontsize=7, rotation=25 if len(sites) > 4 else 0)
    ax.set_ylim(0, max(line, float(y[known].max(initial=1.0))) * 1.08)
    ax.set_xlabel("features, site after site" if len(sites) > 1 else "features, in their order")
    ax.set_ylabel("evidence, \N{MINUS SIGN}log\N{SUBSCRIPT ONE}\N{SUBSCRIPT ZERO} p")
    ax.set_title(f"Effects on {result.outcomes[o]}", loc="left", fontsize=9)
    spare(ax)
    return ax
