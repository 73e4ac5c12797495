"""Which trait is the cause: correlations and their comparison against simulation and numerical integration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats

from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.diagnostics._steiger import steiger_by_instrument, steiger_test
from mrinterp.results._check import Check, NotApplicable
from mrinterp.stats.tests.direction import (
    compare_correlations,
    correlations_from_effects,
    correlations_from_frequency,
    correlations_from_p,
    precision_volumes,
)
from mrinterp.stats.tests.tails import neglog10p_t


def slopes(g: np.ndarray, trait: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Simple regressions of a trait on every column of g."""
    rows = [stats.linregress(g[:, j], trait) for j in range(g.shape[1])]
    return np.array([r.slope for r in rows]), np.array([r.stderr for r in rows])


def study(seed: int, forward: bool, n: int = 1500, J: int = 6) -> MRData:
    """Two samples in which one trait causes the other with effect 0.5."""
    rng = np.random.default_rng(seed)
    columns = []
    for _ in range(2):
        g = rng.normal(size=(n, J))
        cause = g @ np.linspace(0.1, 0.3, J) + rng.normal(size=n)
        effect = 0.5 * cause + rng.normal(size=n)
        columns.append((g, cause, effect))
    (gx, cause, effect), (gy, cause2, effect2) = columns
    x = slopes(gx, cause if forward else effect)
    y = slopes(gy, effect2 if forward else cause2)
    names = [("x",), ("y",), tuple(f"g{j}" for j in range(J))]
    n_ = np.array([float(n)])
    return MRData(
        beta_x=x[0][None],
        se_x=x[1][None],
        beta_y=y[0][None],
        se_y=y[1][None],
        exposures=names[0],
        outcomes=names[1],
        instruments=names[2],
        n_x=n_,
        n_y=n_,
    )


def test_correlation_of_an_instrument_is_recovered_from_its_slope_and_from_its_p() -> None:
    rng = np.random.default_rng(0)
    g = rng.normal(size=(300, 5))
    trait = g @ np.array([0.0, 0.1, -0.4, 1.0, 3.0]) + rng.normal(size=300)
    beta, se = slopes(g, trait)
    truth = np.array([np.corrcoef(g[:, j], trait)[0, 1] for j in range(5)])
    np.testing.assert_allclose(correlations_from_effects(beta, se, 300), truth, rtol=1e-10)
    p = neglog10p_t(beta / se, 298)
    np.testing.assert_allclose(correlations_from_p(p, 300), np.abs(truth), rtol=1e-9)


def test_correlation_from_a_p_that_underflows() -> None:
    z = np.array([1.0, 10.0, 50.0, 300.0])
    found = correlations_from_p(neglog10p_t(z, 9998), 10_000)
    np.testing.assert_allclose(found, z / np.sqrt(z**2 + 9998), rtol=1e-9)


def test_correlation_from_an_allele_frequency() -> None:
    rng = np.random.default_rng(1)
    allele = rng.binomial(2, 0.3, size=400_000)
    trait = 0.4 * allele + rng.normal(size=400_000)
    found = correlations_from_frequency(np.array([0.4]), 0.3, trait.std())[0]
    assert found == pytest.approx(np.corrcoef(allele, trait)[0, 1], abs=0.005)


@pytest.mark.parametrize("one_sample", [False, True])
def test_equal_correlations_are_told_apart_at_the_level(one_sample: bool) -> None:
    rng = np.random.default_rng(2)
    n, repeats = 400, 1500
    cov = np.array([[1.0, 0.3, 0.3], [0.3, 1.0, 0.6], [0.3, 0.6, 1.0]])
    draws = rng.normal(size=(repeats, n, 3)) @ np.linalg.cholesky(cov).T
    again = draws if one_sample else rng.normal(size=(repeats, n, 3)) @ np.linalg.cholesky(cov).T

    def corr(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
        return (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))

    r1, r2 = corr(draws[:, :, 0], draws[:, :, 1]), corr(again[:, :, 0], again[:, :, 2])
    traits = corr(draws[:, :, 1], draws[:, :, 2]) if one_sample else None
    level = np.mean(np.abs(compare_correlations(r1, r2, n, n, traits)) > 1.96)
    assert 0.032 < level < 0.068  # three Monte-Carlo errors


@pytest.mark.parametrize(("a", "b"), [(0.4, 0.1), (0.1, 0.4), (0.05, 0.04), (0.9, 0.85)])
def test_volumes_are_the_integrals(a: float, b: float) -> None:
    def part(sign: float) -> float:
        value, _ = integrate.dblquad(
            lambda y, x: max(sign * (a / x - b / y), 0.0), a, 1.0, b, 1.0, epsabs=1e-8
        )
        return float(value)

    for_a, for_b = precision_volumes(a, b)
    assert for_a == pytest.approx(part(1.0), abs=2e-6)
    assert for_b == pytest.approx(part(-1.0), abs=2e-6)


def test_the_cause_is_found() -> None:
    forward, reverse = (steiger_test(study(3, way)) for way in (True, False))
    assert isinstance(forward, Check)
    assert isinstance(reverse, Check)
    assert forward.verdict == "passed"
    assert forward.statistic > 3
    assert reverse.verdict == "failed"
    assert reverse.statistic < -3
    assert "sensitivity ratio" in forward.note


def test_a_badly_measured_exposure_can_be_allowed_for() -> None:
    data = study(4, True)
    plain, corrected = steiger_test(data), steiger_test(data, reliability_x=0.8)
    assert isinstance(plain, Check)
    assert isinstance(corrected, Check)
    assert corrected.statistic > plain.statistic
    with pytest.raises(InputError, match="reliability_x"):
        steiger_test(data, reliability_x=0.0)


def test_correlated_instruments_are_not_counted_twice() -> None:
    data = study(5, True, J=1)
    twice = MRData(
        **{k: np.repeat(getattr(data, k), 2, axis=1) for k in ("beta_x", "se_x", "beta_y", "se_y")},
        exposures=data.exposures, outcomes=data.outcomes, instruments=("a", "b"), ld=np.ones((2, 2)),
        n_x=data.n_x, n_y=data.n_y,
    )  # fmt: skip
    one, two = steiger_test(data), steiger_test(twice)
    assert isinstance(one, Check)
    assert isinstance(two, Check)
    assert two.statistic == pytest.approx(one.statistic, rel=1e-8)


def test_it_says_when_it_does_not_apply() -> None:
    data = study(6, True)
    unsized = steiger_test(replace(data, n_x=None))
    assert isinstance(unsized, NotApplicable)
    assert "sample sizes" in unsized.reason
    assert isinstance(steiger_by_instrument(replace(data, n_y=None)), NotApplicable)
    tiny = steiger_test(replace(data, n_x=np.array([4.0])))
    assert isinstance(tiny, NotApplicable)
    assert "more than all" in tiny.reason
    with pytest.raises(InputError, match="no such trait"):
        steiger_test(data, exposure="z")


def test_instrument_by_instrument() -> None:
    data = study(7, True)
    beta_y = data.beta_y.copy()
    beta_y[0, 2] = 1.0  # one that acts on the outcome
    table = steiger_by_instrument(replace(data, beta_y=beta_y))
    assert not isinstance(table, NotApplicable)
    assert table["direction"].tolist()[2] == "reverse"
    assert (table["direction"] == "forward").sum() >= 4
    assert table["r2_x"].sum() == pytest.approx(
        float(np.sum(correlations_from_effects(data.beta_x[0], data.se_x[0], 1500) ** 2))
    )
