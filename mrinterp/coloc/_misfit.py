"""Does one sparse cause describe a locus? Where many alleles act, colocalization does not apply."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.stats.sparse.ld_mismatch import Spectrum, inconsistency, spectrum
from mrinterp.stats.sparse.sparsity import forward_selection
from mrinterp.stats.tests.tails import neglog10p_chi2

__all__ = ["one_cause_misfit"]

Array = NDArray[np.float64]

_MOST_CAUSES = 5
_SMALLEST_EIGENVALUE = 1e-2  # directions with less variance amplify rounding and mismatch of the matrix


def one_cause_misfit(
    z: Array, ld: Array | None, level: float = 1e-3
) -> tuple[Array, Array, NDArray[np.int_], int]:
    """Test the z-scores of each trait in one locus against a single cause.

    What the best single cause leaves of the z-scores is compared with noise of covariance
    (1 - s) R + s I, on (rank - 1) degrees of freedom. s is estimated from the same rest: it takes up the
    inconsistency of a correlation matrix from other data (excess where R has little variance), not
    dense effects (excess where R has much). The best cause is chosen from the same data, which makes
    the test conservative. Where it fails, causes are added one at a time until the rest is noise.

    Parameters
    ----------
    z : ndarray (T, J)
        z-scores of the instruments of the locus.
    ld : ndarray (J, J) or None
        Their correlation; None means independent.
    level : float
        Level of the test.

    Returns
    -------
    chi2 : ndarray (T,)
        Heterogeneity left by the best single cause.
    neglog10p : ndarray (T,)
        nan where the locus has one direction only and nothing can be tested.
    causes : ndarray (T,) of int
        Causes needed: 1 (at most one), 2 to 5, or 6 for "more: dense".
    df : int
    """
    causes = np.ones(len(z), dtype=int)
    decomposed = None if ld is None else spectrum(ld)
    rank = z.shape[-1] if decomposed is None else int((decomposed.value > _SMALLEST_EIGENVALUE).sum())
    if rank < 2:
        return np.zeros(len(z)), np.full(len(z), np.nan), causes, 0
    chi2 = _chi2_left(z, ld, decomposed, 1)
    p = neglog10p_chi2(chi2, np.full(len(z), rank - 1.0))
    bad = np.flatnonzero(p > -np.log10(level))
    causes[bad] = _MOST_CAUSES + 1
    for k in range(2, min(_MOST_CAUSES, rank - 1) + 1):
        if not len(bad):
            break
        fits = neglog10p_chi2(
            _chi2_left(z[bad], ld, decomposed, k), np.full(len(bad), float(rank - k))
        ) <= -np.log10(level)
        causes[bad[fits]] = k
        bad = bad[~fits]
    return chi2, p, causes, rank - 1


def _chi2_left(z: Array, ld: Array | None, decomposed: Spectrum | None, causes: int) -> Array:
    """Chi-square of what the best causes, picked one after the other, leave of the z-scores."""
    if decomposed is None:
        square = np.sort(z * z, axis=-1)
        return np.asarray(square[:, : square.shape[1] - causes].sum(-1))
    rest = forward_selection(z, ld, causes).residual_z
    kept = decomposed.value > _SMALLEST_EIGENVALUE
    mixed = decomposed.mixed(inconsistency(rest, decomposed))[:, kept]
    return np.asarray(((rest @ decomposed.vector[:, kept]) ** 2 / mixed).sum(-1))
