"""Statistics that no estimator's case reaches: agreement, clustered errors, tails, doses, swaps, calibration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import mrinterp.stats as top
from mrinterp.stats.agreement import agreement, circuit_area, deming, edge_intervals, ranking, york
from mrinterp.stats.bayes_factors import wakefield
from mrinterp.stats.clustered import (
    calibrated,
    dependence,
    dose_shape,
    family_draws,
    interval,
    joint_effects,
    least_squares,
    paired_change,
    proportion,
    ratio,
    swap_effects,
    through_origin,
)
from mrinterp.stats.profile import likelihood
from mrinterp.stats.profile.losses import find_loss
from mrinterp.stats.sparse import ld_mismatch
from mrinterp.stats.tests import chi2_mixture, direction, equivalence, heterogeneity, minimum_effect, tails

FAMILY = np.repeat(np.arange(12), 3)
EXTREME = np.array([0.0, 0.3, -1.0, 2.5, -8.0, 39.0, 400.0])


def _rng() -> np.random.Generator:
    return np.random.default_rng(17)


def _runs(columns: int = 4) -> np.ndarray:
    rng = _rng()
    return rng.standard_normal((12, columns))[FAMILY] + rng.standard_normal((36, columns)) + 0.4


def _lines() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = _rng()
    truth = rng.normal(0, 1.0, 20)
    x_se, y_se = rng.uniform(0.05, 0.3, 20), rng.uniform(0.1, 0.4, 20)
    return truth + x_se * rng.standard_normal(20), x_se, 1.2 * truth + y_se * rng.standard_normal(20), y_se


def _agree(df: float) -> Any:
    x, x_se, y, y_se = _lines()
    return agreement.agree(x, x_se, y, y_se, df=df, level=0.9)


def _ranks() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = _rng()
    score = np.round(rng.standard_normal((2, 25)), 1)
    return score, rng.random((2, 25)) < 0.3, rng.random((2, 25)) < 0.9


def _rectified(**options: Any) -> Any:
    rng = _rng()
    predicted = rng.standard_normal((36, 3, 1)) + rng.standard_normal((12, 3, 1))[FAMILY]
    knockout = 0.8 * predicted[:15] + 0.2 * rng.standard_normal((15, 3, 1))
    given = {"all_predicted": predicted, "all_family": FAMILY} | options
    return top.rectified_mean(knockout, predicted[:15], FAMILY[:15], **given)


def _needed(**options: Any) -> Any:
    rng = _rng()
    predicted = rng.standard_normal((20, 3, 1))
    knockout = 0.9 * predicted + 0.3 * rng.standard_normal((20, 3, 1))
    return top.families_for_width(knockout, predicted, np.repeat(np.arange(5), 4), 0.15, 80, **options)


def _calibrated(drawn: int) -> Any:
    rng = _rng()
    truth = rng.normal(0, 0.5, (40, 2))
    beta = 1.3 * truth + 0.1 * rng.standard_normal((40, 2))
    roles = calibrated.calibration_roles(np.abs(beta[:, 0]), drawn, 3)
    shift = np.where((roles == "unmeasured")[:, None], np.nan, truth + 0.05 * rng.standard_normal((40, 2)))
    return calibrated.calibrated(
        beta, np.full((40, 2), 0.1), shift, np.full((40, 2), 0.05), roles, shift_df=9.0
    )


def _swaps(what: int) -> np.ndarray:
    """Amounts (0) or changes (1) of two features in two swaps on every prompt."""
    amount = _runs(4).T.reshape(2, 2, 36)
    return amount if what == 0 else 0.7 * amount + 0.1 * _runs(5).T[1:].reshape(2, 2, 36)


def _joint(extrapolate: bool) -> Any:
    rng = _rng()
    codes = np.repeat(np.arange(12), 8)
    inclusion = np.where(np.arange(96) % 2, 0.5, 0.25) if extrapolate else np.ones(96)
    settings = joint_effects.random_settings(codes, 5, inclusion, rng)
    change = settings @ rng.standard_normal((5, 2)) + 0.2 * rng.standard_normal((96, 2))
    return joint_effects.joint_effects(settings, change, codes, inclusion, extrapolate)


def _fits() -> dict[str, Callable[[], Any]]:
    rng = _rng()
    z, y = np.c_[np.ones(36), rng.standard_normal((36, 3))], _runs(2)
    return {
        f"least squares, {kind}, {absorbed}": lambda kind=kind, absorbed=absorbed: (
            least_squares.clustered_least_squares(z, y, FAMILY, 3, covariance=kind, absorbed=absorbed)
        )
        for kind in ("CR3", "CR1")
        for absorbed in (0, 2)
    } | {
        "marginal slopes": lambda: least_squares.marginal_slopes(z[:, 1:], y, FAMILY, against=np.array([1])),
        "share left": lambda: least_squares.share_left(np.c_[z, z[:, 1] + 1e-3 * z[:, 2]]),
        "through the origin": lambda: through_origin.through_origin(
            z[:, 1:3] + y, y[:, :, None] * np.array([1.0, 2.0]), FAMILY
        ),
    }


def _tails() -> dict[str, Callable[[], Any]]:
    q = np.array([0.0, 0.5, 3.0, 30.0, 900.0])
    mixture = np.array([[1.0, 0.5, 0.2]] * 5)
    return {
        "tails": lambda: {
            "t": tails.neglog10p_t(EXTREME, 4.0),
            "t, many": tails.neglog10p_t(EXTREME, 250.0),
            "log t": tails.log10_tail_t(EXTREME, 3.5),
            "normal": tails.neglog10p_normal(EXTREME),
            "chi2": tails.neglog10p_chi2(q, 3.0),
            "mixture": chi2_mixture.neglog10p_chi2_mixture(q, mixture),
            "critical": tails.critical_value(0.9, np.array([2.0, 30.0, np.inf])),
            "two sided": tails.two_sided_p(np.array([0.0, 1.3, 20.0])),
            "minimum": minimum_effect.minimum_effect_p(EXTREME, np.full(7, 0.8), 0.5, 11.0),
        },
        "equivalence": lambda: equivalence.tost(EXTREME[:5], np.full(5, 0.4), 8.0, np.full(5, 1.1)),
        "heterogeneity": lambda: heterogeneity.independent_heterogeneity(
            _runs()[:6, :3], np.full((6, 3), 0.5), 20.0
        ),
        "correlated heterogeneity": lambda: heterogeneity.correlated_heterogeneity(
            _runs().mean(0)[:, None] * np.array([1.0, 0.2]), np.stack([np.cov(_runs().T) / 12] * 2), 12
        ),
        "direction": lambda: {
            "effects": direction.correlations_from_effects(EXTREME[1:4], np.full(3, 0.6), 200.0),
            "p": direction.correlations_from_p(np.array([0.1, 2.0, 40.0]), 200.0),
            "frequency": direction.correlations_from_frequency(
                EXTREME[1:3] / 4, np.array([0.2, 0.4]), np.ones(2)
            ),
            "compared": direction.compare_correlations(0.4, 0.2, 200.0, 150.0),
            "compared, same runs": direction.compare_correlations(0.4, 0.2, 200.0, 200.0, traits=0.3),
            "volumes": np.array(direction.precision_volumes(0.5, 0.3)),
        },
    }


def _families() -> dict[str, Callable[[], Any]]:
    runs = _runs()
    hits = runs > 0.8
    members = np.arange(36)[:, None] % np.array([2, 3, 4, 5]) == 0
    line = np.linspace(0.0, 1.0, 7)
    ramp = 1.0 / (1.0 + np.exp(-8.0 * (line - 0.4)))[None, :] + 0.1 * _runs(7)
    curves = np.stack([ramp, -ramp], axis=1)[:, :, :, None]
    return {
        "interval": lambda: interval.clustered_interval(runs, FAMILY, level=0.9),
        "proportion": lambda: proportion.clustered_proportion(hits.T, FAMILY),
        "proportion, counted": lambda: proportion.clustered_proportion(hits.T, FAMILY, counted=runs.T > -1.0),
        "ratio": lambda: ratio.clustered_ratio(runs[:, :2], 3.0 + runs[:, 2:], FAMILY),
        "ratio, drawn": lambda: ratio.bootstrap_interval(runs[:, :2], 3.0 + runs[:, 2:], FAMILY, draws=50),
        "ratio, families": lambda: family_draws.bootstrap_ratio(runs, 3.0 + runs, FAMILY, draws=50),
        "draws": lambda: family_draws.percentile_interval(
            family_draws.family_draws(runs, FAMILY, draws=60, weights=np.linspace(1, 2, 36)[:, None]),
            families=12,
        ),
        "ramp": lambda: dose_shape.fit_ramp(np.stack([line, line]), curves, FAMILY, draws=30),
        "monotone": lambda: dose_shape.monotonicity(curves, FAMILY, floor=0.01, draws=30),
        "paired": lambda: paired_change.paired_change(runs[:, :2], runs[:, 2:], members.T, FAMILY, draws=40),
        "swaps": lambda: swap_effects.swap_effects(
            _swaps(0), _swaps(1)[..., None], FAMILY, np.array([1.0, -1.0]), draws=40
        ),
        "dependent": lambda: dependence.dependent_sets(np.c_[runs, runs[:, 0] - 2 * runs[:, 1]]),
        "joint": lambda: _joint(False),
        "joint, extrapolated": lambda: _joint(True),
        "rectified": lambda: _rectified(),
        "rectified, own families": lambda: _rectified(new_families=False, careful=True, level=0.8),
        "rectified, labels": lambda: _rectified(largest=1.0, floor=0.01),
        "rectified, alone": lambda: top.rectified_mean(_runs(2)[:, :, None], None, FAMILY),
        "needed": lambda: _needed(),
        "needed, own": lambda: _needed(new_families=False, share=0.5, confidence=0.5, least=4),
        "calibrated": lambda: _calibrated(10),
        "calibrated, slope": lambda: _calibrated(20),
    }


def _against_ld() -> Any:
    """Z-scores that follow a matrix, z-scores of which one has the other sign, and z-scores of another order."""
    ld = 0.7 ** np.abs(np.subtract.outer(np.arange(8), np.arange(8)))
    z = np.stack([6.0 * ld[2], 6.0 * ld[2] * np.where(np.arange(8) == 3, -1.0, 1.0), 6.0 * ld[2][::-1]])
    z[2, :2] += 3.0
    known = ld_mismatch.spectrum(ld)
    n = np.array([50.0, 500.0, 5000.0])
    return {
        "adjusted": ld_mismatch.adjusted_z(z, n),
        "share": ld_mismatch.inconsistency(z, known),
        "gain": ld_mismatch.null_gain(z, known, np.array([0.1, 0.3, 0.6])),
        "dense": ld_mismatch.dense_inconsistency(z, known),
        "swapped": ld_mismatch.swapped_signs(z, known),
        "causes": ld_mismatch.causes_needed(z, ld, known, 4).astype(float),
        "causes, n": ld_mismatch.causes_needed(z, ld, known, 4, n, alpha=0.05, mixed=True).astype(float),
        "left": ld_mismatch.chi2_left(z, ld, known, 2),
    }


def _profile() -> Any:
    """Value, slope and curvature of the profile likelihood, with and without overdispersion."""
    rng = _rng()
    b, y = rng.standard_normal((15, 2)), rng.standard_normal((3, 15))
    data = likelihood.KnownErrors(
        b[None],
        y,
        rng.uniform(0.5, 1, (3, 15)) ** 2,
        np.tile(0.1 * np.eye(2) + 0.02, (15, 1, 1)),
        np.full((1, 15, 2), 0.02),
    )
    theta = np.array([[0.2, -0.1], [0.5, 0.4], [0.0, 0.0]])
    found: dict[str, Any] = {"defaults": data.residuals(theta)}
    for name in ("l2", "huber", "tukey"):
        loss = find_loss(name)
        found[f"{name}, value"] = likelihood.profile_value(data, theta, loss)
        found[name] = likelihood.profile_derivatives(data, theta, loss)
        found[f"{name}, overdispersed"] = likelihood.profile_derivatives(data, theta, loss, 0.3)
        found[f"{name}, trimmed"] = likelihood.profile_derivatives(
            data, theta, loss, trim=np.array([2, 0, 4])
        )
    return found


def cases() -> dict[str, Callable[[], Any]]:
    """Name of a case to what computes it."""
    x, x_se, y, y_se = _lines()
    score, positive, counted = _ranks()
    return {
        "agree": lambda: _agree(np.inf),
        "agree, few": lambda: _agree(6.0),
        "deming": lambda: {
            "slope": deming.deming_slope(x[None], y[None], 1.4),
            "error": deming.deming_error(x[None], y[None], 1.4),
            "ratio": deming.error_variance_ratio(y_se, x_se, 2.0),
        },
        "york": lambda: york.york_line(x, y, x_se**2, y_se**2),
        "ranking": lambda: {
            "auc": ranking.area_under_roc(score, positive, counted),
            "precision": ranking.average_precision(score, positive, counted),
            "kendall": ranking.kendall(score[:1], score[1:]),
            "spearman": ranking.spearman(score[:1], score[1:]),
            "pearson": ranking.row_correlation(score[:1], score[1:]),
        },
        "circuits": lambda: circuit_area.circuit_areas(np.sort(np.abs(x[:10]))),
        "edges": lambda: {
            "area": np.array(edge_intervals.area_edge(1.0, 5, 20)),
            "precision": np.array(edge_intervals.precision_edge(5, 20)),
            "share": np.array(edge_intervals.share_edge(0.0, 30)),
        },
        "bayes factors": lambda: {
            "sd": wakefield.trait_sd_from_frequency(
                np.full((1, 4), 0.01), np.linspace(0.1, 0.4, 4)[None], 500.0
            ),
            "variance": wakefield.variance_from_frequency(np.linspace(0.1, 0.4, 4), 500.0, 0.3),
            "pairwise": wakefield.pairwise_log_sums(np.abs(_runs(6))[:3]),
            "single": wakefield.single_cause_posterior(np.abs(_runs(6))[:3], 1e-2),
        },
        "ld": _against_ld,
        "profile": _profile,
        **_fits(),
        **_tails(),
        **_families(),
    }
