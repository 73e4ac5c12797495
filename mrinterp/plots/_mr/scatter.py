"""Effects on the outcome against effects on the exposure, with every estimator's line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.mrdata import MRData
from mrinterp.plots._many import MOST_BARS, points
from mrinterp.plots._style import LINE_COLORS, axes, legend_below, spare
from mrinterp.results._estimates import Estimates

__all__ = ["drawn_estimates", "mr_scatter", "oriented", "pair_of", "short_label"]

Array = NDArray[np.float64]


def oriented(data: MRData, exposure: str, outcome: str) -> tuple[Array, Array, Array, Array, list[str]]:
    """b, s, g, t and names of the instruments that both traits have, signs such that b is not negative."""
    f, o = data.exposures.index(exposure), data.outcomes.index(outcome)
    b, s, g, t = data.beta_x[f], data.se_x[f], data.beta_y[o], data.se_y[o]
    here = np.isfinite(b) & np.isfinite(s) & np.isfinite(g) & np.isfinite(t)
    sign = np.where(b < 0, -1.0, 1.0)
    names = [str(n) for n, h in zip(data.instruments, here, strict=True) if h]
    return (b * sign)[here], s[here], (g * sign)[here], t[here], names


def pair_of(
    data: MRData | Estimates, exposure: str | None = None, outcome: str | None = None
) -> tuple[str, str]:
    """The exposure and outcome asked for, default the first ones.

    Raises
    ------
    InputError
        For one that is not there.
    """
    chosen = []
    for word, name, known in (
        ("exposure", exposure, data.exposures),
        ("outcome", outcome, data.outcomes),
    ):
        if name is not None and name not in known:
            raise InputError(f"{word} {name!r}", "not there", near_misses(name, known) or f"{known[:8]}")
        chosen.append(known[0] if name is None else name)
    return chosen[0], chosen[1]


def short_label(result: Estimates) -> str:
    """The method's name without what stands in brackets."""
    return result.label.split(" (")[0]


def drawn_estimates(
    results: Sequence[Estimates], exposure: str, outcome: str
) -> Iterator[tuple[Estimates, int, int, str]]:
    """The results that have an estimate of this pair, each with its row, its column and its color."""
    for k, result in enumerate(results):
        f, o = result.exposures.index(exposure), result.outcomes.index(outcome)
        if np.isfinite(result.beta[f, o]):
            yield result, f, o, LINE_COLORS[k % len(LINE_COLORS)]


def mr_scatter(
    data: MRData,
    results: Sequence[Estimates] = (),
    exposure: str | None = None,
    outcome: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Each instrument with one standard error either way, oriented to raise the exposure; one line per estimate.

    Parameters
    ----------
    data : MRData
    results : sequence of Estimates
        Univariable estimates, in the order of the legend.
    exposure : str, optional
        Default the first.
    outcome : str, optional
        Default the first.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import MRData
    >>> from mrinterp.plots import mr_scatter
    >>> beta, se = np.array([[0.1, 0.2, 0.3]]), np.full((1, 3), 0.02)
    >>> data = MRData(
    ...     beta_x=beta, se_x=se, beta_y=0.5 * beta, se_y=se,
    ...     exposures=("size",), outcomes=("loss",), instruments=("a", "b", "c"),
    ... )
    >>> mr_scatter(data).get_title(loc="left")
    'Instruments and what each estimator makes of them'
    """
    exposure, outcome = pair_of(data, exposure, outcome)
    ax = axes(ax, 5.6, 4.4)
    b, s, g, t, _ = oriented(data, exposure, outcome)
    if len(b) <= MOST_BARS:
        ax.errorbar(
            b, g, xerr=s, yerr=t, fmt="o", ms=3.5, color="#444444", ecolor="#bbbbbb", elinewidth=0.8, zorder=2
        )
    else:
        points(ax, b, g, "#444444")
    right = 1.05 * float((b + s).max()) if len(b) else 1.0
    ends = np.array([0.0, right])
    for result, f, o, color in drawn_estimates(results, exposure, outcome):
        start = float(result.details["intercept"][f, o]) if "intercept" in result.details else 0.0
        line = start + result.beta[f, o] * ends
        ax.plot(ends, line, color=color, lw=1.6, label=short_label(result), zorder=3)
    ax.axhline(0, color="#dddddd", lw=0.8, zorder=0)
    ax.set_xlim(0 if (b - s).min(initial=0.0) >= 0 else None, right)
    ax.set_xlabel(f"effect of the instrument on {exposure}")
    ax.set_ylabel(f"effect on {outcome}")
    ax.set_title("Instruments and what each estimator makes of them", loc="left")
    legend_below(ax)
    spare(ax)
    return ax
