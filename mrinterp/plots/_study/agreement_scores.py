"""Scores of agreement with the knockouts, method beside method."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mrinterp.core.errors import InputError
from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._style import METHOD_COLORS, axes, spare
from mrinterp.results._agreement import Agreement

__all__ = ["agreement_scores"]

SHOWN = {
    "causal_sign_concordance": ("sign, if causal", 1.0),
    "kendall": ("Kendall's tau", 1.0),
    "slope": ("slope (Deming)", 1.0),
    "coverage": ("coverage", 0.95),
    "auroc": ("AUROC", 1.0),
    "auprc": ("AUPRC", 1.0),
}
"""Panels, with the value that a perfect method has."""


def agreement_scores(agreement: Agreement, outcome: str | None = None, ax: Axes | None = None) -> Axes:
    """One panel per score, one row per method with its bootstrap interval; the line is a perfect method's.

    Parameters
    ----------
    agreement : Agreement
    outcome : str, optional
        Default the first.
    ax : Axes, optional
        Its place is given to all panels.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        For an outcome that was not compared, or where no score is defined.

    Examples
    --------
    >>> from mrinterp.plots import agreement_scores
    >>> from mrinterp.results import example
    >>> agreement_scores(example("Agreement")).get_title(loc="left")
    'Agreement with the knockouts, outcome 0'
    """
    outcome, _ = chosen_outcome(outcome, list(dict.fromkeys(agreement.scores["outcome"])))
    table = agreement.scores[agreement.scores["outcome"] == outcome]
    shown = [name for name in SHOWN if name in table and table[name].notna().any()]
    if not shown:
        reason = "; ".join(dict.fromkeys(table["reason"]))
        raise InputError("agreement_scores", reason or "no score is defined", "Compare more features")
    whole = axes(ax, 7.2, 0.24 * len(table) + 1.1)
    whole.axis("off")
    rows = np.arange(len(table))
    colors = [METHOD_COLORS.get(m, "#555555") for m in table["method"]]
    width = 1 / len(shown)
    letters = 7.5 if len(shown) > 4 else 9
    for k, name in enumerate(shown):
        panel = whole.inset_axes((k * width, 0.0, 0.86 * width, 1.0))
        words, best = SHOWN[name]
        panel.axvline(best, color="#bbbbbb", lw=0.8, zorder=0)
        if name == "auprc":
            panel.axvline(float(table["base_rate"].iloc[0]), color="#bbbbbb", lw=0.8, ls=":", zorder=0)
        for row, color, x, low, high in zip(
            rows,
            colors,
            table[name],
            table[f"{name}_boot_lower"],
            table[f"{name}_boot_upper"],
            strict=True,
        ):
            panel.plot([low, high], [row, row], color=color, lw=1.3)
            panel.plot(x, row, "o", ms=4, color=color)
        panel.set_ylim(len(table) - 0.4, -0.6)
        panel.set_yticks(rows, table["method"] if k == 0 else [""] * len(table), fontsize=8)
        panel.tick_params(labelsize=7)
        panel.xaxis.set_major_locator(MaxNLocator(3))
        panel.set_title(words, fontsize=letters, loc="left")
        spare(panel)
    assert isinstance(whole.figure, Figure)
    whole.set_title(f"Agreement with the knockouts, {outcome}", loc="left", pad=18)
    return whole
