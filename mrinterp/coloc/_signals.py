"""Colocalization signal by signal: SuSiE's single effects against each other, and eCAVIAR's CLPP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.coloc._priors import SHARE_GRID, HypothesisPriors, Priors, p12_over_grid
from mrinterp.core.errors import InputError
from mrinterp.results._check import NotApplicable
from mrinterp.results._coloc import ONE_INSTRUMENT, Coloc
from mrinterp.results._fine_mapping import FineMapping
from mrinterp.stats.bayes_factors.wakefield import (
    hypothesis_log_sums,
    hypothesis_posterior,
    posterior_over_priors,
)

__all__ = [
    "Signals",
    "clpp",
    "colocalize_signals",
    "compare_signals",
    "require_same_instruments",
    "signal_name",
]

Array = NDArray[np.float64]

_PAIR_ELEMENTS = 4_000_000  # doubles of one intermediate block

SUSIE_REFERENCE = "Wallace 2021, PLoS Genetics, doi:10.1371/journal.pgen.1009440"
CLPP_REFERENCE = "Hormozdiari et al. 2016, AJHG, doi:10.1016/j.ajhg.2016.10.003"
_ASSUMES = ("each signal has one cause", "the fine-mapping of both traits holds (see its status)")


@dataclass(frozen=True, eq=False)
class Signals:
    """S signals of one side, by their log Bayes factors.

    Parameters
    ----------
    names : tuple of str
        One per signal.
    log_bf : ndarray (S, J)
        Natural log Bayes factor of each of J instruments being the cause of the signal.
    sign : ndarray (S, J)
        Sign of each effect (0 where it is not known).

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import coloc
    >>> coloc.Signals(("bmi signal 1",), np.array([[20.0, 0.0]]), np.ones((1, 2))).log_bf.shape
    (1, 2)
    """

    names: tuple[str, ...]
    log_bf: Array
    sign: Array

    def __post_init__(self) -> None:
        shapes = np.shape(self.log_bf), np.shape(self.sign)
        if len(shapes[0]) != 2 or shapes[0] != shapes[1] or shapes[0][0] != len(self.names):
            found = f"{len(self.names)} names, log_bf of shape {shapes[0]}, sign of shape {shapes[1]}"
            raise InputError("signals", found, "Give one row per signal, one column per instrument")


def signal_name(trait: str, number: int) -> str:
    """How a trait's credible set is named among signals (``number`` from 1)."""
    return f"{trait} signal {number}"


def colocalize_signals(
    x: FineMapping,
    y: FineMapping,
    *,
    priors: Priors | HypothesisPriors | None = None,
    shares: Sequence[float] = SHARE_GRID,
) -> Coloc | NotApplicable:
    """Colocalize every credible set of one fine-mapping with every credible set of another.

    Parameters
    ----------
    x, y : FineMapping
        On the same instruments.
    priors : Priors or HypothesisPriors, optional
        Prior of the hypotheses; default `Priors()`.
    shares : sequence of float
        Prior grid over pi4 / (pi3 + pi4), always computed.

    Returns
    -------
    Coloc or NotApplicable
        Rows and columns are signals, named ``"<trait> signal <number>"``; NotApplicable where one
        side has no credible set.

    Raises
    ------
    InputError
        Different instruments.

    Notes
    -----
    Not valid where a fine-mapping is not (see its ``status``).

    References
    ----------
    Wallace 2021, PLoS Genetics, doi:10.1371/journal.pgen.1009440.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import coloc
    >>> x, y = (coloc.finemap_summary(z, np.eye(3), 500) for z in ([8.0, 1.0, 0.0], [7.0, 0.0, 1.0]))
    >>> signals = coloc.colocalize_signals(x, y)
    >>> signals.exposures, bool(signals.posterior[0, 0, 0, 4] > 0.9)
    (('trait signal 1',), True)
    """
    require_same_instruments(x.instruments, y.instruments)
    sides = []
    for fit in (x, y):
        rows = [(t, number, s) for t, sets in enumerate(fit.sets) for number, s in enumerate(sets, start=1)]
        if not rows:
            why = [f"{t}: {s}" for t, s in zip(fit.traits, fit.status, strict=True) if s != "ok"]
            none = f"no credible set for {', '.join(fit.traits[:5])}: nothing to colocalize signal by signal"
            return NotApplicable("; ".join(why[:5]) or none, "colocalization of credible sets")
        names = tuple(signal_name(fit.traits[t], number) for t, number, _ in rows)
        log_bf = np.array([fit.log_bf_variable[t, s.effect] for t, _, s in rows])
        sides.append(Signals(names, log_bf, np.sign(np.array([fit.z[t] for t, _, _ in rows]))))
    return compare_signals(
        sides[0],
        sides[1],
        x.instruments,
        priors=priors,
        shares=shares,
        method="SuSiE signals",
        assumes=_ASSUMES,
        reference=SUSIE_REFERENCE,
    )


def compare_signals(
    x: Signals,
    y: Signals,
    instruments: Sequence[str],
    *,
    priors: Priors | HypothesisPriors | None = None,
    shares: Sequence[float] = SHARE_GRID,
    method: str = "signals",
    assumes: tuple[str, ...] = ("each signal has one cause",),
    reference: str = "",
) -> Coloc:
    """Hypotheses for every pair of signals, from log Bayes factors on the same instruments.

    `colocalize_signals` and `colocalize_conditional` end here; call it for signals that another program
    found.

    Parameters
    ----------
    x, y : Signals
        Signals of the two sides.
    instruments : sequence of str
        Names of the J instruments.
    priors : Priors or HypothesisPriors, optional
        Prior of the hypotheses; default `Priors()`.
    shares : sequence of float
        Prior grid over pi4 / (pi3 + pi4), always computed.
    method : str
        How the signals were found, for the result.
    assumes : tuple of str
        What the numbers are conditional on, for the result.
    reference : str
        Paper, for the result.

    Returns
    -------
    Coloc
        Rows and columns are signals.

    Raises
    ------
    InputError
        Signals over different numbers of instruments.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import coloc
    >>> x, y = (coloc.Signals((n,), np.array([[20.0, 0.0]]), np.ones((1, 2))) for n in ("x", "y"))
    >>> bool(coloc.compare_signals(x, y, ["a", "b"]).posterior[0, 0, 0, 4] > 0.9)
    True
    """
    instruments = tuple(instruments)
    for side in (x, y):
        if side.log_bf.shape[1] != len(instruments):
            found = f"{side.log_bf.shape[1]} columns for {len(instruments)} instruments"
            raise InputError("signals", found, "Give one column per instrument")
    J = len(instruments)
    log_sums, sign = hypothesis_log_sums(x.log_bf, y.log_bf, x.sign, y.sign)
    p = (priors or Priors()).per_instrument(J)
    grid = p12_over_grid(J, p.p1, p.p2, np.asarray(shares, float))
    posterior = hypothesis_posterior(log_sums, p.p1, p.p2, p.p12)
    sensitivity = posterior_over_priors(log_sums, p.p1, p.p2, grid)
    return Coloc(
        method=method,
        exposures=x.names,
        outcomes=y.names,
        loci=("",),
        instruments=instruments,
        posterior=posterior[:, :, None],
        log_sums=log_sums[:, :, None],
        priors=np.array([[p.p1, p.p2, p.p12]]),
        shares=np.asarray(shares, float),
        sensitivity=sensitivity[:, :, None],
        sign=sign[:, :, None],
        top=np.array([(row + y.log_bf).argmax(-1) for row in x.log_bf])[:, :, None],
        status=np.array("ok" if J > 1 else ONE_INSTRUMENT, dtype=object),
        locus=np.zeros(J, dtype=int),
        log_bf_x=x.log_bf,
        log_bf_y=y.log_bf,
        assumes=assumes,
        reference=reference,
        meta={"p12_grid": [grid.tolist()], "misfit": {}},
    )


def clpp(x: FineMapping, y: FineMapping) -> pd.DataFrame:
    """Colocalization posterior probability of eCAVIAR for all pairs of traits.

    Parameters
    ----------
    x, y : FineMapping
        On the same instruments; several causes per trait are allowed.

    Returns
    -------
    DataFrame
        One row per (exposure, outcome): ``clpp`` (sum over instruments of the product of the two
        inclusion probabilities), ``top_instrument`` and its ``top_clpp``. Values above 0.01 are
        usually called colocalized.

    Raises
    ------
    InputError
        Different instruments.

    Notes
    -----
    Not valid as a posterior of sharing: there is no hypothesis of two distinct causes to compare with.

    References
    ----------
    Hormozdiari et al. 2016, AJHG, doi:10.1016/j.ajhg.2016.10.003.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import coloc
    >>> x, y = (coloc.finemap_summary(z, np.eye(3), 500) for z in ([8.0, 1.0, 0.0], [7.0, 0.0, 1.0]))
    >>> coloc.clpp(x, y)["top_instrument"].tolist()
    ['instrument 1']
    """
    require_same_instruments(x.instruments, y.instruments)
    regional = x.pip @ y.pip.T
    top = np.empty(regional.shape, dtype=int)
    step = max(1, _PAIR_ELEMENTS // max(1, y.pip.size))
    for start in range(0, len(x.pip), step):
        block = slice(start, start + step)
        top[block] = (x.pip[block, None] * y.pip[None]).argmax(-1)
    f, o = np.indices(regional.shape)
    frame = pd.MultiIndex.from_product([x.traits, y.traits], names=["exposure", "outcome"]).to_frame(
        index=False
    )
    frame["clpp"] = regional.ravel()
    frame["top_instrument"] = np.array(x.instruments, dtype=object)[top.ravel()]
    frame["top_clpp"] = (x.pip[f, top] * y.pip[o, top]).ravel()
    return frame


def require_same_instruments(x: Sequence[str], y: Sequence[str]) -> None:
    """Refuse two traits whose instruments are not the same, in the same order.

    Raises
    ------
    InputError
        Where they are not.
    """
    if tuple(x) != tuple(y):
        raise InputError(
            "traits to compare",
            "different instruments, or another order",
            "Give both traits the same instruments in the same order",
        )
