"""Statistics off their ordinary ground: zeros, ties, one family, one instrument, missing cells, units far apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import mrinterp
from mrinterp import coloc, scan
from mrinterp.mr._univariable.robust import mm_regression
from mrinterp.stats.agreement import agreement, agreement_bootstrap, deming, ranking, york
from mrinterp.stats.bayes_factors import hyprcoloc, wakefield
from mrinterp.stats.clustered import (
    calibrated,
    dependence,
    dose_shape,
    families_needed,
    family_draws,
    interval,
    joint_effects,
    least_squares,
    paired_change,
    proportion,
    ratio,
    rectified,
    swap_effects,
    through_origin,
)
from mrinterp.stats.profile import strength, weak_tests
from mrinterp.stats.profile.dense_profile import DenseErrors
from mrinterp.stats.profile.likelihood import KnownErrors, minimize_profile
from mrinterp.stats.profile.losses import find_loss
from mrinterp.stats.robust import density
from mrinterp.stats.sparse import conditional, credible_sets, ld_mismatch, sparsity
from mrinterp.stats.tests import (
    chi2_mixture,
    direction,
    equivalence,
    heterogeneity,
    minimum_effect,
    t_tail,
    tails,
)

UNEVEN = np.repeat(np.arange(6), [1, 2, 3, 5, 8, 3])
"""Families of one to eight rows."""
SCALE = np.array([1.0, 30.0, 0.01])


def _rng(seed: int = 29) -> np.random.Generator:
    return np.random.default_rng(seed)


def _rows(columns: int = 3) -> np.ndarray:
    """Rows of uneven families, one column of zeros, units far apart."""
    rng = _rng()
    found = (rng.standard_normal((6, columns))[UNEVEN] + rng.standard_normal((22, columns)) + 0.3) * SCALE[
        :columns
    ]
    return np.asarray(np.c_[found, np.zeros(22)])


def _moved() -> np.ndarray:
    """Effects (22, 4, 2) of four features: all moved, some, one family's, none."""
    found = _rng(3).standard_normal((22, 4, 2)) * np.array([1.0, 20.0]) + 0.5
    found[::3, 1] = np.nan
    found[UNEVEN != 4, 2] = np.nan
    found[:, 3] = np.nan
    return found


def _rectified() -> dict[str, Callable[[], Any]]:
    moved, everyone = _moved(), np.repeat(np.arange(14), 2)
    predicted = 0.7 * np.nan_to_num(moved) + 0.3 * _rng(4).standard_normal(moved.shape)
    rest = _rng(5).standard_normal((28, 4, 2)) * np.array([1.0, 20.0])
    rest[::4, 1] = np.nan
    holes = predicted.copy()
    holes[4, 0, 1] = np.nan
    labels = np.where(np.abs(moved) > 1.2, np.sign(moved), 0.0)
    labels[:, 0, 1] = 0.0
    still = np.ones((22, 1, 1))
    made = partial(rectified.rectified_mean, moved, predicted, UNEVEN, rest, everyone)
    return {
        "uneven": made,
        "uneven, these": lambda: made(new_families=False),
        "uneven, careful": lambda: made(careful=True, level=0.9),
        "holes": lambda: rectified.rectified_mean(moved, holes, UNEVEN, rest, everyone),
        "alone": lambda: rectified.rectified_mean(moved, None, UNEVEN),
        "labels": lambda: rectified.rectified_mean(
            labels, predicted, UNEVEN, rest, everyone, largest=[1.0, 2.0], floor=0.0
        ),
        "labels, one kind": lambda: rectified.rectified_mean(
            labels, None, UNEVEN, largest=[1.0, np.nan], floor=1.0
        ),
        "still": lambda: rectified.rectified_mean(still, still, UNEVEN, np.ones((28, 1, 1)), everyone),
        "kink": lambda: rectified.rectified_mean(still, 0.0 * still, UNEVEN, np.zeros((28, 1, 1)), everyone),
        "needed": lambda: families_needed.families_for_width(moved, predicted, UNEVEN, [0.8, 12.0], 60),
        "needed, all": lambda: families_needed.families_for_width(moved[:, :2], None, UNEVEN, 1e-3, 8),
        "needed, few": lambda: families_needed.families_for_width(
            moved[:, :2], predicted[:, :2], UNEVEN, 100.0, 7, least=12, level=0.8
        ),
        "needed, share": lambda: families_needed.families_for_width(
            moved[:, :2], predicted[:, :2], UNEVEN, [1.0, 25.0], 500, share=0.3, confidence=0.95
        ),
    }


def _calibrated(drawn: int, slope: float, noise: float = 0.05) -> Any:
    rng = _rng(7)
    truth = rng.normal(0, 1.0, (60, 2))
    truth[:, 1] *= 4.0
    roles = calibrated.calibration_roles(np.abs(truth[:, 0]), drawn, 5)
    beta = truth / slope + 0.2 * rng.standard_normal((60, 2))
    se, v = rng.uniform(0.02, 0.1, (60, 2)), rng.uniform(0.5, 1.0, (60, 2)) * noise
    shift = np.where((roles == "rest")[:, None], np.nan, truth + v * rng.standard_normal((60, 2)))
    beta[np.flatnonzero(roles == "drawn")[0], 1] = np.nan
    return calibrated.calibrated(beta, se, shift, v, roles, shift_df=np.array([7.0, np.inf]), level=0.9)


def _clustered() -> dict[str, Callable[[], Any]]:
    rows, one = _rows(), np.zeros(22, int)
    flags = np.stack([np.ones(22), np.zeros(22), np.arange(22) % 3 == 0, UNEVEN == 4])
    counted = np.stack([np.ones(22), UNEVEN == 1, UNEVEN > 2, np.zeros(22)])
    members = np.stack([UNEVEN > 2, UNEVEN == 4, np.zeros(22, bool), UNEVEN < 2])
    before, after = rows[:, :2], np.round(rows[:, :2] + rows[:, [2, 1]], 1)
    x = np.c_[rows[:, :2], np.where(UNEVEN == 3, 1.0, 0.0), np.where(UNEVEN > 3, 1.0, 0.0), np.zeros(22)]
    y = rows[:, :3, None].transpose(0, 2, 1) * np.ones((1, 5, 1))
    z = np.c_[rows[:, 0], x[:, 2:]]
    swaps = _rng(9).standard_normal((3, 2, 22)) * SCALE[:, None, None]
    swaps[1, :, UNEVEN != 2] = 0.0
    swaps[2] = 0.0
    change = 0.5 * swaps[..., None] * np.array([1.0, 3.0]) + 0.1 * _rng(10).standard_normal((3, 2, 22, 2))
    change[..., 1] = np.round(change[..., 1], 1)
    return {
        "interval": lambda: interval.clustered_interval(rows, UNEVEN),
        "interval, one family": lambda: interval.clustered_interval(rows, one),
        "mean": lambda: least_squares.clustered_mean(rows, UNEVEN),
        "proportion": lambda: proportion.clustered_proportion(flags, UNEVEN),
        "proportion, counted": lambda: proportion.clustered_proportion(flags, UNEVEN, counted, 0.8),
        "proportion, two families": lambda: proportion.clustered_proportion(flags, UNEVEN > 3),
        "proportion, one family": lambda: proportion.clustered_proportion(flags, one),
        "ratio": lambda: ratio.clustered_ratio(rows[:, :2], rows[:, [1, 3]], UNEVEN),
        "ratio, sure": lambda: ratio.clustered_ratio(rows, 9.0 + rows[:, :1], UNEVEN, 0.8),
        "ratio, one family": lambda: ratio.clustered_ratio(rows, 9.0 + rows[:, :1], one),
        "ratio, drawn": lambda: ratio.bootstrap_interval(rows[:, :3], 5.0 + rows[:, :1], UNEVEN, 0.9, 60, 3),
        "paired": lambda: paired_change.paired_change(before, after, members, UNEVEN, draws=30),
        "paired, floor": lambda: paired_change.paired_change(
            before, after, members, UNEVEN, floor=[0.3, 5.0], draws=30, seed=2, level=0.8
        ),
        "draws": lambda: family_draws.family_draws(rows, UNEVEN, 40, 2),
        "draws, weights": lambda: family_draws.family_draws(rows, UNEVEN, 40, 2, np.abs(rows)),
        "draws, one family": lambda: family_draws.family_draws(rows, one, 5),
        "percentiles": lambda: [
            family_draws.percentile_interval(family_draws.family_draws(rows, UNEVEN, 80), 0.9, families)
            for families in (None, 2, 6, 100)
        ],
        "through the origin": lambda: through_origin.through_origin(x, y, UNEVEN),
        "marginal slopes": lambda: least_squares.marginal_slopes(z, rows, UNEVEN),
        "marginal slopes, CR1": lambda: least_squares.marginal_slopes(
            z, rows, UNEVEN, "CR1", np.array([2, 0])
        ),
        "least squares": lambda: least_squares.clustered_least_squares(
            np.c_[x, x[:, 0] + x[:, 1]], rows, UNEVEN, 3
        ),
        "least squares, CR1": lambda: least_squares.clustered_least_squares(
            np.c_[x[:, :2], x[:, 2]], rows, UNEVEN, 2, "CR1", absorbed=5
        ),
        "swaps": lambda: swap_effects.swap_effects(swaps, change, UNEVEN, [1.0, -1.0], [0.2, 0.5], 30),
        "swaps, one family": lambda: swap_effects.swap_effects(swaps, change, one, [1.0, 1.0], draws=5),
        "bounds": lambda: swap_effects.rms_bounds(change[..., 0, :, :] ** 2, UNEVEN),
        "sets": lambda: dependence.dependent_sets(
            np.c_[rows, rows[:, 0] * 5.0, rows[:, 1] - rows[:, 2], rows[:, 0] * 1e-3 + 1e-9 * rows[:, 1]]
        ),
        "sets, coarse": lambda: dependence.dependent_sets(
            np.c_[rows[:, :3], rows[:, 0] + 0.02 * rows[:, 1]], 1e-2
        ),
        "beyond rounding": lambda: dependence.changes_beyond_rounding(
            np.c_[rows[:, 0], 1e-16 * rows[:, 0], 1e-13 * rows[:, 0], 0.0 * rows[:, 0]], np.ones((5, 4))
        ),
        "joint": lambda: _joint(3),
        "joint, one": lambda: _joint(1),
        "jackknifed": lambda: joint_effects.jackknifed_mean(rows[:, :, None], UNEVEN),
        "roles": lambda: [
            (calibrated.calibration_roles(np.r_[np.nan, np.arange(k)], 5, 1) == r).astype(float)
            for k in (11, 12, 13, 14, 100)
            for r in ("own", "drawn", "rest")
        ],
        "calibrated, one": lambda: _calibrated(12, 1.0),
        "calibrated, slope": lambda: _calibrated(22, 2.0),
        "calibrated, just enough": lambda: _calibrated(20, 0.3),
        "calibrated, noise": lambda: _calibrated(22, 1.0, 3.0),
        **{f"rectified, {k}": v for k, v in _rectified().items()},
    }


def _joint(factors: int) -> Any:
    rng = _rng(11)
    settings = np.stack(
        [
            joint_effects.random_settings(UNEVEN, factors, np.array([0.5, 1.0, 1.0, 0.5]), rng)
            for _ in range(2)
        ]
    )[0]
    change = settings @ rng.standard_normal((factors, 2)) + 0.3 * rng.standard_normal((4, 22, 2))
    found = joint_effects.joint_effects(settings, change, UNEVEN, np.array([0.5, 1.0, 1.0, 0.5]), True)
    return [
        settings,
        found,
        (found - found * 0.5).se,
        found.mapped(np.ones((1, factors))).se,
        found.taken([0]),
    ]


def _shapes() -> dict[str, Callable[[], Any]]:
    line = np.linspace(0.0, 2.0, 6)
    uneven = np.array([0.0, 0.1, 0.1, 0.5, 1.5, 4.0])
    step = np.stack([(line > 0.9) * 1.0, line, 0.0 * line, np.abs(line - 1.0)])
    noise = 0.2 * _rng(13).standard_normal((22, 4, 6, 2))
    noise[:, 2] = 0.0
    curves = step[None, :, :, None] * np.array([1.0, -10.0]) + noise
    doses = np.stack([line, uneven, line, line])

    def ramp(tie: float = 1e-9) -> Any:
        found = dose_shape.fit_ramp(doses, curves, UNEVEN, draws=25, tie=tie)
        return [found, found.interval(found.low_draws, 0.9), found.interval(found.high_draws, 0.5)]

    return {
        "ramp": ramp,
        "ramp, ties": lambda: ramp(0.05),
        "monotone": lambda: dose_shape.monotonicity(curves, UNEVEN, draws=60),
        "monotone, floor": lambda: dose_shape.monotonicity(curves, UNEVEN, [0.4, 3.0], 0.8, 60, 3),
        "monotone, one family": lambda: dose_shape.monotonicity(curves, np.zeros(22), draws=5),
    }


def _agreement() -> dict[str, Callable[[], Any]]:
    rng = _rng(15)
    truth = rng.normal(0, 2.0, 9)
    x_se, y_se = rng.uniform(0.1, 0.9, 9), rng.uniform(0.1, 0.3, 9)
    x, y = truth + x_se * rng.standard_normal(9), 0.6 * truth + y_se * rng.standard_normal(9)
    y[2], y_se[4] = np.nan, np.inf
    score = np.round(rng.standard_normal((3, 11)), 0)
    hit = np.stack([rng.random(11) < 0.5, np.zeros(11, bool), np.arange(11) < 1])
    counted = np.stack([np.ones(11, bool), np.ones(11, bool), np.arange(11) < 5])
    tied = np.stack([np.repeat(np.arange(4.0), 3)[:11], np.zeros(11), np.arange(11.0)])
    many = np.round(rng.standard_normal((2, 130)), 1)

    def prediction(causal: int) -> agreement_bootstrap.Prediction:
        made = 0.6 * truth + 0.1 * np.sin(np.arange(9))
        return agreement_bootstrap.Prediction(
            made,
            np.full(9, 0.2),
            truth,
            np.full(9, 0.3),
            np.abs(made - truth) < 1.5,
            np.abs(made - truth) < 0.4,
            np.argsort(np.argsort(-np.abs(truth))) < causal,
            np.abs(truth) < 0.8,
            np.abs(made) + 0.01,
        )

    def families(a: int, b: int) -> np.ndarray:
        return np.asarray(truth + 0.2 * np.sin(np.arange(a, b)[:, None] + np.arange(9)))

    args = x[:4], x_se[:4], y[5:], y_se[5:]
    return {
        "agree": lambda: agreement.agree(y, y_se, x, x_se),
        "agree, four": lambda: agreement.agree(*args, df=3.0, level=0.8),
        "agree, three": lambda: agreement.agree(*(a[:3] for a in args)),
        "agree, alike": lambda: agreement.agree(np.ones(5), y_se[:5], np.arange(5.0), np.ones(5)),
        "agree, exact": lambda: agreement.agree(np.arange(5.0), np.zeros(5), np.arange(5.0), np.zeros(5)),
        "slopes": lambda: [
            deming.deming_slope(truth[None], sign * (0.6 * truth[None] + np.cos(np.arange(9))), r)
            for r in (0.01, 1.0, 100.0)
            for sign in (1.0, -1.0)
        ],
        "slope of nothing": lambda: deming.deming_slope(np.eye(4)[:1] * 0, np.ones((1, 4)), 1.0),
        "error ratios": lambda: [
            deming.error_variance_ratio(np.array(a), np.array(b))
            for a, b in (([1.0, 2.0, 9.0], [3.0, 1.0, 1.0]), ([0.0], [1.0]), ([1.0], [0.0]), ([0.0], [0.0]))
        ],
        "york": lambda: york.york_line(
            np.stack([truth, -truth, np.ones(9)]),
            np.stack([0.6 * truth + 0.3 * np.cos(np.arange(9))] * 3),
            np.stack([x_se**2, 0.0 * x_se, x_se]),
            np.full((3, 9), 0.2),
        ),
        "york, three": lambda: york.york_line(truth[:3], y_se[:3], x_se[:3], x_se[:3]),
        "york, two": lambda: york.york_line(truth[:2], y_se[:2], x_se[:2], x_se[:2]),
        "ranks": lambda: [
            ranking.area_under_roc(score, hit, counted),
            ranking.average_precision(score, hit, counted),
            ranking.kendall(tied, score),
            ranking.spearman(tied, score),
            ranking.row_correlation(tied, score),
            ranking.kendall(many, many[::-1]),
        ],
        "scores": lambda: [agreement_bootstrap.scores(prediction(k)) for k in (0, 3)],
        "drawn": lambda: agreement_bootstrap.bootstrap_scores(prediction(3), families, 40, 1),
        "drawn, features": lambda: agreement_bootstrap.bootstrap_scores(prediction(3), None, 40, 1, 0.8),
        "drawn, no cause": lambda: agreement_bootstrap.bootstrap_scores(prediction(0), families, 40, 2),
    }


def _tails() -> dict[str, Callable[[], Any]]:
    z = np.linspace(-9.0, 9.0, 1 << 14)
    q = np.array([0.0, 1e-3, 0.9, 1.0, 1.7, 2.0, 6.0, 80.0])
    effect = np.array([[1.0, 2.0, 0.0], [1.5, 2.0, 0.0], [4.0, np.nan, 0.0]])
    cov = np.stack([np.diag([1.0, 2.0, 3.0]) + 0.5, np.full((3, 3), 1.0), np.zeros((3, 3))])
    r = np.array([-0.6, 0.0, 0.3])
    lower, upper = np.array([-1.0, 1.0, -2.0, 0.5, np.nan, -3.0]), np.array([1.0, 3.0, 0.5, 0.9, 1.0, -1.0])
    words = equivalence.verdict(lower, upper, 1.0)
    return {
        "many scores": lambda: {
            str(df): t_tail.two_sided_t(z, df)[::64]
            for df in (1.0, 2.5, 7.0, 60.0, 300.0, 10_000.0, 20_000.0)
        },
        "t": lambda: tails.neglog10p_t(np.array([0.0, 1.0, 30.0, 1e5]), np.array([1.0, np.inf, 400.0, 90.0])),
        "tail": lambda: tails.log10_tail_t(np.array([-3.0, 0.0, 3.0]), np.inf),
        "chi2": lambda: tails.neglog10p_chi2(
            np.array([0.0, 2.0, 2000.0, 1e5]), np.array([1.0, 2.0, 7.0, 40.0])
        ),
        "mixture": lambda: chi2_mixture.neglog10p_chi2_mixture(q, np.array([[2.0, 1e-14, 0.0]] * 8)),
        "mixture, even": lambda: chi2_mixture.neglog10p_chi2_mixture(q, np.full((8, 4), 0.5)),
        "minimum": lambda: minimum_effect.minimum_effect_p(
            np.array([0.4, 0.5, -0.6, 2.0]), np.array([0.0, 0.0, 0.0, 0.7]), 0.5, 5.0
        ),
        "minimum, nothing": lambda: minimum_effect.minimum_effect_p(np.ones(2), np.ones(2), 0.0, 0.0),
        "equivalence": lambda: equivalence.tost(
            np.array([0.0, 0.4, -0.4, 0.2, 2.0, np.nan]),
            np.array([0.0, 0.0, 0.1, 0.1, 0.1, 0.1]),
            np.array([3.0, 3.0, 3.0, 0.0, 9.0, 9.0]),
            0.4,
            alpha=0.1,
        ),
        "verdicts": lambda: {w: (words == w).astype(float) for w in equivalence.VERDICTS},
        "heterogeneity": lambda: [
            heterogeneity.independent_heterogeneity(effect, np.array([[0.2, 1.0, 1.0]] * 3), df)
            for df in (np.inf, 5.0, np.array([[4.0], [9.0], [np.inf]]))
        ],
        "heterogeneity, two": lambda: heterogeneity.independent_heterogeneity(
            effect[:2], np.array([[0.2, 1.0, 0.0]] * 2), 3.0
        ),
        "heterogeneity, same runs": lambda: [
            heterogeneity.correlated_heterogeneity(np.nan_to_num(effect), cov, np.array([9.0, 3.0, 5.0]), r0)
            for r0 in (0.0, np.array([10.0, 0.0, 0.0]))
        ],
        "direction": lambda: {
            "effects": direction.correlations_from_effects(r, np.full(3, 0.1), [10, 20, 30]),
            "p": direction.correlations_from_p(np.array([0.0, 0.5, 3.0, 200.0]), [5.0, 50.0, 500.0, 5000.0]),
            "compared": direction.compare_correlations(r, 0.2, [10.0, 20.0, 40.0], 90.0),
            "compared, traits": direction.compare_correlations(r, 0.2, [10.0, 20.0, 40.0], 30.0, traits=-0.3),
            "volumes": np.array([direction.precision_volumes(a, b) for a, b in ((0.2, 0.7), (0.4, 0.4))]),
        },
        "losses": lambda: {
            name: [
                find_loss(name),
                *(
                    getattr(find_loss(name), f)(np.array([-6.0, -1.3, 0.0, 0.7, 1.4, 4.7]))
                    for f in ("rho", "psi", "dpsi")
                ),
            ]
            for name in ("l2", "huber", "tukey")
        },
    }


def _loci() -> dict[str, Callable[[], Any]]:
    rng = _rng(17)
    big = rng.standard_normal((3, 6)) * 2.0
    far = big.copy()
    far[0, 1], far[1, 4] = 1500.0, 1400.0
    sign = np.sign(rng.standard_normal((3, 6)))
    ld = 0.6 ** np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
    z, w = 2.0 * rng.standard_normal((3, 6)), rng.uniform(1.0, 5.0, (3, 6))
    sums = wakefield.hypothesis_log_sums(big, far, sign, -sign)
    beta, variance = rng.standard_normal((3, 6)) * SCALE[:, None], np.ones((3, 6)) * SCALE[:, None] ** 2
    beta[1, 2] *= 9.0
    beta[2] *= 0.05
    n = np.array([300.0, 900.0, 50.0])
    y2 = n * SCALE**2
    weights = np.array([[[0.5, 0.3, 0.1, 0.05, 0.03, 0.02], [0.0, 0.0, 0.96, 0.04, 0.0, 0.0]]])
    shared = 10.0 * np.eye(6)[2] + big
    return {
        "bayes factors": lambda: wakefield.log_bayes_factor(beta, variance, 0.3),
        "log sums": lambda: sums,
        "log sums, no signs": lambda: wakefield.hypothesis_log_sums(far, far),
        "log sums, one": lambda: wakefield.hypothesis_log_sums(
            far[:, :1], far[:, :1], sign[:, :1], sign[:, :1]
        ),
        "posterior": lambda: wakefield.hypothesis_posterior(sums[0], 1e-3, [[1e-3], [0.0], [0.1]], 1e-5),
        "priors": lambda: wakefield.posterior_over_priors(
            sums[0], 1e-3, 2e-3, np.array([0.0, 1e-6, 1e-4, 1.0])
        ),
        "two traits": lambda: wakefield.bivariate_log_bayes_factors(
            beta, variance, beta[::-1], variance[::-1], 0.4, 0.2, 3.0
        ),
        "two causes": lambda: wakefield.bivariate_distinct_log_sum(
            z, z[::-1], w, 2.0 * w, [0.0, 0.5, -0.3], ld
        ),
        "two causes, one": lambda: wakefield.bivariate_distinct_log_sum(
            z[:, :1], z[:, :1], w[:, :1], w[:, :1], 0.3, np.eye(1)
        ),
        "one cause": lambda: [wakefield.single_cause_posterior(far, p) for p in (1e-3, 1 / 6, 0.5)],
        "sd": lambda: wakefield.trait_sd_from_frequency(
            rng.uniform(0.01, 0.1, (2, 4)), np.full((2, 4), 0.3), np.array([[100.0], [400.0]])
        ),
        "variance": lambda: [wakefield.variance_from_frequency([0.1, 0.5], 80.0, c) for c in (None, 0.25)],
        "prior variance": lambda: [
            wakefield.estimated_prior_variance(beta, variance, np.array(k), share=s)
            for k in ([0, 0, 0, 0, 0, 0], [2, 0, 1, 0, 1, 2])
            for s in (0.1, 0.5)
        ],
        "clusters": lambda: [
            hyprcoloc.shared_cause(shared[:k], 1e-3, 0.02, uniform, weight)
            for k in (2, 3)
            for uniform in (False, True)
            for weight in (0.25, 0.5)
        ],
        "clusters, one instrument": lambda: hyprcoloc.shared_cause(shared[:, :1], 1e-3, 0.02),
        "forward": lambda: [
            sparsity.forward_selection(3.0 * z, m, 4, least, most)
            for m in (ld, None)
            for least, most in ((0.0, 0.9), (2.5, 0.2))
        ],
        "clumps": lambda: [
            sparsity.greedy_clumps(np.array([3.0, 5.0, 5.0, 1.0, np.nan, 4.0]), ld, least, r2)
            for least, r2 in ((1.0, 0.36), (4.0, 0.1), (9.0, 0.5))
        ],
        "given": lambda: [
            conditional.conditional_effects(
                beta, conditional.dose_sum_of_squares(beta, variance, y2, n), y2, n, ld, np.array(g), r2
            )
            for g, r2 in (([2], 0.9), ([0, 5], 0.3), ([1, 2, 3], 0.9))
        ],
        "sets": lambda: [
            credible_sets.credible_sets(weights, np.array([[True, True]]), ld, level, purity)
            for level, purity in ((0.95, 0.0), (0.8, 0.3), (0.9, 0.7), (1.0, 0.0))
        ],
        "sets, equal": lambda: credible_sets.credible_sets(
            np.repeat(weights[:, 1:], 2, axis=1), np.array([[True, True]]), ld
        ),
        "inconsistency": lambda: _against(ld, 3.0 * z),
    }


def _against(ld: np.ndarray, z: np.ndarray) -> Any:
    known = ld_mismatch.spectrum(ld)
    near = ld_mismatch.spectrum(np.ones((6, 6)))
    n = np.array([20.0, 100.0, 1e4])
    return {
        "share": ld_mismatch.inconsistency(z, known),
        "share, flat": ld_mismatch.inconsistency(z, near),
        "adjusted": ld_mismatch.adjusted_z(z, n),
        "left": [ld_mismatch.chi2_left(z, ld, known, k, n, mixed) for k in (1, 3) for mixed in (True, False)],
        "left, flat": ld_mismatch.chi2_left(z, ld, near, 1),
        "causes": [
            ld_mismatch.causes_needed(z, ld, known, most, alpha=1e-2).astype(float) for most in (1, 3, 6)
        ],
        "gain": ld_mismatch.null_gain(z, near, np.array([0.0, 0.5, 1.0])),
        "dense": ld_mismatch.dense_inconsistency(z, known),
        "swapped": ld_mismatch.swapped_signs(np.concatenate([z, 8.0 * ld[:2] * [1, 1, -1, 1, 1, -1]]), known),
    }


def _profiles() -> dict[str, Callable[[], Any]]:
    rng = _rng(19)
    b = rng.standard_normal((14, 3)) * SCALE
    y = b @ np.array([[0.5, -0.2], [0.01, 0.0], [3.0, 20.0]]) + 0.3 * rng.standard_normal((14, 2))
    corr = np.array([[1.0, 0.3, 0.1], [0.3, 1.0, 0.0], [0.1, 0.0, 1.0]])
    size = rng.uniform(0.1, 0.4, (14, 3)) * SCALE
    xx = size[:, :, None] * corr * size[:, None, :]
    known = KnownErrors(b[None], y.T, rng.uniform(0.2, 0.5, (2, 14)) ** 2, xx, 0.05 * size[None])
    ld = 0.5 ** np.abs(np.subtract.outer(np.arange(14), np.arange(14)))
    start = np.array([[0.4, 0.0, 2.0], [-0.3, 0.01, 15.0]])
    values, dense = np.array([0.0, 0.4, 4.0]), np.einsum("jkl,ij->klij", xx, np.eye(14))
    correlated = DenseErrors(
        b, y[:, 0], np.einsum("jkl,ij->klij", xx, ld), 0.1 * ld, 0.01 * np.stack([ld * s for s in SCALE])
    )

    def single(sufficient: bool) -> Any:
        many = replace(
            known,
            beta_x=known.beta_x,
            beta_y=known.beta_y[[0, 0, 0]],
            var_y=known.var_y[[0, 0, 0]],
        )
        centre = np.repeat(start[:1], 3, axis=0)
        return [
            weak_tests.single_effect_statistics(many, k, values * (1.0 / SCALE[k]), centre, t, sufficient)
            for k in (0, 2)
            for t in (0.0, 0.2)
        ]

    return {
        "conditional F": lambda: [
            strength.conditional_f_statistics(b[:, :k].T, size[:, :k].T, s, d, m)
            for k in (1, 3)
            for s in (None, xx[:, :k, :k])
            for d in ("df", "instruments")
            for m in (None, ld)
        ],
        "joint rank": lambda: [
            strength.joint_rank_statistic(b[:, :k].T, size[:, :k].T, s)
            for k in (1, 2, 3)
            for s in (None, xx[:, :k, :k])
        ],
        "lambda": lambda: [strength.lambda_str(b.T, size.T, s) for s in (None, xx)],
        "sized": lambda: [
            strength.sized_covariance(b.T, size.T, np.array([50.0, 80.0, 200.0]), c) for c in (None, corr)
        ],
        "minimum": lambda: [
            minimize_profile(known, start, loss, tau2=t)
            for loss in ("l2", "huber", "tukey")
            for t in (0.0, 0.3)
        ],
        "one effect": lambda: single(False),
        "one effect, sufficient": lambda: single(True),
        "dense effect": lambda: [
            weak_tests.dense_effect_statistics(correlated, k, values / SCALE[k], start[0], s)
            for k in (0, 2)
            for s in (False, True)
        ],
        "clr": lambda: [
            weak_tests.clr_p(np.array([0.0, 1.0, 5.0]), np.array([-1.0, 3.0, 50.0]), df) for df in (0, 1, 4)
        ],
        "shape": lambda: np.asarray(dense.shape, float),
    }


def _robust() -> dict[str, Callable[[], Any]]:
    rng = _rng(23)
    x = rng.standard_normal((2, 36, 3))
    y = x @ np.array([0.5, -1.0, 0.0]) + 0.2 * rng.standard_normal((2, 36))
    y[0, :9] += 5.0
    halved = np.where(np.arange(36) < 20, x[:1] @ np.array([0.5, -1.0, 0.0]), y[:1])
    tied = np.round(rng.standard_normal((3, 21)), 0)
    tied[1] = np.where(np.arange(21) < 15, 2.0, tied[1])
    wide = density.silverman_bandwidth(tied)
    return {
        **{
            f"{errors}, {p}": partial(mm_regression, x[:, :, :p], y, 3, errors)
            for errors in ("small_sample", "influence")
            for p in (1, 2, 3)
        },
        "exact": lambda: mm_regression(x, np.concatenate([halved, y[1:]])),
        "exact in half": lambda: mm_regression(x[:1], np.where(np.arange(36) < 18, halved, y[:1] + 3.0)),
        "bandwidth": lambda: wide,
        "modes": lambda: [density.density_modes(tied, 1.0 + np.abs(tied), wide, p) for p in (None, 9, 512)],
    }


def _runs() -> dict[str, Callable[[], Any]]:
    rng = _rng(31)
    doses = rng.standard_normal((70, 5))
    features = doses[:, :3] * SCALE + 0.5 * rng.standard_normal((70, 3)) * SCALE
    outcome = doses[:, 0] + 0.4 * doses[:, 3] + rng.standard_normal(70)
    both = np.c_[outcome, features[:, 1] + rng.standard_normal(70)]
    panel = mrinterp.worlds.linear_world(2).panel
    data = scan.marginal_scan(panel).to_mrdata()
    scaled = replace(data, beta_y=40.0 * data.beta_y, se_y=40.0 * data.se_y)
    holes = replace(
        scaled,
        beta_x=np.where(np.arange(data.beta_x.size).reshape(data.beta_x.shape) % 7 == 3, np.nan, data.beta_x),
    )
    return {
        "screen": lambda: coloc.screen_runs(doses, features, both, priors=coloc.Priors(1e-2, 1e-3, 1e-4)),
        "colocalize": lambda: coloc.colocalize_runs(doses, features, outcome),
        "colocalize, errors": lambda: coloc.colocalize_runs(doses, features, both, correlated_errors=True),
        "effects": lambda: coloc.marginal_effects(doses, both),
        "scan, some": lambda: scan.marginal_scan(panel, candidates=[2, 0]),
        "scan, none": lambda: scan.marginal_scan(panel, candidates=[], covariance="CR1"),
        "scan bytes": lambda: np.array(
            [scan._marginal.scan_bytes(*s) for s in ((5, 1, 24, 60), (3000, 2, 20, 50), (1, 1, 1, 2))]
        ),
        "without each": lambda: [mrinterp.mr.leave_one_out_ivw(d) for d in (scaled, holes)],
        "without each of three": lambda: mrinterp.mr.leave_one_out_ivw(
            data.select(instruments=np.arange(24) < 3)
        ),
        "without each of two": lambda: mrinterp.mr.leave_one_out_ivw(
            data.select(instruments=np.arange(24) < 2)
        ),
    }


def cases() -> dict[str, Callable[[], Any]]:
    """Name of a case to what computes it."""
    parts = {
        "families": _clustered,
        "shapes": _shapes,
        "agreement": _agreement,
        "tails": _tails,
        "loci": _loci,
        "profiles": _profiles,
        "robust": _robust,
        "runs": _runs,
    }
    return {f"{part}, {name}": case for part, make in parts.items() for name, case in make().items()}
