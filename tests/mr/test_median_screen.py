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
