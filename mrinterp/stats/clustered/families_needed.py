"""How many families to knock out for a wanted width, from a pilot of a few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from mrinterp.stats.clustered.least_squares import families_of
from mrinterp.stats.clustered.rectified import family_means, leave_families_out
from mrinterp.stats.tests.tails import critical_value

__all__ = ["FamiliesNeeded", "families_for_width"]

Array = NDArray[np.float64]

LEAST = 10
"""Families below which a rectified effect is no claim."""


@dataclass(frozen=True, eq=False)
class FamiliesNeeded:
    """Families to knock out for a wanted width.

    Parameters
    ----------
    families : int
        Number that gives every outcome its width with the asked confidence; all there are where none does.
    likely : int
        Number that the pilot's own variances ask for: enough in about half of the pilots.
    half_width : ndarray (O,)
        Half width to expect with ``families``, at the pilot's own variances.
    bound : ndarray (O,)
        The same at the variances that the confidence asks for.
    reached : ndarray (O,) of bool
        Whether ``bound`` is at most the wanted half width.
    lam : ndarray (F, O)
        Weight of the prediction in the pilot.
    pilot : int
        Families of the pilot.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.stats import families_for_width
    >>> knockout = np.random.default_rng(0).normal(size=(20, 8, 1))
    >>> families_for_width(knockout, None, np.arange(20) // 4, 0.2, 100).pilot
    5
    """

    families: int
    likely: int
    half_width: Array
    bound: Array
    reached: NDArray[np.bool_]
    lam: Array
    pilot: int


def families_for_width(
    knockout: Array,
    predicted: Array | None,
    family: NDArray[Any],
    half_width: ArrayLike,
    all_families: int,
    *,
    share: float = 0.8,
    confidence: float = 0.8,
    new_families: bool = True,
    least: int = LEAST,
    level: float = 0.95,
) -> FamiliesNeeded:
    """How many families `rectified_mean` needs, from a pilot that is thrown away afterwards.

    Parameters
    ----------
    knockout : ndarray (P, F, O)
        Effects on the prompts of the pilot's families, with as many prompts a family as the study will have; nan where
        a prompt did not move the feature.
    predicted : ndarray (P, F, O), optional
        The prediction of the same prompts; None for knockouts alone.
    family : ndarray (P,)
        At least three families.
    half_width : float, or array (O,)
        Wanted half width of the intervals, in units of the outcome.
    all_families : int
        Families in all (N) that the study has for this.
    share : float
        Share of the features that shall be no wider.
    confidence : float
        Probability that the number suffices.
    new_families : bool
        As in `rectified_mean`.
    least : int
        The smallest number returned, and the families in which a feature has to move for a claim: where the pilot left
        features of the ``share`` unmoved on some prompts, up to twice as many are returned.
    level : float
        Confidence level of the intervals.

    Returns
    -------
    FamiliesNeeded
        With what to expect at that number.

    Raises
    ------
    ValueError
        For fewer than three families, or arrays that do not fit each other.

    Notes
    -----
    Half width: t on n - 1 degrees of freedom times the square root of v/n + (var(C) - v)/N, where v is the variance
    over families of C - lam g. A few families know v of a single feature badly, so that the largest of many look larger
    than they are: the ``share`` quantile is taken of a log-normal distribution with the noise of chi-square on the
    pilot's degrees of freedom removed (as in limma's moments). The pilot's families may have been quiet ones for all
    features at once: v is multiplied by (pilot - 1) over the 1 - ``confidence`` quantile of chi-square, 2.4 for five
    families. Where features err independently this asks for some two times more families than needed. Features without
    any change in the pilot are left out of the quantile.

    A feature that some prompts do not move moves in an unknown share of the families, of which the pilot saw a few: the number
    that moves it in ``least`` of them with the asked confidence is read from the beta-binomial distribution (Jeffreys prior).
    More than twice ``least`` is never asked for on that account: every further family costs passes for all features.

    Source: moments of log variances, Smyth 2004, 10.2202/1544-6115.1027.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.stats import families_for_width
    >>> knockout = np.random.default_rng(0).normal(size=(20, 8, 1))
    >>> made = families_for_width(knockout, None, np.arange(20) // 4, 0.2, 100)
    >>> made.likely <= made.families
    True
    """
    C = np.asarray(knockout, dtype=float)
    codes, names = families_of(family)
    if len(names) < 3:
        raise ValueError(f"family: {len(names)} families in the pilot. Give at least 3, better 5")
    g = np.zeros(C.shape) if predicted is None else np.asarray(predicted, dtype=float)
    if C.ndim != 3 or len(C) != len(codes) or g.shape != C.shape:
        found = f"shapes {C.shape}, {g.shape}, {np.shape(family)}"
        raise ValueError(f"knockout, predicted, family: {found}. Give (P, F, O), (P, F, O) and (P,)")
    if all_families < 2:
        raise ValueError(f"all_families: {all_families}. Give the number of families of the study")
    moved = np.isfinite(C)
    own = family_means(C, moved, codes)
    mine = family_means(np.nan_to_num(g), moved, codes)
    out = leave_families_out(own, mine, mine.mean)
    count = own.count
    whole, rest = own.variance() * count, out.variance(count) * count
    enough = (count >= 3) & (whole > 0)
    size = np.where(enough, np.maximum(rest, 1e-12 * whole), np.nan)
    typical = _quantile(size, np.asarray(count - 1.0), share)
    ratio = np.array(
        [
            np.median(w[e] / r[e]) if e.any() else 1.0
            for w, r, e in zip(whole.T, size.T, enough.T, strict=True)
        ]
    )
    worst = typical * (len(names) - 1) / stats.chi2.ppf(1.0 - confidence, len(names) - 1)
    wanted = np.broadcast_to(np.asarray(half_width, dtype=float), typical.shape)

    def widths(variance: Array, n: ArrayLike) -> Array:
        beyond = np.maximum(ratio - 1.0, 0.0) / all_families if new_families else 0.0
        return np.asarray(
            critical_value(level, np.asarray(n) - 1.0) * np.sqrt(variance * (1.0 / np.asarray(n) + beyond))
        )

    fewest_moved = _moved_in(moved, count, len(names), least, share, confidence)
    numbers = np.arange(min(fewest_moved, all_families), all_families + 1)[:, None]

    def fewest(variance: Array) -> int:
        fits = (widths(variance, numbers) <= wanted).all(axis=1)
        return int(numbers[np.argmax(fits), 0]) if fits.any() else all_families

    chosen = fewest(worst)
    expected, bound = widths(typical, np.array(chosen)), widths(worst, np.array(chosen))
    return FamiliesNeeded(chosen, fewest(typical), expected, bound, bound <= wanted, out.lam, len(names))


def _moved_in(
    moved: NDArray[np.bool_], count: NDArray[np.int_], pilot: int, least: int, share: float, confidence: float
) -> int:
    """Families that move the ``share`` of the features in at least ``least`` of them, between ``least`` and twice as many.

    ``moved`` (P, F, O); ``count`` (F, O): families of the pilot that moved a feature.
    """
    numbers = np.arange(least, 2 * least + 1)
    seen = np.arange(pilot + 1)
    chance = stats.betabinom.sf(least - 1, numbers[:, None], seen + 0.5, pilot - seen + 0.5)
    enough = np.where(
        (chance >= confidence).any(axis=0), numbers[np.argmax(chance >= confidence, axis=0)], 2 * least
    )
    wanted = np.where(moved.all(axis=0), least, enough[count])[count > 0]
    return int(np.quantile(wanted, share, method="inverted_cdf")) if wanted.size else least


def _quantile(variance: Array, df: Array, share: float) -> Array:
    """Quantile (O,) over features of the variances (F, O) that their estimates on ``df`` are noisy readings of."""
    known = np.isfinite(variance)
    found = np.zeros(variance.shape[1])
    for o, some in enumerate(known.T):
        if some.any():
            each = variance[some, o]
            noise = special.polygamma(1, np.maximum(df[some, o], 1.0) / 2.0).mean()
            spread = max(np.log(each).var() * len(each) / max(len(each) - 1, 1) - noise, 0.0)
            found[o] = each.mean() * np.exp(special.ndtri(share) * np.sqrt(spread) - spread / 2.0)
    return found
