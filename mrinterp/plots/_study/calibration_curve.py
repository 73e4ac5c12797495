"""Do things said to have probability p happen with frequency p?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mrinterp.plots._style import axes, spare

__all__ = ["calibration_curve"]

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")


def calibration_curve(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Plot observed frequency (up) against stated probability (across), one curve per setting.

    Parameters
    ----------
    table : DataFrame
        Columns ``setting, stated, observed, count``: mean probability, frequency and number of cases
        of each bin. Bars are two Monte-Carlo standard errors.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> import pandas as pd
    >>> from mrinterp.plots import calibration_curve
    >>> bins = pd.DataFrame({"setting": "one cause", "stated": [0.2, 0.8], "observed": [0.25, 0.8], "count": 50})
    >>> calibration_curve(bins).get_title(loc="left")
    'Calibration'
    """
    ax = axes(ax, 4.4, 4.0)
    ax.plot([0, 1], [0, 1], color="#444444", lw=0.8, ls="--")
    for number, (setting, rows) in enumerate(table.groupby("setting", sort=False)):
        p = rows["observed"].to_numpy(float)
        error = 2.0 * np.sqrt(np.maximum(p * (1.0 - p), 0.25 / rows["count"]) / rows["count"])
        color = _COLORS[number % len(_COLORS)]
        ax.errorbar(
            rows["stated"],
            p,
            yerr=error,
            fmt="o-",
            ms=3.5,
            lw=1.0,
            elinewidth=0.8,
            color=color,
            label=setting,
        )
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(-0.04, 1.04)
    ax.set_xlabel("stated probability")
    ax.set_ylabel("observed frequency")
    ax.legend(frameon=False, fontsize=7)
    ax.set_title("Calibration", loc="left")
    spare(ax)
    return ax
