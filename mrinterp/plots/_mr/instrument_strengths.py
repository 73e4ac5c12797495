"""How strongly every instrument acts on one trait: the Manhattan plot of a network."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.sumstats import SumStats
from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.stats.tests.tails import neglog10p_normal

__all__ = ["instrument_strengths"]


def instrument_strengths(stats: SumStats, trait: str | None = None, ax: Axes | None = None) -> Axes:
    """-log10 p of every instrument in the order of the table, a color per kind; placebos are hollow.

    Parameters
    ----------
    stats : SumStats
    trait : str, optional
        Default the first.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        For a trait that was not measured.

    Notes
    -----
    p is from the normal distribution, as for locus figures. The dotted line is 0.05 over the number of instruments.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from mrinterp import SumStats
    >>> from mrinterp.plots import instrument_strengths
    >>> instruments = pd.DataFrame({"instrument": ["a", "b"], "kind": "noise", "placebo": False})
    >>> traits = pd.DataFrame({"trait": ["size", "loss"], "role": ["feature", "outcome"]})
    >>> stats = SumStats(
    ...     beta=np.eye(2), se=np.full((2, 2), 0.5), traits=traits, instruments=instruments,
    ...     dof=np.full(2, 20.0), clusters=21,
    ... )
    >>> instrument_strengths(stats, "loss").get_title(loc="left")
    'Strength of 2 instruments on loss'
    """
    names = list(stats.traits["trait"])
    trait = names[0] if trait is None else trait
    if trait not in names:
        fix = near_misses(trait, names) or f"Known: {', '.join(names[:8])}"
        raise InputError(f"trait {trait!r}", "not in the summary statistics", fix)
    t = names.index(trait)
    with np.errstate(divide="ignore", invalid="ignore"):
        strength = neglog10p_normal(np.asarray(stats.beta[t], float) / np.asarray(stats.se[t], float))
    ax = axes(ax, 6.4, 3.2)
    kinds = (
        stats.instruments["kind"].to_numpy() if "kind" in stats.instruments else np.full(len(strength), "")
    )
    placebo = stats.instruments["placebo"].to_numpy(dtype=bool)
    for k, kind in enumerate(dict.fromkeys(kinds)):
        color = LINE_COLORS[k % len(LINE_COLORS)]
        for hollow, face in ((False, color), (True, "white")):
            place = np.flatnonzero((kinds == kind) & (placebo == hollow) & np.isfinite(strength))
            if len(place):
                words = f"{kind}, placebo" if hollow else str(kind)
                ax.plot(place + 1, strength[place], "o", ms=4, mec=color, mfc=face, lw=0, label=words)
    count = max(int(np.isfinite(strength).sum()), 1)
    ax.axhline(-np.log10(0.05 / count), color="#999999", lw=0.8, ls=":", zorder=0)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("instrument, in the order of the table; dotted: 0.05 over their number")
    ax.set_ylabel("evidence, \u2212log\u2081\u2080 p")
    ax.set_title(f"Strength of {len(strength)} instruments on {trait}", loc="left")
    if any(kinds != ""):
        ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    spare(ax)
    return ax
