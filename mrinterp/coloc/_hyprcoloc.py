"""HyPrColoc: which of many traits share a cause in a locus, by branch and bound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.coloc._abf import LOG_ODDS_PRIOR_SD, QUANTITATIVE_PRIOR_SD, trait_types
from mrinterp.core.checks import checked_choice, checked_fraction
from mrinterp.core.errors import InputError
from mrinterp.results._trait_clusters import TraitCluster, TraitClusters
from mrinterp.stats.bayes_factors.hyprcoloc import SharedCause, shared_cause
from mrinterp.stats.bayes_factors.wakefield import log_bayes_factor

__all__ = ["cluster_traits"]

Array = NDArray[np.float64]

REFERENCE = "Foley et al. 2021, Nature Communications, doi:10.1038/s41467-020-20885-8"


def cluster_traits(
    beta: ArrayLike,
    se: ArrayLike,
    *,
    traits: Sequence[str] | None = None,
    instruments: Sequence[str] | None = None,
    types: str | Sequence[str] = "quant",
    p1: float = 1e-4,
    conditional: float = 0.02,
    uniform: bool = False,
    regional_threshold: float | None = None,
    alignment_threshold: float | None = None,
    branch: str = "regional",
    branch_and_bound: bool = True,
    two_trait_weight: float = 0.25,
) -> TraitClusters:
    """Find clusters of traits that share one cause.

    Parameters
    ----------
    beta, se : array_like (M, J)
        Effects and standard errors; quantitative traits in units of their standard deviation.
    traits, instruments : sequence of str, optional
        Names; default ``trait 1``, ... and ``instrument 1``, ...
    types : str or sequence (M,) of str
        ``"quant"`` (quantitative) or ``"cc"`` (cases and controls: effects are log odds ratios).
    p1 : float
        Prior of one instrument being a cause of one trait.
    conditional : float
        Prior of a cause of one trait being a cause of a second one too.
    uniform : bool
        Give all hypotheses the same prior instead.
    two_trait_weight : float
        Weight of "two causes" where two traits are left: 1/4 as in the published program; 1/2 counts
        the hypothesis once, as pairwise colocalization does.
    regional_threshold, alignment_threshold : float, optional
        Probabilities a cluster must pass (default 0.5; 0.7 with uniform priors).
    branch : str
        Which trait leaves a set that fails: the one without which a probability is largest. With
        ``"regional"`` that is the probability that failed (regional first), with ``"alignment"`` always
        the alignment probability.
    branch_and_bound : bool
        False tests only the full set.

    Returns
    -------
    TraitClusters

    Raises
    ------
    InputError
        Missing effects, unknown types, or an option out of range.

    Notes
    -----
    Not valid where the errors of traits are correlated or a trait has several causes in the locus.

    References
    ----------
    Foley et al. 2021, Nature Communications, doi:10.1038/s41467-020-20885-8.

    Examples
    --------
    >>> from mrinterp import coloc
    >>> beta = [[0.9, 0.0, 0.1], [0.8, 0.1, 0.0], [0.0, 0.1, 0.0]]
    >>> found = coloc.cluster_traits(beta, [[0.1] * 3] * 3, traits=["a", "b", "c"])
    >>> [c.traits for c in found.clusters if c.traits]
    [('a', 'b')]
    """
    beta, se = np.asarray(beta, float), np.asarray(se, float)
    names, columns = _check(beta, se, traits, instruments, branch)
    log_odds = [kind == "cc" for kind in trait_types(types, len(beta))]
    sd = np.where(log_odds, LOG_ODDS_PRIOR_SD, QUANTITATIVE_PRIOR_SD)
    log_bf = log_bayes_factor(beta, se * se, (sd * sd)[:, None])
    checked_fraction(p1, "p1", zero=False, one=False)
    checked_fraction(conditional, "conditional")

    def evaluate(members: list[int]) -> SharedCause:
        return shared_cause(log_bf[members], p1, conditional, uniform, two_trait_weight)

    default = 0.7 if uniform else 0.5  # as in the published program
    bounds = (
        default if regional_threshold is None else regional_threshold,
        default if alignment_threshold is None else alignment_threshold,
    )
    meta = {
        "p1": p1,
        "conditional": conditional,
        "uniform": uniform,
        "thresholds": list(bounds),
        "branch": branch,
    }
    if not branch_and_bound:
        everything = list(range(len(beta)))
        found = [_cluster(everything, evaluate(everything), names, columns)]
        return TraitClusters(
            traits=names, instruments=columns, clusters=tuple(found), reference=REFERENCE, meta=meta
        )
    clusters: list[TraitCluster] = []
    remaining = list(range(len(beta)))
    while len(remaining) > 1:
        members, last = list(remaining), -1
        result = None
        while len(members) > 1:
            result = evaluate(members)
            if result.regional > bounds[0] and result.alignment > bounds[1]:
                break
            by_region = branch == "regional" and result.regional <= bounds[0]
            last = members[result.regional_outlier if by_region else result.alignment_outlier]
            members.remove(last)
        if len(members) > 1 and result is not None:
            clusters.append(_cluster(members, result, names, columns))
            remaining = [m for m in remaining if m not in members]
        else:
            clusters.append(
                TraitCluster(
                    traits=(),
                    posterior=float("nan"),
                    regional=float("nan") if result is None else result.regional,
                    alignment=float("nan"),
                    candidate="",
                    explained=float("nan"),
                    instrument_posterior=(),
                    dropped=names[last],
                )
            )
            remaining.remove(last)
    return TraitClusters(
        traits=names, instruments=columns, clusters=tuple(clusters), reference=REFERENCE, meta=meta
    )


def _cluster(
    members: list[int], result: SharedCause, names: tuple[str, ...], columns: tuple[str, ...]
) -> TraitCluster:
    top = int(result.instrument_posterior.argmax())
    return TraitCluster(
        traits=tuple(names[m] for m in members),
        posterior=result.posterior,
        regional=result.regional,
        alignment=result.alignment,
        candidate=columns[top],
        explained=float(result.instrument_posterior[top]),
        instrument_posterior=tuple(result.instrument_posterior.tolist()),
    )


def _check(
    beta: Array, se: Array, traits: Sequence[str] | None, instruments: Sequence[str] | None, branch: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if beta.ndim != 2 or beta.shape != se.shape or len(beta) < 2:
        raise InputError(
            "effects",
            f"shapes {beta.shape} and {se.shape}",
            "Give (traits, instruments) for two or more traits",
        )
    names = tuple(traits or (f"trait {m + 1}" for m in range(len(beta))))
    columns = tuple(instruments or (f"instrument {j + 1}" for j in range(beta.shape[1])))
    bad = np.argwhere(~(np.isfinite(beta) & np.isfinite(se) & (se > 0)))
    if len(bad):
        m, j = bad[0]
        raise InputError(
            f"effects of {names[m]!r}, instrument {columns[j]!r}",
            f"{beta[m, j]:g} with error {se[m, j]:g}",
            "Drop instruments whose effect on a trait is not known",
        )
    checked_choice(branch, "branch", ("regional", "alignment"))
    return names, columns
