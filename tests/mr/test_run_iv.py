"""Run-level instrumental variables: agreement with linearmodels and brute force, and recovery."""

from __future__ import annotations

import numpy as np
import pytest

import mrinterp
from mrinterp.core.panel import Panel
from mrinterp.mr._engine.registry import registered
from mrinterp.mr._runs.jive import jive, ujive
from mrinterp.mr._runs.run_iv import gmm, liml, tsls
from mrinterp.mr._runs.within import within_partialled
from mrinterp.stats.clustered.dependence import dependent_sets
from mrinterp.worlds._linear import linear_world

METHODS = {"tsls": tsls, "liml": liml, "jive": jive, "ujive": ujive, "within_partialled": within_partialled}


@pytest.fixture(scope="module")
def panel() -> Panel:
    return linear_world(1, copy=False).panel


def test_all_run_level_methods_are_registered() -> None:
    assert set(registered("run")) >= {"within", "gmm", *METHODS}


@pytest.mark.parametrize("method", METHODS)
def test_recovery(method: str) -> None:
    covered, bias = [], []
    for seed in range(40):
        world = linear_world(seed, families=50, prompts=2, runs=8, copy=False)
        e = METHODS[method](world.panel)
        covered.append((e.ci_lower[:, 0] <= world.effects) & (world.effects <= e.ci_upper[:, 0]))
        bias.append(e.beta[:, 0] - world.effects)
    # 160 cells: three standard errors below .95 is .90; features of one world are not independent.
    assert np.mean(covered) > 0.87, np.mean(covered, axis=0)
    error = np.array(bias)
    assert (np.abs(error.mean(axis=0)) < 4 * error.std(axis=0, ddof=1) / np.sqrt(40) + 1e-3).all()


def test_tsls_equals_the_formula(panel: Panel) -> None:
    change = panel.changes()
    X, Z = np.c_[change.features, change.bypass], change.doses
    P = Z @ np.linalg.solve(Z.T @ Z, Z.T @ X)
    theta = np.linalg.solve(P.T @ X, P.T @ change.outcomes)
    np.testing.assert_allclose(tsls(panel).beta, theta[:4], rtol=1e-8)


def test_jive_equals_brute_force() -> None:
    panel = linear_world(2, families=6, prompts=2, runs=6, copy=False).panel
    change = panel.changes()
    X, Z, y = np.c_[change.features, change.bypass], change.doses, change.outcomes
    hat = np.array(
        [Z[i] @ np.linalg.lstsq(np.delete(Z, i, 0), np.delete(X, i, 0), rcond=None)[0] for i in range(len(X))]
    )
    theta = np.linalg.solve(hat.T @ X, hat.T @ y)
    np.testing.assert_allclose(jive(panel).beta, theta[:4], rtol=1e-6)


def test_ujive_equals_brute_force() -> None:
    panel = linear_world(2, families=6, prompts=2, runs=9, copy=False).panel
    change = panel.changes()
    W = (change.prompt[:, None] == np.unique(change.prompt)[None]).astype(float)
    X = np.c_[change.features, change.bypass]
    ZW, y = np.c_[change.doses, W], change.outcomes

    def left_out(A: np.ndarray) -> np.ndarray:
        rows = range(len(X))
        return np.array(
            [A[i] @ np.linalg.lstsq(np.delete(A, i, 0), np.delete(X, i, 0), rcond=None)[0] for i in rows]
        )

    hat = left_out(ZW) - left_out(W)
    theta = np.linalg.solve(hat.T @ X, hat.T @ y)
    np.testing.assert_allclose(ujive(panel).beta, theta[:4], rtol=1e-5)


def test_jackknife_takes_the_bias_of_many_weak_doses_away() -> None:
    """Confounded runs and weak doses: least squares and tsls lean to the confounding, JIVE does not."""
    error = {"tsls": [], "jive": []}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        N, J = 600, 60
        prompt = np.repeat(np.arange(N // 6), 6)
        z = rng.standard_normal((N, J))
        hidden = rng.standard_normal((N, 1))
        x = 0.08 * z @ rng.standard_normal((J, 1)) + hidden + 0.3 * rng.standard_normal((N, 1))
        y = 0.5 * x + hidden + 0.3 * rng.standard_normal((N, 1))
        p = mrinterp.from_arrays(doses=z, features=x, outcomes=y, prompt=prompt, family=prompt // 2)
        for name in error:
            error[name].append(float(METHODS[name](p).beta[0, 0] - 0.5))
    assert np.median(error["tsls"]) > 0.1
    assert abs(np.median(error["jive"])) < np.median(error["tsls"]) / 3


def test_gmm_with_more_instruments_than_families_does_not_apply(panel: Panel) -> None:
    few = linear_world(0, families=12, prompts=2, runs=8, copy=False).panel
    e = gmm(few)
    assert np.isnan(e.beta).all()
    assert "not applicable: 24 instruments and 12 families" in e.status[0, 0]
    enough = gmm(panel)
    np.testing.assert_allclose(enough.beta, tsls(panel).beta, atol=0.15)


def test_lowered_rank_is_said(panel: Panel) -> None:
    narrow = mrinterp.from_arrays(
        doses=panel.doses[:, :12],
        features=panel.features,
        outcomes=panel.outcomes,
        prompt=panel.runs["prompt"],
        family=panel.runs["family"],
        bypass=panel.bypass,
        clean=(panel.runs["kind"] == "clean"),
    )
    assert "bypass rank lowered from 3 to 0" in tsls(narrow)["x0", "y0"].status
    few = mrinterp.from_arrays(
        doses=panel.doses[:, :6],
        features=panel.features,
        outcomes=panel.outcomes,
        prompt=panel.runs["prompt"],
        family=panel.runs["family"],
        clean=(panel.runs["kind"] == "clean"),
    )
    with pytest.raises(mrinterp.InputError, match="6 that vary for 4 features"):
        tsls(few)


def test_dependent_sets() -> None:
    rng = np.random.default_rng(0)
    a, b, c = rng.standard_normal((3, 50))
    found = dependent_sets(np.c_[a, b, a, 2 * a, -b, 0 * a, c])
    assert [s.members for s in found] == [(0, 2, 3), (1, 4)]
    assert [s.rank for s in found] == [1, 1]
    assert found[0].relations("abcdefg") == ["c = a", "d = 2 a"]
    np.testing.assert_allclose(found[1].made_of, [[1], [-1]], rtol=1e-12)
    three = dependent_sets(np.c_[a, c, b, b - 3 * a])
    assert [(s.members, s.kept) for s in three] == [((0, 2, 3), (0, 2))]
    assert three[0].relations("abcd") == ["d = -3 a + c"]
