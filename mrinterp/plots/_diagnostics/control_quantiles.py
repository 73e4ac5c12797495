"""z-scores of negative controls against those of the null of theory."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy import stats

from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._negative_controls import NegativeControls

__all__ = ["control_quantiles"]


def control_quantiles(result: NegativeControls, ax: Axes | None = None) -> Axes:
    """Sorted z-scores of the controls against standard normal quantiles, with the band of chance (95% for each), the
    line of the fitted null, and the claims' z-scores on the right edge.

    Parameters
    ----------
    result : NegativeControls
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import control_quantiles
    >>> from mrinterp.results import example
    >>> control_quantiles(example("NegativeControls")).get_title(loc="left")
    'Negative controls: 3 that cannot act'
    """
    ax = axes(ax, 5.0, 4.6)
    z, n = np.sort(result.z), len(result.z)
    order = np.arange(1, n + 1)
    expected = stats.norm.ppf((order - 0.5) / n)
    low, high = (stats.norm.ppf(stats.beta.ppf(q, order, n + 1 - order)) for q in (0.025, 0.975))
    ax.fill_between(expected, low, high, color="#eeeeee", lw=0, label="by chance")
    ends = np.array([expected[0], expected[-1]])
    ax.plot(ends, ends, color="#777777", lw=0.9, label="theory: N(0, 1)")
    fitted = f"fitted: mean {result.mean:.2f}, sd {result.sd:.2f}"
    ax.plot(ends, result.mean + result.sd * ends, color=LINE_COLORS[1], lw=1.1, label=fitted)
    ax.plot(expected, z, "o", ms=3, color=LINE_COLORS[0], label="controls")
    least, most = _frame(np.concatenate([z, low, high]))
    if result.beta.size:
        claims = (result.beta / np.where(result.se > 0, result.se, np.nan)).ravel()
        claims = claims[np.isfinite(claims)]
        beyond = int(((claims < least) | (claims > most)).sum())
        ax.plot(
            np.full(len(claims), 1.0),
            np.clip(claims, least, most),
            "_",
            ms=10,
            color="black",
            transform=ax.get_yaxis_transform(),
            label="claims" + (f" ({beyond} beyond the frame)" if beyond else ""),
        )
    ax.set_ylim(least, most)
    ax.set_xlabel("quantile of a standard normal")
    ax.set_ylabel("z-score")
    ax.set_title(f"Negative controls: {n} that cannot act", loc="left")
    ax.legend(frameon=False, loc="upper left")
    spare(ax)
    return ax


def _frame(values: NDArray[np.float64]) -> tuple[float, float]:
    """Ends of an axis that shows all controls and their band; claims, which may lie far away, do not stretch it."""
    known = values[np.isfinite(values)]
    room = 0.15 * max(float(np.ptp(known)), 1.0)
    return float(known.min()) - room, float(known.max()) + 2 * room
