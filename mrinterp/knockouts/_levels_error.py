"""What is not known of low and high values, as part of a contrast's error: few families know quantiles badly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._bench_gradient import blocks
from mrinterp.knockouts._clean_values import ROUNDING, clean_values, written_tokens
from mrinterp.knockouts._contrast_levels import HELD, contrast_groups, family_weights
from mrinterp.knockouts._kinds.contrast import Contrast
from mrinterp.results._contrast_levels import NATURAL_SD, ContrastLevels
from mrinterp.results._estimates import Estimates
from mrinterp.stats.clustered.least_squares import families_of
from mrinterp.stats.clustered.quantiles import quantile_errors
from mrinterp.stats.clustered.rectified import family_means
from mrinterp.stats.tests.tails import critical_value

__all__ = ["group_contrasts", "with_levels_error"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]


def group_contrasts(contrast: Contrast) -> list[Contrast]:
    """The contrast of each group of tokens by itself, all others left as they are."""
    levels = contrast.levels
    assert levels is not None
    return [replace(contrast, levels=_only(levels, k)) for k in range(len(levels.groups))]


def with_levels_error(made: Estimates, bench: Bench, contrast: Contrast, predicted: Array) -> Estimates:
    """Rectified estimates with intervals for the contrast at the population's own low and high values.

    Parameters
    ----------
    made : Estimates
        Of all features of the bench, with intervals that take the values of ``contrast`` as known.
    bench : Bench
        The prompts from which these values were learned.
    contrast : Contrast
        With its levels.
    predicted : ndarray (K + 1, P, F, O)
        Of `group_contrasts`, on these prompts.

    Returns
    -------
    Estimates
        ``details["levels_se"]`` is what the values add to the error; ``stated_se, stated_df`` are error and degrees of
        freedom for the contrast between exactly the values stated.

    Notes
    -----
    To first order: an effect is as much too large as the range from low to high is in each group of tokens, times the part of
    the effect that comes from this group. Parts are those of the gradient, times the slope through 0 of knockouts on it; what
    this leaves is shared out like the move, as if all groups were off to the same side, since nothing says which group it
    comes from. Where a network saturates beyond the high value this is too much, where it only begins to respond there too
    little. Errors of values and of knockouts are added as if independent (``benchmarks/results/small_studies.md``).
    """
    levels = contrast.levels
    assert levels is not None
    row = [levels.features.index(name) for name in bench.view.names]
    part, rest = (x / NATURAL_SD for x in _parts(made, bench, contrast, predicted))
    families = len(families_of(bench.family)[1])
    variance, grow = np.empty(made.beta.shape), families / max(families - 1, 1)
    for some, error in range_errors(bench, levels, row):
        known = np.sqrt((np.einsum("cfk,fok->cfo", error, part[some]) ** 2).sum(axis=0))
        unknown = np.einsum("fk,fok->fo", np.sqrt((error**2).sum(axis=0)), np.abs(rest[some]))
        variance[some] = (known + unknown) ** 2 * grow
    variance = np.where(np.isfinite(made.se), variance, np.nan)
    square = made.se**2
    both = square + variance
    below = square**2 / made.df + variance**2 / max(families - 1, 1)
    more = variance > 0
    df = np.where(more, both**2 / np.where(more, below, 1.0), made.df)
    se = np.where(more, np.sqrt(both), made.se)
    half = critical_value(made.level, df) * se
    return replace(
        made,
        se=se,
        df=df,
        ci_lower=np.where(more, made.beta - half, made.ci_lower),
        ci_upper=np.where(more, made.beta + half, made.ci_upper),
        details=made.details
        | {"levels_se": np.sqrt(variance), "stated_se": made.se, "stated_df": np.asarray(made.df)},
        meta=made.meta | {"levels_known": False, "levels_families": families},
    )


def range_errors(bench: Bench, levels: ContrastLevels, row: list[int]) -> Iterator[tuple[Rows, Array]]:
    """Some features at a time, and what each family adds to the error of their ranges from low to high (C, f, K + 1), as a
    share of the range; 0 where nothing is written."""
    placed = bench.by_token
    groups = contrast_groups(bench)
    code = np.where(written_tokens(placed), groups.code, -1)
    family, names = families_of(bench.family)
    column = np.array([levels.groups.index(name) for name in groups.names])
    for some in np.array_split(np.arange(bench.features), -(-bench.features // max(1, HELD // code.size))):
        own = np.array(row)[some]
        values = clean_values(placed, some).reshape(len(some), *code.shape)
        error = np.zeros((len(names), len(some), len(levels.groups)))
        for k, here in [*((c, code == g) for g, c in enumerate(column)), (len(levels.groups) - 1, code >= 0)]:
            if levels.groups[k] not in levels.pooled and here.any():
                error[..., k] = _relative(values, here, family, len(names), levels, own, k)
        for name in levels.pooled:
            error[..., levels.groups.index(name)] = error[..., -1]
        rare = levels.rare[own]
        if rare.any():
            error[:, rare] = _of_firing(values[rare], code, family, len(names), levels, own[rare])[..., None]
        yield some, error


def _relative(
    values: Array,
    here: NDArray[np.bool_],
    family: Rows,
    families: int,
    levels: ContrastLevels,
    own: Rows,
    k: int,
) -> Array:
    """Errors (C, f) of one group's ranges, as shares of them."""
    tokens = np.broadcast_to(family[:, None], here.shape)[here]
    weight = family_weights(family, here)
    low, high = (quantile_errors(values[:, here], weight, tokens, families, q) for q in levels.quantiles)
    reach = levels.high[own, k] - levels.low[own, k]
    return np.where(reach > 0, (high - low) / np.where(reach > 0, reach, 1.0), 0.0)


def _of_firing(
    values: Array, code: Rows, family: Rows, families: int, levels: ContrastLevels, own: Rows
) -> Array:
    """The same of features that rarely fire: of the median of what they fire with, less their usual value."""
    usual = levels.usual[own]
    slack = ROUNDING * np.abs(np.nan_to_num(values)).reshape(len(own), -1).max(axis=1)
    away = (np.abs(values - usual[:, None, None]) > slack[:, None, None]) & (code >= 0)
    flat = np.where(away, values, np.nan).reshape(len(own), -1)
    tokens = np.broadcast_to(family[:, None], code.shape).ravel()
    error = quantile_errors(flat, np.ones(flat.shape[1]), tokens, families, 0.5)
    other = np.where(levels.high[own, -1] == usual, levels.low[own, -1], levels.high[own, -1])
    reach = other - usual
    return np.where(reach != 0, error / np.where(reach != 0, reach, 1.0), 0.0)


def _parts(made: Estimates, bench: Bench, contrast: Contrast, predicted: Array) -> tuple[Array, Array]:
    """What each group of tokens has of a contrast by the gradient, and of what that leaves, (F, O, K + 1) each; outcome units."""
    predicted = np.nan_to_num(predicted)
    moved = np.stack([_moves(bench, c) for c in group_contrasts(contrast)])
    counted = np.broadcast_to((moved != 0).any(axis=0)[..., None], predicted.shape[1:])
    code = families_of(bench.family)[0]
    part = np.stack([family_means(x, counted, code).mean for x in predicted], axis=-1)
    move = np.stack([family_means(x[..., None], counted[..., :1], code).mean for x in moved], axis=-1)
    whole, mean = predicted.sum(axis=0), part.sum(axis=-1)
    effect, spread = np.nan_to_num(made.beta) * NATURAL_SD, family_means(whole**2, counted, code).mean
    # Mean product with the prediction over its mean square: the fitted weight is that of their deviations.
    product = effect * mean + np.nan_to_num(made.details["weight_of_prediction"]) * (spread - mean**2)
    part *= np.where(spread > 0, product / np.where(spread > 0, spread, 1.0), 0.0)[..., None]
    share = move / np.where(move.sum(axis=-1) > 0, move.sum(axis=-1), 1.0)[..., None]
    return part, (effect - part.sum(axis=-1))[..., None] * share


def _only(levels: ContrastLevels, k: int) -> ContrastLevels:
    """The levels of one group; tokens of the others are left as they are."""
    here = np.arange(len(levels.groups)) == k
    return replace(levels, low=np.where(here, levels.low, np.nan), high=np.where(here, levels.high, np.nan))


def _moves(bench: Bench, contrast: Contrast) -> Array:
    """High less low value, summed over tokens, (P, F)."""
    placed = bench.by_token
    values, every = contrast.values_of(placed), np.arange(bench.features)
    parts = []
    for rows in blocks(bench.prompts, bench.block):
        high, low = np.moveaxis(values(every, rows).reshape(bench.features, 2, len(rows), -1), 1, 0)
        parts.append(np.nan_to_num(high - low).sum(axis=-1).T)
    return np.concatenate(parts)
