"""The marginal scan holds what grows with the features, not with their square."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import mrinterp
from mrinterp.scan import _marginal
from mrinterp.scan._marginal import scan_bytes
from mrinterp.stats.clustered.least_squares import marginal_slopes


def _panel(F: int, J: int) -> Any:
    rng = np.random.default_rng(0)
    prompt, clean = np.repeat(np.arange(20), 4), np.tile(np.arange(4) == 0, 20)
    z = rng.integers(0, 2, (80, J)) * (~clean)[:, None]
    x = z @ rng.standard_normal((J, F)) + rng.standard_normal((80, F))
    return mrinterp.from_arrays(
        doses=z, features=x, outcomes=x[:, :2] + 1, prompt=prompt, family=prompt // 2, clean=clean
    )


def test_covariances_with_some_traits_are_those_with_all() -> None:
    rng = np.random.default_rng(1)
    z, x, family = rng.standard_normal((60, 3)), rng.standard_normal((60, 7)), np.arange(60) // 6
    beta, se, errors, dof = marginal_slopes(z, x, family)
    some = marginal_slopes(z, x, family, against=np.array([5, 1]))
    np.testing.assert_allclose(some[0], beta, rtol=1e-12)
    np.testing.assert_allclose(some[1], se, rtol=1e-12)
    np.testing.assert_allclose(some[2], errors[:, :, [5, 1]], rtol=1e-10, atol=1e-16)
    np.testing.assert_array_equal(some[3], dof)
    np.testing.assert_allclose(np.sqrt(np.einsum("jtt->tj", errors)), se, rtol=1e-12)


def test_errors_are_kept_among_candidates_and_with_outcomes() -> None:
    panel = _panel(12, 5)
    whole = mrinterp.scan.marginal_scan(panel).to_mrdata()
    few = mrinterp.scan.marginal_scan(panel, candidates=["x3", "x7"])
    assert few.error_cov is not None
    assert few.error_cov.shape == (5, 4, 4)
    assert few.to_mrdata().sigma is None
    chosen = few.to_mrdata(exposures=["x7", "x3"])
    expected = whole.select(exposures=["x7", "x3"])
    np.testing.assert_allclose(chosen.sigma, expected.sigma, rtol=1e-10)  # type: ignore[arg-type]
    a, b = (mrinterp.run_mr(d, ["ivw"], {"ivw": {"weights": "second"}})[0] for d in (few.to_mrdata(), whole))
    np.testing.assert_allclose(a.se, b.se, rtol=1e-10)
    joint = mrinterp.run_mr(few.to_mrdata().select(exposures=["x0", "x1"]), ["mrbee"])[0]
    assert any("candidates" in s for s in joint.assumes)


def test_memory_grows_with_the_features() -> None:
    F, J = 3000, 6
    panel = _panel(F, J)
    tracemalloc.start()
    found = mrinterp.scan.marginal_scan(panel)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.error_cov is None
    assert found.outcome_cov is not None
    assert found.outcome_cov.shape == (J, F + 2, 2)
    changes = 8 * 80 * (F + 2)
    assert peak < 12 * changes + 2 * scan_bytes(F, 2, J, 10)
    assert peak < 8 * J * F * F / 5  # a fifth of the errors of all pairs


def test_effects_do_not_depend_on_how_many_features_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = _panel(23, 5)
    whole = mrinterp.scan.marginal_scan(panel)
    monkeypatch.setattr(_marginal, "FEATURES", 7)
    blocks = mrinterp.scan.marginal_scan(panel, candidates=[])
    np.testing.assert_allclose(blocks.beta, whole.beta, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(blocks.se, whole.se, rtol=1e-12)
    assert whole.error_cov is not None
    assert blocks.outcome_cov is not None
    np.testing.assert_allclose(blocks.outcome_cov, whole.error_cov[:, :, 23:], rtol=1e-10, atol=1e-15)
    np.testing.assert_array_equal(blocks.dof, whole.dof)


def test_changes_of_many_features_are_held_in_blocks() -> None:
    rng = np.random.default_rng(0)
    prompt, features = np.repeat(np.arange(40), 8), rng.standard_normal((320, 16_384), dtype=np.float32)
    panel = mrinterp.from_arrays(
        doses=rng.integers(0, 2, (320, 2)),
        features=features,
        outcomes=features[:, :1],
        prompt=prompt,
        family=prompt // 2,
    )
    tracemalloc.start()
    mrinterp.scan.marginal_scan(panel)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * features.nbytes + 2 * scan_bytes(16_384, 1, 2, 20)  # in double, all at once: 6 times
