"""Derivatives of a bench's outcomes by its features, and what they predict of a contrast."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._kinds.contrast import Contrast
from mrinterp.models._write_gradient import write_gradient
from mrinterp.outcomes._generated_text import GeneratedOutcome
from mrinterp.outcomes._logit_outcomes import Probability
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.results._check import NotApplicable

__all__ = ["DRAWN", "beside_drawn", "blocks", "gradients", "predicted_contrast"]

Array = NDArray[np.float64]

DRAWN = "the outcome is sampled: no gradient flows through random draws"


def blocks(count: int, block: int) -> Iterator[NDArray[np.int_]]:
    """Rows 0..count-1, a canonical block at a time."""
    for a in range(0, count, block):
        yield np.arange(a, min(a + block, count))


def gradients(bench: Bench, values: Array | None = None) -> Array | NotApplicable:
    """Derivative of every outcome by every feature's written value, (P, F, O) or (P, T, F, O); nan for a sampled one.

    Parameters
    ----------
    values : ndarray shaped as the bench's, optional
        Where the derivative is taken, all features written at once. Default: the clean values.
    """
    if len(bench.outcome.sampled_names) == len(bench.outcome.names):
        return NotApplicable(DRAWN, "gradient")
    parts = []
    for rows in blocks(bench.prompts, bench.block):
        at = None if values is None else values[rows].reshape(len(rows), -1)
        with bench.begun(rows):
            found = write_gradient(
                bench.adapter,
                bench.site,
                bench.view,
                bench.inputs.take(rows),
                bench.outcome_of(rows).computed,
                bench.position,
                at,
            )
        if isinstance(found, NotApplicable):
            return found
        parts.append(np.moveaxis(found[1], 1, -1))
    return beside_drawn(bench, np.concatenate(parts).reshape(*bench.values.shape, -1))


def beside_drawn(bench: Bench, computed: Array) -> Array:
    """Numbers (..., O) of all outcomes from those of the computed ones, nan for sampled ones."""
    drawn = np.isin(bench.outcome.names, bench.outcome.sampled_names)
    found = np.full((*computed.shape[:-1], len(drawn)), np.nan)
    found[..., ~drawn] = computed
    return found


def predicted_contrast(bench: Bench, contrast: Contrast) -> Array:
    """What the gradient at the clean inputs says of a contrast, (P, F, O).

    Parameters
    ----------
    contrast : Contrast

    Returns
    -------
    ndarray (P, F, O)
        Outcome at the high less that at the low value: sum over tokens of the derivative by a token's value times what
        the value is moved by; of a probability through its link, so that it stays between 0 and 1. nan on prompts where
        the feature is not moved, and for outcomes that have no gradient (sampled, discrete, computed outside torch).

    Notes
    -----
    One forward pass of every prompt and a backward pass per outcome, whatever the number of features.
    """
    placed, names = bench.by_token, list(bench.outcome.names)
    values, chosen = contrast.values_of(placed), _differentiable(placed)
    found = np.full((bench.prompts, bench.features, len(names)), np.nan)
    columns = [names.index(n) for part in chosen for n in part.names]
    if not columns:
        return found
    outcome, every = OutcomeSet(chosen), np.arange(bench.features)
    linked = np.array([_is_probability(part) for part in chosen for _ in part.names])
    for rows in blocks(bench.prompts, bench.block):
        inputs = bench.inputs.take(rows)
        with placed.begun(rows):
            made = write_gradient(
                bench.adapter, bench.site, bench.view, inputs, outcome.take(rows), placed.position
            )
        if isinstance(made, NotApplicable):
            return found
        y, slope = made[0], made[1].reshape(len(rows), len(columns), -1, bench.features)
        clean = placed.values[rows].reshape(len(rows), -1, bench.features)
        target = values(every, rows).reshape(bench.features, 2, *clean.shape[:2])
        target = target.transpose(1, 2, 3, 0)
        moved = ~np.isnan(target[0]).all(axis=1)
        high, low = np.einsum("notf,sntf->snfo", slope, np.nan_to_num(target - clean))
        predicted = np.where(linked, _through_the_link(y, high, low), high - low)
        found[rows[:, None], :, columns] = np.where(moved[..., None], predicted, np.nan).transpose(0, 2, 1)
    return found


def _through_the_link(y: Array, high: Array, low: Array) -> Array:
    """Difference of two probabilities, predicted on the log-odds: y (n, O) are the clean ones, changes (n, F, O)."""
    p = np.clip(y, 1e-12, 1 - 1e-12)[:, None]
    odds = np.log(p) - np.log1p(-p)
    return np.asarray(expit(odds + high / (p * (1 - p))) - expit(odds + low / (p * (1 - p))))


def _is_probability(part: Any) -> bool:
    return isinstance(part, Probability) and not part.log


def _differentiable(bench: Bench) -> list[Any]:
    """The outcomes through which a gradient comes back, tried on one prompt."""
    first, found = np.arange(1), []
    drawn = set(bench.outcome.sampled_names)
    for part in bench.outcome.parts:
        if isinstance(part, GeneratedOutcome) or drawn & set(part.names):
            continue
        alone = OutcomeSet([part]).take(first)
        tried = write_gradient(
            bench.adapter, bench.site, bench.view, bench.inputs.take(first), alone, bench.position
        )
        if not isinstance(tried, NotApplicable):
            found.append(part)
    return found
