"""Integrated gradients along the write path: from the clean value to the one put in."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.attribution._method import (
    Target,
    attribution_estimates,
    per_unit,
    target_values,
)
from mrinterp.core.errors import InputError
from mrinterp.core.shown import counted
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._bench_gradient import DRAWN, beside_drawn, blocks, gradients
from mrinterp.knockouts._feature_numbers import Features, feature_numbers
from mrinterp.models._write_gradient import write_gradient
from mrinterp.results._check import NotApplicable
from mrinterp.results._estimates import Estimates

__all__ = ["integrated_gradients"]

Array = NDArray[np.float64]


def integrated_gradients(
    bench: Bench,
    features: Features | str | int | None = None,
    *,
    target: Target = "mean",
    steps: int = 16,
    together: bool = True,
) -> Estimates | NotApplicable:
    """Gradient averaged along a straight path of written values, times the length of the path.

    Parameters
    ----------
    bench : Bench
        P prompts, a view of F features at one site, and outcomes.
    features : names or numbers, optional
        Of which features results are returned; default all of the view. All features of the view move along
        the path, whichever are returned.
    target : "mean", "zero", Kind, array or ModelInputs
        The baseline, what would be put in: as in `attribution_patching`.
    steps : int
        Gauss-Legendre nodes on the path, each one backward pass per outcome.
    together : bool
        True: all features move along one path, as integrated gradients are defined; the features'
        shares then sum to the outcome change of putting all of them in (completeness), and a feature's
        share also holds its interactions with the others. False: each feature moves alone, which costs
        ``steps`` times a knockout of each and must equal that knockout.

    Returns
    -------
    Estimates
        Per unit, as `gradient_times_activation`; ``details["change"]`` is the mean predicted outcome
        change. ``meta["completeness_error"]`` (together): largest difference over prompts and outcomes
        between the sum of shares and the change that one run with all features put in shows.
    NotApplicable
        Where every outcome is sampled, or one is discrete. One sampled outcome among others has nan and the
        reason as its status.

    Raises
    ------
    InputError
        For a feature that the view does not have, fewer than one step, or a target that does not fit.

    Notes
    -----
    Not valid where the outcome has steps: they are invisible to any gradient on the path, and the
    completeness error shows them. Kinks are integrated to about one part in ``steps`` squared.

    Source: Sundararajan, Taly & Yan 2017, arXiv:1703.01365.

    Examples
    --------
    >>> from mrinterp.attribution import integrated_gradients
    >>> from mrinterp.worlds import gated_world
    >>> found = integrated_gradients(gated_world().bench(), target="zero")
    >>> round(found["linear", "output"].beta, 6), found.meta["completeness_error"] > 1  # a step was missed
    (1.0, True)
    """
    numbers = feature_numbers(bench, features)
    if steps < 1:
        raise InputError("steps", f"{steps}", "Give at least one; 16 are enough for smooth outcomes")
    moved = target_values(bench, target) - bench.values
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    nodes, weights = (nodes + 1) / 2, weights / 2  # from (-1, 1) to the path (0, 1)
    mean = (
        _together(bench, moved, nodes, weights) if together else _alone(bench, numbers, moved, nodes, weights)
    )
    if isinstance(mean, NotApplicable):
        return mean
    predicted = mean * moved[..., None]
    shares = predicted.sum(axis=1) if bench.each else predicted
    meta: dict[str, Any] = {"steps": steps, "together": together}
    if together:
        change = _all_put_in(bench, moved) - bench.clean
        meta["completeness_error"] = float(np.nanmax(np.abs(shares.sum(axis=1) - change)))
    return attribution_estimates(
        bench,
        numbers,
        method="integrated_gradients" if together else "integrated_gradients_alone",
        label="integrated gradients" if together else "integrated gradients, one feature at a time",
        **per_unit(bench, moved, shares),
        assumes=(
            "the outcome has no steps between the clean value and the one put in",
            *(("interactions among the features are shared out along the path",) if together else ()),
        ),
        reference="Sundararajan, Taly & Yan 2017, arXiv:1703.01365",
        meta=meta,
    )


def _together(bench: Bench, moved: Array, nodes: Array, weights: Array) -> Array | NotApplicable:
    """Gradient averaged over the common path, shaped as values with outcomes last."""
    total: Array | float = 0.0
    for node, weight in zip(nodes, weights, strict=True):
        g = gradients(bench, bench.values + node * moved)
        if isinstance(g, NotApplicable):
            return g
        total = total + weight * g
    return np.asarray(total)


def _alone(
    bench: Bench, numbers: NDArray[np.int_], moved: Array, nodes: Array, weights: Array
) -> Array | NotApplicable:
    """Gradient averaged over each chosen feature's own path, all others held; 0 for features not chosen."""
    computed = len(bench.outcome.names) - len(bench.outcome.sampled_names)
    if not computed:
        return NotApplicable(DRAWN, "gradient")
    S, P = len(nodes), bench.prompts
    total = np.zeros((*bench.values.shape, computed))
    rows = counted(list(blocks(len(numbers) * S * P, bench.block)), "integrated gradients")
    for index in rows:
        feature, step, prompt = numbers[index // (S * P)], index // P % S, index % P
        unique, column = np.unique(feature, return_inverse=True)
        row = np.arange(len(index))
        values = bench.values[prompt][..., unique]
        path = moved[prompt, ..., feature] * nodes[step].reshape(-1, *[1] * (moved.ndim - 2))
        values[row, ..., column] += path
        with bench.begun(prompt):
            found = write_gradient(
                bench.adapter,
                bench.site,
                bench.view.select(unique),
                bench.inputs.take(prompt),
                bench.outcome_of(prompt).computed,
                bench.position,
                values.reshape(len(index), -1),
            )
        if isinstance(found, NotApplicable):
            return found
        g = np.moveaxis(found[1], 1, -1).reshape(*values.shape, -1)[row, ..., column, :]
        weighted = g * weights[step].reshape(-1, *[1] * (g.ndim - 1))
        # A block may hold one (prompt, feature) at several steps: `+=` would keep only the last of them.
        at: Any = (prompt, slice(None), feature) if bench.each else (prompt, feature)
        np.add.at(total, at, weighted)
    return beside_drawn(bench, total)


def _all_put_in(bench: Bench, moved: Array) -> Array:
    """Outcomes (P, O) with every feature at its target."""

    def edits(_arm: NDArray[np.int_], prompt: NDArray[np.int_]) -> dict:
        wanted = torch.from_numpy((bench.values + moved)[prompt].reshape(len(prompt), -1))
        positions = bench.inputs.take(prompt).at(bench.position)
        return {bench.site: lambda h: bench.view.write(h, wanted.to(h.device), positions)}

    return bench.run(1, edits, "all features put in", "completeness")[0]
