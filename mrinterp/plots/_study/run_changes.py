"""Changes of an outcome against changes of a feature, run by run."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.panel import Panel
from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._style import LINE_COLORS, axes, spare

__all__ = ["run_changes"]


def run_changes(
    panel: Panel,
    feature: str | None = None,
    outcome: str | None = None,
    most: int = 5000,
    ax: Axes | None = None,
) -> Axes:
    """One point a perturbed run, against the clean run of its prompt; a color per kind of perturbation.

    Parameters
    ----------
    panel : Panel
    feature, outcome : str, optional
        Default the first.
    most : int
        Runs shown, evenly spaced over the panel.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        For a feature or outcome that the panel does not have.

    Notes
    -----
    The slope that the eye sees is not an effect: perturbations reach the outcome by other paths too.

    Examples
    --------
    >>> from mrinterp.plots import run_changes
    >>> from mrinterp.worlds import linear_world
    >>> panel = linear_world(0).panel
    >>> run_changes(panel).get_title(loc="left")
    'Changes of runs against their clean ones'
    """
    name = panel.feature_names[0] if feature is None else feature
    if name not in panel.feature_names:
        fix = near_misses(name, panel.feature_names) or f"Known: {', '.join(panel.feature_names[:8])}"
        raise InputError(f"feature {name!r}", "not in the panel", fix)
    outcome, o = chosen_outcome(outcome, panel.outcome_names)
    change = panel.changes()
    rows = np.linspace(0, len(change.prompt) - 1, min(most, len(change.prompt))).astype(int)
    ax = axes(ax, 5.2, 4.0)
    ax.axhline(0, color="#dddddd", lw=0.8, zorder=0)
    ax.axvline(0, color="#dddddd", lw=0.8, zorder=0)
    x, y = change.features[rows, panel.feature_names.index(name)], change.outcomes[rows, o]
    for k, kind in enumerate(dict.fromkeys(change.kind[rows])):
        some = change.kind[rows] == kind
        ax.plot(
            x[some], y[some], "o", ms=3, alpha=0.5, color=LINE_COLORS[k % len(LINE_COLORS)], label=str(kind)
        )
    hidden = f" ({len(rows)} of {len(change.prompt)})" if len(rows) < len(change.prompt) else ""
    ax.set_xlabel(f"change of {name}")
    ax.set_ylabel(f"change of {outcome}")
    against = "from the mean of their prompt" if change.absorbed else "against their clean ones"
    ax.set_title(f"Changes of runs {against}{hidden}", loc="left")
    ax.legend(frameon=False)
    spare(ax)
    return ax
