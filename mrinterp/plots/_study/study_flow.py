"""Flow of a study: families, splits, what is run on each."""

from __future__ import annotations

from matplotlib.axes import Axes

from mrinterp.core.design import SPLITS, Design
from mrinterp.plots._style import axes

__all__ = ["study_flow"]

_FOR = {
    "discovery": "features and bypass\nare learned",
    "estimation": "effects are\nestimated",
    "replication": "the same on\nother families",
    "knockout": "features are\nchanged by hand",
}


def study_flow(design: Design, ax: Axes | None = None) -> Axes:
    """Boxes from all families to the splits, with families, prompts and runs of every kind, as STROBE asks for.

    Parameters
    ----------
    design : Design
        Of a study: `Study.design`.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from mrinterp.core.design import Design
    >>> from mrinterp.plots import study_flow
    >>> runs = pd.DataFrame({
    ...     "run": [0, 1], "prompt": ["p", "q"], "family": ["a", "b"], "split": ["discovery", "estimation"],
    ...     "kind": "clean", "input": 0, "clean": [0, 1],
    ... })
    >>> columns = ["instrument", "kind", "locus", "allele", "unit", "placebo"]
    >>> design = Design(
    ...     inputs=pd.DataFrame({"text": ["a text"]}), runs=runs, instruments=pd.DataFrame(columns=columns),
    ...     doses=np.zeros((2, 0), np.float32), noise_directions=np.zeros((1, 0, 2), np.float32),
    ... )
    >>> study_flow(design).get_title(loc="left")
    'Flow of families, prompts and runs'
    """
    runs = design.runs
    splits = [s for s in (*SPLITS, *runs["split"].unique()) if (runs["split"] == s).any()]
    splits = list(dict.fromkeys(splits))
    ax = axes(ax, 7.0, 3.4)
    ax.set_xlim(0, len(splits))
    ax.set_ylim(0, 3)
    ax.axis("off")
    middle = len(splits) / 2
    whole = f"{runs['family'].nunique():,} families, {runs['prompt'].nunique():,} prompts, {len(runs):,} runs"
    _box(ax, middle, 2.65, f"{whole}\ndivided before anything is looked at", "#e8e8e8")
    for k, split in enumerate(splits):
        part = runs[runs["split"] == split]
        x = k + 0.5
        _arrow(ax, (middle, 2.4), (x, 1.98))
        counted = f"{part['family'].nunique():,} families\n{part['prompt'].nunique():,} prompts"
        _box(ax, x, 1.6, f"{split}\n{counted}", "#d7e6f2")
        _arrow(ax, (x, 1.25), (x, 0.98))
        kinds = "\n".join(f"{n:,} {kind}" for kind, n in part["kind"].value_counts(sort=False).items())
        _box(ax, x, 0.5, f"{_FOR.get(split, 'read by nothing')}\n{kinds}", "#ffffff")
    ax.set_title("Flow of families, prompts and runs", loc="left", fontsize=9)
    return ax


def _box(ax: Axes, x: float, y: float, words: str, color: str) -> None:
    ax.text(
        x,
        y,
        words,
        ha="center",
        va="center",
        fontsize=7.5,
        bbox={"boxstyle": "round,pad=0.4", "facecolor": color, "edgecolor": "#666666", "linewidth": 0.8},
    )


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.annotate(
        "", end, start, arrowprops={"arrowstyle": "-|>", "color": "#666666", "linewidth": 0.9}, zorder=0
    )
