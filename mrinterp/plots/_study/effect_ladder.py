"""The effect ladder: one feature a row, from the observational slope up to the knockout."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mrinterp.core.plan_inputs import PERTURBATIONS
from mrinterp.plots._style import METHOD_COLORS, axes, legend_below, spare
from mrinterp.results._agreement import Agreement

__all__ = ["effect_ladder"]

RUNGS = {
    "observational": "observational",
    "ivw_noise": "univariable IVW, noise",
    "ivw_slot": "univariable IVW, slots",
    "ivw_pair": "univariable IVW, pairs",
    **{
        f"ivw_{kind}": f"univariable IVW, {kind}"
        for kind in PERTURBATIONS
        if kind not in ("noise", "slot", "pair")
    },
    "within": "within, on the cut",
    "gradient": "gradient",
    "knockout": "knockout",
}


def effect_ladder(
    agreement: Agreement, labels: dict[str, str] | None = None, most: int = 14, ax: Axes | None = None
) -> Axes:
    """Effects with 95% intervals of the features whose knockout effect is largest.

    Parameters
    ----------
    agreement : Agreement
    labels : dict, optional
        Feature name to words printed below it.
    most : int
        Number of features shown.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from mrinterp.plots import effect_ladder
    >>> from mrinterp.results import example
    >>> effect_ladder(example("Agreement")).get_title(loc="left")
    'From correlation to cause: the effect ladder'
    """
    table = agreement.joined
    table = table[table["outcome"] == table["outcome"].iloc[0]]
    truth = table.drop_duplicates("exposure").set_index("exposure")
    chosen = truth["knockout"].abs().sort_values(ascending=False).index[:most]
    tall = 0.62 * max(len(chosen), 3)  # one feature alone leaves no room beside the legend
    ax = axes(ax, 7.2, tall + 1.4)
    screen = agreement.meta["screen"]
    wanted = {"knockout", "observational", screen, "within", "gradient"}
    rungs = [r for r in RUNGS if r in wanted and (r == "knockout" or r in set(table["method"]))]
    rope = float(agreement.meta["rope"][0])
    ax.axvspan(-rope, rope, color="#eeeeee", zorder=0, label="practical equivalence")
    ax.axvline(0, color="#bbbbbb", lw=0.8, zorder=1)
    for k, rung in enumerate(rungs):
        y = np.arange(len(chosen)) + (k - (len(rungs) - 1) / 2) * 0.15
        if rung == "knockout":
            rows = truth.loc[chosen]
            x, low, high = rows["knockout"], rows["knockout_lower"], rows["knockout_upper"]
        else:
            rows = table[table["method"] == rung].set_index("exposure").loc[chosen]
            x, low, high = rows["estimate"], rows["ci_lower"], rows["ci_upper"]
        ax.errorbar(
            x,
            y,
            xerr=[x - low, high - x],
            fmt="D" if rung == "knockout" else "o",
            ms=4 if rung == "knockout" else 3.5,
            color=METHOD_COLORS[rung],
            elinewidth=1.2,
            lw=0,
            label=RUNGS[rung],
            zorder=3,
        )
    names = [f"{c.rsplit(':', 1)[-1]}\n{(labels or {}).get(c, '')}".strip() for c in chosen]
    ax.set_yticks(np.arange(len(chosen)), names)
    ax.set_ylim(len(chosen) - 0.4, -0.6)
    ax.set_xlabel(f"effect on {table['outcome'].iloc[0]}\noutcome units per sd of the feature, 95% interval")
    ax.set_title("From correlation to cause: the effect ladder", loc="left")
    legend_below(ax)
    spare(ax)
    return ax
