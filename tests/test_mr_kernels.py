"""Compiled loops against plain numpy, and that threads and blocks change nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from scipy import stats

from mrinterp.mr import regression
from mrinterp.mr.registry import find
from mrinterp.stats.mixture_share import mixture_shares
from mrinterp.stats.random_normals import standard_normal
from mrinterp.stats.row_threads import by_rows, row_threads
from mrinterp.stats.weighted_median import bootstrap_sd, weighted_medians


def arrays(F: int = 40, J: int = 30, O: int = 2, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    x, sx = rng.normal(0, 0.1, (F, J)), rng.uniform(0.005, 0.01, (F, J))
    sy = rng.uniform(0.01, 0.02, (O, J))
    return x, sx, 0.3 * x[:1] + sy * rng.normal(size=(O, J)), sy


@pytest.mark.parametrize("method", ["ivw", "ivw_fixed", "egger"])
def test_fused_sums_equal_matrix_products(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, sx, y, sy = arrays()
    x[3, 4] = -0.0
    x[5, 6] = 0.0
    plain = find(method).kernel(x, sx, y, sy)
    monkeypatch.setattr(regression, "_MANY", 1)
    fused = find(method).kernel(x, sx, y, sy)
    np.testing.assert_allclose(fused.beta, plain.beta, rtol=1e-11)
    np.testing.assert_allclose(fused.se, plain.se, rtol=1e-11)
    for name, value in plain.details.items():
        np.testing.assert_allclose(fused.details[name], value, rtol=1e-8, atol=1e-12, err_msg=name)


def test_rows_are_all_visited_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for threads in ("1", "2", "7"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        assert 1 <= row_threads() <= int(threads)
        seen = np.zeros(101, int)

        def visit(a: int, z: int, seen: np.ndarray = seen) -> None:
            seen[a:z] += 1

        by_rows(visit, len(seen))
        assert (seen == 1).all()
    with pytest.raises(ZeroDivisionError):
        by_rows(lambda a, z: 1 // 0, 4)  # type: ignore[arg-type, return-value]


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, sx, y, sy = arrays(J=60)
    results = []
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        results.append([find(m).kernel(x, sx, y, sy, **o).se for m, o in
                        (("weighted_median", {"draws": 300}), ("weighted_mode", {"draws": 50}), ("mrmix", {}))])  # fmt: skip
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


def test_normals_are_normal() -> None:
    @njit
    def draw(n):  # type: ignore[no-untyped-def]
        out, state = np.empty(n), np.uint64(3)
        for i in range(n):
            state, out[i] = standard_normal(state)
        return out

    z = draw(2_000_000)
    assert stats.kstest(z[:200_000], "norm").pvalue > 1e-3
    assert abs(z.mean()) < 4 / np.sqrt(len(z))
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / len(z))
    for cut in (2.0, 3.0, 3.7, 4.2):  # the wedges, and the tail beyond 3.65
        expected = 2 * stats.norm.sf(cut) * len(z)
        assert abs((np.abs(z) > cut).sum() - expected) < 4 * np.sqrt(expected)
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 4 / np.sqrt(len(z))


def test_bootstrap_error_is_that_of_plain_numpy() -> None:
    x, sx, y, sy = arrays(F=3, J=40, O=1, seed=2)
    y = np.ascontiguousarray(np.broadcast_to(y, x.shape))
    sy = np.ascontiguousarray(np.broadcast_to(sy, x.shape))
    w, rng, draws = (x / sy) ** 2, np.random.default_rng(0), 4000
    for rho in (0.0, 0.8):
        r = np.full(len(x), rho)
        fast = bootstrap_sd(x, sx, y, sy, r, w, x.view(np.uint64), y.view(np.uint64), draws, np.uint64(1))
        for c in range(len(x)):
            z1, z2 = rng.normal(size=(2, draws, 40))
            ratio = (y[c] + sy[c] * (rho * z1 + np.sqrt(1 - rho**2) * z2)) / (x[c] + sx[c] * z1)
            plain = weighted_medians(ratio, np.broadcast_to(w[c], ratio.shape)).std(ddof=1)
            assert fast[c] == pytest.approx(plain, rel=5 / np.sqrt(draws))


def test_mixture_is_at_its_maximum_likelihood() -> None:
    """No point near or far has a higher likelihood, and the value is the mixture's."""
    rng = np.random.default_rng(4)
    J, theta = 80, 0.3
    b, s, t = rng.normal(0, 0.1, J), np.full(J, 0.01), np.full(J, 0.01)
    g = theta * b + t * rng.normal(size=J) + (rng.random(J) < 0.4) * rng.normal(0, 0.06, J)
    out = np.empty((4, 1))
    mixture_shares(b, s, g, t, np.array([theta]), -1.0, 0.5, 1e-6, out)
    e, v = g - theta * b, t * t + theta**2 * s * s

    def value(pi0: float, sigma2: float) -> float:
        parts = pi0 * np.exp(-0.5 * e * e / v) / np.sqrt(v)
        parts = parts + (1 - pi0) * np.exp(-0.5 * e * e / (v + sigma2)) / np.sqrt(v + sigma2)
        return float(np.log(parts).sum())

    pi0, sigma2, best, _ = out[:, 0]
    assert best == pytest.approx(value(pi0, sigma2), abs=1e-8)
    for d in (-1e-3, 1e-3):
        assert value(pi0 + d, sigma2) < best
        assert value(pi0, sigma2 * (1 + 10 * d)) < best
    grid = [value(p, q) for p in np.linspace(0.02, 0.98, 49) for q in sigma2 * np.logspace(-1, 1, 41)]
    assert max(grid) <= best + 1e-8


def test_mrmix_error_counts_membership() -> None:
    """100 instruments, 30% with paths of their own: intervals cover near their level (they did not, given membership)."""
    rng = np.random.default_rng(5)
    J, D, theta = 100, 150, 0.4
    gamma, s = rng.normal(0, 0.1, (D, J)), np.full((1, J), 0.01)
    covered, given = [], []
    for d in range(D):
        y = theta * gamma[d] + (rng.random(J) < 0.3) * rng.normal(0, 0.05, J) + 0.01 * rng.normal(size=J)
        fit = find("mrmix").kernel(gamma[d : d + 1] + 0.01 * rng.normal(size=(1, J)), s, y[None], s)
        miss = abs(fit.beta[0, 0] - theta)
        covered.append(miss < 1.96 * fit.se[0, 0])
        given.append(miss < 1.96 * fit.details["se_given_membership"][0, 0])
    assert np.mean(covered) > 0.93 - 3 * np.sqrt(0.93 * 0.07 / D)
    assert np.mean(given) < np.mean(covered)
