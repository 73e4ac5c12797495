"""Colors, fonts and saving, the same for every figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg", force=False)

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter
from matplotlib.transforms import ScaledTranslation

from mrinterp.core.errors import InputError
from mrinterp.core.plan_inputs import PERTURBATIONS
from mrinterp.core.printable import printable
from mrinterp.core.storage import whole_file

__all__ = [
    "LINE_COLORS",
    "METHOD_COLORS",
    "VERDICT_COLORS",
    "axes",
    "legend_below",
    "refuse_foreign",
    "save",
    "spare",
]

# Okabe & Ito's palette: told apart by color-blind readers.
METHOD_COLORS = {
    "observational": "#999999",
    "ivw_slot": "#e69f00",
    "ivw_noise": "#d55e00",
    "ivw_pair": "#cc79a7",
    **{f"ivw_{kind}": "#e69f00" for kind in PERTURBATIONS if kind not in ("noise", "slot", "pair")},
    "within": "#0072b2",
    "tsls": "#56b4e9",
    "within_calibrated": "#6a51a3",
    "gradient": "#009e73",
    "rectified": "#b2182b",
    "knockout": "#000000",
}
LINE_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DRAWN_AS_VECTORS = 2_000
"""Marks up to which a vector file holds each of them as a shape of its own."""
VERDICT_COLORS = {"causal": "#0072b2", "negligible": "#999999", "indeterminate": "#e69f00"}

_SETTINGS: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "svg.hashsalt": "mrinterp",
    "svg.fonttype": "none",
    "text.parse_math": False,  # a label with dollar signs is text, not a formula
    "axes.spines.top": False,
    "axes.spines.right": False,
    # A figure belongs to whoever asked for it, until it is saved: twenty in a row are no mistake.
    "figure.max_open_warning": 0,
}


_MARK = "mrinterp"
_METADATA: Any = {
    ".svg": {"Date": None, "Creator": _MARK},
    ".png": {"Software": _MARK},
    ".pdf": {"CreationDate": None, "Creator": _MARK},
}
"""No clock in a figure, and the mark by which a figure of ours is known."""


def axes(ax: Axes | None, width: float, height: float) -> Axes:
    """The given axes, or new ones of a size in inches."""
    if ax is not None:
        return ax
    with plt.rc_context(_SETTINGS):
        _, made = plt.subplots(figsize=(width, height), layout="constrained")
    return made


def spare(ax: Axes) -> None:
    """Take the upper and right frame away."""
    ax.spines[["top", "right"]].set_visible(False)


def legend_below(ax: Axes, columns: int | None = None, **options: Any) -> None:
    """Names of what is drawn under the axis and its label, where there are any; the same distance in axes of all heights.

    Parameters
    ----------
    ax : Axes
        Its label across is set already.
    columns : int, optional
        Default three, in a narrow figure one.
    **options
        Of `Axes.legend`.
    """
    if not ax.get_legend_handles_labels()[0] and "handles" not in options:
        return
    wide = ax.figure.get_size_inches()[0] > 5  # type: ignore[union-attr]
    lines = 1 + ax.get_xlabel().count("\n")
    down = ScaledTranslation(0, -(18 + 12 * lines) / 72, ax.figure.dpi_scale_trans)
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        bbox_transform=ax.transAxes + down,
        ncols=columns or (3 if wide else 1),
        frameon=False,
        **options,
    )


def _show_controls(figure: Any) -> None:
    """Write control characters of names out: they make no valid SVG."""
    for text in figure.findobj(Text):
        text.set_text(printable(text.get_text(), lines=True))
    for axis in (a for each in figure.axes for a in (each.xaxis, each.yaxis)):
        labels = axis.get_major_formatter()
        if isinstance(labels, FuncFormatter | FixedFormatter):
            axis.set_major_formatter(FuncFormatter(lambda at, n, f=labels: printable(f(at, n), lines=True)))


def _rasterize_crowds(figure: Any) -> None:
    """Let vector files hold what is drawn by thousands as one picture: a shape each makes them large and slow to open."""
    for artist in (a for each in figure.axes for a in each.get_children()):
        if isinstance(artist, Line2D):
            count = (
                np.size(artist.get_xdata())
                if artist.get_marker() not in ("None", "none", "", " ", None)
                else 0
            )
        elif isinstance(artist, LineCollection):
            count = len(artist.get_segments())
        else:
            count = len(np.asarray(artist.get_offsets())) if isinstance(artist, PathCollection) else 0
        if count > DRAWN_AS_VECTORS:
            artist.set_rasterized(True)


def refuse_foreign(path: Path) -> None:
    """Refuse to write over a file that is no figure of ours."""
    if not path.exists() or (path.is_file() and _MARK.encode() in path.read_bytes()[:4096]):
        return
    raise InputError(
        str(path), "a file that mrinterp did not write", "Name another folder, or move the file away"
    )


def save(ax: Axes, path: Path, *more: Path) -> Path:
    """Write the figure of ``ax`` as SVG, PNG or PDF (each path's suffix) without a clock in it, and close it."""
    figure = ax.figure
    _show_controls(figure)
    _rasterize_crowds(figure)
    with plt.rc_context(_SETTINGS):  # laid out once and alike, whatever files are written
        layout = figure.get_layout_engine()  # type: ignore[union-attr]
        if layout is not None:
            layout.execute(figure)  # type: ignore[arg-type]  # without the drawing that a figure does with it
        figure.set_layout_engine(None)  # type: ignore[union-attr]  # "none" would draw once more for every file
    for each in (path, *more):
        with plt.rc_context(_SETTINGS), whole_file(each) as partial:
            figure.savefig(partial, metadata=_METADATA[each.suffix], dpi=150)  # type: ignore[union-attr]
    plt.close(figure)  # type: ignore[arg-type]
    return path
