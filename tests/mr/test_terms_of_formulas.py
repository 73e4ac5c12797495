"""Every term of a formula, against the formula written out instrument by instrument.

The data have overlapping errors, errors of unequal size and two outcomes, so that no term is 0 or 1 by chance.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from mrinterp.mr._engine.driver import estimate
from mrinterp.stats.profile.likelihood import KnownErrors
from mrinterp.stats.robust.least_absolute import least_absolute_deviations
from tests.mr.joint_cases import changed, draw

Array = NDArray[np.float64]


def parts(outcome: int, **of: float) -> tuple[Array, Array, Array, Array, Array]:
    """b (J, K), g (J,), Sxx (J, K, K), sxy (J, K), syy (J,) of one outcome of the drawn data."""
    data = draw(**of)  # type: ignore[arg-type]
    K = len(data.exposures)
    sigma = np.asarray(data.error_covariance())
    own = K + outcome
    return (
        data.beta_x.T,
        data.beta_y[outcome],
        sigma[:, :K, :K],
        sigma[:, :K, own],
        sigma[:, own, own],
    )


def moments(outcome: int, **of: float) -> tuple[Array, Array, float, int]:
    """H, c and Sum w g^2 with weights of mean 1, as loops."""
    b, g, sxx, sxy, syy = parts(outcome, **of)
    J, K = b.shape
    w = (1.0 / syy) / np.mean(1.0 / syy)
    h, c, yy = np.zeros((K, K)), np.zeros(K), 0.0
    for j in range(J):
        h += w[j] * (np.outer(b[j], b[j]) - sxx[j])
        c += w[j] * (b[j] * g[j] - sxy[j])
        yy += w[j] * g[j] ** 2
    return h, c, yy, J


@pytest.mark.parametrize("inclusion", [0.1, 0.35])
def test_model_average_is_its_formula(inclusion: float) -> None:
    of = {"seed": 3, "F": 3, "J": 40, "se": 0.25}
    found = estimate(draw(**of), "mr_bma", prior_inclusion=inclusion, prior_sd=0.3)  # type: ignore[arg-type]
    for o in range(2):
        h, c, yy, J = moments(o, **of)
        K = len(c)
        logs, means, spreads, sets = [], [], [], []
        for size in range(K + 1):
            for m in map(list, combinations(range(K), size)):
                hm, cm = h[np.ix_(m, m)], c[m]
                # effects of exposures of unit mean square: the prior variance of theta_k is prior_sd^2 J / H_kk
                d = np.diag(J * 0.3**2 / np.diag(h)[m])
                effect = np.linalg.solve(hm + np.linalg.inv(d), cm) if m else np.zeros(0)
                left = yy - float(cm @ effect)
                log = size * np.log(inclusion) + (K - size) * np.log(1 - inclusion)
                log -= 0.5 * np.linalg.slogdet(np.eye(size) + d @ hm)[1] + 0.5 * J * np.log(left)
                mean, spread = np.zeros(K), np.zeros(K)
                mean[m] = effect
                if m:
                    spread[m] = np.diag(np.linalg.inv(hm + np.linalg.inv(d))) * left / (J - 2)
                logs, means, spreads = [*logs, log], [*means, mean], [*spreads, spread + mean**2]
                sets.append(np.isin(np.arange(K), m))
        weight = np.exp(np.array(logs) - np.max(logs))
        weight /= weight.sum()
        beta = weight @ np.array(means)
        np.testing.assert_allclose(found.beta[:, o], beta, rtol=1e-7)
        np.testing.assert_allclose(found.details["inclusion"][:, o], weight @ np.array(sets), rtol=1e-7)
        np.testing.assert_allclose(found.se[:, o], np.sqrt(weight @ np.array(spreads) - beta**2), rtol=1e-6)


@pytest.mark.parametrize("se", [0.1, 0.6])
def test_regularized_estimate_is_its_formula(se: float) -> None:
    """Strong and weak instruments: the penalty is off in the first and on in the second."""
    of = {"seed": 5, "F": 3, "J": 60, "se": se}
    found = estimate(draw(**of), "srivw")  # type: ignore[arg-type]
    for o in range(2):
        b, g, sxx, sxy, syy = parts(o, **of)
        J, K = b.shape
        ux, uy = np.median(np.sqrt(np.einsum("jkk->jk", sxx)), axis=0), np.median(np.sqrt(syy))
        b, g, syy = b / ux, g / uy, syy / uy**2
        sxx, sxy = sxx / np.outer(ux, ux), sxy / (ux * uy)
        z = np.zeros((K, K))
        h, c = np.zeros((K, K)), np.zeros(K)
        for j in range(J):
            values, vectors = np.linalg.eigh(sxx[j])
            zj = vectors @ np.diag(values**-0.5) @ vectors.T @ b[j]
            z += np.outer(zj, zj)
            h += (np.outer(b[j], b[j]) - sxx[j]) / syy[j]
            c += (b[j] * g[j] - sxy[j]) / syy[j]
        strength = (np.linalg.eigvalsh(z)[0] - J) / np.sqrt(J)
        values, vectors = np.linalg.eigh(h)
        tau2, best = 0.0, (np.inf, 0.0, np.zeros(K), h)
        for phi in [0.0, *np.exp(np.arange(0.0, 17.25, 0.5) - strength)]:
            inverse = vectors @ np.diag(1.0 / (values + phi / values)) @ vectors.T
            theta = inverse @ c
            e = g - b @ theta
            v = np.array([syy[j] + theta @ sxx[j] @ theta - 2 * theta @ sxy[j] for j in range(J)])
            if phi == 0:
                tau2 = max(0.0, float(((e**2 - v) / syy).sum() / (1 / syy).sum()))
            value = float((e**2 / (v + tau2)).mean())
            if value < best[0]:
                best = (value, phi, theta, inverse)
        _, phi, theta, inverse = best
        e = g - b @ theta
        spread = np.zeros((K, K))
        for j in range(J):
            score = (b[j] * e[j] + sxx[j] @ theta - sxy[j]) / syy[j]
            spread += np.outer(score, score)
        error = np.sqrt(np.diag(inverse @ spread @ inverse.T) * J / (J - K))
        np.testing.assert_allclose(found.details["phi"][0, o], phi, rtol=1e-9)
        np.testing.assert_allclose(found.beta[:, o], theta * uy / ux, rtol=1e-7)
        np.testing.assert_allclose(found.se[:, o], error * uy / ux, rtol=1e-7)
        np.testing.assert_allclose(found.details["overdispersion"][0, o], tau2 * uy**2, rtol=1e-7, atol=1e-14)


def test_bootstrap_of_the_median_is_the_spread_under_the_joint_errors() -> None:
    """Its error against 600 draws made here from each instrument's whole covariance (own Monte-Carlo error 3%)."""
    of = {"seed": 2, "F": 2, "J": 50, "se": 0.3, "overlap": 0.6}
    found = estimate(draw(**of), "mv_median", draws=600, seed=4)  # type: ignore[arg-type]
    rng = np.random.default_rng(11)
    for o in range(2):
        b, g, sxx, sxy, syy = parts(o, **of)
        whole = np.concatenate(
            [np.concatenate([sxx, sxy[:, :, None]], 2), np.c_[sxy, syy][:, None, :]], axis=1
        )
        root = np.linalg.cholesky(whole)
        noise = np.einsum("jab,njb->nja", root, rng.standard_normal((600, len(b), 3)))
        weight = np.repeat((syy.min() / syy)[None], 600, axis=0)
        theta = least_absolute_deviations(b + noise[..., :2], g + noise[..., 2], weight)
        np.testing.assert_allclose(found.se[:, o], theta.std(axis=0, ddof=1), rtol=0.12)


def test_redrawn_effects_have_the_errors_covariance() -> None:
    b, g, sxx, sxy, syy = parts(1, seed=1, F=2, J=4, se=0.3, overlap=0.5)
    one = KnownErrors(b[None], g[None], syy[None], sxx, sxy[None])
    many = one.take(np.zeros(40_000, int)).redraw(np.random.default_rng(0).standard_normal((40_000, 4, 3)))
    drawn = np.concatenate([many.beta_x - b, (many.beta_y - g)[:, :, None]], axis=2)
    for j in range(4):
        want = np.block([[sxx[j], sxy[j][:, None]], [sxy[j][None], syy[j]]])
        size = np.sqrt(np.outer(np.diag(want), np.diag(want)))
        np.testing.assert_allclose(np.cov(drawn[:, j].T) / size, want / size, atol=0.03)


@pytest.mark.parametrize("method", ["mrbee", "srivw", "grapple", "mv_ivw_me", "mv_cml", "mr_bma", "susie_mv"])
def test_what_subtracts_the_errors_correlation_uses_it(method: str) -> None:
    """With the overlap denied, the estimate moves: each of these uses the errors shared with the outcome."""
    options = {"starts": 4} if method == "mv_cml" else {}
    data = draw(seed=6, se=0.5, overlap=0.6)
    denied = np.array(data.error_corr)
    denied[:4, 4:] = denied[4:, :4] = 0.0
    here = estimate(data, method, **options).beta
    without = estimate(changed(data, error_corr=denied), method, **options).beta
    assert np.abs(here - without).max() > 0.02


def test_one_side_s_sample_sizes_are_not_enough() -> None:
    data = draw(seed=2, F=1, J=15, O=1, overlap=0.0)
    few = changed(data, error_corr=None, n_x=np.array([3000.0]))
    assert "sample size" in str(estimate(few, "cml").status[0, 0])
    both = changed(few, n_y=np.array([2000.0]))
    assert estimate(both, "cml").status[0, 0] == "ok"
    np.testing.assert_array_equal(estimate(both, "cml").beta, estimate(few, "cml", n=2000.0).beta)
