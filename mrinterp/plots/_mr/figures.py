"""The four figures of a two-sample analysis, as files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mrinterp.core.mrdata import MRData
from mrinterp.plots._mr.forest import mr_forest
from mrinterp.plots._mr.funnel import mr_funnel
from mrinterp.plots._mr.leave_one_out import mr_leave_one_out
from mrinterp.plots._mr.scatter import mr_scatter
from mrinterp.plots._style import refuse_foreign, save
from mrinterp.results._estimates import Estimates

__all__ = ["MOST_PAIRS", "write_mr_figures"]

MOST_PAIRS = 20
"""Pairs of exposure and outcome that are drawn; the first ones."""


def write_mr_figures(
    folder: Path,
    data: MRData,
    results: Sequence[Estimates],
    repeats: Sequence[tuple[str, Estimates]] = (),
    whole: Estimates | None = None,
) -> list[Path]:
    """Scatter, forest, funnel and (with ``repeats`` of the method ``whole``) leave-one-out, SVG and PNG.

    Parameters
    ----------
    folder : Path
        Made where it does not exist.
    data : MRData
    results : sequence of Estimates
        Univariable estimates.
    repeats : sequence of (str, Estimates), optional
        Name of each instrument left out, and the method of ``whole`` without it.
    whole : Estimates, optional
        The same method on all instruments.

    Returns
    -------
    list of Path
        In order; names hold the pair where there is more than one.

    Raises
    ------
    InputError
        Where a file of such a name is none of ours; nothing is written then.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from mrinterp import MRData
    >>> from mrinterp.plots import write_mr_figures
    >>> beta, se = np.array([[0.1, 0.2, 0.3]]), np.full((1, 3), 0.02)
    >>> data = MRData(
    ...     beta_x=beta, se_x=se, beta_y=0.5 * beta, se_y=se,
    ...     exposures=("size",), outcomes=("loss",), instruments=("a", "b", "c"),
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = write_mr_figures(Path(folder), data, [])
    >>> [path.name for path in written[:3]]
    ['scatter.svg', 'forest.svg', 'funnel.svg']
    """
    folder.mkdir(parents=True, exist_ok=True)
    pairs = [(x, y) for x in data.exposures for y in data.outcomes]
    ends = [
        "" if len(pairs) == 1 else "_" + re.sub(r"[^\w.-]+", "-", f"{x}_{y}") for x, y in pairs[:MOST_PAIRS]
    ]
    for pair in ends:
        for name in ("scatter", "forest", "funnel", "leave_one_out"):
            for suffix in (".svg", ".png"):
                refuse_foreign(folder / f"{name}{pair}{suffix}")
    written = []
    for (x, y), pair in zip(pairs[:MOST_PAIRS], ends, strict=True):
        drawn = {n: f(data, results, x, y) for n, f in
                 (("scatter", mr_scatter), ("forest", mr_forest), ("funnel", mr_funnel))}  # fmt: skip
        if repeats and whole is not None:
            drawn["leave_one_out"] = mr_leave_one_out(whole, repeats, x, y)
        paths = [[folder / f"{name}{pair}{suffix}" for name in drawn] for suffix in (".svg", ".png")]
        for ax, svg, png in zip(drawn.values(), *paths, strict=True):
            save(ax, svg, png)
        written += [*paths[0], *paths[1]]
    return written
