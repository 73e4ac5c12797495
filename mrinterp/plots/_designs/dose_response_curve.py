"""Effect of a feature over the doses it is clamped to."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.errors import InputError
from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._check import NotApplicable
from mrinterp.results._designs.dose_response import DoseResponse

__all__ = ["dose_response_curve"]


def dose_response_curve(
    result: DoseResponse, feature: str | None = None, outcome: str | None = None, ax: Axes | None = None
) -> Axes:
    """Mean effect with its interval at every dose; threshold and plateau with theirs, where there are any.

    Parameters
    ----------
    result : DoseResponse
    feature : str, optional
        Default the one whose curve rises or falls the most.
    outcome : str, optional
        Default the first. Doses outside natural support are drawn hollow.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        For a feature that has no curve; says why.

    Examples
    --------
    >>> from mrinterp.plots import dose_response_curve
    >>> from mrinterp.results import example
    >>> dose_response_curve(example("DoseResponse")).get_title(loc="left")
    'not monotone'
    """
    outcome, o = chosen_outcome(outcome, result.outcomes)
    if feature is None:
        reach = np.ptp(result.effect[:, :, o], axis=1)
        feature = result.features[int(np.argmax(np.nan_to_num(reach, nan=-1.0)))]
    curve = result[feature, outcome]
    if isinstance(curve, NotApplicable):
        raise InputError("dose_response_curve", curve.reason, "Choose a feature that has a curve")
    ax = axes(ax, 4.2, 3.0)
    color, knot_color = LINE_COLORS[0], LINE_COLORS[1]
    ax.axhline(0, color="#bbbbbb", lw=0.8, zorder=0)
    ax.fill_between(curve.dose, curve.lower, curve.upper, color=color, alpha=0.2, lw=0, zorder=2)
    ax.plot(curve.dose, curve.effect, color=color, lw=1.4, zorder=3)
    inside = curve.outside == 0
    ax.plot(curve.dose[inside], curve.effect[inside], "o", ms=4, color=color, zorder=4)
    ax.plot(curve.dose[~inside], curve.effect[~inside], "o", ms=4, mfc="white", color=color, zorder=4)
    near = abs(curve.threshold[0] - curve.plateau[0]) < 0.3 * np.ptp(curve.dose)
    for name, (at, low, high), side, height in (
        ("threshold", curve.threshold, "right", 1.0),
        ("plateau", curve.plateau, "left", 0.93 if near else 1.0),
    ):
        if np.isnan(at):
            continue
        ax.axvspan(low, high, color=knot_color, alpha=0.12, lw=0, zorder=1)
        ax.axvline(at, color=knot_color, lw=1, ls=(0, (4, 2)), zorder=2)
        ax.annotate(
            f" {name} ",
            (at, height),
            xycoords=("data", "axes fraction"),
            ha=side,
            va="top",
            fontsize=8,
            color=knot_color,
        )
    ax.set_xlabel(f"{feature}, clamped")
    ax.set_ylabel(f"change of {outcome}")
    beyond = "" if inside.all() else "; hollow: outside natural support"
    ax.set_title(f"{curve.shape}{beyond}", loc="left")
    spare(ax)
    return ax
