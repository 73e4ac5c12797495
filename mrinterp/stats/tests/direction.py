"""Which of two traits instruments explain better: correlations, their comparison, and what could turn it round."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.stats.tests.tails import neglog10p_t

__all__ = [
    "compare_correlations",
    "correlations_from_effects",
    "correlations_from_frequency",
    "correlations_from_p",
    "precision_volumes",
]

Array = NDArray[np.float64]


def correlations_from_effects(beta: Array, se: Array, n: ArrayLike) -> Array:
    """Correlation of each instrument with the trait, sign(b) sqrt(F / (F + n - 2)), F = (b / se)^2.

    ``n`` (sample size) broadcasts; exact for the slope of a regression on one instrument.
    """
    f = np.square(beta / se)
    return np.asarray(np.sign(beta) * np.sqrt(f / (f + np.asarray(n, float) - 2.0)))


def correlations_from_p(neglog10p: Array, n: ArrayLike) -> Array:
    """Size of the correlation from a slope's two-sided -log10 p on n - 2 degrees of freedom.

    Parameters
    ----------
    neglog10p : ndarray
        Two-sided -log10 p of the slopes, any shape.
    n : array
        Sample sizes, broadcast to ``neglog10p``.

    Returns
    -------
    ndarray
        Sizes of the correlations, without their signs.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.stats import correlations_from_p
    >>> correlations_from_p(np.array([8.0, 300.0]), 5000).round(3)
    array([0.081, 0.49 ])
    """
    wanted, size = np.broadcast_arrays(np.asarray(neglog10p, float), np.asarray(n, float))
    df = size - 2.0
    low, high = np.zeros(wanted.shape), np.ones(wanted.shape)
    for _ in range(200):
        short = neglog10p_t(high, df) < wanted
        if not short.any():
            break
        high = np.where(short, 2.0 * high, high)
    for _ in range(100):  # bisection: the tail falls with t
        middle = 0.5 * (low + high)
        less = neglog10p_t(middle, df) < wanted
        low, high = np.where(less, middle, low), np.where(less, high, middle)
    f = np.square(0.5 * (low + high))
    return np.asarray(np.sqrt(f / (f + df)))


def correlations_from_frequency(beta: Array, frequency: ArrayLike, sd: ArrayLike = 1.0) -> Array:
    """Correlation b sqrt(2 p (1 - p)) / sd of an allele's count with a trait of standard deviation ``sd``.

    Parameters
    ----------
    beta : ndarray
        Effects b per allele, any shape.
    frequency : array
        Frequency p of the allele, broadcast to ``beta``.
    sd : array
        Standard deviation of the trait, in the unit of ``beta``.

    Returns
    -------
    ndarray
        Correlations, in the shape of ``beta``.

    Notes
    -----
    Holds in Hardy-Weinberg proportions. Needs no sample size, but ignores the error of b, so that small
    effects look larger than they are.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.stats import correlations_from_frequency
    >>> correlations_from_frequency(np.array([0.1, -0.2]), 0.5).round(3)
    array([ 0.071, -0.141])
    """
    p = np.asarray(frequency, float)
    return np.asarray(beta * np.sqrt(2.0 * p * (1.0 - p)) / np.asarray(sd, float))


def compare_correlations(
    first: ArrayLike,
    second: ArrayLike,
    n_first: ArrayLike,
    n_second: ArrayLike,
    traits: ArrayLike | None = None,
) -> Array:
    """Normal score of the difference of two correlations (positive where the first is larger; nan beyond 1).

    Parameters
    ----------
    first, second : array_like
        Correlations of the same instrument with two traits.
    n_first, n_second : array_like
        Sample sizes.
    traits : array_like, optional
        Correlation of the two traits, where both were measured in one and the same sample: the two
        correlations are then dependent. Independent samples by default.

    Notes
    -----
    (atanh r1 - atanh r2) / sqrt(1/(n1 - 3) + 1/(n2 - 3)); in one sample the variance is (2 - 2 s)/(n - 3),
    s = [r (1 - r1^2 - r2^2) - r1 r2 (1 - r1^2 - r2^2 - r^2) / 2] / [(1 - r1^2)(1 - r2^2)]. Source: Steiger
    1980 Psychol Bull, doi:10.1037/0033-2909.87.2.245.
    """
    r1, r2, n1, n2 = (np.asarray(v, float) for v in (first, second, n_first, n_second))
    variance = 1.0 / (n1 - 3.0) + 1.0 / (n2 - 3.0)
    if traits is not None:
        r = np.asarray(traits, float)
        left = 1.0 - r1 * r1 - r2 * r2
        s = (r * left - 0.5 * r1 * r2 * (left - r * r)) / ((1.0 - r1 * r1) * (1.0 - r2 * r2))
        variance = (2.0 - 2.0 * s) / (np.minimum(n1, n2) - 3.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((np.arctanh(r1) - np.arctanh(r2)) / np.sqrt(variance))


def precision_volumes(first: float, second: float) -> tuple[float, float]:
    """Over all precisions of the two measured traits, how much speaks for the first and for the second.

    Parameters
    ----------
    first, second : float
        Correlations of instrument and measured traits, between 0 and 1 (excluded).

    Returns
    -------
    for_first, for_second : float
        Integrals of the positive and of the negative part (as a positive number) of first/x - second/y over
        x in [first, 1] and y in [second, 1]: x and y are the correlations of each measured trait with the
        trait itself, so that first/x and second/y are those of the instrument with the traits.

    Notes
    -----
    With a the larger and b the smaller of the two, the part for a is
    -a log a - b (1 - a) + b [(1 - a) log(b / a) - 1 - a log a + a], and the difference of the two parts is
    -a log a (1 - b) + b log b (1 - a). Source: the sensitivity analysis of Hemani et al. 2017.
    """
    a, b = max(first, second), min(first, second)
    log_a, log_b = np.log(a), np.log(b)
    larger = -a * log_a - b * (1.0 - a) + b * ((1.0 - a) * (log_b - log_a) - 1.0 - a * log_a + a)
    smaller = larger - (-a * log_a * (1.0 - b) + b * log_b * (1.0 - a))
    return (float(larger), float(smaller)) if first >= second else (float(smaller), float(larger))
