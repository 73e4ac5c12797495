"""Does a correlation matrix belong to these z-scores? Its inconsistency, and instruments whose sign is the other one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # linalg loads when it is used: a small table does not
from numpy.typing import NDArray
from scipy import special

from mrinterp.stats.sparse.sparsity import forward_selection
from mrinterp.stats.tests.tails import neglog10p_chi2

__all__ = [
    "TOLERATED",
    "Spectrum",
    "adjusted_z",
    "causes_needed",
    "chi2_left",
    "dense_inconsistency",
    "inconsistency",
    "null_gain",
    "spectrum",
    "swapped_signs",
]

Array = NDArray[np.float64]

_BLOCK_ELEMENTS = 2_000_000  # doubles of one (traits, instruments) block (16 MB)
TOLERATED = 0.1
"""Share of the identity up to which a matrix is said to belong to z-scores."""

_LEAST_MIXED = 1e-3  # below it, directions without variance would decide what is predicted
_EFFECTS = np.concatenate([[0.0], 10.0 ** np.arange(-2.0, 6.1, 0.25)])
"""Sizes of effects, as n times the variance of one instrument's effect, at which likelihoods are compared."""
_SHARES = np.array([0.0, 0.03, 0.1, 0.3, 1.0])
_SMALLEST_EIGENVALUE = 1e-2  # directions with less variance amplify rounding of the matrix
_LEAST_GAIN = 4.0  # a flip that lowers the deviance by less is not worth following
_SEARCH_STEPS = 40  # the interval shrinks to 4e-9


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues (J,) and eigenvectors (J, J) of a correlation matrix, computed once for all traits."""

    value: Array
    vector: Array

    def mixed(self, s: Array) -> Array:
        """Eigenvalues of (1 - s) R + s I for each s, (T, J)."""
        return np.asarray((1.0 - s)[:, None] * self.value + s[:, None])


def spectrum(ld: Array) -> Spectrum:
    """Decompose a correlation matrix; eigenvalues that rounding made negative become 0."""
    # Needs a copy and the vectors; numpy's driver (evd) takes two more matrices of work, in the same time.
    value, vector = scipy.linalg.eigh(ld, check_finite=False, driver="evr")
    return Spectrum(np.maximum(value, 0.0), vector)


def inconsistency(z: Array, decomposed: Spectrum, floor: float = 1e-8) -> Array:
    """Maximum likelihood s in z ~ N(0, (1 - s) R + s I), one per trait, shape (T,).

    Near 0 where the matrix comes from the data of the z-scores; a matrix from other data, swapped
    alleles or mixed sample sizes raise it. Eigenvalues below ``floor`` are rounding and taken as 0.

    References
    ----------
    Zou et al. 2022, PLoS Genetics, doi:10.1371/journal.pgen.1010299.
    """
    value = np.where(decomposed.value > floor, decomposed.value, 0.0)
    block = max(1, _BLOCK_ELEMENTS // max(1, z.shape[-1]))
    parts = [
        _least_deviance((z[t : t + block] @ decomposed.vector) ** 2, value) for t in range(0, len(z), block)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _least_deviance(score2: Array, value: Array) -> Array:
    """Golden-section search for s of every trait at once."""

    def deviance(s: Array) -> Array:
        v = (1.0 - s)[:, None] * value + s[:, None]
        return np.asarray((np.log(v) + score2 / v).sum(-1))

    ratio = (np.sqrt(5.0) - 1.0) / 2.0
    low, high = np.full(len(score2), 1e-12), np.ones(len(score2))
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = deviance(left), deviance(right)
    for _ in range(_SEARCH_STEPS):
        down = at_left < at_right
        high, low = np.where(down, right, high), np.where(down, low, left)
        inner = np.where(down, high - ratio * (high - low), low + ratio * (high - low))
        value_inner = deviance(inner)
        left, right = np.where(down, inner, right), np.where(down, left, inner)
        at_left, at_right = np.where(down, value_inner, at_right), np.where(down, at_left, value_inner)
    return np.asarray(0.5 * (low + high))


def adjusted_z(z: Array, n: Array) -> Array:
    """Correlations of trait and instruments times the root of n - 1, from z-scores (T, J) and sizes n (T,).

    For small effects these are the z-scores themselves; for large ones only they are linear in the LD.
    """
    size = n[:, None]
    return np.asarray(z * np.sqrt((size - 1.0) / (z * z + size - 2.0)))


def chi2_left(
    z: Array, ld: Array, decomposed: Spectrum, causes: int, n: Array | None = None, mixed: bool = False
) -> tuple[Array, int]:
    """Chi-square of what the best causes, picked one after the other, leave of the z-scores (T,), and its df.

    Parameters
    ----------
    z : ndarray (T, J)
        z-scores; those of `adjusted_z` where ``n`` is given.
    ld : ndarray (J, J)
    decomposed : Spectrum
        Of ``ld``.
    causes : int
    n : ndarray (T,), optional
        Sample sizes. What causes explain, a share r of the trait's variance, meets the sampling error of the
        matrix: of the same data, errors have variance 1 - r; of another sample of m, 1 + r n / m. Taken as 1 + r,
        so that a matrix from a sample as large as the study's will do.
    mixed : bool
        Whether the share of the identity that makes the rest likeliest is mixed in: it takes up the
        inconsistency of a matrix from other data, not that of very many effects.
    """
    picked = forward_selection(z, ld, causes)
    kept = decomposed.value > _SMALLEST_EIGENVALUE
    rest = picked.residual_z
    share = inconsistency(rest, decomposed) if mixed else np.zeros(len(z))
    value = decomposed.mixed(share)[:, kept]
    chi2 = ((rest @ decomposed.vector[:, kept]) ** 2 / value).sum(-1)
    if n is not None:
        explained = np.nansum(picked.chosen_z**2, axis=-1) / (n - 1.0)
        chi2 = chi2 / (1.0 + np.minimum(explained, 1.0))
    return np.asarray(chi2), int(kept.sum()) - causes


def causes_needed(
    z: Array,
    ld: Array,
    decomposed: Spectrum,
    most: int,
    n: Array | None = None,
    *,
    alpha: float = 1e-3,
    mixed: bool = False,
) -> NDArray[np.int_]:
    """Fewest causes, 1 to ``most``, after which the rest is noise at level ``alpha``; ``most`` + 1 for more, (T,).

    Arrays as in `chi2_left`.
    """
    needed = np.full(len(z), most + 1)
    bad = np.arange(len(z))
    for k in range(1, most + 1):
        chi2, df = chi2_left(z[bad], ld, decomposed, k, None if n is None else n[bad], mixed)
        if df < 1 or not len(bad):
            break
        fits = neglog10p_chi2(chi2, np.full(len(bad), float(df))) <= -np.log10(alpha)
        needed[bad[fits]] = k
        bad = bad[~fits]
    return needed


def _deviance(score2: Array, value: Array) -> Array:
    """-2 log likelihood of squared scores under variances, up to a constant."""
    return np.asarray((np.log(value) + score2 / value).sum(-1))


def null_gain(z: Array, decomposed: Spectrum, s: Array) -> Array:
    """By how much a share s of the identity lowers the deviance of each trait, against none, (T,)."""
    score2 = (z @ decomposed.vector) ** 2
    value = np.maximum(decomposed.value, _LEAST_MIXED)
    least = np.maximum(decomposed.mixed(s), _LEAST_MIXED)
    return np.asarray(_deviance(score2, value) - _deviance(score2, least))


def dense_inconsistency(z: Array, decomposed: Spectrum) -> tuple[Array, Array]:
    """The same as `inconsistency` where many instruments may act: share s, and how much it lowers the deviance.

    z ~ N(0, (1 - s)(R + a R^2) + s (1 + a c) I): effects of any size a follow R; what does not follow it has the
    same total (c = trace(R^2) / J). Both are chosen from a grid.
    """
    value, step = decomposed.value, max(1, _BLOCK_ELEMENTS // max(1, z.shape[-1]))
    share, gain = np.empty(len(z)), np.empty(len(z))
    follows = value + _EFFECTS[:, None] * value * value
    apart = 1.0 + _EFFECTS * np.mean(value * value)
    for start in range(0, len(z), step):
        block = slice(start, start + step)
        score2 = (z[block] @ decomposed.vector) ** 2
        least = np.full((len(_SHARES), len(score2)), np.inf)
        for k, s in enumerate(_SHARES):
            for along, away in zip(follows, apart, strict=True):
                now = _deviance(score2, (1.0 - s) * along + s * away + _LEAST_MIXED)
                np.minimum(least[k], now, out=least[k])
        best = least.argmin(0)
        share[block], gain[block] = _SHARES[best], least[0] - least.min(0)
    return share, gain


def swapped_signs(z: Array, decomposed: Spectrum) -> tuple[NDArray[np.bool_], Array]:
    """Instruments whose z would fit the others with the other sign, and how much that lowers the deviance.

    Compares z ~ N(0, .9 R + .1 I + a R^2) for every size of effects a with the same after changes of sign, which
    are sought one at a time, the largest gain first. (.1: the inconsistency that is let pass, see `TOLERATED`.)

    Parameters
    ----------
    z : ndarray (T, J)
    decomposed : Spectrum
        Of R.

    Returns
    -------
    swapped : ndarray (T, J) of bool
    gain : ndarray (T,)
        Deviance without any change less that with the best, less 2 log of how many sets of so many
        instruments there are.
    """
    T, J = z.shape
    step = max(1, _BLOCK_ELEMENTS // max(1, J))
    swapped, gain = np.zeros((T, J), dtype=bool), np.zeros(T)
    log_sets = 2.0 * (special.gammaln(J + 1) - special.gammaln(np.arange(J + 1) + 1))
    log_sets -= 2.0 * special.gammaln(J - np.arange(J + 1) + 1)
    for start in range(0, T, step):
        block = slice(start, start + step)
        rows = z[block]
        plain, best = np.full(len(rows), np.inf), np.full(len(rows), np.inf)
        for a in _EFFECTS[::2]:  # every other one: signs change the likelihood more than the size does
            value = decomposed.mixed(np.full(1, TOLERATED))[0] + a * decomposed.value**2
            start_at, least, pattern = _best_signs(rows, decomposed.vector, value, log_sets)
            np.minimum(plain, start_at, out=plain)
            better = least < best
            best[better], swapped[block][better] = least[better], pattern[better]
        gain[block] = plain - best
    return swapped, gain


def _best_signs(
    z: Array, vector: Array, value: Array, log_sets: Array
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Deviance as it is (T,), the least on the way of greedy changes of sign (T,), and which these are (T, J)."""
    T, J = z.shape
    now, flipped = z.copy(), np.zeros((T, J), dtype=bool)
    precision = (vector * vector) @ (1.0 / value)  # diagonal of the inverse
    whitened = ((z @ vector) / value) @ vector.T
    deviance = np.log(value).sum() + (z * whitened).sum(-1)
    first, best, pattern = deviance.copy(), deviance.copy(), flipped.copy()
    going = np.arange(T)
    for count in range(1, J // 2 + 1):
        x = now[going]
        change = np.where(flipped[going], np.inf, 4.0 * x * (x * precision - whitened[going]))
        j = change.argmin(-1)
        fall = change[np.arange(len(going)), j]
        going, j, fall = (part[fall < -_LEAST_GAIN] for part in (going, j, fall))
        if not len(going):
            break
        at, back = np.unique(j, return_inverse=True)
        column = (vector[at] / value) @ vector.T
        now[going, j] *= -1.0
        flipped[going, j] = True
        whitened[going] += 2.0 * now[going, j][:, None] * column[np.ravel(back)]
        deviance[going] += fall
        better = going[deviance[going] + log_sets[count] < best[going]]
        best[better], pattern[better] = deviance[better] + log_sets[count], flipped[better]
    return first, best, pattern
