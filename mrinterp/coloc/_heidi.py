"""HEIDI: are the ratios of two traits' effects the same at all instruments of a locus?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_count, checked_fraction
from mrinterp.core.ld import check_ld
from mrinterp.core.mrdata import MRData
from mrinterp.results._check import Check, NotApplicable
from mrinterp.stats.tests.chi2_mixture import neglog10p_chi2_mixture

__all__ = ["heidi"]

Array = NDArray[np.float64]

REFERENCE = "Zhu et al. 2016, Nature Genetics, doi:10.1038/ng.3538"
_FEWEST = 3  # the strongest instrument and two to compare with it
_NO_INFORMATION = 1e-12  # variance of a difference, relative to that of a ratio, that is only rounding


def heidi_statistics(
    beta_x: Array, variance_x: Array, beta_y: Array, variance_y: Array, covariance: Array, ld: Array
) -> tuple[Array, Array]:
    """Heterogeneity of the ratios in one locus around that of the strongest instrument.

    Parameters
    ----------
    beta_x, variance_x, beta_y, variance_y, covariance : ndarray (B, J)
        Effects, error variances and covariances of B pairs of traits on the same instruments.
    ld : ndarray (J, J)
        Correlation of the instruments.

    Returns
    -------
    statistic, neglog10p : ndarray (B,)
        Sum of squared standardized differences, and its tail under the weighted chi-square
        distribution that their correlation implies.
    """
    b = np.arange(len(beta_x))
    top = np.argmax(beta_x**2 / variance_x, axis=-1)
    ratio = beta_y / beta_x
    theta = ratio[b, top]
    error = variance_y + theta[:, None] ** 2 * variance_x - 2.0 * theta[:, None] * covariance
    root = np.sqrt(error) / beta_x
    cov = ld * root[:, :, None] * root[:, None, :]
    to_top = cov[b, :, top]
    cov = cov - to_top[:, :, None] - to_top[:, None, :] + cov[b, top, top][:, None, None]
    variance = np.einsum("bjj->bj", cov)
    others = np.arange(beta_x.shape[1])[None, :] != top[:, None]
    keep = others & (variance > _NO_INFORMATION * root**2)
    difference = np.where(keep, ratio - theta[:, None], 0.0)
    scale = np.where(keep, 1.0 / np.sqrt(np.where(keep, variance, 1.0)), 0.0)
    corr = cov * scale[:, :, None] * scale[:, None, :]
    weights = np.maximum(np.linalg.eigvalsh(corr), 0.0)
    statistic = ((difference * scale) ** 2).sum(-1)
    return statistic, neglog10p_chi2_mixture(statistic, weights)


def heidi(
    data: MRData,
    exposure: str,
    outcome: str,
    *,
    min_abs_z: float = 3.16,
    max_r2: float = 0.9,
    max_instruments: int = 20,
    alpha: float = 0.05,
) -> Check | NotApplicable:
    """Test whether one shared cause explains a feature's and an outcome's effects in a locus.

    Parameters
    ----------
    data : MRData
        The instruments of one locus; ``ld`` None means independent.
    exposure, outcome : str
        The pair.
    min_abs_z : float
        Instruments need this absolute z on the exposure (3.16: p below 0.0016).
    max_r2 : float
        Instruments more strongly correlated than this with the strongest one are left out: they tell
        nothing that it does not.
    max_instruments : int
        Only this many are used, the strongest.
    alpha : float
        Significance level of the test.

    Returns
    -------
    Check or NotApplicable
        A failed check says that feature and outcome have different causes here (linkage). Not applicable
        where effects contradict the LD, or too few instruments are strong.

    Notes
    -----
    Not valid with weak instruments. Its power grows with the number of instruments; passing it is no
    evidence that the cause is shared.

    References
    ----------
    Zhu et al. 2016, Nature Genetics, doi:10.1038/ng.3538.

    Examples
    --------
    >>> from mrinterp import coloc, tables
    >>> data = tables.summary_from_arrays([1.0, 0.9, 0.8], [0.1] * 3, [0.5, 0.45, 0.4], [0.05] * 3)
    >>> coloc.heidi(data, "exposure", "outcome").verdict
    'passed'
    """
    checked_fraction(alpha, "alpha", zero=False, one=False)
    checked_fraction(max_r2, "max_r2")
    checked_count(max_instruments, "max_instruments", least=_FEWEST)
    one = data.select([exposure], [outcome])
    z = one.beta_x[0] / one.se_x[0]
    ld = np.eye(len(z)) if one.ld is None else one.ld
    top = int(np.argmax(np.abs(z)))
    usable = (np.abs(z) >= min_abs_z) & ((ld[top] ** 2 <= max_r2) | (np.arange(len(z)) == top))
    chosen = np.flatnonzero(usable)
    chosen = np.sort(chosen[np.argsort(-np.abs(z[chosen]), kind="stable")][:max_instruments])
    name = f"HEIDI {exposure} and {outcome}"
    if one.ld is not None:
        for trait, beta, se, n in (
            (exposure, one.beta_x, one.se_x, one.n_x),
            (outcome, one.beta_y, one.se_y, one.n_y),
        ):
            why = check_ld(beta / se, one.ld, one.instruments, n).reasons[0]
            if why:
                return NotApplicable(f"{trait}: {why}", name)
    if len(chosen) < _FEWEST:
        reason = f"{len(chosen)} instruments with |z| >= {min_abs_z:g} on {exposure}; comparing ratios needs {_FEWEST}"
        return NotApplicable(reason, name)
    variance_x, variance_y = one.se_x[0, chosen] ** 2, one.se_y[0, chosen] ** 2
    covariance = np.zeros(len(chosen))
    if one.sigma is not None:
        covariance = one.sigma[chosen, 0, 1]
    elif one.error_corr is not None:
        covariance = one.error_corr[0, 1] * np.sqrt(variance_x * variance_y)
    statistic, p = heidi_statistics(
        one.beta_x[:, chosen],
        variance_x[None],
        one.beta_y[:, chosen],
        variance_y[None],
        covariance[None],
        ld[np.ix_(chosen, chosen)],
    )
    failed = p[0] > -np.log10(alpha)
    return Check(
        name=name,
        null_in_words="all instruments of the locus give the same ratio of effects: one shared cause",
        statistic=float(statistic[0]),
        df=float(len(chosen) - 1),
        neglog10p=float(p[0]),
        verdict="failed" if failed else "passed",
        note=f"{len(chosen)} instruments, p = {10 ** -p[0]:.2g}: "
        + ("the ratios differ, so the causes do" if failed else "no sign of different causes"),
    )
