"""Direction of an effect: the cause is the trait that the instruments explain better."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.results._check import Check, NotApplicable
from mrinterp.stats.tests.direction import compare_correlations, correlations_from_effects, precision_volumes
from mrinterp.stats.tests.tails import neglog10p_normal

__all__ = ["steiger_by_instrument", "steiger_test"]


def steiger_test(
    data: MRData,
    exposure: str | None = None,
    outcome: str | None = None,
    *,
    reliability_x: float = 1.0,
    reliability_y: float = 1.0,
    trait_correlation: float | None = None,
) -> Check | NotApplicable:
    """Whether the instruments together explain more of the exposure than of the outcome.

    Parameters
    ----------
    data : MRData
        With sample sizes ``n_x`` and ``n_y``.
    exposure, outcome : str, optional
        Names; the first of each by default.
    reliability_x, reliability_y : float
        Correlation of each measured trait with the trait itself, above 0 and at most 1.
    trait_correlation : float, optional
        Correlation of the two traits, where both were measured in the same runs; independent samples
        by default.

    Returns
    -------
    Check or NotApplicable
        ``statistic`` is the normal score of the difference of the two correlations. Passed: the exposure
        is explained better beyond chance; failed: the outcome is; warning: it cannot be told. Not
        applicable without sample sizes, or where the instruments explain all of a trait.

    Raises
    ------
    InputError
        For an unknown trait, or a reliability that is not above 0 and at most 1.

    Notes
    -----
    R^2 of a trait is the sum of r_j^2 = F_j / (F_j + n - 2) over the instruments, or r' ld^-1 r where they are
    correlated, divided by the square of the trait's reliability; R_x and R_y are compared by `compare_correlations`. The sensitivity
    ratio is the volume of measurement precisions under which the exposure would be explained better over that
    under which the outcome would. Not valid where instruments act on the outcome around the exposure, nor
    evidence where direction is given by structure: a site that precedes the outcome is its cause or
    nothing. Source: Hemani, Tilling & Davey Smith 2017 PLoS Genet, doi:10.1371/journal.pgen.1007081.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import MRData
    >>> from mrinterp.diagnostics import steiger_test
    >>> beta = np.array([[0.3, 0.5, 0.4]])
    >>> data = MRData(
    ...     beta_x=beta, se_x=np.full((1, 3), 0.02), beta_y=0.2 * beta, se_y=np.full((1, 3), 0.02),
    ...     exposures=("feature",), outcomes=("outcome",), instruments=("a", "b", "c"),
    ...     n_x=np.array([1000.0]), n_y=np.array([1000.0]),
    ... )
    >>> steiger_test(data).verdict
    'passed'
    """
    name = "direction (Steiger)"
    x, y = _at(data.exposures, exposure, "exposure"), _at(data.outcomes, outcome, "outcome")
    for side, value in (("x", reliability_x), ("y", reliability_y)):
        if not 0.0 < value <= 1.0:
            raise InputError(f"reliability_{side}", f"{value:g}", "Give a correlation above 0 and at most 1")
    if data.n_x is None or data.n_y is None:
        return NotApplicable("sample sizes are not known: give n_x and n_y with the effects", name)
    n = np.array([data.n_x[x], data.n_y[y]], float)
    r_x, r_y = (
        _joint(correlations_from_effects(beta, se, size), data.ld) / reliability
        for beta, se, size, reliability in (
            (data.beta_x[x], data.se_x[x], n[0], reliability_x),
            (data.beta_y[y], data.se_y[y], n[1], reliability_y),
        )
    )
    if not max(r_x, r_y) < 1.0:
        why = f"the instruments explain more than all of a trait (R {max(r_x, r_y):.2f})"
        return NotApplicable(f"{why}: they are correlated, or a reliability is too low", name)
    z = float(compare_correlations(r_x, r_y, n[0], n[1], trait_correlation))
    for_x, for_y = precision_volumes(float(r_x), float(r_y))
    told = neglog10p_normal(z) > -np.log10(0.05)
    return Check(
        name=name,
        null_in_words="the instruments explain as much of the outcome as of the exposure",
        statistic=z,
        df=float("nan"),
        neglog10p=float(neglog10p_normal(z)),
        verdict=("passed" if z > 0 else "failed") if told else "warning",
        note=f"{len(data.instruments)} instruments explain {r_x**2:.3%} of {data.exposures[x]} and {r_y**2:.3%} of"
        f" {data.outcomes[y]} (z {z:.1f}); measurement error could turn it round in"
        f" {for_y / (for_x + for_y):.0%} of the volume of precisions (sensitivity ratio {for_x / for_y:.3g}).",
    )


def steiger_by_instrument(
    data: MRData,
    exposure: str | None = None,
    outcome: str | None = None,
    *,
    trait_correlation: float | None = None,
) -> pd.DataFrame | NotApplicable:
    """The same instrument by instrument: those that explain the outcome better are suspect.

    Parameters
    ----------
    data : MRData
        With sample sizes ``n_x`` and ``n_y``.
    exposure, outcome : str, optional
        Names; the first of each by default.
    trait_correlation : float, optional
        Correlation of the two traits, where both were measured in the same runs; independent samples
        by default.

    Returns
    -------
    DataFrame
        ``instrument, r2_x, r2_y, z, neglog10p, direction`` (``forward`` where r2_x is larger, else
        ``reverse``), one row per instrument; `NotApplicable` without sample sizes. Dropping the reverse
        ones and estimating from the same numbers biases the estimate towards the asserted direction.

    Raises
    ------
    InputError
        For an unknown trait.

    Notes
    -----
    As `steiger_test`, one instrument at a time: not valid where the instrument acts on the outcome around
    the exposure.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import MRData
    >>> from mrinterp.diagnostics import steiger_by_instrument
    >>> beta = np.array([[0.3, 0.5, 0.4]])
    >>> data = MRData(
    ...     beta_x=beta, se_x=np.full((1, 3), 0.02), beta_y=0.2 * beta, se_y=np.full((1, 3), 0.02),
    ...     exposures=("feature",), outcomes=("outcome",), instruments=("a", "b", "c"),
    ...     n_x=np.array([1000.0]), n_y=np.array([1000.0]),
    ... )
    >>> list(steiger_by_instrument(data)["direction"])
    ['forward', 'forward', 'forward']
    """
    x, y = _at(data.exposures, exposure, "exposure"), _at(data.outcomes, outcome, "outcome")
    if data.n_x is None or data.n_y is None:
        why = "sample sizes are not known: give n_x and n_y with the effects"
        return NotApplicable(why, "direction (Steiger)")
    r_x = np.abs(correlations_from_effects(data.beta_x[x], data.se_x[x], data.n_x[x]))
    r_y = np.abs(correlations_from_effects(data.beta_y[y], data.se_y[y], data.n_y[y]))
    z = compare_correlations(r_x, r_y, data.n_x[x], data.n_y[y], trait_correlation)
    return pd.DataFrame(
        {
            "instrument": list(data.instruments),
            "r2_x": r_x**2,
            "r2_y": r_y**2,
            "z": z,
            "neglog10p": neglog10p_normal(z),
            "direction": np.where(r_x > r_y, "forward", "reverse"),
        }
    )


def _joint(r: NDArray[np.float64], ld: NDArray[np.float64] | None) -> float:
    """Multiple correlation with all instruments."""
    return float(np.sqrt(r @ r if ld is None else r @ np.linalg.pinv(ld, hermitian=True) @ r))


def _at(names: tuple[str, ...], name: str | None, kind: str) -> int:
    if name is None:
        return 0
    if name not in names:
        raise InputError(f"{kind} {name!r}", "no such trait", f"Known: {', '.join(names[:8])}")
    return names.index(name)
