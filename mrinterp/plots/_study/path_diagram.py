"""Which way an effect goes: instruments, the feature, the rest of the cut, the outcome."""

from __future__ import annotations

from textwrap import wrap

from matplotlib.axes import Axes

from mrinterp.core.errors import InputError, near_misses
from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._style import axes
from mrinterp.results._estimates import Estimates

__all__ = ["path_diagram"]


def path_diagram(
    result: Estimates, feature: str | None = None, outcome: str | None = None, ax: Axes | None = None
) -> Axes:
    """Boxes and arrows of one claim: what is estimated stands on its arrow, what is assumed away is dashed.

    Parameters
    ----------
    result : Estimates
    feature, outcome : str, optional
        Default the first.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        For a feature or outcome that the result does not have.

    Examples
    --------
    >>> from mrinterp.plots import path_diagram
    >>> from mrinterp.results import example
    >>> path_diagram(example("Estimates")).get_title(loc="left")
    'inverse-variance weighted'
    """
    if feature is not None and feature not in result.exposures:
        raise InputError(
            "feature", repr(feature), near_misses(feature, list(result.exposures)) or "Name one of the result"
        )
    f, o = result.exposures.index(feature) if feature else 0, chosen_outcome(outcome, result.outcomes)[1]
    ax = axes(ax, 6.0, 2.6)
    ax.set_xlim(0, 10)
    ax.set_ylim(0, 4)
    ax.axis("off")
    boxes = {
        "perturbations": (1.2, 2.9, "perturbations,\ndrawn at random"),
        "feature": (5.0, 2.9, "\n".join(wrap(result.exposures[f], 18)[:3])),
        "outcome": (8.8, 2.9, "\n".join(wrap(result.outcomes[o], 16)[:3])),
        "rest": (5.0, 0.9, "the other features and\nthe rest of the cut, held fixed"),
    }
    colors = {"feature": "#d7e6f2", "outcome": "#e8e8e8"}
    for name, (x, y, words) in boxes.items():
        shape = {
            "boxstyle": "round,pad=0.45",
            "facecolor": colors.get(name, "#ffffff"),
            "edgecolor": "#666666",
        }
        ax.text(x, y, words, ha="center", va="center", fontsize=8, bbox=shape, zorder=3)
    at = {name: (x, y) for name, (x, y, _) in boxes.items()}
    for start, end, assumed in (
        ("perturbations", "feature", False),
        ("feature", "outcome", False),
        ("perturbations", "rest", False),
        ("rest", "outcome", False),
    ):
        _arrow(
            ax,
            at[start],
            at[end],
            "#0072b2" if (start, end) == ("feature", "outcome") else "#666666",
            assumed,
        )
    _arrow(ax, at["perturbations"], at["outcome"], "#d55e00", True, 0.32)
    ax.text(4.6, 3.75, "assumed absent: another way", color="#b04a00", fontsize=7, ha="center", va="top")
    low, high = (float(e[f, o]) for e in (result.ci_lower, result.ci_upper))
    said = f"{result.beta[f, o]:+.3g}\n[{low:+.3g}, {high:+.3g}]"
    ax.text(6.9, 3.0, said, color="#00568a", fontsize=7.5, ha="center", va="bottom")
    ax.set_title(result.label.split(" (")[0], loc="left", fontsize=9)
    return ax


def _arrow(
    ax: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    color: str,
    assumed: bool,
    bend: float = 0.0,
) -> None:
    style = {
        "arrowstyle": "-|>",
        "color": color,
        "linewidth": 1.1,
        "linestyle": "--" if assumed else "-",
        "connectionstyle": f"arc3,rad={-bend}",
        "shrinkA": 34,
        "shrinkB": 34,
    }
    ax.annotate("", end, start, arrowprops=style, zorder=1)
