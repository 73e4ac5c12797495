"""Rectified means: knockouts of a few families, corrected by a cheap prediction of them on all families."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.sparse import csr_array

from mrinterp.stats.clustered.least_squares import families_of, satterthwaite
from mrinterp.stats.tests.tails import critical_value

__all__ = ["Rectified", "family_means", "leave_families_out", "rectified_mean"]

Array = NDArray[np.float64]
Counted = NDArray[np.bool_]

OK = "ok"
NOT_MOVED = "no knockout: no knocked-out prompt moved the feature"
ONE_FAMILY = "the knockouts of one family moved the feature: an error needs two"
NO_PREDICTION = "knockouts alone: the prediction is missing on prompts that were knocked out"
NO_FLIP = "no knockout changed the label: the interval is an exact binomial bound"
STILL = (
    "the same effect in every knocked-out family: an error of 0 says nothing of families that were not seen"
)

PRIOR = 2.0
"""Families that the weight pooled over features counts for, beside a feature's own, where own says nothing (r^2 of 0)."""

WHOLE = 1.0 - 1e-8
"""Weight of a family from which on it is all there is."""

ROUNDING = 1e-13
"""Share of a mean up to which a deviation from it is rounding."""

SILENT = 1e-9
"""Prediction over largest knockout up to which the prediction is rounding, so 0."""

ALL_OF_IT = 1e-12
"""Share of a sum of squares up to which what a family leaves of it is rounding."""


@dataclass(frozen=True, eq=False)
class Rectified:
    """Rectified effects of F features on O outcomes.

    Parameters
    ----------
    beta, se, df : ndarray (F, O)
        Effect, standard error and degrees of freedom of t; nan where ``status`` says why.
    lower, upper : ndarray (F, O)
        Ends of the interval.
    level : float
        Confidence level of the intervals.
    lam : ndarray (F, O)
        Weight of the prediction; 0 without a prediction.
    alone, alone_se, alone_df : ndarray (F, O)
        Effect, error and degrees of freedom of the same knockouts without the prediction.
    rho : ndarray (F, O)
        Correlation of knockout and prediction across the knocked-out prompts; nan where either is constant.
    gain, possible_gain : ndarray (F, O)
        Variance of the knockouts alone over that of the rectified effect: measured, and 1/(1 - rho^2 + rho^2 n/N).
    kink : ndarray (F, O) of bool
        The prediction is 0 on every prompt, but for rounding, and the knockout is not: a kink or saturation.
    changed : ndarray (F, O) of int
        Knocked-out prompts whose outcome changed by more than the floor.
    unflipped : ndarray (F, O) of bool
        A label that no knocked-out prompt changed: the interval is a bound, and the effect is indeterminate.
    families, all_families : ndarray (F, O) of int
        Knocked-out families (n) that moved the feature, and families in all (N) that do.
    status : ndarray (F, O) of str
        ``"ok"``, why there is no number, or what to know of it.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.stats import rectified_mean
    >>> knockout = np.random.default_rng(0).normal(size=(20, 3, 1))
    >>> rectified_mean(knockout, None, np.arange(20) // 2).families.ravel()
    array([10, 10, 10])
    """

    beta: Array
    se: Array
    df: Array
    lower: Array
    upper: Array
    level: float
    lam: Array
    alone: Array
    alone_se: Array
    alone_df: Array
    rho: Array
    gain: Array
    possible_gain: Array
    kink: Counted
    changed: NDArray[np.int_]
    unflipped: Counted
    families: NDArray[np.int_]
    all_families: NDArray[np.int_]
    status: NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class FamilyMeans:
    """Means (C, F, O) of families over the prompts that count, and their weights (C, F, O), which sum to 1.

    Of prompts ``x`` (P, F, O), those that are ``counted``, of families numbered by ``codes`` (P,).
    """

    each: Array
    weight: Array
    x: Array
    counted: Counted
    codes: NDArray[np.int_]

    @property
    def count(self) -> NDArray[np.int_]:
        """Families with a prompt that counts, (F, O)."""
        return np.asarray((self.weight > 0).sum(axis=0))

    @property
    def mean(self) -> Array:
        """Mean over families, (F, O)."""
        return np.asarray((self.weight * self.each).sum(axis=0))

    @property
    def off(self) -> Array:
        """Families less their mean, (C, F, O); 0 where a family does not count."""
        return np.where(self.weight > 0, self.each - self.mean, 0.0)

    @property
    def pull(self) -> Array:
        """What leaving a family out moves a mean by, per unit that it is off: weight / (1 - weight), (C, F, O)."""
        whole = self.weight > WHOLE
        return np.where(whole, 0.0, self.weight / np.where(whole, 1.0, 1.0 - self.weight))

    def variance(self) -> Array:
        """Error variance (F, O) of the mean, by leaving families out: var/C where they weigh alike."""
        return _jackknife(self.pull * self.off, self.count)

    def covariance(self, other: Array) -> Array:
        """Covariance (F, O) over families with another quantity's deviations (C, F, O)."""
        return np.asarray((self.weight * self.off * other).sum(axis=0) * _sample(self.count))

    @property
    def apart(self) -> Array:
        """How far prompts are off their family's mean, (P, F, O); 0 where they do not count, or are off by rounding."""
        mean = self.each[self.codes]
        off = np.where(self.counted, self.x - mean, 0.0)
        return np.where(np.abs(off) > ROUNDING * np.abs(mean), off, 0.0)

    def within(self, other: FamilyMeans) -> Array:
        """Mean product (C, F, O) of how far prompts are off their family's mean here and in other means of them."""
        apart = (m.apart for m in (self, other))
        number = _sums(self.counted.astype(float), self.codes)
        return _sums(np.multiply(*apart), self.codes) / np.maximum(number, 1.0)

    def degrees(self) -> Array:
        """Degrees of freedom (F, O) of the error: families less one, fewer where some weigh more."""
        C, F, O = self.weight.shape
        h = self.weight.reshape(C, F * O)
        grow = np.where(h > WHOLE, 0.0, 1.0 / np.maximum(1.0 - h, 1.0 - WHOLE))
        return np.asarray(satterthwaite(h, grow).reshape(F, O))


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Knockouts and predictions of the same families, joined.

    ``lam`` (F, O); ``moved`` (C, F, O): change of mean(C) + lam (target - mean(g)) when a family is left out, lam made
    anew without it.
    """

    lam: Array
    moved: Array

    def variance(self, count: NDArray[np.int_]) -> Array:
        """Error variance (F, O) of the part that the knocked-out families make."""
        return _jackknife(self.moved, count)


def rectified_mean(
    knockout: Array,
    predicted: Array | None,
    knockout_family: NDArray[Any],
    all_predicted: Array | None = None,
    all_family: NDArray[Any] | None = None,
    *,
    largest: ArrayLike | None = None,
    floor: ArrayLike = 0.0,
    new_families: bool = True,
    careful: bool = False,
    level: float = 0.95,
) -> Rectified:
    """Mean effect of knockouts, from few families knocked out at random and a cheap prediction on all of them.

    Parameters
    ----------
    knockout : ndarray (P_n, F, O)
        Effects of F features on O outcomes on the prompts of the n families that were knocked out, drawn at random
        before any of them was seen. nan where a prompt did not move the feature: a mean is over prompts that did.
    predicted : ndarray (P_n, F, O), optional
        What a gradient, or another cheap method, says of the same prompts. None: the knockouts alone.
    knockout_family : ndarray (P_n,)
        Their families.
    all_predicted : ndarray (P_N, F, O)
        The prediction on all prompts of all N families; rows of families that were knocked out are not used, since
        ``predicted`` has them. nan where a prompt does not move the feature.
    all_family : ndarray (P_N,)
        Their families.
    largest : array broadcast to (F, O), optional
        For labels: largest effect that one prompt can have, such as 1 for an outcome of 0 or 1. nan for outcomes
        that are no labels.
    floor : array broadcast to (F, O)
        Effects of a prompt up to this are rounding.
    new_families : bool
        The effect is meant for families like these (default); else for the mean over exactly these N.
    careful : bool
        t on n - 1 degrees of freedom, instead of Welch and Satterthwaite's: up to .02 more coverage.
    level : float
        Confidence level of the intervals.

    Returns
    -------
    Rectified
        With the knockouts alone beside it.

    Raises
    ------
    ValueError
        For arrays that do not fit each other.

    Notes
    -----
    With g the prediction and C the knockout, of families c: beta = lam mean_N(g) + mean_n(C - lam g), where lam =
    cov(C, g) / var(g) over the prompts of the n (the means of ten families know a weight badly), drawn toward the same
    ratio of sums over features as if that had 2 (1 - r^2) families of its own: one weight for all features left intervals
    wider than those of the knockouts alone where gradients are right for some features and off for others, and a weight
    whose r^2 is near 1 is known. Unbiased whatever g is, but for the small bias of a fitted ratio. Families weigh by the
    share of their prompts that moved the feature, so alike where all did. (Alike whatever that share, the mean depends
    on how many prompts of a family are looked at, which differs between the n and the rest: coverage .82 to .92 in
    ``benchmarks/results/rectified_simulations.md`` where effect and share go together.) With e = C - lam g the error is
    v_e + v_g + 2 lam cov(g, e)/N, not below v_e, with v_g = lam^2 var(g)/N; v_e is var(e)/n by leaving families out,
    lam made anew each time: with lam held fixed the intervals cover .93 to .95, so .95. For exactly these
    families the error is v_e (their mean of g is known), a little too wide where n is much of N.

    A label adds (a/n)^2/n to the variance, a = ``largest``; where no knockout changed it, the interval is a times the
    Clopper-Pearson bound of 0 of n families (families, so that prompts of a family may all flip together). Labels that
    flip rarely, in whole families, are covered less (worst cell .87).

    Not valid where the knocked-out families were chosen by their predictions or effects, or where knocked-out prompts
    are not a fair sample of their family's. Variances are not moderated over features.

    Source: Angelopoulos et al. 2023, 10.1126/science.adi6000; PPI++, arXiv 2311.01453; the jackknife over families as
    in Bell & McCaffrey 2002.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.stats import rectified_mean
    >>> g = 1 + np.random.default_rng(0).normal(size=(200, 4, 1))
    >>> family, C = np.arange(200) // 2, g + 0.1 * np.random.default_rng(1).normal(size=g.shape)
    >>> made = rectified_mean(C[:20], g[:20], family[:20], g, family)
    >>> bool((made.se < made.alone_se / 2).all())
    True
    """
    C = _numbers(knockout, "knockout")
    g, rest, rest_family = _predictions(C, predicted, knockout_family, all_predicted, all_family)
    moved = np.isfinite(C)
    used = ~(moved & ~np.isfinite(g)).any(axis=0)
    silent = SILENT * np.abs(np.nan_to_num(C)).max(axis=0, initial=0.0)
    g, rest = (np.where(np.abs(x) <= silent, 0.0, x) for x in (g, rest))
    g, rest = np.where(used & moved, g, 0.0), np.where(used | np.isnan(rest), rest, 0.0)
    codes = families_of(knockout_family)[0]
    own, mine = family_means(C, moved, codes), family_means(g, moved, codes)
    everyone = family_means(
        np.concatenate([g, rest]),
        np.concatenate([moved, np.isfinite(rest)]),
        np.concatenate([codes, codes.max(initial=-1) + 1 + rest_family]),
    )
    n, N = own.count, everyone.count
    out = leave_families_out(own, mine, everyone.mean)
    v_e, v_g, df = out.variance(n), out.lam**2 * everyone.variance(), own.degrees()
    shared = (own.weight * everyone.weight[: len(own.weight)]).sum(axis=0)  # 1/N where families weigh alike
    both = v_g + v_e + 2.0 * out.lam * mine.covariance(own.off - out.lam * mine.off) * shared
    variance = np.maximum(both, v_e) if new_families else v_e
    label = _labels(C, largest, floor, n, level)
    rho = _correlation(C, g, moved)
    zero = ~(g != 0).any(axis=0) & ~(np.nan_to_num(rest) != 0).any(axis=0)
    careful_df = df if careful or not new_families else _welch(v_e, df, v_g, everyone.degrees())
    beta = own.mean + out.lam * (everyone.mean - mine.mean)
    enough = n >= 2
    found = label.interval(beta, variance, careful_df, enough, level)
    given = predicted is not None
    return Rectified(
        **found,
        level=level,
        lam=out.lam,
        alone=np.where(n > 0, own.mean, np.nan),
        alone_se=np.where(enough, np.sqrt(own.variance() + label.added), np.nan),
        alone_df=np.where(enough, df, np.nan),
        rho=rho,
        gain=_quotient(own.variance(), variance),
        possible_gain=1.0 / (1.0 - np.nan_to_num(rho) ** 2 * (1.0 - n / np.maximum(N, 1))),
        kink=np.asarray(given & used & zero & (label.changed > 0)),
        changed=label.changed,
        unflipped=label.unflipped,
        families=n,
        all_families=N if given else n,
        status=_words(n, variance, label.unflipped, np.asarray(given & ~used)),
    )


@dataclass(frozen=True, eq=False)
class _Labels:
    """What labels add to the variance, prompts that changed, labels that never did, and their bound; all (F, O)."""

    added: Array
    changed: NDArray[np.int_]
    unflipped: Counted
    bound: Array

    def interval(
        self, beta: Array, variance: Array, df: Array, enough: Counted, level: float
    ) -> dict[str, Array]:
        """Effect, error, degrees of freedom and ends; a label that never changed has its bound about 0."""
        df = np.where(enough, df, np.nan)
        t = critical_value(level, df)
        half = np.where(self.unflipped, self.bound, t * np.sqrt(variance + self.added))
        half = np.where(enough, half, np.nan)
        effect = np.where(self.unflipped, 0.0, beta)
        effect = np.where(enough, effect, np.nan)
        return {"beta": effect, "se": half / t, "df": df, "lower": effect - half, "upper": effect + half}


def _labels(
    C: Array, largest: ArrayLike | None, floor: ArrayLike, n: NDArray[np.int_], level: float
) -> _Labels:
    changed = (np.abs(np.nan_to_num(C)) > floor).sum(axis=0)
    a = np.broadcast_to(np.asarray(np.nan if largest is None else largest, dtype=float), changed.shape)
    many = np.maximum(n, 1)
    bound = a * stats.beta.ppf(0.5 + level / 2, 1, many)  # Clopper and Pearson's for 0 of n
    return _Labels(np.nan_to_num(a) ** 2 / many**3, changed, ~np.isnan(a) & (changed == 0) & (n > 0), bound)


def _words(
    n: NDArray[np.int_], variance: Array, unflipped: Counted, unpredicted: Counted
) -> NDArray[np.object_]:
    """What to know of every number, the gravest last."""
    words = np.full(n.shape, OK, dtype=object)
    words[unpredicted] = NO_PREDICTION
    words[variance <= 0] = STILL
    words[unflipped] = NO_FLIP
    words[n == 1] = ONE_FAMILY
    words[n == 0] = NOT_MOVED
    return words


def _correlation(C: Array, g: Array, moved: Counted) -> Array:
    """Pearson's correlation across prompts, (F, O); nan where one of the two does not vary."""
    count = np.maximum(moved.sum(axis=0), 1)
    c = np.where(moved, C - np.where(moved, C, 0.0).sum(axis=0) / count, 0.0)
    h = np.where(moved, g - np.where(moved, g, 0.0).sum(axis=0) / count, 0.0)
    square_c, square_h = (c**2).sum(axis=0), (h**2).sum(axis=0)
    # Equal numbers differ from their mean by rounding.
    varies = [
        square > count * (1e-14 * np.abs(np.where(moved, x, 0.0)).max(axis=0, initial=0.0)) ** 2
        for square, x in ((square_c, C), (square_h, g))
    ]
    known = varies[0] & varies[1]
    below = np.sqrt(np.where(known, square_c * square_h, 1.0))
    return np.where(known, np.clip((c * h).sum(axis=0) / below, -1.0, 1.0), np.nan)


def _quotient(top: Array, below: Array) -> Array:
    """nan where there is nothing to divide by."""
    return np.where(below > 0, top / np.where(below > 0, below, 1.0), np.nan)


def _numbers(x: ArrayLike, name: str) -> Array:
    array = np.asarray(x, dtype=float)
    if array.ndim != 3:
        raise ValueError(f"{name}: shape {array.shape}. Give (prompts, features, outcomes)")
    return array


def _predictions(
    C: Array,
    predicted: Array | None,
    knockout_family: NDArray[Any],
    all_predicted: Array | None,
    all_family: NDArray[Any] | None,
) -> tuple[Array, Array, NDArray[np.int_]]:
    """Predictions on the knocked-out prompts and on the families that were not knocked out, with codes of these."""
    P, F, O = C.shape
    if np.shape(knockout_family) != (P,):
        raise ValueError(
            f"knockout_family: shape {np.shape(knockout_family)}. Give one label for each of {P} prompts"
        )
    if predicted is None:
        return np.zeros(C.shape), np.zeros((0, F, O)), np.zeros(0, int)
    g = _numbers(predicted, "predicted")
    if g.shape != C.shape:
        raise ValueError(f"predicted: shape {g.shape}. Give that of the knockouts, {C.shape}")
    if all_predicted is None or all_family is None:
        raise ValueError("all_predicted, all_family: none given. Give the prediction on all families")
    everyone = _numbers(all_predicted, "all_predicted")
    if everyone.shape[1:] != (F, O) or np.shape(all_family) != (len(everyone),):
        found = f"shape {everyone.shape} with {np.shape(all_family)} labels"
        raise ValueError(
            f"all_predicted, all_family: {found}. Give (prompts, {F}, {O}) and one label for each"
        )
    names = families_of(knockout_family)[1]
    rest = ~np.isin(np.asarray(all_family), names)
    codes = families_of(np.asarray(all_family)[rest])[0]
    return g, everyone[rest], len(names) + codes


def family_means(x: Array, counted: Counted, family: NDArray[Any]) -> FamilyMeans:
    """Means of families over the prompts that count, of x (P, F, O); a family weighs by the share of those prompts."""
    codes, names = families_of(family)
    total, number = _sums(np.where(counted, x, 0.0), codes), _sums(counted.astype(float), codes)
    share = number / np.bincount(codes, minlength=len(names))[:, None, None]
    whole = share.sum(axis=0)
    each, weight = total / np.maximum(number, 1.0), share / np.where(whole > 0, whole, 1.0)
    return FamilyMeans(each, weight, x, counted, codes)


def _sums(x: Array, codes: NDArray[np.int_]) -> Array:
    """Sums (C, F, O) over the prompts (P, F, O) of every family."""
    P = len(x)
    one = csr_array((np.ones(P), (codes, np.arange(P))), shape=(int(codes.max(initial=-1)) + 1, P))
    return np.asarray((one @ x.reshape(P, -1)).reshape(-1, *x.shape[1:]))


def leave_families_out(own: FamilyMeans, mine: FamilyMeans, target: Array) -> LeftOut:
    """Weight of the predictions ``mine`` of the same families, and what leaving each family out changes.

    ``target`` (F, O) is the prediction's mean over all families.
    """
    count, pull = own.count, own.pull
    (cross, cross_gone), (square, square_gone) = _products(own, mine), _products(mine, mine)
    own_square, own_gone = _products(own, own)
    varies = square > (ROUNDING * mine.mean) ** 2
    cross, square = (np.where(varies, x, 0.0) for x in (cross, square))
    lam = _weights(cross, square, own_square, count)
    left = _left(square, square_gone)
    without = _weights(
        np.where(left > 0, cross - cross_gone, 0.0), left, _left(own_square, own_gone), count - 1
    )
    moved = -pull * own.off + without * pull * mine.off + (without - lam) * (target - mine.mean)
    return LeftOut(lam, np.where(own.weight > 0, moved, 0.0))


def _products(a: FamilyMeans, b: FamilyMeans) -> tuple[Array, Array]:
    """Mean product (F, O) of two quantities over prompts, about their means, and what goes of it with each family."""
    between, within = a.off * b.off, a.weight * a.within(b)
    whole = (a.weight * between + within).sum(axis=0)
    # A sum of products about its own mean loses weight/(1 - weight) off^2 with family c.
    return whole, a.pull * between + within


def _left(whole: Array, gone: Array) -> Array:
    """What is left of a sum of squares (F, O) without each family (C, F, O); 0 where one family had all of it, to rounding."""
    left = whole - gone
    return np.where(left > ALL_OF_IT * whole, left, 0.0)


def _weights(cross: Array, square: Array, own_square: Array, count: NDArray[np.int_]) -> Array:
    """Weight (..., F, O) of each feature's prediction from its products with the knockout, its own, and the knockout's."""
    pooled = _ratio(cross.sum(axis=-2, keepdims=True), square.sum(axis=-2, keepdims=True))
    explained = np.clip(_ratio(cross**2, square * own_square), 0.0, 1.0)
    prior = PRIOR * (1.0 - explained) / np.maximum(count - 1, 1)
    return _ratio(cross + prior * pooled * square, (1.0 + prior) * square)


def _ratio(top: Array, below: Array) -> Array:
    return np.asarray(np.where(below > 0, top / np.where(below > 0, below, 1.0), 0.0))


def _sample(count: NDArray[np.int_]) -> Array:
    """From weights that sum to 1 to the divisor C - 1."""
    return np.asarray(count / np.maximum(count - 1, 1))


def _jackknife(moved: Array, count: NDArray[np.int_]) -> Array:
    return np.asarray((moved**2).sum(axis=0) * (count - 1) / np.maximum(count, 1))


def _welch(v_e: Array, df_e: Array, v_g: Array, df_g: Array) -> Array:
    """Degrees of freedom of a sum of two variances; that of the first where both are 0."""
    below = v_e**2 / np.maximum(df_e, 1e-300) + v_g**2 / np.maximum(df_g, 1e-300)
    return np.where(below > 0, (v_g + v_e) ** 2 / np.where(below > 0, below, 1.0), df_e)
