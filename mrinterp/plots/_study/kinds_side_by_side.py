"""Kinds of knockout side by side, one feature a row: where they differ, the difference is the finding."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.errors import InputError, near_misses
from mrinterp.plots._style import LINE_COLORS, axes, legend_below, spare
from mrinterp.results._kind_comparison import KindComparison

__all__ = ["kinds_side_by_side"]

MARKERS = "osD^vPX<>"


def kinds_side_by_side(
    comparison: KindComparison,
    outcome: str | None = None,
    most: int = 12,
    ax: Axes | None = None,
    labels: dict[str, str] | None = None,
) -> Axes:
    """Effects per unit by every kind with 95% intervals, for the features with the largest effects.

    A gray tick on each side of zero is the noise floor of that kind and feature; between the two an effect is
    not measurable. Hollow markers are flagged. On the right, the share I2 of the differences that is beyond error.

    Parameters
    ----------
    comparison : KindComparison
    outcome : str, optional
        Default the first.
    most : int
        Features shown.
    ax : Axes, optional
        Where to draw; a new figure by default.
    labels : dict, optional
        Feature name to words printed below it.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import kinds_side_by_side
    >>> from mrinterp.results import example
    >>> kinds_side_by_side(example("KindComparison")).get_title(loc="left")
    'Kinds of knockout, side by side'
    """
    name = comparison.outcomes[0] if outcome is None else outcome
    if name not in comparison.outcomes:
        fix = near_misses(name, comparison.outcomes) or f"Known: {', '.join(comparison.outcomes)}"
        raise InputError("outcome", repr(name), fix)
    o = comparison.outcomes.index(name)
    effect = comparison.effect[:, :, o]
    lower, upper = (end[:, :, o] for end in comparison.interval())
    size = np.where(np.isfinite(effect), np.abs(effect), -1.0).max(axis=0)
    chosen = np.argsort(-size, kind="stable")[:most]
    K = len(comparison.kinds)
    height = max((0.11 * K + 0.15) * len(chosen), 1.8)  # one feature alone leaves no room beside the legend
    ax = axes(ax, 6.8, height + 1.5)
    ax.axvline(0, color="#bbbbbb", lw=0.8, zorder=1)
    rows = np.arange(len(chosen))
    for k, kind in enumerate(comparison.kinds):
        y = rows + (k - (K - 1) / 2) * 0.75 / K
        color = LINE_COLORS[k % len(LINE_COLORS)]
        x, low, high = effect[k, chosen], lower[k, chosen], upper[k, chosen]
        ax.errorbar(x, y, xerr=[x - low, high - x], fmt="none", ecolor=color, elinewidth=1.1, zorder=2)
        hollow = np.array([bool(words) for words in comparison.flags[k, chosen]])
        for some, face in ((~hollow, color), (hollow, "white")):
            ax.plot(x[some], y[some], MARKERS[k % len(MARKERS)], ms=4, mec=color, mfc=face, zorder=3)
        ax.plot([], [], MARKERS[k % len(MARKERS)], ms=4, color=color, label=kind)
        floor = comparison.noise_floor[k, chosen, o]
        ax.plot(np.r_[-floor, floor], np.r_[y, y], "|", ms=5, color="#888888", zorder=2)
    for row in rows[:-1]:
        ax.axhline(row + 0.5, color="#eeeeee", lw=0.8, zorder=0)
    for row, f in zip(rows, chosen, strict=True):
        share = comparison.i2[f, o]
        words = "" if np.isnan(share) else f"{share:.2f}"
        ax.text(1.01, float(row), words, transform=ax.get_yaxis_transform(), va="center", fontsize=8)
    ax.text(1.01, 1.0, "I²", transform=ax.transAxes, va="bottom", fontsize=8)
    shown = [comparison.features[f] for f in chosen]
    ax.set_yticks(rows, [f"{f.rsplit(':', 1)[-1]}\n{(labels or {}).get(f, '')}".strip() for f in shown])
    ax.set_ylim(len(chosen) - 0.5, -0.5)
    ax.set_xlabel(f"effect on {name} per unit of the feature\n95% interval; gray ticks: noise floor")
    ax.set_title("Kinds of knockout, side by side", loc="left")
    legend_below(ax, columns=min(K, 6))
    spare(ax)
    return ax
