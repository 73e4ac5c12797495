"""Blocks of the scan: the numbers of the marginal scan, of joint least squares and of statsmodels; sparse and dense alike."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import sparse

import mrinterp
from mrinterp.stats.clustered.least_squares import clustered_least_squares
from mrinterp.stats.scan import dose_side as sides
from mrinterp.stats.scan.block_scan import ChunkSums, Scanner, outcome_side
from mrinterp.stats.scan.dose_side import dose_side, within
from mrinterp.stats.scan.sparse_scan import SparseScanner

BETA, SE = 2e-6, 1e-6
"""Single against double precision: effects in standard errors, errors relative."""


def runs(J: int = 7, F: int = 30, seed: int = 0) -> dict[str, Any]:
    """Families of unlike sizes, prompts with means far from 0, a constant feature, features that are mostly 0."""
    rng = np.random.default_rng(seed)
    prompt = np.repeat(np.arange(60), 9)
    clean = np.tile(np.arange(9) == 0, 60)
    keep = clean | (rng.random(len(prompt)) > 0.15)
    prompt, clean = prompt[keep], clean[keep]
    n = len(prompt)
    z = rng.integers(0, 2, (n, J)) * (~clean)[:, None].astype(float)
    dense = z @ rng.standard_normal((J, F)) * 0.3 + rng.standard_normal((n, F))
    dense += 2 * rng.standard_normal((60, F))[prompt] + 5
    dense[:, 3] = 7.0
    few = sparse.random_array((n, F), density=0.08, rng=rng, data_sampler=lambda size: rng.random(size) + 0.5)
    y = dense[:, :2] + rng.standard_normal((n, 2)) + z[:, :1]
    covariates = rng.standard_normal((n, 2)) + 0.3 * z[:, :2]
    shuffled = rng.permutation(n)
    return {
        "z": z[shuffled],
        "dense": dense[shuffled].astype(np.float32).astype(float),
        "sparse": sparse.csc_array(few.tocsr()[shuffled]).astype(np.float32),
        "y": y[shuffled],
        "prompt": prompt[shuffled],
        "family": prompt[shuffled] // 3,
        "clean": clean[shuffled],
        "covariates": covariates[shuffled],
    }


def close(found: Any, wanted: Any, beta: float, se: float) -> None:
    known = wanted.se > 0
    assert np.abs(found.beta - wanted.beta)[known].max(initial=0) <= (beta * wanted.se[known]).max(initial=0)
    np.testing.assert_allclose(
        found.beta[known] / wanted.se[known], wanted.beta[known] / wanted.se[known], atol=beta
    )
    np.testing.assert_allclose(found.se[known], wanted.se[known], rtol=se)
    assert (found.beta[~known] == 0).all()
    assert np.abs(found.cov - wanted.cov).max(initial=0) <= se * np.abs(wanted.cov).max(initial=0)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("errors", ["CR3", "CR1"])
def test_blocks_have_the_numbers_of_the_marginal_scan(paired: bool, errors: str) -> None:
    r = runs()
    panel = mrinterp.from_arrays(
        doses=r["z"], features=r["dense"], outcomes=r["y"], **{n: r[n] for n in ("prompt", "family", "clean")}
    )
    wanted = mrinterp.scan.marginal_scan(panel, factorial=not paired, covariance=errors, candidates=())
    how, family = within(r["prompt"], r["family"], None, r["clean"], paired)
    side = dose_side(r["z"], how, family, errors)
    np.testing.assert_allclose(side.dof, wanted.dof, rtol=1e-12)
    values = np.ascontiguousarray(np.concatenate([r["dense"], r["y"]], axis=1))
    for precision, beta, se in (("float64", 1e-12, 1e-12), ("float32", BETA, SE)):
        found = Scanner(side, outcome_side(side, r["y"]), precision).block(values, 0, values.shape[1])
        moved = np.asarray(wanted.se.T) > 0
        np.testing.assert_allclose(found.se[moved], wanted.se.T[moved], rtol=se)
        np.testing.assert_allclose(
            found.beta[moved] / wanted.se.T[moved],
            wanted.beta.T[moved] / wanted.se.T[moved],
            atol=beta,
            rtol=1e-12,
        )
        assert (found.beta[~moved] == 0).all()
        assert wanted.outcome_cov is not None
        scale = np.abs(wanted.outcome_cov).max()
        np.testing.assert_allclose(found.cov.transpose(1, 2, 0), wanted.outcome_cov, atol=se * scale)


CASES = list(product(["CR3", "CR1", "HC3", "homoskedastic"], [False, True], [False, True], [False, True]))


@pytest.mark.parametrize(("errors", "joint", "paired", "adjusted"), CASES)
def test_sparse_and_single_precision_agree_with_dense_double(
    errors: str, joint: bool, paired: bool, adjusted: bool
) -> None:
    r = runs()
    covariates = r["covariates"] if adjusted else None
    how, family = within(r["prompt"], r["family"], None, r["clean"], paired, covariates)
    side = dose_side(r["z"], how, family, errors, joint)
    outcomes = outcome_side(side, r["y"])
    x, few = r["sparse"].toarray(), r["sparse"]
    F = x.shape[1]
    wanted = Scanner(side, outcomes, "float64").block(x.astype(float), 0, F)
    close(Scanner(side, outcomes).block(x, 0, F), wanted, BETA, SE)
    exact = Scanner(side, outcomes, "float64")
    close(SparseScanner(exact, len(x)).block(few, 0, F), wanted, 1e-11, 1e-11)
    close(SparseScanner(Scanner(side, outcomes), len(x)).block(few, 0, F), wanted, BETA, SE)


@pytest.mark.parametrize("errors", ["CR3", "CR1"])
@pytest.mark.parametrize("adjusted", [False, True])
def test_joint_effects_are_those_of_clustered_least_squares(errors: str, adjusted: bool) -> None:
    r = runs()
    how, family = within(
        r["prompt"], r["family"], None, r["clean"], False, r["covariates"] if adjusted else None
    )
    side = dose_side(r["z"], how, family, errors, joint=True)
    found = Scanner(side, None, "float64").block(r["dense"], 0, 10)
    z, x = how.of(r["z"]), how.of(r["dense"])[:, :10]
    wanted = clustered_least_squares(z, x, family, z.shape[1], errors, absorbed=how.absorbed)
    live = np.arange(10) != 3
    np.testing.assert_allclose(found.beta[:, live], wanted.beta[:, live], atol=1e-12)
    np.testing.assert_allclose(found.se[:, live], wanted.se[:, live], rtol=1e-11)


def test_errors_by_run_and_alike_are_those_of_statsmodels() -> None:
    r = runs()
    how, family = within(r["prompt"], r["family"], None, r["clean"], False, r["covariates"])
    z, x = how.of(r["z"]), how.of(r["dense"])
    groups = len(how.starts) - 1
    dummies = np.eye(groups)[np.repeat(np.arange(groups), np.diff(how.starts))]
    columns = np.concatenate([z[:, :1], dummies, how.basis], axis=1)
    for errors, name in (("HC3", "HC3"), ("HC1", "HC1"), ("homoskedastic", "nonrobust")):
        found = Scanner(dose_side(r["z"], how, family, errors), None, "float64").block(r["dense"], 0, 6)
        fit = sm.OLS(x[:, 5], columns).fit(cov_type=name)
        np.testing.assert_allclose(found.beta[0, 5], fit.params[0], rtol=1e-10)
        np.testing.assert_allclose(found.se[0, 5], fit.bse[0], rtol=1e-10)


def test_clustered_effects_in_single_precision_are_within_a_millionth_of_their_errors() -> None:
    """Prompts with means far from 0, which single precision rounds; 66,000 pairs."""
    rng = np.random.default_rng(0)
    prompt = np.repeat(np.arange(256), 8)
    how, family = within(prompt, prompt // 2)
    z = rng.integers(0, 2, (2048, 64)).astype(float)
    x = rng.standard_normal((2048, 1024), dtype=np.float32)
    x += 3.0 * rng.standard_normal((256, 1024), dtype=np.float32)[prompt]
    side = dose_side(z, how, family)
    single = Scanner(side).block(x, 0, 1024)
    double = Scanner(side, None, "float64").block(x.astype(float), 0, 1024)
    assert np.abs((single.beta - double.beta) / double.se).max() < 1.5e-6
    assert np.abs(single.se / double.se - 1).max() < 5e-7


def test_parts_of_the_families_merge_to_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sides, "CHUNK_ROWS", 64)
    r = runs()
    how, family = within(r["prompt"], r["family"], None, r["clean"])
    side = dose_side(r["z"], how, family)
    assert len(side.chunks) == 5
    scanner = Scanner(side)
    change = scanner.change(r["dense"].astype(np.float32), 0, 30)[0]
    whole = scanner.sums(change).whole
    n = len(side.chunks)
    for edges in ([0, 3, n], [0, 1, 2, n - 1, n], [*range(n + 1)]):
        parts = [scanner.sums(change, range(a, b)) for a, b in pairwise(edges)]
        again = ChunkSums(n, {})
        for part in reversed(parts):
            again = again.merged(part)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(again.whole, whole, strict=True))
    with pytest.raises(ValueError, match="missing"):
        _ = parts[0].whole
    with pytest.raises(ValueError, match="twice"):
        parts[0].merged(parts[0])


def test_a_block_does_not_depend_on_its_neighbours() -> None:
    r = runs()
    how, family = within(r["prompt"], r["family"], None, r["clean"])
    scanner = Scanner(dose_side(r["z"], how, family))
    x = r["dense"].astype(np.float32)
    whole = scanner.block(x, 0, 30)
    part = scanner.block(np.ascontiguousarray(x[:, 8:16]), 0, 8)
    np.testing.assert_allclose(part.beta, whole.beta[:, 8:16], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(part.se, whole.se[:, 8:16], rtol=1e-5)


def test_strong_effects_keep_their_errors_in_single_precision() -> None:
    """Where a dose explains nearly everything, the variance is what cancellation leaves: it is computed again."""
    rng = np.random.default_rng(3)
    z = rng.integers(0, 2, (400, 3)).astype(float)
    x = np.ascontiguousarray(1000 * z[:, :1] + rng.standard_normal((400, 4))).astype(np.float32)
    prompt = np.arange(400) // 10
    how, family = within(prompt, prompt // 2)
    for errors in ("CR3", "homoskedastic", "HC3"):
        side = dose_side(z, how, family, errors)
        wanted = Scanner(side, None, "float64").block(x.astype(float), 0, 4)
        found = Scanner(side).block(x, 0, 4)
        np.testing.assert_allclose(found.se, wanted.se, rtol=2e-5)
        few = SparseScanner(Scanner(side), 400).block(sparse.csc_array(x), 0, 4)
        np.testing.assert_allclose(few.se, wanted.se, rtol=2e-5)


def test_leaving_a_family_out_is_solving_for_the_rest() -> None:
    """Both ways of decomposing a family's hat block give (I - H)^-1 u, fewer rows than columns and more."""
    from scipy import linalg

    from mrinterp.stats.clustered.least_squares import _leave_family_out

    rng = np.random.default_rng(1)
    for rows, columns in ((5, 12), (12, 5), (8, 8)):
        root = 0.9 * linalg.orth(rng.standard_normal((40, columns)))[:rows]
        u = rng.standard_normal((rows, 3))
        found, top = _leave_family_out(root, u)
        hat = root @ root.T
        np.testing.assert_allclose(found, np.linalg.solve(np.eye(rows) - hat, u), rtol=1e-10)
        assert top == pytest.approx(np.linalg.eigvalsh(hat).max(), rel=1e-12)
