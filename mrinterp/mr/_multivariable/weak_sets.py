"""Confidence sets that hold their level however weak the instruments: Anderson-Rubin, LM and CLR inverted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.shown import A_WHILE, counted
from mrinterp.mr._engine.inference import choice
from mrinterp.mr._engine.registry import Fit
from mrinterp.mr._multivariable.joint_data import JointData
from mrinterp.mr._multivariable.joint_estimator import joint_estimator
from mrinterp.mr._multivariable.mv_gmm import (
    NOT_POSITIVE,
    dense_overdispersion,
    dense_variance,
    independent_moments,
    marginal_moments,
)
from mrinterp.stats.profile.dense_profile import minimize_dense
from mrinterp.stats.profile.inference import many_weak_covariance, matching_overdispersion
from mrinterp.stats.profile.likelihood import minimize_profile
from mrinterp.stats.profile.weak_tests import (
    WeakStatistics,
    clr_p,
    dense_effect_statistics,
    single_effect_statistics,
)
from mrinterp.stats.tests.tails import neglog10p_chi2

__all__ = ["anderson_rubin_set", "clr_set", "lm_set"]

Array = NDArray[np.float64]
Statistic = Callable[[Array], WeakStatistics]

_ASSUMES = (
    "every instrument is valid, up to balanced pleiotropy of one variance if overdispersion is asked for",
    "the errors' covariance is known",
)
_HALF_POINTS = {True: 200, False: 40}  # one exposure: nothing to minimize over at each point
_REFINEMENTS = 25


@joint_estimator(
    "anderson_rubin_set",
    "Anderson-Rubin set",
    assumes=_ASSUMES,
    reference="Anderson & Rubin 1949 Ann Math Stat, doi:10.1214/aoms/1177730090;"
    " Guggenberger, Kleibergen, Mavroeidis & Chen 2012 Econometrica, doi:10.3982/ECTA8784;"
    " Wang & Kang 2022 Biometrics, doi:10.1111/biom.13524",
    beyond=1,
    intervals=False,
    most_exposures=40,
)
def anderson_rubin_set(
    data: JointData,
    *,
    ld: Array | None = None,
    n_x: Array | None = None,
    n_y: Array | None = None,
    level: float = 0.95,
    overdispersion: bool = False,
) -> Fit:
    """All values of one effect that the Anderson-Rubin test does not reject, the others minimized over.

    Parameters
    ----------
    data : JointData
        Effects with their errors.
    ld : ndarray (J, J), optional
        Correlation of the instruments; independent by default.
    n_x, n_y : ndarray (F,), (O,), optional
        Sample sizes, for exact one-sample moments as in `mv_gmm`.
    level : float
        Confidence level.
    overdispersion : bool
        Add the variance tau2 at which the best fit's Q equals its degrees of freedom.

    Returns
    -------
    Fit
        ``beta`` and ``se`` are the continuously updated estimate and its error; ``ci_lower, ci_upper``
        enclose the set; ``neglog10p`` tests no effect; ``details["pieces"]`` counts its intervals and
        ``meta["sets"]`` lists them. A status says "empty" (no value fits: the model is misspecified),
        "unbounded" (not identified) or "a union of intervals".

    Notes
    -----
    The statistic e'Omega^-1 e, least over the other effects, is compared with chi2(J - F + 1): conservative
    for F > 1 however weakly the others are identified (Guggenberger et al. 2012, homoskedastic errors).
    With correlated instruments Omega is the full J x J covariance of the residuals, [theta;-1]'Sigma_jl
    [theta;-1] for instruments j, l, with Sigma_jl = ld_jl times the errors' scale. A small set can
    mean precision or near-misspecification: read Q beside it.
    """
    limit = data.size[0] - data.size[1] + 1

    def log_p(s: WeakStatistics) -> Array:
        return neglog10p_chi2(s.ar, limit)

    return _sets(data, _Moments(ld, n_x, n_y, overdispersion, False), level, log_p)


@joint_estimator(
    "lm_set",
    "Kleibergen score set",
    assumes=_ASSUMES,
    reference="Kleibergen 2005 Econometrica, doi:10.1111/j.1468-0262.2005.00610.x",
    beyond=1,
    intervals=False,
    most_exposures=40,
)
def lm_set(
    data: JointData,
    *,
    ld: Array | None = None,
    n_x: Array | None = None,
    n_y: Array | None = None,
    level: float = 0.95,
    overdispersion: bool = False,
    scaling: str = "score",
) -> Fit:
    """All values that Kleibergen's score test, chi2(1), does not reject; arguments as `anderson_rubin_set`.

    scaling : {"score", "sufficient"}
        The score of the continuously updated objective, or the product of residual and freed exposure
        effect, each standardized by its own covariance (Wang & Kang 2022; as the R package
        MendelianRandomization). They agree when both covariances are proportional.

    Never empty: the score is 0 at the estimate. It is also 0 at other stationary points, so that the set
    can have a spurious second piece; `clr_set` does not. The other effects are plugged in at their constrained minimum.
    """
    choice("scaling", scaling, ("score", "sufficient"))

    def log_p(s: WeakStatistics) -> Array:
        return neglog10p_chi2(s.lm, 1)

    return _sets(data, _Moments(ld, n_x, n_y, overdispersion, scaling == "sufficient"), level, log_p)


@joint_estimator(
    "clr_set",
    "Conditional likelihood ratio set",
    assumes=_ASSUMES,
    reference="Moreira 2003 Econometrica, doi:10.1111/1468-0262.00438;"
    " Kleibergen 2005 Econometrica, doi:10.1111/j.1468-0262.2005.00610.x;"
    " Wang & Kang 2022 Biometrics, doi:10.1111/biom.13524",
    beyond=1,
    intervals=False,
    most_exposures=40,
)
def clr_set(
    data: JointData,
    *,
    ld: Array | None = None,
    n_x: Array | None = None,
    n_y: Array | None = None,
    level: float = 0.95,
    overdispersion: bool = False,
    scaling: str = "score",
) -> Fit:
    """All values that the conditional likelihood ratio test does not reject; arguments as `lm_set`.

    The likelihood ratio given the rank statistic of the exposure effects freed of their dependence on the
    residual. The best of the three with one exposure. For F > 1 the nuisance effects are set to their
    minimum, which is right only where they are themselves strongly identified.
    """
    choice("scaling", scaling, ("score", "sufficient"))
    df = data.size[0] - data.size[1]

    def log_p(s: WeakStatistics) -> Array:
        return np.asarray(-np.log10(np.maximum(clr_p(s.clr(), s.rank, df), 1e-300)))

    return _sets(data, _Moments(ld, n_x, n_y, overdispersion, scaling == "sufficient"), level, log_p)


@dataclass(frozen=True, eq=False)
class _Moments:
    """What is known of the instruments and samples, and how the statistics are made."""

    ld: Array | None
    n_x: Array | None
    n_y: Array | None
    overdispersion: bool
    sufficient: bool

    def of(self, data: JointData, o: int) -> tuple[Array, Array, Callable[[int], Statistic]]:
        """Estimate and error (K,) of one outcome, and for each exposure the statistics of its effect."""
        return self._independent(data, o) if self.ld is None else self._correlated(data, o, self.ld)

    def _independent(self, data: JointData, o: int) -> tuple[Array, Array, Callable[[int], Statistic]]:
        J, K, _ = data.size
        errors = independent_moments(data, self.n_x, self.n_y).take(np.array([o]))
        w = data.weight[o]
        start = np.linalg.solve((data.b.T * w) @ data.b, (data.b.T * w) @ data.g[o])
        end = minimize_profile(errors, start[None])
        tau2 = np.zeros(1)
        if self.overdispersion:
            tau2 = matching_overdispersion(errors, end.theta, J - K)
            end = minimize_profile(errors, end.theta, tau2=tau2)
        variance = many_weak_covariance(errors, end.theta, tau2)[0][0]

        def of(k: int) -> Statistic:
            def statistic(values: Array) -> WeakStatistics:
                rows = np.zeros(len(values), int)
                return single_effect_statistics(
                    errors.take(rows), k, values, end.theta[rows], float(tau2[0]), self.sufficient
                )

            return statistic

        return end.theta[0], np.sqrt(np.diag(variance)), of

    def _correlated(
        self, data: JointData, o: int, ld: Array
    ) -> tuple[Array, Array, Callable[[int], Statistic]]:
        J, K, _ = data.size
        moments = marginal_moments(data, o, (ld + ld.T) / 2, np.eye(J), self.n_x, self.n_y)
        end = minimize_dense(moments)
        if self.overdispersion:
            moments = moments.overdispersed(dense_overdispersion(moments, end.theta, J - K))
            end = minimize_dense(moments)
        se = np.sqrt(np.diag(dense_variance(moments, end.theta, "many_weak")))

        def of(k: int) -> Statistic:
            return lambda values: dense_effect_statistics(moments, k, values, end.theta, self.sufficient)

        return end.theta, se, of


def _sets(data: JointData, moments: _Moments, level: float, log_p: Callable[[WeakStatistics], Array]) -> Fit:
    """Invert a test for every exposure and outcome; a list of intervals per cell has to be walked one by one."""
    _, F, O = data.size
    lower, upper, p_zero = (np.full((F, O), np.nan) for _ in range(3))
    beta, se, pieces = np.full((F, O), np.nan), np.full((F, O), np.nan), np.zeros((F, O))
    status = np.full((F, O), "ok", dtype=object)
    listed: list[dict[str, Any]] = []
    threshold = -np.log10(1.0 - level)
    for o in np.flatnonzero([p == "" for p in data.problem]):
        try:
            beta[:, o], se[:, o], statistics = moments.of(data, int(o))
        except np.linalg.LinAlgError:
            status[:, o] = NOT_POSITIVE
            continue
        for k in counted(range(F), "confidence sets", "exposure", A_WHILE):
            excess = partial(_excess, statistics(k), log_p, threshold)
            found = _invert(excess, beta[k, o], se[k, o], _HALF_POINTS[F == 1])
            p_zero[k, o] = excess(np.zeros(1))[0] + threshold
            pieces[k, o] = len(found)
            if found:
                lower[k, o], upper[k, o] = found[0][0], found[-1][1]
            listed.append({"exposure": k, "outcome": int(o), "intervals": [list(i) for i in found]})
            status[k, o] = _word(found) or "ok"
    return Fit(
        beta,
        se,
        ci_lower=lower,
        ci_upper=upper,
        neglog10p=p_zero,
        status=status,
        details={"pieces": pieces},
        meta={"sets": listed, "level": level},
    )


def _word(found: list[tuple[float, float]]) -> str:
    if not found:
        return "the set is empty: no effect fits these instruments (misspecified; balanced pleiotropy? try overdispersion)"
    if not np.isfinite([found[0][0], found[-1][1]]).all():
        return "the set is unbounded: the instruments do not identify this effect"
    return f"the set is a union of {len(found)} intervals; the limits enclose them" if len(found) > 1 else ""


def _excess(
    statistic: Statistic, log_p: Callable[[WeakStatistics], Array], threshold: float, theta: Array
) -> Array:
    """-log10 p of a test of theta beyond the level's: positive outside the set."""
    return log_p(statistic(theta)) - threshold


def _invert(
    excess: Callable[[Array], Array], centre: float, se: float, half_points: int
) -> list[tuple[float, float]]:
    """Intervals where ``excess`` (of -log10 p over its limit) is not positive, over the whole line.

    Values are spaced as a tangent around the estimate, so that the ends of the line are reached. Pieces
    narrower than the spacing can be missed: se/30 at the estimate (se/6 with several exposures), wider away.
    """
    scale = 4.0 * se if np.isfinite(se) and se > 0 else max(abs(centre), 1.0)
    angles = np.linspace(-0.5, 0.5, 2 * half_points + 1) * np.pi
    angles[[0, -1]] *= 1.0 - 1e-7
    grid = centre + scale * np.tan(angles)
    over = excess(grid)
    inside = over <= 0
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    left, right, f_left, f_right = angles[edges], angles[edges + 1], over[edges], over[edges + 1]
    enters = inside[edges + 1]
    for _ in range(_REFINEMENTS if len(edges) else 0):  # false position, Illinois variant
        middle = _crossing(left, right, f_left, f_right)
        f = excess(centre + scale * np.tan(middle))
        to_left = (f <= 0) == (f_left <= 0)
        f_left, f_right = np.where(to_left, f, f_left / 2.0), np.where(to_left, f_right / 2.0, f)
        left, right = np.where(to_left, middle, left), np.where(to_left, right, middle)
        if np.abs(f).max() < 1e-9:
            break
    at = centre + scale * np.tan(_crossing(left, right, f_left, f_right))
    lows = ([-np.inf] if inside[0] else []) + at[enters].tolist()
    highs = at[~enters].tolist() + ([np.inf] if inside[-1] else [])
    return list(zip(lows, highs, strict=True))


def _crossing(left: Array, right: Array, f_left: Array, f_right: Array) -> Array:
    """Where the chords cross zero; the middle where a chord is flat or not finite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        at = (left * f_right - right * f_left) / (f_right - f_left)
    return np.where(np.isfinite(at) & (at >= left) & (at <= right), at, 0.5 * (left + right))
