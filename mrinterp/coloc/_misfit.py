"""Does one sparse cause describe a locus? Where many alleles act, colocalization does not apply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.mrdata import MRData
from mrinterp.stats.sparse.ld_mismatch import Spectrum, inconsistency, spectrum
from mrinterp.stats.sparse.sparsity import forward_selection
from mrinterp.stats.tests.tails import neglog10p_chi2

__all__ = ["locus_statuses"]

Array = NDArray[np.float64]

_MOST_CAUSES = 5  # beyond so many, "sparse" is the wrong picture and the locus is called dense
_FEW_TRAITS = 20  # up to so many traits, the fit of each is listed
_SMALLEST_EIGENVALUE = 1e-2  # directions with less variance amplify rounding and mismatch of the matrix


def locus_statuses(
    data: MRData, label: NDArray[np.int_], names: Sequence[str], alpha: float
) -> tuple[NDArray[np.object_], dict[str, dict[str, Any]]]:
    """``"ok"`` or why colocalization does not apply, (F, O, K), and the test of each locus and trait.

    ``label`` (J,) is the locus of each instrument, 0 to K - 1 in the order of ``names``; ``alpha`` the
    significance level of the test. Where there are many traits, only those that fail are listed.
    """
    status = np.full((len(data.exposures), len(data.outcomes), len(names)), "ok", dtype=object)
    numbers: dict[str, dict[str, Any]] = {name: {} for name in names}
    traits = (*data.exposures, *data.outcomes)
    for k, place in enumerate(names):
        members = np.flatnonzero(label == k)
        ld = None if data.ld is None else data.ld[np.ix_(members, members)]
        z = np.concatenate(
            [(b / s)[:, members] for b, s in ((data.beta_x, data.se_x), (data.beta_y, data.se_y))]
        )
        chi2, p, causes, df = one_cause_misfit(z, ld, alpha)
        shown = causes > 1 if len(traits) > _FEW_TRAITS else np.ones(len(traits), bool)
        for t in np.flatnonzero(shown):
            row = {"chi2": float(chi2[t]), "df": df, "neglog10p": float(p[t]), "causes": int(causes[t])}
            numbers[place][traits[t]] = row
        for t in np.flatnonzero(causes > 1):
            why = _reason(traits[t], int(causes[t]), float(chi2[t]), df, float(p[t]))
            first = len(data.exposures)
            cells = status[t, :, k] if t < first else status[:, t - first, k]
            cells[cells == "ok"] = why
    return status, numbers


def _reason(trait: str, causes: int, chi2: float, df: int, neglog10p: float) -> str:
    left = f"(one cause leaves chi2 {chi2:.4g} on {df}, p = 1e-{neglog10p:.0f})"
    if causes <= _MOST_CAUSES:
        return (
            f"{trait} needs {causes} causes in this locus {left}: colocalize its signals one by one"
            " (fine-map both traits, then compare credible sets), or split the locus"
        )
    return (
        f"very many instruments of this locus act on {trait} {left}: one sparse cause does not describe it;"
        " use Mendelian randomization over the whole locus, or check that the LD is that of the same data"
    )


def one_cause_misfit(
    z: Array, ld: Array | None, alpha: float = 1e-3
) -> tuple[Array, Array, NDArray[np.int_], int]:
    """Test the z-scores of each trait in one locus against a single cause.

    What the best single cause leaves of the z-scores is compared with noise of covariance
    (1 - s) R + s I, on (rank - 1) degrees of freedom. s is estimated from the same rest: it takes up the
    inconsistency of a correlation matrix from other data (excess where R has little variance), not
    that of very many effects (excess where R has much). The best cause is chosen from the same data, which makes
    the test conservative. Where it fails, causes are added one at a time until the rest is noise.

    Parameters
    ----------
    z : ndarray (T, J)
        z-scores of the instruments of the locus.
    ld : ndarray (J, J) or None
        Their correlation; None means independent.
    alpha : float
        Significance level of the test.

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
    bad = np.flatnonzero(p > -np.log10(alpha))
    causes[bad] = _MOST_CAUSES + 1
    for k in range(2, min(_MOST_CAUSES, rank - 1) + 1):
        if not len(bad):
            break
        fits = neglog10p_chi2(
            _chi2_left(z[bad], ld, decomposed, k), np.full(len(bad), float(rank - k))
        ) <= -np.log10(alpha)
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
