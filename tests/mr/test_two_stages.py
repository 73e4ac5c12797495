"""Two-stage least squares by Cholesky: linearmodels' numbers, and linearmodels itself where the factor fails."""

from __future__ import annotations

import numpy as np
import pytest

from mrinterp.mr._runs import run_iv
from mrinterp.mr._runs.run_iv import tsls
from mrinterp.worlds._linear import linear_world


def by_linearmodels(monkeypatch: pytest.MonkeyPatch, panel):
    with monkeypatch.context() as patch:
        patch.setattr(run_iv, "_two_stages", lambda *_: None)
        return tsls(panel)


@pytest.mark.parametrize("seed", range(3))
def test_the_numbers_are_those_of_linearmodels(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    panel = linear_world(seed, families=30, prompts=2, runs=8, copy=False).panel
    theirs = by_linearmodels(monkeypatch, panel)
    monkeypatch.setattr(run_iv, "_fit_one", lambda *_: pytest.fail("linearmodels was asked"))
    ours = tsls(panel)
    for name in ("beta", "se", "df"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-9)


@pytest.mark.parametrize("share", [1e-4, 1e-9])
def test_doses_that_nearly_depend_on_one_another_go_to_linearmodels(share: float) -> None:
    rng = np.random.default_rng(0)
    doses, family = rng.standard_normal((300, 8)), np.arange(300) // 10
    X, Y = doses[:, :2] + rng.standard_normal((300, 2)), rng.standard_normal((300, 3))
    assert run_iv._two_stages(Y, X, doses, family, 2, 1.0) is not None
    alike = np.c_[doses, doses[:, :1] + share * rng.standard_normal((300, 1))]
    assert run_iv._two_stages(Y, X, alike, family, 2, 1.0) is None


def test_features_that_the_doses_move_alike_go_to_linearmodels() -> None:
    rng = np.random.default_rng(0)
    doses, family = rng.standard_normal((300, 8)), np.arange(300) // 10
    moved = doses[:, :1] + 1e-9 * doses[:, 1:2]
    assert run_iv._two_stages(doses[:, :1], np.c_[moved, doses[:, :1]], doses, family, 2, 1.0) is None


def test_more_doses_than_runs_can_tell_apart_are_taken_by_the_space_that_they_span() -> None:
    """As in a study of a hundred prompts: 24 doses in 20 runs span all there is, so that the first stage is exact."""
    panel = linear_world(0, families=20, prompts=1, runs=1, copy=False).panel
    change = panel.changes()
    assert np.linalg.matrix_rank(change.doses) < change.doses.shape[1]
    plain = np.linalg.lstsq(change.features, change.outcomes, rcond=None)[0]
    found = tsls(panel, rank=0)
    np.testing.assert_allclose(found.beta, plain, rtol=1e-6)
    assert np.isfinite(found.se).all()
