"""Derivatives of a bench's outcomes by its features, and what they predict of a contrast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from mrinterp.adapters._adapter import Adapter
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._kinds.contrast import Contrast
from mrinterp.knockouts._kinds.resample import Resample
from mrinterp.models._write_gradient import write_gradient
from mrinterp.outcomes._generated_text import GeneratedOutcome
from mrinterp.outcomes._logit_outcomes import Probability
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.results._check import NotApplicable

__all__ = [
    "DRAWN",
    "PREDICTIONS",
    "beside_drawn",
    "blocks",
    "gradients",
    "predicted_contrast",
    "predicted_contrasts",
]

Array = NDArray[np.float64]

PREDICTIONS = {"gradient": 1, "mean gradient": 2}
"""Predictions of a contrast by name, and at how many states of every prompt a gradient is taken for them."""

DRAWN = "the outcome is sampled: no gradient flows through random draws"


def blocks(count: int, block: int) -> Iterator[NDArray[np.int_]]:
    """Rows 0..count-1, a canonical block at a time."""
    for a in range(0, count, block):
        yield np.arange(a, min(a + block, count))


def gradients(
    bench: Bench, values: Array | None = None, adapter: Adapter | None = None
) -> Array | NotApplicable:
    """Derivative of every outcome by every feature's written value, (P, F, O) or (P, T, F, O); nan for a sampled one.

    Parameters
    ----------
    values : ndarray shaped as the bench's, optional
        Where the derivative is taken, all features written at once. Default: the clean values.
    adapter : Adapter, optional
        In place of the bench's own: the same network, with a gradient that follows other rules.
    """
    if len(bench.outcome.sampled_names) == len(bench.outcome.names):
        return NotApplicable(DRAWN, "gradient")
    parts = []
    for rows in blocks(bench.prompts, bench.block):
        at = None if values is None else values[rows].reshape(len(rows), -1)
        with bench.begun(rows):
            found = write_gradient(
                bench.adapter if adapter is None else adapter,
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


def predicted_contrast(
    bench: Bench,
    contrast: Contrast,
    prediction: str = "gradient",
    seed: int = 0,
    apart: NDArray[Any] | None = None,
) -> Array:
    """What gradients say of a contrast, (P, F, O).

    Parameters
    ----------
    contrast : Contrast
    prediction : {"gradient", "mean gradient"}
        At the clean inputs; or the mean of that and the one with all features at the values of a donor, token by token as
        `Resample` writes them.
    seed : int
        Of the draw of donors, prompts of other families.
    apart : array (P,), optional
        Labels, such as splits, across which no donor is taken.

    Returns
    -------
    ndarray (P, F, O)
        Outcome at the high less that at the low value: sum over tokens of the derivative by a token's value times what
        the value is moved by; of a probability through its link, so that it stays between 0 and 1. nan on prompts where
        the feature is not moved, and for outcomes that have no gradient (sampled, discrete, computed outside torch).

    Notes
    -----
    One forward pass of every prompt and a backward pass per outcome, whatever the number of features; twice as many for
    the mean of two.
    """
    return predicted_contrasts(bench, [contrast], prediction, seed, apart)[0]


def predicted_contrasts(
    bench: Bench,
    contrasts: Sequence[Contrast],
    prediction: str = "gradient",
    seed: int = 0,
    apart: NDArray[Any] | None = None,
) -> Array:
    """`predicted_contrast` of several contrasts of the same features, (C, P, F, O), from the same passes."""
    placed, names = bench.by_token, list(bench.outcome.names)
    all_values, chosen = [c.values_of(placed) for c in contrasts], _differentiable(placed)
    found = np.full((len(contrasts), bench.prompts, bench.features, len(names)), np.nan)
    columns = [names.index(n) for part in chosen for n in part.names]
    if not columns:
        return found
    outcome, every = OutcomeSet(chosen), np.arange(bench.features)
    states = [None] if PREDICTIONS[prediction] == 1 else [None, _donor_values(placed, seed, apart)]
    linked = np.array([_is_probability(part) for part in chosen for _ in part.names])
    for rows in blocks(bench.prompts, bench.block):
        clean = placed.values[rows].reshape(len(rows), -1, bench.features)
        tried = [_written_gradient(placed, outcome, rows, state) for state in states]
        made = [one for one in tried if not isinstance(one, NotApplicable)]
        if len(made) < len(tried):
            return np.full_like(found, np.nan)
        slopes = [one[1].reshape(len(rows), len(columns), -1, bench.features) for one in made]
        for values, own in zip(all_values, found, strict=True):
            target = values(every, rows).reshape(bench.features, 2, *clean.shape[:2])
            target = target.transpose(1, 2, 3, 0)
            moved, step = ~np.isnan(target[0]).all(axis=1), np.nan_to_num(target - clean)
            changes = [np.einsum("notf,sntf->snfo", slope, step) for slope in slopes]
            if linked.any():
                odds = [_odds_slope(one[0])[:, None] for one in made]
                changes = [np.where(linked, c / o, c) for c, o in zip(changes, odds, strict=True)]
            high, low = changes[0] if len(changes) == 1 else np.mean(changes, axis=0)
            predicted = np.where(linked, _through_the_link(made[0][0], high, low), high - low)
            own[rows[:, None], :, columns] = np.where(moved[..., None], predicted, np.nan).transpose(0, 2, 1)
    return found


def _written_gradient(
    placed: Bench, outcome: OutcomeSet, rows: NDArray[np.int_], state: Array | None
) -> tuple[Array, Array] | NotApplicable:
    """Outcomes and derivatives of some prompts, at their clean values or at those of a state."""
    at = None if state is None else state[rows].reshape(len(rows), -1)
    with placed.begun(rows):
        return write_gradient(
            placed.adapter,
            placed.site,
            placed.view,
            placed.inputs.take(rows),
            outcome.take(rows),
            placed.position,
            at,
        )


def _donor_values(placed: Bench, seed: int, apart: NDArray[Any] | None) -> Array:
    """Values of all features on a donor of every prompt, shaped as the bench's; the clean ones where it has none."""
    every = np.arange(placed.features)
    drawn = np.moveaxis(Resample(donors=1, seed=seed).drawn(placed, apart)(every)[:, 0], 0, -1)
    return np.where(np.isnan(drawn), placed.values, drawn)


def _inside(y: Array) -> Array:
    """Probabilities that have log-odds."""
    return np.clip(y, 1e-12, 1 - 1e-12)


def _odds_slope(y: Array) -> Array:
    """Derivative of probabilities by their log-odds."""
    p = _inside(y)
    return np.asarray(p * (1 - p))


def _through_the_link(y: Array, high: Array, low: Array) -> Array:
    """Difference of two probabilities from changes (n, F, O) of their log-odds; y (n, O) are the clean ones."""
    p = _inside(y)[:, None]
    odds = np.log(p) - np.log1p(-p)
    return np.asarray(expit(odds + high) - expit(odds + low))


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
