"""Which values are low and high for a feature, at each group of tokens: learned from a bench's clean values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_fraction
from mrinterp.core.errors import InputError
from mrinterp.core.plan import FEWEST_FAMILIES
from mrinterp.features._feature_view import ChannelMap
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._clean_values import ROUNDING, clean_values, written_tokens
from mrinterp.knockouts._token_groups import TokenGroups, token_groups
from mrinterp.results._contrast_levels import ContrastLevels
from mrinterp.stats.clustered.least_squares import families_of
from mrinterp.stats.clustered.quantiles import weighted_quantile

__all__ = ["ANY_TOKEN", "HELD", "contrast_groups", "contrast_levels", "family_weights"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]

ANY_TOKEN = "any token"
"""Name of the group that holds the tokens of all groups."""

HELD = 8_000_000
"""Values sorted at a time."""


def contrast_groups(bench: Bench, by: str | None = None) -> TokenGroups:
    """Tokens that share a low and a high value: classes where inputs have them, else positions; a map's places together."""
    if bench.inputs.mask is not None and by is None and isinstance(bench.view, ChannelMap):
        by = "all"
    return token_groups(bench.inputs, by)


def contrast_levels(
    bench: Bench, low: float = 0.1, high: float = 0.9, by: str | None = None
) -> ContrastLevels:
    """Learn the low and the high value of every feature from clean inputs.

    Parameters
    ----------
    bench : Bench
        P inputs and a view of F features. Where it reads a mean over tokens, the values of its single tokens count.
    low, high : float
        Quantiles, between 0 and 1. Families weigh alike.
    by : {"position", "class", "all"}, optional
        Which tokens are taken together: those of one class, at one place, or all. Default: class where inputs have
        classes, else position; all places of a feature map.

    Returns
    -------
    ContrastLevels

    Raises
    ------
    InputError
        For quantiles that are not in order, or tokens grouped by classes that the inputs do not have.

    Notes
    -----
    A group of fewer than 10 families takes the values of all groups together. A feature of which more than half of
    the values, in the groups where it varies at all, are one value (0 for latents) rarely fires: that value is its
    low one and the median of its others its high one. Of one that varies within some groups,
    a group in which it has another value throughout is left as it is: nothing there leaves the usual one.

    Not valid for other prompts than those that the bench's are like: what is natural there may differ.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> mrinterp.knockouts.contrast_levels(bench).low.shape
    (5, 2)
    """
    if checked_fraction(low, "low") >= checked_fraction(high, "high"):
        raise InputError("low, high", f"{low:g} and {high:g}", "Give a low quantile below the high one")
    placed = bench.by_token
    groups = contrast_groups(bench, by)
    code = np.where(written_tokens(placed), groups.code, -1)
    family = families_of(bench.family)[0]
    known = [len(np.unique(family[(code == k).any(axis=1)])) for k in range(len(groups.names))]
    small = np.array([0 < n < FEWEST_FAMILIES for n in known])
    step = max(1, HELD // code.size)
    parts = [
        _levels(
            clean_values(placed, features).reshape(len(features), *code.shape),
            code,
            family,
            small,
            (low, high),
        )
        for features in np.array_split(np.arange(bench.features), -(-bench.features // step))
    ]
    lows, highs, usual, fires = (np.concatenate(p) for p in zip(*parts, strict=True))
    return ContrastLevels(
        features=tuple(bench.view.names),
        groups=(*groups.names, ANY_TOKEN),
        low=lows,
        high=highs,
        usual=usual,
        fires=fires,
        families=len(np.unique(family)),
        quantiles=(float(low), float(high)),
        pooled=tuple(n for n, s in zip(groups.names, small, strict=True) if s),
        meta={"site": bench.site, "position": str(placed.position), "by": by or "default"},
    )


def family_weights(family: Rows, here: NDArray[np.bool_]) -> Array:
    """Weights (n,) of the tokens that are ``here`` (P, T), so that families weigh alike."""
    own = np.broadcast_to(family[:, None], here.shape)[here]
    _, code, count = np.unique(own, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / count[code.ravel()])


def _levels(
    values: Array, code: Rows, family: Rows, small: NDArray[np.bool_], ends: tuple[float, float]
) -> tuple[Array, Array, Array, Array]:
    """Low and high (f, K + 1) of values (f, P, T), and the usual value and share of firing (f,) of rare features."""
    f, K = len(values), len(small)
    low, high, least, most = (np.full((f, K + 1), np.nan) for _ in range(4))
    everywhere = code >= 0
    for k, here in [*((k, code == k) for k in range(K)), (K, everywhere)]:
        if here.any():
            weight, own = family_weights(family, here), values[:, here]
            low[:, k], high[:, k] = (weighted_quantile(own, weight, end) for end in ends)
            least[:, k], most[:, k] = own.min(axis=1), own.max(axis=1)
    for level in (low, high, least, most):
        level[:, :K][:, small] = level[:, K:]
    slack = ROUNDING * np.abs(np.nan_to_num(values)).reshape(f, -1).max(axis=1)
    moves = high - low > slack[:, None]
    still = np.where(most - least > slack[:, None], np.nan, least)
    base, fires, other, apart = _firing(values, code, moves, slack, still)
    rare = np.isfinite(fires)
    low, high = np.where(moves, low, np.nan), np.where(moves, high, np.nan)
    for level, end in ((low, np.minimum(base, other)), (high, np.maximum(base, other))):
        level[rare] = np.where(apart[rare], np.nan, end[rare, None])
    return low, high, base, fires


def _firing(
    values: Array, code: Rows, moves: NDArray[np.bool_], slack: Array, still: Array
) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    """The one usual value, the share of tokens that leave it, and the median of their values, (f,) each, nan where there is
    no value that more than half of the tokens have; and the groups (f, K + 1) that have another value throughout, from
    their one value, ``still``."""
    f, K = len(values), moves.shape[1] - 1
    place = np.where(code >= 0, code, K)
    # Groups where the feature varies; all of them for one that varies nowhere by its quantiles.
    somewhere = moves[:, :K].any(axis=1, keepdims=True)
    looked = np.where(somewhere, moves[:, :K], True)
    counted = np.concatenate([looked, np.zeros((f, 1), dtype=bool)], axis=1)[:, place]
    base = np.nanmedian(np.where(counted, values, np.nan).reshape(f, -1), axis=1)
    apart = somewhere & (np.abs(still - base[:, None]) > slack[:, None])
    away = (np.abs(values - base[:, None, None]) > slack[:, None, None]) & (code >= 0) & ~apart[:, place]
    usual_share = 1 - (away & counted).sum(axis=(1, 2)) / np.maximum(counted.sum(axis=(1, 2)), 1)
    rare = (usual_share > 0.5) & away.any(axis=(1, 2))
    share, other = np.full(f, np.nan), np.full(f, np.nan)
    share[rare] = away[rare].sum(axis=(1, 2)) / (code >= 0).sum()
    if rare.any():
        other[rare] = np.nanmedian(np.where(away[rare], values[rare], np.nan).reshape(rare.sum(), -1), axis=1)
    return np.where(rare, base, np.nan), share, other, apart
