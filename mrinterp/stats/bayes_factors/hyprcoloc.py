"""Posterior that many traits share one cause, from their log Bayes factors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mrinterp.stats.bayes_factors.wakefield import pairwise_log_sums

__all__ = ["SharedCause", "shared_cause"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SharedCause:
    """Regional and alignment probability of a set of traits, and what the weakest trait is for each.

    ``posterior`` is their product; ``instrument_posterior`` (J,) is conditional on one shared cause;
    ``regional_outlier`` and ``alignment_outlier`` are the traits without which the others fit best.
    """

    regional: float
    alignment: float
    instrument_posterior: Array
    regional_outlier: int
    alignment_outlier: int

    @property
    def posterior(self) -> float:
        """Posterior probability that all share one cause."""
        return self.regional * self.alignment


def shared_cause(
    log_bf: Array, p1: float, conditional: float, uniform: bool = False, two_trait_weight: float = 0.25
) -> SharedCause:
    """Regional and alignment probability of M traits in one locus.

    Parameters
    ----------
    log_bf : ndarray (M, J)
        Log Bayes factors.
    p1 : float
        Prior of one instrument being a cause of one trait.
    conditional : float
        Prior of a cause of one trait being a cause of a second; of k traits it is
        ``p1`` times the product over i of ``1 - (1 - conditional)**i``, i = 1 to k - 1.
    uniform : bool
        Give all hypotheses the same prior instead, shared by their configurations.
    two_trait_weight : float
        Weight of the two equal hypotheses "two causes" when M is 2. The published program uses 1/4;
        1/2 counts the hypothesis once, as pairwise colocalization does.

    Notes
    -----
    Regional: all share a cause, against no cause and against all but one sharing it. Alignment: all
    share a cause, against one of them having another.

    References
    ----------
    Foley et al. 2021, Nature Communications, doi:10.1038/s41467-020-20885-8.
    """
    M, J = log_bf.shape
    total = log_bf.sum(0)
    all_share = special.logsumexp(total)
    without = total - log_bf
    others_share = special.logsumexp(without, axis=-1)
    if J > 1:
        apart = special.logsumexp(without + pairwise_log_sums(log_bf), axis=-1)
    else:
        apart = np.full(M, -np.inf)
    if uniform:
        log_all = log_others = np.log(p1 / J)
        log_apart = np.log(p1 / (M * J * max(J - 1, 1))) + (np.log(2.0) if M == 2 else 0.0)
    else:
        log_all, log_others = _log_prior(p1, conditional, M), _log_prior(p1, conditional, M - 1)
        log_apart = np.log(p1) + log_others
    if M == 2:
        log_apart += np.log(two_trait_weight)
    joint = log_all + all_share
    regional = np.exp(joint - special.logsumexp(np.concatenate([[0.0, joint], log_others + others_share])))
    alignment = np.exp(joint - special.logsumexp(np.concatenate([[joint], log_apart + apart])))
    return SharedCause(
        float(regional),
        float(alignment),
        np.exp(total - all_share),
        int(others_share.argmax()),
        int(apart.argmax()),
    )


def _log_prior(p1: float, conditional: float, k: int) -> float:
    steps = np.arange(1, k)
    return float(np.log(p1) + np.log1p(-((1.0 - conditional) ** steps)).sum())
