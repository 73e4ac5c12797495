"""Negative controls: what cannot act gives the null against which claims are held."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from mrinterp.core.array_checks import checked_array
from mrinterp.core.checks import checked_choice, checked_level, checked_number, checked_type
from mrinterp.core.errors import InputError
from mrinterp.results._estimates import Estimates
from mrinterp.results._negative_controls import NegativeControls
from mrinterp.stats.tests.tails import critical_value, neglog10p_chi2, neglog10p_t

__all__ = ["negative_controls"]

Array = NDArray[np.float64]

CENTRAL = 0.5
"""Central share of the z-scores that central matching reads the null from."""

EFFICIENCY = 0.37
"""What the spread of the middle half of normal scores is worth, beside that of all of them."""

LEAST = 3
"""Fewest controls."""


def negative_controls(
    controls: Estimates | tuple[ArrayLike, ArrayLike] | Mapping[str, Any],
    claims: Estimates | None = None,
    *,
    effective: float | None = None,
    method: str = "likelihood",
    level: float = 0.95,
) -> NegativeControls:
    """The empirical null of controls that cannot act, and claims calibrated by it.

    Parameters
    ----------
    controls : Estimates, or (beta, se), or dict of these by name
        Effects of random directions, of a permuted dictionary or of placebo instruments, or effects on outcomes that
        the site cannot reach; arrays of any shape. Cells without a number are left out.
    claims : Estimates, optional
        What is held against the null.
    effective : float, optional
        How many of the controls count as independent: at most the site's dimensions for random directions, the
        placebos where each has many correlated traits. Default all.
    method : {"likelihood", "central matching"}
        ``central matching`` (Efron 2004) takes median and quartiles, for controls of which a few may act after all; they
        then count as .37 of their number.
    level : float
        Confidence level of all intervals.

    Returns
    -------
    NegativeControls
        Its ``check()`` fails where the null is far from N(0, 1).

    Raises
    ------
    InputError
        For fewer than 3 controls with a number, or errors that are not positive.

    Notes
    -----
    z = beta / se of a control is N(0, 1) where errors and assumptions are right; systematic error shows as another
    mean or a larger sd. Claims are held against a *new* draw of the null: t with n - 1 degrees of freedom and
    sd sqrt(1 + 1/n), so that a few controls make intervals wide, not confident; the sd used is at least 1. It bears on
    the rung whose estimator gave the controls, and on no other: controls of MR say nothing of knockouts. Not valid
    where the controls are unlike the claims in what biases them (placebos share no path with an instrument that moves
    the site), and blind to a bias that only what acts has.

    Source: Efron 2004, 10.1198/016214504000000089; Schuemie et al. 2014, 10.1002/sim.5925 and 2018,
    10.1073/pnas.1708282114.

    Examples
    --------
    >>> import numpy as np
    >>> import mrinterp
    >>> rng = np.random.default_rng(0)
    >>> found = mrinterp.diagnostics.negative_controls((2.0 * rng.standard_normal(200), np.ones(200)))
    >>> found.check().verdict
    'failed'
    """
    level = checked_level(level)
    checked_choice(method, "method", ("likelihood", "central matching"))
    names, z = _scores(controls)
    if len(z) < LEAST:
        raise InputError("controls", f"{len(z)} with a number", f"Give at least {LEAST}")
    n = float(len(z)) if effective is None else checked_number(effective, "effective", least=2, most=len(z))
    n = max(n * EFFICIENCY, 2.0) if method == "central matching" else n
    mean, sd = _fitted(z, method)
    half = float(critical_value(level, n - 1)) * sd / np.sqrt(n)
    ends = stats.chi2.ppf([0.5 + level / 2, 0.5 - level / 2], n - 1)
    low, high = sd * np.sqrt((n - 1) / ends)
    statistic, neglog10p = _distance_from_theory(mean, sd, n)
    share = float(stats.norm.sf((1.96 - mean) / sd) + stats.norm.cdf((-1.96 - mean) / sd)) if sd > 0 else 0.0
    given = _no_claims() if claims is None else _calibrated(claims, mean, sd, n, level)
    return NegativeControls(
        controls=names,
        z=z,
        mean=mean,
        mean_lower=mean - half,
        mean_upper=mean + half,
        sd=sd,
        sd_lower=float(low),
        sd_upper=float(high),
        false_share=share,
        test_statistic=statistic,
        test_neglog10p=neglog10p,
        effective=n,
        method=method,
        level=level,
        **given,
    )


def _scores(controls: Any) -> tuple[tuple[str, ...], Array]:
    """Names and z-scores of the controls that have a number."""
    if isinstance(controls, Mapping):
        parts = [(str(key), *_scores(value)) for key, value in controls.items()]
        names = tuple(f"{key}: {n}" for key, some, _ in parts for n in some)
        return names, np.concatenate([z for *_, z in parts]) if parts else np.zeros(0)
    if isinstance(controls, Estimates):
        beta, se = controls.beta, controls.se
        label = [f"{x} on {y}" for x in controls.exposures for y in controls.outcomes]
    else:
        if not isinstance(controls, tuple) or len(controls) != 2:
            raise InputError(
                "controls", f"a {type(controls).__name__}", "Give Estimates, or a pair (beta, se)"
            )
        beta = checked_array(controls[0], "controls, beta", missing=True)
        se = np.broadcast_to(checked_array(controls[1], "controls, se", missing=True), beta.shape)
        label = [f"control {i}" for i in range(beta.size)]
    beta, se = beta.ravel(), se.ravel()
    known = np.isfinite(beta) & np.isfinite(se)
    if (se[known] <= 0).any():
        raise InputError("controls, se", f"{se[known].min():g}", "Standard errors are positive")
    return tuple(label[i] for i in np.flatnonzero(known)), beta[known] / se[known]


def _fitted(z: Array, method: str) -> tuple[float, float]:
    """Mean and sd of the null."""
    if method == "likelihood":
        return float(z.mean()), float(z.std(ddof=1))
    low, middle, high = np.quantile(z, [0.5 - CENTRAL / 2, 0.5, 0.5 + CENTRAL / 2])
    return float(middle), float((high - low) / (2 * stats.norm.ppf(0.5 + CENTRAL / 2)))


def _distance_from_theory(mean: float, sd: float, n: float) -> tuple[float, float]:
    """Likelihood ratio of N(mean, sd^2) against N(0, 1), with Bartlett's factor for small n, and -log10 p on 2 df."""
    if not sd > 0:
        return float("nan"), float("nan")
    variance = sd**2 * (n - 1) / n
    ratio = n * (mean**2 + variance - 1.0 - np.log(variance))
    statistic = ratio / (1.0 + 11.0 / (12.0 * n))
    return float(statistic), float(neglog10p_chi2(statistic, 2.0))


def _no_claims() -> dict[str, Any]:
    empty = np.zeros((0, 0))
    cells = ("beta", "se", "calibrated_lower", "calibrated_upper", "neglog10p", "calibrated_neglog10p")
    return {"exposures": (), "outcomes": (), **dict.fromkeys(cells, empty)}


def _calibrated(claims: Estimates, mean: float, sd: float, n: float, level: float) -> dict[str, Any]:
    checked_type(claims, "claims", Estimates, "Give the result of an estimator")
    spread = max(sd, 1.0) * np.sqrt(1.0 + 1.0 / n)
    df = np.minimum(n - 1.0, claims.df)
    center = claims.beta - mean * claims.se
    half = critical_value(level, df) * spread * claims.se
    with np.errstate(divide="ignore", invalid="ignore"):
        p = neglog10p_t(center / (spread * claims.se), df)
    return {
        "exposures": claims.exposures,
        "outcomes": claims.outcomes,
        "beta": claims.beta,
        "se": claims.se,
        "calibrated_lower": center - half,
        "calibrated_upper": center + half,
        "neglog10p": claims.neglog10p,
        "calibrated_neglog10p": p,
    }
