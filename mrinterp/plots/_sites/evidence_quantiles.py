"""Evidence against what it would be if no feature had an effect."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from scipy.stats import beta as beta_distribution

from mrinterp.plots._chosen_outcome import chosen_outcome
from mrinterp.plots._many import points
from mrinterp.plots._style import axes, spare
from mrinterp.results._estimates import Estimates

__all__ = ["evidence_quantiles"]

MEDIAN_OF_CHI2 = 0.4549364
"""Of chi squared with one degree of freedom."""


def evidence_quantiles(result: Estimates, outcome: str | None = None, ax: Axes | None = None) -> Axes:
    """QQ plot: observed against expected minus log ten of p, with a 95% band and the inflation.

    Parameters
    ----------
    result : Estimates
    outcome : str, optional
        Default the first.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        For an outcome that the result does not have.

    Notes
    -----
    Inflation is the median chi squared over that of a null (Devlin & Roeder 1999, Biometrics 55:997): 1 where most features
    have no effect and errors are right. Many true effects raise it as wrong errors do.

    Examples
    --------
    >>> from mrinterp.plots import evidence_quantiles
    >>> from mrinterp.results import example
    >>> evidence_quantiles(example("Estimates")).get_xlabel()
    'expected if there were no effects'
    """
    o = chosen_outcome(outcome, result.outcomes)[1]
    y = np.asarray(result.neglog10p)[:, o]
    y = np.sort(y[np.isfinite(y)])[::-1]
    ax, n = axes(ax, 3.3, 3.3), len(y)
    if n:
        rank = np.arange(1, n + 1)
        expected = -np.log10((rank - 0.5) / n)
        shown = np.unique(np.geomspace(1, n, min(n, 400)).astype(int)) - 1
        low, high = (
            -np.log10(beta_distribution.ppf(q, rank[shown], n - rank[shown] + 1)) for q in (0.975, 0.025)
        )
        ax.fill_between(expected[shown], low, high, color="#e8e8e8", lw=0)
        ends = [0, float(expected.max())]
        ax.plot(ends, ends, color="#888888", lw=0.9, ls="--")
        points(ax, expected, np.minimum(y, 300.0), "#0072b2", every=True)
        z = result.beta[:, o] / result.se[:, o]
        inflation = float(np.nanmedian(z**2)) / MEDIAN_OF_CHI2
        ax.set_title(
            f"{n} effects on {result.outcomes[o]}, inflation {inflation:.2f}", loc="left", fontsize=9
        )
    ax.set_xlabel("expected if there were no effects")
    ax.set_ylabel("evidence, \N{MINUS SIGN}log\N{SUBSCRIPT ONE}\N{SUBSCRIPT ZERO} p")
    spare(ax)
    return ax
