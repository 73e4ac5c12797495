"""The ladder on one scale: what every rung says of the same features, slopes extrapolated to the contrast's size."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mrinterp.core.plan_inputs import PERTURBATIONS
from mrinterp.plots._style import METHOD_COLORS, axes, legend_below, spare

__all__ = ["claim_ladder"]

RUNGS = {
    "observational": "observational, extrapolated",
    **{f"ivw_{kind}": "univariable IVW, extrapolated" for kind in PERTURBATIONS},
    "within": "within, extrapolated",
    "within_calibrated": "within, calibrated, extrapolated",
    "gradient": "gradient, extrapolated",
    "rectified": "rectified contrast",
    "knockout": "contrast on other families",
}
CONTRASTS = ("rectified", "knockout")


def claim_ladder(
    results: pd.DataFrame,
    rope: float,
    labels: dict[str, str] | None = None,
    outcome: str | None = None,
    screen: str = "ivw_noise",
    most: int = 14,
    ax: Axes | None = None,
) -> Axes:
    """Effects per natural sd with 95% intervals, for the features with the largest effects.

    Filled markers are contrasts; hollow ones are local slopes times how far the contrast moves the reading.

    Parameters
    ----------
    results : DataFrame
        `Study.results`.
    rope : float
        Half width of the region of practical equivalence.
    labels : dict, optional
        Feature name to words printed below it.
    outcome : str, optional
        Default the first.
    screen : str
        The univariable rung that is drawn.
    most : int
        Number of features shown.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> import pandas as pd
    >>> from mrinterp.plots import claim_ladder
    >>> row = {"feature": "a", "outcome": "y", "effect": 1.0, "knockout": 1.1, "knockout_lower": 0.9, "knockout_upper": 1.3}
    >>> row |= {"rectified": 1.0, "rectified_lower": 0.9, "rectified_upper": 1.1}
    >>> claim_ladder(pd.DataFrame([row]), rope=0.1).get_title(loc="left")
    'From correlation to cause, on one scale'
    """
    name = results["outcome"].iloc[0] if outcome is None else outcome
    table = results[results["outcome"] == name].head(most)
    tall = 0.7 * max(len(table), 3)
    ax = axes(ax, 7.2, tall + 1.6)
    univariable = [r for r in RUNGS if r.startswith("ivw_") and r != screen]
    rungs = [r for r in RUNGS if r in table and r not in univariable]
    ax.axvspan(-rope, rope, color="#eeeeee", zorder=0, label="practical equivalence")
    ax.axvline(0, color="#bbbbbb", lw=0.8, zorder=1)
    # What is drawn is as wide as the contrasts ask for: an extrapolated slope may lie anywhere.
    ends = table[[f"{r}_{end}" for r in CONTRASTS if r in table for end in ("lower", "upper")]].to_numpy()
    reach = 1.6 * max(float(np.nanmax(np.abs(ends), initial=0.0)), 2 * rope)
    for k, rung in enumerate(rungs):
        y = np.arange(len(table)) + (k - (len(rungs) - 1) / 2) * 0.11
        x, low, high = (table[f"{rung}{end}"].to_numpy(dtype=float) for end in ("", "_lower", "_upper"))
        color = METHOD_COLORS.get(rung, "#0072b2")
        filled = rung in CONTRASTS
        ax.errorbar(
            np.clip(x, -reach, reach),
            y,
            xerr=[
                np.clip(x, -reach, reach) - np.clip(low, -reach, reach),
                np.clip(high, -reach, reach) - np.clip(x, -reach, reach),
            ],
            fmt="D" if rung == "knockout" else "o",
            ms=4 if filled else 3.2,
            color=color,
            mfc=color if filled else "white",
            elinewidth=1.4 if filled else 0.8,
            lw=0,
            label=RUNGS[rung],
            zorder=3 if filled else 2,
        )
    names = [f"{f.rsplit(':', 1)[-1]}\n{(labels or {}).get(f, '')}".strip() for f in table["feature"]]
    ax.set_yticks(np.arange(len(table)), names)
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.set_xlim(-reach, reach)
    ax.set_xlabel(f"effect on {name}\noutcome units per natural sd (contrast / 2.563), 95% interval")
    ax.set_title("From correlation to cause, on one scale", loc="left")
    legend_below(ax, fontsize=7)
    spare(ax)
    return ax
