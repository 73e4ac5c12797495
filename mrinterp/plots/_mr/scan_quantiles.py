"""p-values of a feature scan against those of pairs where nothing acts."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.plots._style import LINE_COLORS, axes, spare
from mrinterp.results._scan.feature_scan import FeatureScan

__all__ = ["scan_quantiles"]


def scan_quantiles(result: FeatureScan, ax: Axes | None = None) -> Axes:
    """Quantiles of -log10 p as observed and with doses permuted within prompts, against those of theory.

    Parameters
    ----------
    result : FeatureScan
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import scan_quantiles
    >>> from mrinterp.results import example
    >>> scan_quantiles(example("FeatureScan")).get_title(loc="left")
    'Scan of 1,000 features by 3 instruments'
    """
    ax = axes(ax, 5.0, 4.6)
    x = result.expected
    ends = np.array([0.0, float(x.max(initial=1.0))])
    if np.isfinite(result.permuted).any():
        ax.fill_between(x, result.permuted_lower, result.permuted_upper, color="#dddddd", lw=0)
        words = f"doses permuted: inflation {result.inflation_permuted:.2f}"
        ax.plot(x, result.permuted, color=LINE_COLORS[1], lw=1.2, label=words)
    ax.plot(ends, ends, color="#777777", lw=0.9, label="theory, where nothing acts")
    words = f"observed: inflation {np.nanmedian(result.inflation):.2f}"
    ax.plot(x, result.observed, "o", ms=2.5, color=LINE_COLORS[0], label=words)
    ax.set_xlabel("expected, \u2212log\u2081\u2080 p")
    ax.set_ylabel("evidence, \u2212log\u2081\u2080 p")
    ax.set_title(
        f"Scan of {result.features:,} features by {len(result.instruments):,} instruments", loc="left"
    )
    ax.legend(frameon=False, loc="upper left")
    spare(ax)
    return ax
