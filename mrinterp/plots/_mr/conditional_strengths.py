"""How strongly instruments move every exposure beyond what they do to the others."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from mrinterp.core.mrdata import MRData
from mrinterp.plots._style import axes, spare
from mrinterp.stats.profile.strength import conditional_f_statistics

__all__ = ["conditional_strengths"]

WEAK = 10.0


def conditional_strengths(data: MRData, most: int = 30, ax: Axes | None = None) -> Axes:
    """Bars of the conditional F of every exposure, weakest first; below 10 (dashed) instruments are weak.

    Parameters
    ----------
    data : MRData
        Of several exposures.
    most : int
        Exposures shown at most, the weakest ones.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Notes
    -----
    Errors of one instrument's effects are taken as the data say (``error_corr``), independent where they say nothing.
    Instruments that any exposure lacks are left out. Source: Sanderson, Spiller & Bowden 2021, doi:10.1002/sim.9133.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import MRData
    >>> from mrinterp.plots import conditional_strengths
    >>> rng = np.random.default_rng(0)
    >>> beta, se = rng.normal(size=(2, 9)), np.full((2, 9), 0.1)
    >>> data = MRData(
    ...     beta_x=beta, se_x=se, beta_y=beta[:1], se_y=se[:1],
    ...     exposures=("size", "depth"), outcomes=("loss",), instruments=tuple("abcdefghi"),
    ... )
    >>> conditional_strengths(data).get_xlabel()
    'conditional F'
    """
    here = np.flatnonzero(np.isfinite(data.beta_x).all(axis=0) & np.isfinite(data.se_x).all(axis=0))
    beta, se, ld = data.beta_x[:, here], data.se_x[:, here], data.ld
    ld = None if ld is None else np.asarray(ld, float)[np.ix_(here, here)]
    found = conditional_f_statistics(beta, se, _covariance(data, here), ld=ld)
    order = np.argsort(np.nan_to_num(found, nan=-1.0), kind="stable")[:most][::-1]
    ax = axes(ax, 3.5, 0.18 * len(order) + 1.1)
    values = found[order]
    colors = ["#d55e00" if v < WEAK else "#0072b2" for v in values]
    ax.barh(np.arange(len(order)), np.nan_to_num(values), color=colors, height=0.7)
    for k, v in enumerate(values):
        ax.annotate(
            f"{v:.3g}" if v == v else "none",
            (max(np.nan_to_num(v), 0), k),
            fontsize=6.5,
            va="center",
            xytext=(3, 0),
            textcoords="offset points",
        )
    ax.axvline(WEAK, color="#444444", lw=0.9, ls="--")
    ax.set_yticks(np.arange(len(order)), [data.exposures[k][:28] for k in order], fontsize=7)
    ax.set_xlabel("conditional F")
    weak = int((found < WEAK).sum())
    ax.set_title(f"{weak} of {len(found)} exposures are weakly moved", loc="left", fontsize=9)
    ax.margins(x=0.12)
    spare(ax)
    return ax


def _covariance(data: MRData, here: NDArray[np.int_]) -> NDArray[np.float64] | None:
    """Covariance (J, K, K) of the errors of the exposures; None where the data say nothing of it."""
    K = len(data.exposures)
    if data.sigma is not None:
        return np.asarray(data.sigma, float)[here, :K, :K]
    if data.error_corr is None:
        return None
    se = data.se_x[:, here].T
    return np.asarray(data.error_corr, float)[:K, :K] * se[:, :, None] * se[:, None, :]
