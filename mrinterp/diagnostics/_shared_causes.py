"""Do feature and outcome share the perturbation that moves them? Colocalization at every place that a study perturbs by alleles."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from mrinterp.coloc._abf import colocalize
from mrinterp.coloc._priors import HypothesisPriors
from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.core.sumstats import SumStats
from mrinterp.results._check import NotApplicable
from mrinterp.results._coloc import VERDICT_THRESHOLD, Coloc

__all__ = ["shared_causes"]

NAME = "colocalization"
DENSE = ("noise", "pixel_noise", "pair", "placebo", "clean")
"""Kinds of perturbation that move everything at once, or are one instrument: there are no few causes among many."""
FEWEST = 3
"""Instruments of a place among which one cause can be told from two."""
SHARED, DISTINCT = "shared", "distinct"


def shared_causes(
    sumstats: Mapping[str, SumStats], outcome_sd: ArrayLike = 1.0
) -> pd.DataFrame | NotApplicable:
    """Whether one perturbation moves feature and outcome, at every place with three or more alleles.

    Parameters
    ----------
    sumstats : mapping of str to SumStats
        A study's marginal effects, by kind of perturbation; features in their standard deviations.
    outcome_sd : float, or array (O,)
        Standard deviations of the outcomes.

    Returns
    -------
    DataFrame or NotApplicable
        ``feature, outcome, colocalized`` (at one place or more one cause describes both traits), ``coloc_shared`` and
        ``coloc_distinct`` (posterior of one shared, of two distinct causes of at least .8 over the whole grid of priors, at such a
        place), ``at`` (places) and ``why`` (why it does not apply).

    Notes
    -----
    Approximate Bayes factors; the check that one sparse cause describes a place is that of `mrinterp.coloc.colocalize`, and where
    it fails, or there is no LD to make it, the place does not count. Not valid as a verdict by itself: alleles of a place often have
    dense effects, of which colocalization calls the truly shared ones distinct.

    Source: Giambartolomei et al. 2014, 10.1371/journal.pgen.1004383.

    Examples
    --------
    >>> from mrinterp.diagnostics import shared_causes
    >>> shared_causes({}).reason
    'no perturbation has three or more alleles at one place'
    """
    parts = []
    for kind, stats in sumstats.items():
        data = None if kind in DENSE else _usable(stats.to_mrdata(kind, with_errors=False, with_ld=True))
        if data is not None:
            parts.append(_judged(data, outcome_sd))
    if not parts:
        return NotApplicable("no perturbation has three or more alleles at one place", NAME)
    keys, parts = ["feature", "outcome"], [p for p in parts if len(p)]
    if not parts:
        return NotApplicable("no effect has an error at a place of three alleles", NAME)
    every = pd.concat(parts).groupby(keys, sort=False)
    found = every[["colocalized", "coloc_shared", "coloc_distinct"]].any()
    # One place that is shared outweighs none; where places disagree nothing is said.
    both = found["coloc_shared"] & found["coloc_distinct"]
    found.loc[both, ["coloc_shared", "coloc_distinct"]] = False
    found["at"], found["why"] = every["at"].agg(lambda x: "; ".join(filter(None, x))), every["why"].first()
    return found.reset_index()


def _usable(data: MRData) -> MRData | None:
    """Places of enough alleles, instruments and features whose effects are all measured; None where none is left."""
    if data.info is None or "locus" not in data.info or not len(data.instruments):
        return None
    locus = data.info["locus"].astype(str)
    known = np.isfinite(data.se_x) & np.isfinite(data.beta_x)
    features = np.flatnonzero(known.any(axis=1))
    measured = np.asarray(known[features].all(axis=0) & np.isfinite(data.se_y).all(axis=0))
    counted = locus.where(measured).map(locus[measured].value_counts()).fillna(0).to_numpy()
    keep = np.flatnonzero(measured & (counted >= FEWEST))
    if not len(keep) or not len(features):
        return None
    return MRData(
        beta_x=data.beta_x[np.ix_(features, keep)],
        se_x=data.se_x[np.ix_(features, keep)],
        beta_y=data.beta_y[:, keep],
        se_y=data.se_y[:, keep],
        exposures=tuple(data.exposures[f] for f in features),
        outcomes=data.outcomes,
        instruments=tuple(data.instruments[j] for j in keep),
        ld=None if data.ld is None else data.ld[np.ix_(keep, keep)],
        info=data.info.iloc[keep].reset_index(drop=True),
    )


def _judged(data: MRData, outcome_sd: ArrayLike) -> pd.DataFrame:
    """A row per feature and outcome of one kind of perturbation."""
    sd = np.broadcast_to(np.asarray(outcome_sd, dtype=float), (len(data.outcomes),))
    try:
        found = colocalize(
            data, locus="locus", sd_x=np.ones(len(data.exposures)), sd_y=sd, priors=HypothesisPriors()
        )
    except InputError:  # an LD matrix that is none: alleles that never meet
        return pd.DataFrame()
    applies = np.asarray(found.status == "ok")
    checked = np.array([place not in found.meta["unchecked"] for place in found.loci])
    applies &= checked[None, None, :]
    least = found.sensitivity.min(axis=3)
    words = {
        SHARED: applies & (least[..., 1] >= VERDICT_THRESHOLD),
        DISTINCT: applies & (least[..., 0] >= VERDICT_THRESHOLD),
    }
    F, O, _ = applies.shape
    return pd.DataFrame(
        {
            "feature": np.repeat(np.array(found.exposures, dtype=object), O),
            "outcome": np.tile(np.array(found.outcomes, dtype=object), F),
            "colocalized": applies.any(axis=2).ravel(),
            "coloc_shared": words[SHARED].any(axis=2).ravel(),
            "coloc_distinct": words[DISTINCT].any(axis=2).ravel(),
            "at": _places(found, words),
            "why": _reasons(found, checked),
        }
    )


def _places(found: Coloc, words: Mapping[str, np.ndarray]) -> list[str]:
    """Places of a verdict, in words, per cell."""
    F, O, K = found.status.shape
    return [
        "; ".join(
            f"{word} at {found.loci[k]}" for word, where in words.items() for k in range(K) if where[f, o, k]
        )
        for f in range(F)
        for o in range(O)
    ]


def _reasons(found: Coloc, checked: np.ndarray) -> list[str]:
    """Why a cell has no place where it applies: the first reason."""
    F, O, K = found.status.shape
    unchecked = "its assumption of few causes could not be checked (no LD)"
    first = [
        [str(found.status[f, o, k]) if checked[k] else unchecked for k in range(K)]
        for f in range(F)
        for o in range(O)
    ]
    return [next((w for w in words if w != "ok"), "") for words in first]
