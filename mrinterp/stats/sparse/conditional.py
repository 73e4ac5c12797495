"""Effects of instruments given others, from marginal effects and correlations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["conditional_effects", "dose_sum_of_squares"]

Array = NDArray[np.float64]


def dose_sum_of_squares(beta: Array, variance: Array, trait_sum_of_squares: Array, n: Array) -> Array:
    """Sum of squares of each instrument's centred doses that least squares must have had, (T, J).

    Solves ``variance = (y'y - d beta**2) / ((n - 2) d)`` for d.
    """
    return np.asarray(trait_sum_of_squares[:, None] / (variance * (n[:, None] - 2.0) + beta * beta))


def conditional_effects(
    beta: Array,
    d: Array,
    trait_sum_of_squares: Array,
    n: Array,
    ld: Array,
    given: NDArray[np.int_],
    max_r2: float = 0.9,
) -> tuple[Array, Array]:
    """Effects left at each instrument after regressing out a given set, and their error variances.

    Parameters
    ----------
    beta : ndarray (T, J)
        Marginal effects.
    d : ndarray (T, J)
        Sums of squares of the centred doses.
    trait_sum_of_squares, n : ndarray (T,)
        Sum of squares of each centred trait, and sample size.
    ld : ndarray (J, J)
        Correlation of the instruments.
    given : ndarray of int
        Instruments that are conditioned on.
    max_r2 : float
        Instruments better explained than this by the given ones have no conditional effect.

    Returns
    -------
    effect, variance : ndarray (T, J)
        Change of the trait per unit of the instrument's *whole* dose that the given set does not
        account for; nan at the given instruments and at those collinear with them.

    References
    ----------
    Yang et al. 2012, Nature Genetics, doi:10.1038/ng.2213.
    """
    root = np.sqrt(d)
    inverse = np.linalg.pinv(ld[np.ix_(given, given)], hermitian=True)
    score = beta * root  # marginal effects on doses of unit sum of squares
    weight = inverse @ ld[given]  # (given, J)
    effect = (score - score[:, given] @ weight) / root
    left = 1.0 - np.einsum("gj,gj->j", ld[given], weight)
    explained = np.einsum("tg,gh,th->t", score[:, given], inverse, score[:, given])
    residual = trait_sum_of_squares[:, None] - explained[:, None] - effect * d * beta
    variance = residual / (n[:, None] - 1.0 - len(given)) * left / d
    gone = (left < 1.0 - max_r2) | np.isin(np.arange(beta.shape[-1]), given)
    effect, variance = np.where(gone, np.nan, effect), np.where(gone | (variance <= 0.0), np.nan, variance)
    return effect, variance
