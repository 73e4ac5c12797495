"""What swaps of a feature's value did: effect per unit, mean effect, linear share, errors by family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.stats.clustered.family_draws import bootstrap_ratio
from mrinterp.stats.clustered.least_squares import clustered_mean, families_of, satterthwaite
from mrinterp.stats.clustered.through_origin import through_origin
from mrinterp.stats.tests.tails import critical_value

__all__ = ["SwapEffects", "rms_bounds", "swap_effects"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SwapEffects:
    """Effects of F features on O outcomes over S swaps of each of P inputs.

    ``effect, se`` (F, O) and ``effect_df`` (F,); ``mean, mean_se`` (F, O) and ``mean_df``; ``r2`` (F, O);
    ``effect_by_input, change_by_input`` (F, P, O); ``weight`` (F, P); ``share_changed`` (F, O); ``rms_change`` (F, O) root mean
    square of the outcome changes and ``rms_bound, rms_upper`` (F, O) its one-sided 95% bounds, ``moved_by`` (F,) of the
    feature's; ``mean_move`` (F,); ``effect_bootstrap, mean_bootstrap`` (2, F, O).
    """

    effect: Array
    se: Array
    effect_df: Array
    mean: Array
    mean_se: Array
    mean_df: float
    r2: Array
    effect_by_input: Array
    change_by_input: Array
    weight: Array
    share_changed: Array
    rms_change: Array
    moved_by: Array
    rms_bound: Array
    rms_upper: Array
    mean_move: Array
    effect_bootstrap: Array
    mean_bootstrap: Array


def swap_effects(
    amount: Array,
    change: Array,
    family: NDArray[Any],
    signs: ArrayLike,
    floor: ArrayLike = 0.0,
    draws: int = 1000,
    seed: int = 0,
) -> SwapEffects:
    """Estimate everything that swaps say.

    Parameters
    ----------
    amount : ndarray (F, S, P)
        Change of the feature in every swap.
    change : ndarray (F, S, P, O)
        Change of the outcomes that went with it.
    family : ndarray (P,)
    signs : array (S,)
        The mean effect is the mean over inputs and swaps of sign x change: -1 for the downward half of a
        two-sided shift, whose changes would cancel otherwise.
    floor : float, or array (O,)
        Noise floor: an input counts as changed where some swap moved its outcome by more.
    draws, seed : int
        Of the family bootstrap.

    Notes
    -----
    Effect per unit: least squares through the origin over all swaps of all inputs, so that a swap between
    equal values weighs nothing; where every input is moved by the same amount (a shift) all inputs weigh
    alike. Error: leave one family out (CR3), degrees of freedom by Satterthwaite's approximation, so that
    a feature that moved in three families of forty is compared with t on about two. ``r2`` is uncentred:
    1 - sum (change - effect x amount)^2 / sum change^2, one where the outcome is linear in the feature with
    the same slope on all inputs. Not measurable (nan) where nothing was moved.
    ``mean_move`` is what ``mean`` belongs to: sign x change of the feature, mean over swaps and over the inputs that
    were moved.
    """
    F, S, P, O = change.shape
    sign = np.asarray(signs, dtype=float)
    codes, names = families_of(family)
    square = (amount**2).sum(axis=1)
    cross = np.einsum("fsp,fspo->fpo", amount, change)
    rows = amount.transpose(1, 2, 0).reshape(S * P, F)
    effect, se, _ = through_origin(
        rows, change.transpose(1, 2, 0, 3).reshape(S * P, F, O), np.tile(family, S)
    )
    moved = square > 0
    effect_by_input = np.where(moved[:, :, None], cross / np.where(moved, square, 1.0)[:, :, None], np.nan)
    total = square.sum(axis=1)
    varies = total > 0
    weight = square * P / np.where(varies, total, 1.0)[:, None]
    response = (change**2).sum(axis=(1, 2))
    explained = cross.sum(axis=1) ** 2 / np.where(varies, total, 1.0)[:, None]
    known = varies[:, None] & (response > 0)
    r2 = np.where(known, explained / np.where(response > 0, response, 1.0), np.nan)
    change_by_input = np.einsum("s,fspo->fpo", sign, change) / S
    mean_move = np.einsum("s,fsp->fp", sign, amount) / S
    counted = np.maximum(moved.sum(axis=1), 1)
    mean, mean_se, mean_df = clustered_mean(change_by_input.transpose(1, 0, 2).reshape(P, F * O), family)
    each = cross.transpose(1, 0, 2).reshape(P, F * O)
    below = np.repeat(square.T, O, axis=1)
    slope_ends = bootstrap_ratio(each, below, family, draws, seed)
    mean_ends = bootstrap_ratio(
        change_by_input.transpose(1, 0, 2).reshape(P, F * O), 1.0, family, draws, seed
    )
    return SwapEffects(
        effect,
        se,
        _degrees(square, codes, len(names)),
        mean.reshape(F, O),
        mean_se.reshape(F, O),
        mean_df,
        np.minimum(r2, 1.0),
        effect_by_input,
        change_by_input,
        weight,
        (np.abs(change).max(axis=1) > floor).mean(axis=1),
        np.sqrt(response / max(S * P, 1)),
        np.sqrt(total / max(S * P, 1)),
        *rms_bounds((change**2).mean(axis=1), family),
        np.where(moved, mean_move, 0.0).sum(axis=1) / counted,
        np.stack(slope_ends).reshape(2, F, O),
        np.stack(mean_ends).reshape(2, F, O),
    )


def rms_bounds(square: Array, family: NDArray[Any]) -> tuple[Array, Array]:
    """Lower and upper bound (F, O), one-sided at 95% each, of the root of a mean of squares (F, P, O) over families like
    these; 0 and nan where there is one family."""
    F, P, O = square.shape
    mean, se, df = clustered_mean(square.transpose(1, 0, 2).reshape(P, F * O), family)
    half = critical_value(0.9, df) * se if df else np.full_like(mean, np.nan)
    low = np.maximum(np.nan_to_num(mean - half), 0.0)
    return np.sqrt(low).reshape(F, O), np.sqrt(mean + half).reshape(F, O)


def _degrees(square: Array, codes: NDArray[np.int_], C: int) -> Array:
    """Satterthwaite's degrees of freedom (F,) of the CR3 error when families weigh as they do."""
    share = np.zeros((C, len(square)))
    np.add.at(share, codes, square.T)
    total = share.sum(axis=0)
    h = share / np.where(total > 0, total, 1.0)
    alone = (h > 1.0 - 1e-8).any(axis=0) | (total == 0)
    grow = 1.0 / (1.0 - np.where(alone, 0.0, h))
    return np.where(alone, 0.0, satterthwaite(np.where(alone, 0.0, h), grow))
