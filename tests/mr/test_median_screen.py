"""With very many cells the bootstrap of medians is taken to its end only where an effect could be more than noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mrinterp
from mrinterp.core.mrdata import MRData
from mrinterp.mr._univariable import median


def _data(F: int, J: int = 12, seed: int = 0) -> MRData:
    rng = np.random.default_rng(seed)
    b = rng.normal(0.3, 0.1, (F, J))
    theta = np.where(np.arange(F) < F // 10, 0.3, 0.0)
    names = [f"x{i}" for i in range(F)]
    g = 0.05 * rng.standard_normal((1, J))
    return MRData(
        beta_x=b + theta[:, None] * g / 0.3,
        se_x=np.full((F, J), 0.02),
        beta_y=g,
        se_y=np.full((1, J), 0.05),
        exposures=tuple(names),
        outcomes=("y",),
        instruments=tuple(f"z{j}" for j in range(J)),
    )


@pytest.mark.parametrize("method", ["weighted_median", "penalized_weighted_median"])
def test_what_stands_out_has_the_error_of_the_whole_bootstrap(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _data(300)
    options: dict[str, dict[str, Any]] = {method: {"draws": 1000}}
    whole = mrinterp.run_mr(data, [method], options)[0]
    monkeypatch.setattr(median, "SCREENED", 100)
    some = mrinterp.run_mr(data, [method], options)[0]
    np.testing.assert_array_equal(some.beta, whole.beta)
    full = some.details["draws"] == 1000
    assert 0.02 < full.mean() < 0.6
    np.testing.assert_array_equal(some.se[full], whole.se[full])
    np.testing.assert_allclose(some.se[~full], whole.se[~full], rtol=0.35)
    assert abs(np.mean(some.se[~full] / whole.se[~full]) - 1) < 0.02
    np.testing.assert_array_equal(some.neglog10p > -np.log10(0.05), whole.neglog10p > -np.log10(0.05))


def test_with_many_instruments_the_error_of_what_is_noise_needs_no_draws(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = _data(150, J=120)
    options: dict[str, dict[str, Any]] = {"weighted_median": {"draws": 1000}}
    whole = mrinterp.run_mr(data, ["weighted_median"], options)[0]
    monkeypatch.setattr(median, "SCREENED", 100)
    some = mrinterp.run_mr(data, ["weighted_median"], options)[0]
    none = some.details["draws"] == 0
    assert 0.5 < none.mean() < 0.98
    np.testing.assert_allclose(some.se[none], whole.se[none], rtol=0.2)
    np.testing.assert_array_equal(some.neglog10p > -np.log10(0.05), whole.neglog10p > -np.log10(0.05))
    alone = mrinterp.run_mr(_data(150, J=120).select(data.exposures[40:60]), ["weighted_median"], options)[0]
    full = some.details["draws"][40:60] == 1000
    np.testing.assert_array_equal(some.se[40:60][full], alone.se[full])


def test_expected_error_of_a_median_is_that_of_very_many_draws() -> None:
    from mrinterp.stats.robust.median_error import expected_sd
    from mrinterp.stats.robust.weighted_median import bootstrap_sd, weighted_medians

    rng = np.random.default_rng(3)
    C, J = 12, 200
    b, s, t = rng.normal(0, 0.1, (C, J)), np.full((C, J), 0.01), rng.uniform(0.01, 0.02, (C, J))
    g = 0.2 * b + t * rng.standard_normal((C, J)) + 0.5 * b * (rng.random((C, J)) < 0.2)
    rho, w = rng.uniform(-0.5, 0.5, C), b**2 / t**2
    found = expected_sd(b, s, g, t, rho, w, weighted_medians(g / b, w))
    drawn = bootstrap_sd(b, s, g, t, rho, w, b.view(np.uint64), g.view(np.uint64), 10_000, np.uint64(0))
    np.testing.assert_allclose(found, drawn, rtol=0.08)
    scaled = expected_sd(b, s, 3 * g, 3 * t, rho, w, weighted_medians(3 * g / b, w))
    np.testing.assert_allclose(scaled, 3 * found, rtol=0.02)
