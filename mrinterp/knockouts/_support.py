"""Is what a knockout writes inside what its place ever shows? Ranges, massive activations, far values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._clean_values import ROUNDING, clean_token_values, clean_values
from mrinterp.knockouts._site_variation import SiteVariation, write_vectors
from mrinterp.knockouts._token_groups import TokenGroups, token_groups

__all__ = ["FAR", "MASSIVE", "Support", "check_support"]

Array = NDArray[np.float64]

FAR = 0.5
"""Farther beyond its place's range than this share of the width of all natural values is far: one sd never is."""

MASSIVE = 100.0
"""A feature this many times the typical coordinate of its site is a massive activation."""


@dataclass(frozen=True, eq=False)
class Support:
    """Support of the values written into f features.

    ``moved`` (f,) whether any value written differs from the clean one; ``outside_range`` (f,) share of
    the values written that are outside their natural range; ``far`` (f,) largest distance from that range
    over the width of all the feature's natural values (infinite for a value that a constant feature
    never has); ``outside`` (f, K) the share by position of the tokens written; ``massive`` (f, K) typical
    size over the site's typical coordinate; ``off_support`` (f,) share of the write direction where
    activations never vary.
    """

    moved: NDArray[np.bool_]
    outside_range: Array
    far: Array
    outside: Array
    massive: Array
    off_support: Array


def check_support(
    bench: Bench, features: NDArray[np.int_], written: Array, variation: SiteVariation
) -> Support:
    """Hold the values written into some features against the clean inputs.

    Parameters
    ----------
    features : ndarray (f,)
    written : ndarray (f, S, P), or (f, S, P, T)
        nan where nothing is written.

    Notes
    -----
    Ranges are taken per group of tokens: classes where inputs have them, else positions. A bench that reads
    one value per input has one range for that value, and its tokens, each moved by the same amount, are
    compared with their own positions' ranges besides (``outside``).

    Massive activations: Sun et al. 2024, arXiv:2402.17762, at a lower ratio than theirs (a thousand).
    """
    groups = token_groups(bench.inputs)
    clean = clean_values(bench, features)[:, None]
    change = written - clean
    tokens = clean_token_values(bench, features)
    moved_tokens = (
        change if bench.each else np.broadcast_to(change[..., None], (*change.shape, tokens.shape[2]))
    )
    outside, worst, counted = _by_position(tokens, moved_tokens, groups)
    if bench.each:
        share = np.divide(outside.sum(axis=1), np.maximum(counted.sum(axis=1), 1))
        far = worst
    else:
        single = TokenGroups(("input",), *(np.zeros((bench.prompts, 1), dtype=int),) * 2)
        whole, far, total = _by_position(clean[:, 0, :, None], change[..., None], single)
        share = whole[:, 0] / np.maximum(total[:, 0], 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_position = np.where(counted > 0, outside / np.maximum(counted, 1), np.nan)
    vectors = write_vectors(bench.view.select(features), variation)
    return Support(
        _largest(change) > ROUNDING * _largest(clean),
        share,
        far,
        by_position,
        _massive(tokens, groups, np.abs(vectors).max(axis=1), variation.typical),
        variation.off_support(vectors),
    )


def _by_position(tokens: Array, change: Array, groups: TokenGroups) -> tuple[Array, Array, Array]:
    """Written tokens outside their group's range and all of them, both (f, K); largest distance (f,)."""
    f, K = len(tokens), len(groups.names)
    flat = tokens.reshape(f, -1)
    span = np.nanmax(flat, axis=1) - np.nanmin(flat, axis=1)
    span = np.where(span > ROUNDING * np.nanmax(np.abs(flat), axis=1), span, 0.0)
    outside, counted, worst = np.zeros((f, K)), np.zeros((f, K)), np.zeros(f)
    for k in range(K):
        here = groups.code == k
        own = tokens[:, here]
        if not own.size or np.isnan(own).all():
            continue
        low = np.where(np.isnan(own), np.inf, own).min(axis=1)
        high = np.where(np.isnan(own), -np.inf, own).max(axis=1)
        step = change[:, :, here]
        value = own[:, None] + step
        known = ~np.isnan(value)
        beyond = np.maximum(value - high[:, None, None], low[:, None, None] - value)
        # A token that is left as it was is inside, whatever rounding says.
        beyond = np.where(known & (step != 0), beyond, -np.inf)
        width = high - low
        slack = ROUNDING * np.maximum(np.maximum(np.abs(high), np.abs(low)), width)
        out = beyond > slack[:, None, None]
        outside[:, k], counted[:, k] = out.sum(axis=(1, 2)), known.sum(axis=(1, 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.where(out, beyond / span[:, None, None], 0.0).max(axis=(1, 2))
        worst = np.maximum(worst, distance)
    return outside, worst, counted


def _largest(values: Array) -> Array:
    return np.asarray(np.nan_to_num(np.abs(values)).reshape(len(values), -1).max(axis=1))


def _massive(tokens: Array, groups: TokenGroups, length: Array, typical: float) -> Array:
    """Median size of each group's tokens, as the largest coordinate that they write, over the typical one."""
    out = np.full((len(tokens), len(groups.names)), np.nan)
    for k in range(len(groups.names)):
        own = np.abs(tokens[:, groups.code == k])
        own = own[:, ~np.isnan(own).all(axis=0)]
        if own.size:
            out[:, k] = np.median(own, axis=1) * length / typical
    return out
