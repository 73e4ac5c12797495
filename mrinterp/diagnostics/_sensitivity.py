"""How much that is not measured it takes to bring a claim down: one number each for every kind of failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.array_checks import checked_array
from mrinterp.core.checks import checked_names, checked_type
from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.results._estimates import Estimates
from mrinterp.results._sensitivity import Sensitivity
from mrinterp.stats.tests.tails import critical_value

__all__ = ["sensitivity", "with_robustness"]

Array = NDArray[np.float64]


def sensitivity(
    estimates: Estimates,
    rope: float | Sequence[float] = 0.0,
    *,
    data: MRData | None = None,
    ratio: Sequence[str] = (),
) -> Sensitivity:
    """What it would take to bring each claim's interval to the region of practical equivalence (ROPE).

    Parameters
    ----------
    estimates : Estimates
        F exposures on O outcomes, univariable where ``data`` is given.
    rope : float or sequence of float (O,)
        Half width of the region, in units of the effect.
    data : MRData, optional
        The J instruments' effects that the estimates are made of: for pleiotropy and the share of instruments.
    ratio : sequence of str
        Outcomes whose effects are logarithms of ratios: they get an E-value.

    Returns
    -------
    Sensitivity
        0 where the interval touches the region as it is; nan where a number does not apply or ``data`` is missing.

    Raises
    ------
    InputError
        For a negative region, unknown outcomes, or data of other traits.

    Notes
    -----
    With d = |beta| - rope - t se, the distance of the interval's near end from the region:

    - *robustness value*: the partial R^2 with the exposure and with the outcome that a confounder must have to bring the
      near end there; f = d / (se sqrt(df)), RV = (sqrt(f^4 + 4 f^2) - f^2) / 2. df are the residual degrees of freedom: with
      errors clustered by family those of the family-level regression.
    - *directional pleiotropy*: the mean effect around the exposure, towards the claim, in outcome units per instrument
      oriented to the exposure, d sum w b^2 / sum w |b|.
    - *balanced pleiotropy*: sd of independent effects around the exposure that widens the interval to the region.
    - *breakdown share*: the smallest share of instruments whose removal brings the near end there (first order).
    - *E-value* of the near end for a ratio.

    Not valid for effects of a joint fit on ``data`` (weights of instruments are then others): those four are univariable.

    Source: Cinelli & Hazlett 2020, 10.1111/rssb.12348; Broderick, Giordano & Meager 2020, arXiv:2011.14999; VanderWeele & Ding
    2017, 10.7326/M16-2607.

    Examples
    --------
    >>> import mrinterp
    >>> from mrinterp.results import example
    >>> found = mrinterp.diagnostics.sensitivity(example("Estimates"), rope=0.02)
    >>> found.robustness.shape
    (3, 2)
    """
    checked_type(estimates, "estimates", Estimates, "Give the result of an estimator")
    F, O = estimates.beta.shape
    half = np.broadcast_to(checked_array(rope, "rope"), (O,))
    if (half < 0).any():
        raise InputError("rope", f"{half.min():g}", "Give half widths of 0 or more")
    ratios = checked_names(ratio, "ratio", estimates.outcomes, least=0) if len(ratio) else []
    t = critical_value(estimates.level, estimates.df)
    near = np.abs(estimates.beta) - t * estimates.se
    distance = np.where(np.isfinite(near), np.maximum(near - half, 0.0), np.nan)
    unknown = np.full((F, O), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        f = np.where(np.isfinite(estimates.df), distance / (estimates.se * np.sqrt(estimates.df)), np.nan)
        value = 0.5 * (np.sqrt(f**4 + 4.0 * f**2) - f**2)
    if data is None:
        directional = balanced = breakdown = unknown
    else:
        directional, balanced, breakdown = _instruments(estimates, data, distance, half, t)
    is_ratio = np.isin(estimates.outcomes, ratios)
    return Sensitivity(
        exposures=estimates.exposures,
        outcomes=estimates.outcomes,
        beta=estimates.beta,
        distance=distance,
        robustness=value,
        directional=directional,
        balanced=balanced,
        breakdown=breakdown,
        e_value=np.where(is_ratio, _e_value(distance), np.nan),
        rope=np.array(half),
        meta={"method": estimates.method, "level": estimates.level},
    )


def with_robustness(table: pd.DataFrame, within: Estimates, rope: Mapping[str, float]) -> pd.DataFrame:
    """A study's answer with one number a claim: what an unmeasured feature must explain to bring MR's interval to the region.

    Parameters
    ----------
    table : DataFrame
        `claim_table`'s, with the columns of the rung ``within`` on the scale of contrasts.
    within : Estimates
        That rung, for its degrees of freedom.
    rope : mapping of str to float
        By outcome.

    Returns
    -------
    DataFrame
        With the column ``robustness``: the partial R^2, with the feature and with the outcome, of `sensitivity`; 0 where the
        interval touches the region as it is, nan without an estimate by instruments. It says nothing of a claim on
        knockouts, which nothing unmeasured can confound.
    """
    if "within_se" not in table:
        return table.assign(robustness=np.nan)
    cells = zip(table["feature"], table["outcome"], strict=True)
    df = np.array([within.df[within.exposures.index(f), within.outcomes.index(o)] for f, o in cells])
    half = (table["within_upper"] - table["within_lower"]) / 2
    near = table["within"].abs() - half - table["outcome"].map(dict(rope)).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        f = np.maximum(near.to_numpy(dtype=float), 0.0) / (
            table["within_se"].to_numpy(dtype=float) * np.sqrt(df)
        )
        value = 0.5 * (np.sqrt(f**4 + 4.0 * f**2) - f**2)
    return table.assign(robustness=np.where(np.isfinite(near) & np.isfinite(df), value, np.nan))


def _instruments(
    estimates: Estimates, data: MRData, distance: Array, rope: Array, t: Array
) -> tuple[Array, Array, Array]:
    """Directional and balanced pleiotropy, and the share of instruments that carries the claim, (F, O) each."""
    for name in ("exposures", "outcomes"):
        if tuple(getattr(data, name)) != tuple(getattr(estimates, name)):
            raise InputError(
                f"data.{name}", "other names than the estimates'", "Give the data they were made of"
            )
    w = np.where(np.isfinite(data.se_y), 1.0 / data.se_y**2, 0.0)
    b, g = np.nan_to_num(data.beta_x), np.nan_to_num(data.beta_y)
    square, length = b**2 @ w.T, np.abs(b) @ w.T
    sign = np.sign(estimates.beta)
    with np.errstate(divide="ignore", invalid="ignore"):
        directional = distance * square / length
        wide = ((np.abs(estimates.beta) - rope) / t) ** 2 - estimates.se**2
        spread = np.sqrt(b**2 @ (w**2).T) / square
        balanced = np.where(
            distance > 0, np.sqrt(np.maximum(wide, 0.0)) / spread, np.where(distance == 0, 0.0, np.nan)
        )
    count = np.isfinite(data.beta_x).sum(axis=1)
    breakdown = np.full(distance.shape, np.nan)
    for o in range(len(g)):  # (F, J) at a time
        residual = g[o] - estimates.beta[:, [o]] * b
        pull = sign[:, [o]] * w[o] * b * residual / square[:, [o]]
        summed = np.cumsum(-np.sort(-np.maximum(pull, 0.0), axis=1), axis=1)
        needed = (summed < distance[:, [o]]).sum(axis=1) + 1
        reached = summed[:, -1] >= distance[:, o]
        share = np.where(reached, needed / np.maximum(count, 1), 1.0)
        breakdown[:, o] = np.where(
            np.isfinite(distance[:, o]), np.where(distance[:, o] > 0, share, 0.0), np.nan
        )
    return directional, balanced, breakdown


def _e_value(distance: Array) -> Array:
    """E-value of a ratio whose near end is exp(distance) times the region's edge."""
    ratio = np.exp(distance)
    return np.asarray(ratio + np.sqrt(ratio * (ratio - 1.0)))
