"""Does a correlation matrix belong to these z-scores? Inconsistency and single instruments out of line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Spectrum", "inconsistency", "spectrum", "swapped_alleles"]

Array = NDArray[np.float64]

_BLOCK_ELEMENTS = 2_000_000  # doubles of one (traits, instruments) block (16 MB)
_LEAST_MIXED = 1e-3  # below it, directions without variance would decide what is predicted
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
    value, vector = np.linalg.eigh(ld)
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


def swapped_alleles(
    z: Array, decomposed: Spectrum, s: Array, threshold: float = 5.0
) -> tuple[Array, NDArray[np.bool_]]:
    """Distance of each z from what all others predict, and those whose sign looks swapped.

    Parameters
    ----------
    z : ndarray (T, J)
    decomposed : Spectrum
    s : ndarray (T,)
        Share of the identity that is mixed in (see `inconsistency`); at least 1e-3 is used.
    threshold : float
        Standardized distance beyond which an instrument is out of line.

    Returns
    -------
    distance : ndarray (T, J)
    flipped : ndarray (T, J) of bool
        Beyond the threshold, and less than half as far off with the other sign: the mark of swapped
        alleles. (A true cause is far from its prediction too, but not on the wrong side.)
    """
    mixed = decomposed.mixed(np.maximum(s, _LEAST_MIXED))
    precision = (1.0 / mixed) @ (decomposed.vector**2).T  # diagonal of the inverse
    whitened = ((z @ decomposed.vector) / mixed) @ decomposed.vector.T
    root = np.sqrt(precision)
    distance = whitened / root
    predicted = z - whitened / precision
    other_sign = np.abs(-z - predicted) * root
    return distance, (np.abs(distance) > threshold) & (predicted * z < 0.0) & (
        other_sign < 0.5 * np.abs(distance)
    )
