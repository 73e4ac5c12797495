"""One backward pass per outcome: gradient, gradient times activation, attribution patching."""

from __future__ import annotations

import numpy as np

from mrinterp.attribution._method import (
    FLAT,
    Target,
    comparator_estimates,
    gradients,
    per_unit,
    target_values,
)
from mrinterp.knockouts._bench import Bench
from mrinterp.results._check import NotApplicable
from mrinterp.results._estimates import Estimates
from mrinterp.stats.clustered.least_squares import clustered_mean

__all__ = ["attribution_patching", "gradient", "gradient_times_activation"]

SMOOTH = "the outcome stays linear over the size of change that matters (no gate, threshold or saturation)"


def gradient(bench: Bench) -> Estimates | NotApplicable:
    """Mean derivative of the outcome along each feature's write direction.

    Parameters
    ----------
    bench : Bench

    Returns
    -------
    Estimates
        Equal weights over prompts, errors clustered by family. Where every token has a value of its
        own: the effect of one unit more at every token.
    NotApplicable
        Where every outcome is sampled, or one is discrete; one sampled among others has nan and its status.

    Notes
    -----
    The effect of an infinitesimal change. Zero behind a step, a closed gate or a saturated unit,
    whatever a knockout does.

    Source: Simonyan et al. 2013, arXiv:1312.6034.
    """
    g = gradients(bench)
    if isinstance(g, NotApplicable):
        return g
    each = g.sum(axis=1) if bench.each else g
    P, F, O = each.shape
    mean, se, df = clustered_mean(each.reshape(P, -1), bench.family)
    status = np.where((each == 0).all(axis=0), FLAT, "ok").astype(object)
    return comparator_estimates(
        bench,
        "gradient",
        "gradient along the write direction",
        mean.reshape(F, O),
        se.reshape(F, O),
        df,
        status,
        (SMOOTH,),
        "Simonyan et al. 2013, arXiv:1312.6034",
    )


def gradient_times_activation(bench: Bench) -> Estimates | NotApplicable:
    """Gradient times activation: the first-order prediction of setting each feature to zero.

    Returns
    -------
    Estimates
        Per unit: predicted changes on feature changes, least squares through the origin, so that
        prompts on which the feature is large weigh more; ``details["change"]`` is the mean predicted
        outcome change itself (minus gradient times activation). Zero of the feature is the view's.
    NotApplicable
        Where every outcome is sampled, or one is discrete; one sampled among others has nan and its status.

    Notes
    -----
    Source: Shrikumar et al. 2016, arXiv:1605.01713.
    """
    found = _first_order(bench, "zero")
    if isinstance(found, NotApplicable):
        return found
    return comparator_estimates(
        bench,
        "gradient_times_activation",
        "gradient times activation",
        **found,
        assumes=(SMOOTH, "zero is a value at which the network is still itself"),
        reference="Shrikumar et al. 2016, arXiv:1605.01713",
    )


def attribution_patching(bench: Bench, target: Target = "mean") -> Estimates | NotApplicable:
    """Gradient times (value put in - clean value): the first-order prediction of patching.

    Parameters
    ----------
    bench : Bench
    target : "mean", "zero", Kind, array or ModelInputs
        What would be put in: the mean over prompts, values, or those of one counterfactual input per
        prompt.

    Returns
    -------
    Estimates
        As `gradient_times_activation`; ``details["change"]`` is the mean predicted outcome change.
    NotApplicable
        Where every outcome is sampled, or one is discrete; one sampled among others has nan and its status.

    Raises
    ------
    InputError
        For a target that does not fit the prompts.

    Notes
    -----
    Source: Syed, Rager & Conmy 2023, arXiv:2310.10348; Kramar et al. 2024, arXiv:2403.00745.
    """
    found = _first_order(bench, target)
    if isinstance(found, NotApplicable):
        return found
    return comparator_estimates(
        bench,
        "attribution_patching",
        "attribution patching",
        **found,
        assumes=(SMOOTH, "the value put in is one that occurs beside everything else held"),
        reference="Syed, Rager & Conmy 2023, arXiv:2310.10348",
        meta={"target": target if isinstance(target, str) else type(target).__name__},
    )


def _first_order(bench: Bench, target: Target) -> dict | NotApplicable:
    moved = target_values(bench, target) - bench.values
    g = gradients(bench)
    if isinstance(g, NotApplicable):
        return g
    predicted = g * moved[..., None]
    return per_unit(bench, moved, predicted.sum(axis=1) if bench.each else predicted)
