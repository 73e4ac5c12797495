"""One backward pass per outcome: gradient, gradient times activation, attribution patching."""

from __future__ import annotations

from typing import Any

import numpy as np

from mrinterp.adapters._adapter import Adapter
from mrinterp.attribution._method import (
    FLAT,
    Target,
    attribution_estimates,
    per_unit,
    target_values,
)
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._bench_gradient import gradients
from mrinterp.knockouts._feature_numbers import Features, feature_numbers
from mrinterp.results._check import NotApplicable
from mrinterp.results._estimates import Estimates
from mrinterp.stats.clustered.least_squares import clustered_mean

__all__ = ["attribution_patching", "first_order", "gradient", "gradient_times_activation"]

SMOOTH = "the outcome stays linear over the size of change that matters (no gate, threshold or saturation)"


def gradient(bench: Bench, features: Features | str | int | None = None) -> Estimates | NotApplicable:
    """Mean derivative of the outcome along each feature's write direction.

    Parameters
    ----------
    bench : Bench
        P prompts, a view of F features at one site, and outcomes.
    features : names or numbers, optional
        Of which features results are returned; default all of the view.

    Returns
    -------
    Estimates
        Outcome units per unit of the feature. Equal weights over prompts, errors clustered by family.
        Where every token has a value of its own: the effect of one unit more at every token.
    NotApplicable
        Where every outcome is sampled, or one is discrete. One sampled outcome among others has nan and the
        reason as its status.

    Raises
    ------
    InputError
        For a feature that the view does not have.

    Notes
    -----
    The effect of an infinitesimal change, and not valid as more than that: it is zero behind a step, a closed
    gate or a saturated unit, whatever a knockout does.

    Source: Simonyan et al. 2013, arXiv:1312.6034.

    Examples
    --------
    >>> from mrinterp.attribution import gradient
    >>> from mrinterp.worlds import gated_world
    >>> found = gradient(gated_world().bench(), ["linear", "saturated"])
    >>> found.beta.round(6).tolist()
    [[1.0], [0.0]]
    """
    numbers = feature_numbers(bench, features)
    g = gradients(bench)
    if isinstance(g, NotApplicable):
        return g
    by_prompt = g.sum(axis=1) if bench.each else g
    P, F, O = by_prompt.shape
    mean, se, df = clustered_mean(by_prompt.reshape(P, -1), bench.family)
    return attribution_estimates(
        bench,
        numbers,
        method="gradient",
        label="gradient along the write direction",
        beta=mean.reshape(F, O),
        se=se.reshape(F, O),
        df=df,
        status=np.where((by_prompt == 0).all(axis=0), FLAT, "ok").astype(object),
        assumes=(SMOOTH,),
        reference="Simonyan et al. 2013, arXiv:1312.6034",
    )


def gradient_times_activation(
    bench: Bench, features: Features | str | int | None = None
) -> Estimates | NotApplicable:
    """Gradient times activation: the first-order prediction of setting each feature to zero.

    Parameters
    ----------
    bench : Bench
        P prompts, a view of F features at one site, and outcomes.
    features : names or numbers, optional
        Of which features results are returned; default all of the view.

    Returns
    -------
    Estimates
        Outcome units per unit of the feature: predicted changes on feature changes, least squares through
        the origin, so that prompts on which the feature is large weigh more. ``details["change"]`` is the mean
        predicted outcome change itself (minus gradient times activation). What zero of the feature means
        depends on the view: a direction may have a center.
    NotApplicable
        Where every outcome is sampled, or one is discrete. One sampled outcome among others has nan and the
        reason as its status.

    Raises
    ------
    InputError
        For a feature that the view does not have.

    Notes
    -----
    Not valid where the outcome bends between the clean value and zero (see `gradient`).

    Source: Shrikumar et al. 2016, arXiv:1605.01713.

    Examples
    --------
    >>> from mrinterp.attribution import gradient_times_activation
    >>> from mrinterp.worlds import gated_world
    >>> found = gradient_times_activation(gated_world().bench())
    >>> round(found["linear", "output"].beta, 6)
    1.0
    """
    numbers = feature_numbers(bench, features)
    found = first_order(bench, "zero")
    if isinstance(found, NotApplicable):
        return found
    return attribution_estimates(
        bench,
        numbers,
        method="gradient_times_activation",
        label="gradient times activation",
        **found,
        assumes=(SMOOTH, "zero is a value at which the network is still itself"),
        reference="Shrikumar et al. 2016, arXiv:1605.01713",
    )


def attribution_patching(
    bench: Bench, features: Features | str | int | None = None, *, target: Target = "mean"
) -> Estimates | NotApplicable:
    """Gradient times (value put in - clean value): the first-order prediction of patching.

    Parameters
    ----------
    bench : Bench
        P prompts, a view of F features at one site, and outcomes.
    features : names or numbers, optional
        Of which features results are returned; default all of the view.
    target : "mean", "zero", Kind, array or ModelInputs
        What would be put in: the mean over prompts, zero, what a kind of knockout with one value per prompt
        writes, values that broadcast to the bench's (P, F), or those of one counterfactual input per prompt.

    Returns
    -------
    Estimates
        As `gradient_times_activation`; ``details["change"]`` is the mean predicted outcome change.
    NotApplicable
        Where every outcome is sampled, or one is discrete. One sampled outcome among others has nan and the
        reason as its status.

    Raises
    ------
    InputError
        For a feature that the view does not have, or a target that does not fit the prompts.

    Notes
    -----
    Not valid where the outcome bends between the clean value and the one put in (see `gradient`).

    Source: Syed, Rager & Conmy 2023, arXiv:2310.10348; Kramar et al. 2024, arXiv:2403.00745.

    Examples
    --------
    >>> from mrinterp.attribution import attribution_patching
    >>> from mrinterp.worlds import gated_world
    >>> found = attribution_patching(gated_world().bench(), target="zero")
    >>> round(found["linear", "output"].beta, 6), round(found["threshold", "output"].beta, 6)
    (1.0, 0.0)
    """
    numbers = feature_numbers(bench, features)
    found = first_order(bench, target)
    if isinstance(found, NotApplicable):
        return found
    return attribution_estimates(
        bench,
        numbers,
        method="attribution_patching",
        label="attribution patching",
        **found,
        assumes=(SMOOTH, "the value put in is one that occurs beside everything else held"),
        reference="Syed, Rager & Conmy 2023, arXiv:2310.10348",
        meta={"target": target if isinstance(target, str) else type(target).__name__},
    )


def first_order(
    bench: Bench, target: Target, adapter: Adapter | None = None
) -> dict[str, Any] | NotApplicable:
    """Gradient times the change to the target, per unit: arguments of `attribution_estimates`; ``adapter`` stands in for the
    bench's own where its gradient is to follow other rules."""
    moved = target_values(bench, target) - bench.values
    g = gradients(bench, adapter=adapter)
    if isinstance(g, NotApplicable):
        return g
    predicted = g * moved[..., None]
    return per_unit(bench, moved, predicted.sum(axis=1) if bench.each else predicted)
