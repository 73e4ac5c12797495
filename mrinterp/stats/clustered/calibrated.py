"""Intervals widened by a measured bias: estimates of many features, and the truth of a few drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.stats.tests.tails import critical_value

__all__ = ["DRAWN", "FEWEST", "OWN", "REST", "Calibrated", "calibrated", "calibration_roles"]

Array = NDArray[np.float64]
Places = NDArray[np.int_]

OWN, DRAWN, REST = "own", "drawn", "rest"
"""Roles of a feature: rests on its own shift; drawn at random to calibrate; calibrated by the drawn ones."""

MOST_OWN = 20
"""Features that rest on their own shifts, at most; or a quarter of all, if that is less."""

FEWEST = 5
"""Drawn features below which the bias counts as unmeasured: t on 3 degrees of freedom is as far as it goes."""

SLOPE_FROM = 20
"""Drawn features from which on a slope is estimated."""

CLEAR = 3.0
"""Standard errors by which the shifts' spread, and their products with the estimates, must exceed 0 for a slope."""

FARTHEST = 10.0
"""A slope is looked for within this factor of 1."""

MODE = "plain"
ROUNDS, STEPS = 6, 12
"""Of slope and spread in turn; towards tau^2."""


def calibration_roles(size: ArrayLike, drawn: int = 10, seed: int = 0) -> NDArray[np.object_]:
    """Which features rest on their own shifts, which are drawn to calibrate, and which are calibrated.

    Parameters
    ----------
    size : array (K,)
        How large a feature looks on families that are used for nothing else (discovery); nan counts as smallest.
    drawn : int
        Features that are drawn at random (m).
    seed : int
        Of the draw.

    Returns
    -------
    ndarray (K,) of str
        ``"own"`` for the L = min(20, K/4) largest, ``"drawn"`` for m of the others, ``"rest"`` for what is left. Where
        there are fewer than 2 m others, all are ``"own"``: few features are not exchangeable.

    Raises
    ------
    ValueError
        For fewer than five to be drawn.

    Notes
    -----
    Ties in size are broken by the draw as well, so that a feature's place says nothing.

    Examples
    --------
    >>> from mrinterp.stats import calibration_roles
    >>> roles = calibration_roles(range(48), drawn=10)
    >>> [int((roles == role).sum()) for role in ("own", "drawn", "rest")]
    [12, 10, 26]
    """
    sizes = np.nan_to_num(np.abs(np.asarray(size, dtype=float)), nan=-1.0)
    if sizes.ndim != 1:
        raise ValueError(f"size: shape {sizes.shape}. Give one number for each feature")
    if drawn < FEWEST:
        raise ValueError(f"drawn: {drawn}. Give at least {FEWEST} features, better 10 or 20")
    K = len(sizes)
    roles = np.full(K, OWN, dtype=object)
    largest = min(MOST_OWN, K // 4)
    if K - largest < 2 * drawn:
        return roles
    rng = np.random.default_rng([seed, K, drawn])
    order = rng.permutation(K)
    others = order[np.argsort(-sizes[order], kind="stable")][largest:]
    roles[others] = REST
    roles[rng.choice(others, drawn, replace=False)] = DRAWN
    return roles


@dataclass(frozen=True, eq=False)
class Calibrated:
    """Estimates of K features on O outcomes with the bias that shifts measured.

    Parameters
    ----------
    beta, se, df : ndarray (K, O)
        Effect, standard error and degrees of freedom of t; nan where a feature has none.
    lower, upper : ndarray (K, O)
        Ends of the interval.
    level : float
        Confidence level of the intervals.
    tau : ndarray (O,)
        Standard deviation of the bias over features; nan where it is not measured.
    slope, slope_se : ndarray (O,)
        Effect per unit of estimate, 1 with error 0 where none was estimated.
    drawn : ndarray (O,) of int
        Drawn features with estimate and shift (m).
    tau_by_feature : ndarray (K, O)
        The ``tau`` in each interval: of the other drawn features for one that was drawn; nan for those on their own.
    measured : ndarray (O,) of bool
        Whether enough features were drawn.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.stats import calibrated
    >>> beta, roles = np.zeros((30, 1)), np.array(["drawn"] * 10 + ["rest"] * 20)
    >>> shift = np.where(roles == "drawn", 0.3, np.nan)[:, None]
    >>> float(calibrated(beta, beta + 0.01, shift, shift * 0.0 + 0.01, roles).tau[0].round(2))
    0.32
    """

    beta: Array
    se: Array
    df: Array
    lower: Array
    upper: Array
    level: float
    tau: Array
    slope: Array
    slope_se: Array
    drawn: NDArray[np.int_]
    tau_by_feature: Array
    measured: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Bias:
    """What drawn features say of the others: ``tau2, slope, slope_variance`` and degrees of freedom, any shape."""

    tau2: Array
    slope: Array
    slope_variance: Array
    df: Array


def calibrated(
    beta: Array,
    se: Array,
    shift: Array,
    shift_se: Array,
    roles: NDArray[Any],
    *,
    shift_df: ArrayLike = np.inf,
    level: float = 0.95,
) -> Calibrated:
    """Intervals of estimates that allow for the bias which matched shifts of a few random features showed.

    Parameters
    ----------
    beta, se : ndarray (K, O)
        Estimates, and their standard errors, per standard deviation of each feature: the bias is shared on that scale.
    shift, shift_se : ndarray (K, O)
        The same effects by shifts, on families that no estimate has used; nan where a feature was not shifted.
    roles : array (K,) of str
        From `calibration_roles`, made before any estimate or shift was seen.
    shift_df : array broadcast to (K, O)
        Degrees of freedom of the shifts.
    level : float
        Confidence level of the intervals.

    Returns
    -------
    Calibrated
        ``"own"``: the shift itself, by t on its degrees of freedom. ``"rest"``: the estimate with the bias of the drawn.
        ``"drawn"``: the estimate with the bias of the *other* drawn ones.

    Raises
    ------
    ValueError
        For arrays that do not fit each other or an unknown role.

    Notes
    -----
    With C the shift (variance v) and b the estimate, tau^2 solves Sum (C - b)^2/(v + se^2 + tau^2) = m - 1 over the m
    drawn features (0 where the sum at 0 is below), and intervals are b +- t_{m-1} sqrt(se^2 + tau^2); t_{m-2} for a
    drawn feature, with tau of the others. From 20 drawn features a slope goes before the estimate, slope = Sum w(C^2 - v)
    / Sum w b C with w = 1/(v + slope^2 se^2 + tau^2), if both sums exceed 3 of their standard errors; its variance is by
    leaving out one feature at a time: slope b +- t_{m-2} sqrt(slope^2 se^2 + tau^2 + b^2 var(slope)). (The regression of
    C on b, corrected for se alone, would take any bias that adds to the estimate for a slope below 1 and shrink what is
    large.)

    It holds on average over features that are exchangeable with the drawn ones, *not for the largest*: these are to rest
    on their own shifts. In simulation (``benchmarks/results/calibrated_simulations.md``) .95 to .97 of all features are
    covered and .94 to .96 of the five truly largest (without shifts of their own .14 to .96); .86 to .91 of these where
    estimates are half the truth, since what is large then does not look it. Of the ten largest *estimates* .83 to .96
    are covered: some came out large by chance.

    Not valid where the drawn features were picked by hand, nor for effects of another kind than the shift's (a natural
    contrast), and never a ground for absence. With fewer than five drawn features nothing is calibrated (``measured``
    False, numbers nan but for those on their own).

    Source: the moment equation is Paule and Mandel's, DerSimonian & Kacker 2007, 10.1016/j.cct.2006.04.004.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.stats import calibrated, calibration_roles
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.normal(size=(48, 1))
    >>> roles = calibration_roles(np.abs(truth[:, 0]))
    >>> made = calibrated(truth + 0.3 * rng.normal(size=(48, 1)), 0 * truth + 0.1, truth, 0 * truth + 0.01, roles)
    >>> bool(0.1 < made.tau[0] < 0.6)
    True
    """
    role = np.asarray(roles).astype(str)
    b, s, C, error = (np.asarray(x, dtype=float) for x in (beta, se, shift, shift_se))
    _check(b, s, C, error, role)
    K, O = b.shape
    known = np.isfinite(b) & np.isfinite(s)
    both = known & np.isfinite(C) & np.isfinite(error) & (role == DRAWN)[:, None]
    m = both.sum(axis=0)
    measured = m >= FEWEST
    own = (role == OWN)[:, None] & np.ones(O, dtype=bool)
    b0, s2, C0, v = (np.where(both, x, 0.0) for x in (b, s**2, C, error**2))
    at_all = _bias(b0, s2, C0, v, both, SLOPE_FROM)
    # Every drawn feature is calibrated by the others: one more axis, of the feature left out.
    places = np.flatnonzero(role == DRAWN)
    bias = _Bias(*(np.broadcast_to(x, (K, O)).copy() for x in vars(at_all).values()))
    if len(places):
        kept = both[places][None] & ~np.eye(len(places), dtype=bool)[:, :, None]
        b1, s1, C1, v1 = (np.where(kept, x[places][None], 0.0) for x in (b0, s2, C0, v))
        others = _bias(b1, s1, C1, v1, kept, SLOPE_FROM - 1)
        for name, value in vars(others).items():
            getattr(bias, name)[places] = np.where(both[places], value, getattr(bias, name)[places])
    effect = np.where(own, C, bias.slope * b)
    wide = bias.slope**2 * s**2 + bias.tau2 + b**2 * bias.slope_variance
    spread = np.where(own, error, np.sqrt(wide))
    df = np.where(own, np.broadcast_to(np.asarray(shift_df, dtype=float), (K, O)), bias.df)
    usable = np.where(own, np.isfinite(C) & np.isfinite(error), known & measured)
    effect, spread, df = (np.where(usable, x, np.nan) for x in (effect, spread, df))
    half = critical_value(level, np.where(usable, df, 1.0)) * spread
    return Calibrated(
        effect,
        spread,
        df,
        effect - half,
        effect + half,
        level,
        np.where(measured, np.sqrt(at_all.tau2), np.nan),
        np.where(measured, at_all.slope, np.nan),
        np.where(measured, np.sqrt(at_all.slope_variance), np.nan),
        m,
        np.where(usable & ~own, np.sqrt(bias.tau2), np.nan),
        measured,
    )


def _check(b: Array, s: Array, C: Array, error: Array, role: NDArray[Any]) -> None:
    if b.ndim != 2 or not b.shape == s.shape == C.shape == error.shape:
        found = f"shapes {b.shape}, {s.shape}, {C.shape}, {error.shape}"
        raise ValueError(f"beta, se, shift, shift_se: {found}. Give (features, outcomes), all alike")
    if role.shape != b.shape[:1]:
        raise ValueError(f"roles: shape {role.shape}. Give one for each of {len(b)} features")
    unknown = [r for r in role if r not in (OWN, DRAWN, REST)]
    if unknown:
        raise ValueError(f"roles: {unknown[0]!r}. Give 'own', 'drawn' or 'rest'")


def _bias(b: Array, s2: Array, C: Array, v: Array, kept: NDArray[np.bool_], slope_from: int) -> _Bias:
    """What the kept features (..., M, O) say of the others, (..., O); b, s2, C and v are 0 where not kept."""
    m = kept.sum(axis=-2)
    one = np.ones(m.shape)
    tau2 = _tau2((C - b) ** 2, v + s2, kept)
    if not (m >= slope_from).any():
        return _Bias(tau2, one, 0.0 * one, np.maximum(m - 1.0, 1.0))
    slope, spread = one, tau2
    for _ in range(ROUNDS):
        w = _weights(v + slope[..., None, :] ** 2 * s2, spread, kept)
        top, below = w * (C**2 - v), w * b * C
        slope = np.clip(_over(top.sum(axis=-2), below.sum(axis=-2)), 1.0 / FARTHEST, FARTHEST)
        spread = _tau2((C - slope[..., None, :] * b) ** 2, v + slope[..., None, :] ** 2 * s2, kept)
    count = np.maximum(m, 1)
    without = np.where(kept, below.sum(axis=-2)[..., None, :] - below, 1.0)
    each = np.where(kept, _over(top.sum(axis=-2)[..., None, :] - top, without), 0.0)
    off = np.where(kept, each - (each.sum(axis=-2) / count)[..., None, :], 0.0)
    # The shifts' own errors alone would give the one this error; the products scatter by the other.
    of_shifts = np.sqrt((w**2 * v * (2.0 * v + 4.0 * np.maximum(C**2 - v, 0.0))).sum(axis=-2))
    of_products = np.sqrt(np.maximum((below**2).sum(axis=-2) - below.sum(axis=-2) ** 2 / count, 0.0))
    clear = (m >= slope_from) & (top.sum(axis=-2) > CLEAR * of_shifts)
    clear &= (below.sum(axis=-2) > CLEAR * of_products) & (without > 0).all(axis=-2)
    return _Bias(
        np.where(clear, spread, tau2),
        np.where(clear, slope, 1.0),
        np.where(clear, (off**2).sum(axis=-2) * (m - 1) / count, 0.0),
        np.maximum(m - np.where(clear, 2.0, 1.0), 1.0),
    )


def _over(top: Array, below: Array) -> Array:
    """The ratio; 1 where there is nothing to divide by."""
    return np.where(below > 0, top / np.where(below > 0, below, 1.0), 1.0)


def _weights(wide: Array, tau2: Array, kept: NDArray[np.bool_]) -> Array:
    whole = wide + tau2[..., None, :]
    return np.where(kept & (whole > 0), 1.0 / np.where(whole > 0, whole, 1.0), 0.0)


def _tau2(square: Array, wide: Array, kept: NDArray[np.bool_]) -> Array:
    """The tau^2 >= 0 at which Sum square/(wide + tau^2) = m - 1.

    Newton's steps on the inverse of the sum, which grows concavely, and linearly where errors are alike: they come from
    below and never pass the solution.
    """
    wanted = np.maximum(kept.sum(axis=-2) - 1.0, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        at_zero = np.where(kept & (square > 0), square / wide, 0.0).sum(axis=-2)
    tau2 = np.where(at_zero > wanted, 1e-6 * square.sum(axis=-2) / wanted, 0.0)
    for _ in range(STEPS):
        w = _weights(wide, tau2, kept)
        total, fall = (square * w).sum(axis=-2), (square * w**2).sum(axis=-2)
        step = total * (total / wanted - 1.0) / np.where(fall > 0, fall, 1.0)
        tau2 = np.where(at_zero > wanted, np.maximum(tau2 + step, 0.0), 0.0)
    return tau2
