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
from mrinterp.results._coloc import Coloc
from mrinterp.results._fine_mapping import FineMapping
from mrinterp.stats.bayes_factors.wakefield import (
    hypothesis_log_sums,
    hypothesis_posterior,
    posterior_over_priors,
)

__all__ = ["Signals", "clpp", "colocalize_signals", "compare_signals", "signal_name"]

Array = NDArray[np.float64]

_PAIR_ELEMENTS = 4_000_000  # doubles of one intermediate block

SUSIE_REFERENCE = "Wallace 2021, PLoS Genetics, doi:10.1371/journal.pgen.1009440"
CLPP_REFERENCE = "Hormozdiari et al. 2016, AJHG, doi:10.1016/j.ajhg.2016.10.003"
_ASSUMES = ("each signal has one cause", "the fine-mapping of both traits holds (see its status)")


@dataclass(frozen=True, eq=False)
class Signals:
    """Signals of one side: names, log Bayes factors and effect signs, (signals, instruments)."""

    names: tuple[str, ...]
    log_bf: Array
    sign: Array


def signal_name(trait: str, number: int) -> str:
    """How a trait's credible set is named among signals (``number`` from 1)."""
    return f"{trait} signal {number}"


def colocalize_signals(
    x: FineMapping,
    y: FineMapping,
    priors: Priors | HypothesisPriors | None = None,
    shares: Sequence[float] = SHARE_GRID,
) -> Coloc | NotApplicable:
    """Colocalize every credible set of one fine-mapping with every credible set of another.

    Parameters
    ----------
    x, y : FineMapping
        On the same instruments.
    priors : Priors or HypothesisPriors, optional
        Default `HypothesisPriors()`.

    Returns
    -------
    Coloc or NotApplicable
        Rows and columns are signals, named by `signal_name`; NotApplicable where one side has none.

    Raises
    ------
    InputError
        Different instruments.
    """
    _same_instruments(x, y)
    sides = []
    for fit in (x, y):
        rows = [(t, number, s) for t, sets in enumerate(fit.sets) for number, s in enumerate(sets, start=1)]
        if not rows:
            return NotApplicable(
                f"no credible set for {', '.join(fit.traits[:5])}: nothing to colocalize signal by signal",
                "colocalization of credible sets",
            )
        names = tuple(signal_name(fit.traits[t], number) for t, number, _ in rows)
        log_bf = np.array([fit.log_bf_variable[t, s.effect] for t, _, s in rows])
        sides.append(Signals(names, log_bf, np.sign(np.array([fit.z[t] for t, _, _ in rows]))))
    return compare_signals(
        sides[0], sides[1], x.instruments, priors, shares, "SuSiE signals", _ASSUMES, SUSIE_REFERENCE
    )


def compare_signals(
    x: Signals,
    y: Signals,
    instruments: tuple[str, ...],
    priors: Priors | HypothesisPriors | None,
    shares: Sequence[float],
    method: str,
    assumes: tuple[str, ...],
    reference: str,
) -> Coloc:
    """Hypotheses for every pair of signals, from their log Bayes factors on the same instruments."""
    J = len(instruments)
    log_sums, sign = hypothesis_log_sums(x.log_bf, y.log_bf, x.sign, y.sign)
    p = (priors or HypothesisPriors()).per_instrument(J)
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
        status=np.array("ok", dtype=object),
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

    References
    ----------
    Hormozdiari et al. 2016, AJHG, doi:10.1016/j.ajhg.2016.10.003.
    """
    _same_instruments(x, y)
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


def _same_instruments(x: FineMapping, y: FineMapping) -> None:
    if x.instruments != y.instruments:
        raise InputError(
            "fine-mappings to compare",
            "different instruments, or another order",
            "Fine-map both on the same instruments",
        )
