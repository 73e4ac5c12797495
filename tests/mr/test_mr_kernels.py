"""Compiled loops against plain numpy, and that threads and blocks change nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from scipy import optimize, special, stats

from mrinterp.mr._engine import effects
from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.registry import find
from mrinterp.stats.loops.random_normals import mixed_bits, standard_normal
from mrinterp.stats.loops.row_threads import by_rows, row_threads
from mrinterp.stats.loops.vector_exp import vector_exp
from mrinterp.stats.profile.trimmed_profile import refine_trimmed
from mrinterp.stats.robust.bisquare_scale import refine_scales, rough_scales
from mrinterp.stats.robust.mixture_share import mixture_shares
from mrinterp.stats.robust.mode_bootstrap import bootstrap_mode_mad
from mrinterp.stats.robust.sorted_medians import sorted_bootstrap_sd, sorted_medians
from mrinterp.stats.robust.weighted_median import bootstrap_sd, weighted_medians
from mrinterp.stats.tests.t_tail import two_sided_t


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
    plain = find(method).kernel(Effects(x, sx, y, sy))
    monkeypatch.setattr(effects, "_MANY", 1)
    fused = find(method).kernel(Effects(x, sx, y, sy))
    np.testing.assert_allclose(fused.beta, plain.beta, rtol=1e-11)
    np.testing.assert_allclose(fused.se, plain.se, rtol=1e-11)
    for name, value in plain.details.items():
        np.testing.assert_allclose(fused.details[name], value, rtol=1e-8, atol=1e-12, err_msg=name)


def test_rows_are_all_visited_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, threads in (("OMP", "7"), ("OMP", "2"), ("NUMBA", "1")):
        monkeypatch.setenv(f"{name}_NUM_THREADS", threads)
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
    methods = {"weighted_median": {"draws": 300}, "weighted_mode": {"draws": 50}, "mrmix": {},
               "cml": {"n": 50_000}, "robust_egger": {}}  # fmt: skip
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        results.append(
            [find(m).kernel(Effects(x, sx, y, sy), **options).se for m, options in methods.items()]
        )
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


@pytest.mark.parametrize("seed", [0, 7])
def test_small_tables_are_sorted_with_the_same_stream_of_draws(seed: int) -> None:
    x, sx, y, sy = arrays(F=4, J=30, O=1, seed=3)
    y = np.ascontiguousarray(np.broadcast_to(y, x.shape))
    sy = np.ascontiguousarray(np.broadcast_to(sy, x.shape))
    w, r = (x / sy) ** 2, np.array([0.0, 0.5, -0.9, 1.0])
    fast = bootstrap_sd(x, sx, y, sy, r, w, x.view(np.uint64), y.view(np.uint64), 2000, np.uint64(seed))
    np.testing.assert_allclose(sorted_bootstrap_sd(x, sx, y, sy, r, w, 2000, seed), fast, rtol=1e-12)
    values, weights = np.random.default_rng(seed).normal(size=(2, 500, 9)).round(1)
    weights = np.abs(weights) + 0.1
    np.testing.assert_allclose(
        sorted_medians(values, weights), weighted_medians(values, weights), rtol=1e-12, atol=1e-15
    )


def test_exponential_is_that_of_the_library() -> None:
    @njit
    def each(x, out):  # type: ignore[no-untyped-def]
        for i in range(len(x)):
            out[i] = vector_exp(x[i])

    rng = np.random.default_rng(1)
    x = np.concatenate([np.linspace(-700, 700, 200_001), rng.normal(size=100_000), [0.0, -0.0, 1e-300]])
    found = np.empty_like(x)
    each(x, found)
    assert np.max(np.abs(found - np.exp(x)) / np.spacing(np.exp(x))) <= 2.0


@pytest.mark.parametrize("df", [1.0, 3.0, 10.0, 28.5, 198.0, 9999.0, 1e5])
def test_many_t_tails_are_those_of_the_library(df: float) -> None:
    t = np.concatenate([np.linspace(-8, 8, 40_001), [0.0, -0.0, np.inf, -np.inf, 1e-200, 1e200, 2.5, -2.5]])
    expected = 2.0 * special.stdtr(df, -np.abs(t))
    np.testing.assert_allclose(two_sided_t(t, df), expected, rtol=2e-12)
    np.testing.assert_allclose(two_sided_t(t[:9], df), expected[:9], rtol=1e-15)
    assert np.isnan(two_sided_t(np.full(20_000, np.nan), df)).all()


def test_bootstrap_of_modes_is_that_of_plain_numpy() -> None:
    """The same draws, binned linearly on 512 points and smoothed by an explicit sum."""

    @njit
    def normals(bits, seed, n):  # type: ignore[no-untyped-def]
        state = np.uint64(seed)
        for j in range(len(bits)):
            state, mixed = mixed_bits(state ^ bits[j])
            state = mixed
        out = np.empty(n)
        for i in range(n):
            state, out[i] = standard_normal(state)
        return out

    def mode(x: np.ndarray, w: np.ndarray) -> float:
        spread = min(x.std(ddof=1), 1.4826 * np.median(np.abs(x - np.median(x))))
        h = 0.9 * spread / len(x) ** 0.2
        grid = np.linspace(x.min() - 3 * h, x.max() + 3 * h, 512)
        position = (x - grid[0]) / (grid[1] - grid[0])
        left = position.astype(int)
        mass = np.bincount(left, w * (1 - position + left), 512) + np.bincount(
            left + 1, w * (position - left), 512
        )
        return float(grid[np.argmax(np.exp(-0.5 * ((grid[:, None] - grid) / h) ** 2) @ mass)])

    rng, draws = np.random.default_rng(6), 15
    for J in (3, 10, 41, 100):
        ratio, sd = rng.standard_cauchy((3, J)), rng.uniform(0.01, 0.5, (3, J))
        w, bits = 1.0 / sd**2, ratio.view(np.uint64)
        found = bootstrap_mode_mad(ratio, sd, w, bits, 1.0, -1.0, draws, np.uint64(8))
        for c in range(3):
            z = normals(bits[c], np.uint64(8), draws * J).reshape(draws, J)
            modes = np.array([mode(x, w[c]) for x in ratio[c] + sd[c] * z])
            plain = 1.4826 * np.median(np.abs(modes - np.median(modes)))
            assert found[c] == pytest.approx(plain, rel=1e-9, abs=1e-9 * np.abs(modes).max())


@pytest.mark.parametrize("p", [1, 2, 3])
def test_bisquare_scales_solve_their_equations(p: int) -> None:
    """Rough scales are the plain formula's; refined ones satisfy the equations of an S-estimate."""
    rng, tuning, n = np.random.default_rng(7), 1.54764, 60
    X = rng.normal(size=(4, p, n))
    y = X.sum(axis=1) + rng.normal(size=(4, n)) + (rng.random((4, n)) < 0.2) * 20.0
    starts = rng.normal(1.0, 0.2, (4, 5, p))

    def chi(u: np.ndarray) -> np.ndarray:
        return 1.0 - np.clip(1.0 - (u / tuning) ** 2, 0.0, None) ** 3

    scale = np.empty((4, 5))
    rough_scales(X, y, starts, tuning, 2, scale)
    r = y[:, None, :] - np.einsum("ckp,cpn->ckn", starts, X)
    plain = np.median(np.abs(r), axis=2) / 0.6745
    for _ in range(2):
        plain = plain * np.sqrt(chi(r / plain[..., None]).sum(axis=2) / (0.5 * (n - p)))
    np.testing.assert_allclose(scale, plain, rtol=1e-12)
    beta = starts.copy()
    refine_scales(X, y, beta, scale, tuning, 2000)
    u = (y[:, None, :] - np.einsum("ckp,cpn->ckn", beta, X)) / scale[..., None]
    np.testing.assert_allclose(chi(u).sum(axis=2), 0.5 * (n - p), rtol=1e-8)
    psi = u * np.clip(1.0 - (u / tuning) ** 2, 0.0, None) ** 2
    np.testing.assert_allclose(np.einsum("ckn,cpn->ckp", psi, X), 0.0, atol=1e-6)


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_trimmed_sums_are_at_their_minima(rho: float) -> None:
    """Against a scalar search of the chosen instruments' sum in plain numpy, and its curvature."""
    rng, J = np.random.default_rng(8), 25
    b, s, t = rng.normal(0, 0.1, J), np.full(J, 0.01), np.full(J, 0.015)
    g = 0.4 * b + t * rng.normal(size=J)
    g[:8] += rng.normal(0, 0.1, 8)

    def shares(theta: float) -> np.ndarray:
        return (g - theta * b) ** 2 / (t * t + theta**2 * s * s - 2 * theta * rho * s * t)

    kept = np.arange(2, J + 1)
    out = np.empty((3, len(kept)))
    refine_trimmed(b, s, g, t, rho, np.full(len(kept), 0.4), kept, out)
    for k, theta, value, se in zip(kept, *out, strict=True):
        chosen = np.argsort(shares(theta))[:k]
        assert value == pytest.approx(shares(theta)[chosen].sum(), rel=1e-12)
        assert value <= np.sort(shares(0.4))[:k].sum()
        found = optimize.minimize_scalar(
            lambda x, chosen=chosen: shares(x)[chosen].sum(),
            bounds=(theta - se, theta + se),
            method="bounded",
        )
        assert value <= found.fun + 1e-12
        low, high = (shares(x)[chosen].sum() for x in (theta - 1e-2 * se, theta + 1e-2 * se))
        assert se == pytest.approx(np.sqrt(2.0 * (1e-2 * se) ** 2 / (low - 2 * value + high)), rel=1e-2)


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

    pi0, sigma2, best, misfit = out[:, 0]
    assert best == pytest.approx(value(pi0, sigma2), abs=1e-8)
    odds = (1 - pi0) / pi0 * np.sqrt(v / (v + sigma2)) * np.exp(0.5 * e * e * (1 / v - 1 / (v + sigma2)))
    assert misfit == pytest.approx(np.sum(e * e / v / (1 + odds)), rel=1e-9)
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
        fit = find("mrmix").kernel(Effects(gamma[d : d + 1] + 0.01 * rng.normal(size=(1, J)), s, y[None], s))
        miss = abs(fit.beta[0, 0] - theta)
        covered.append(miss < 1.96 * fit.se[0, 0])
        given.append(miss < 1.96 * fit.details["se_given_membership"][0, 0])
    assert np.mean(covered) > 0.93 - 3 * np.sqrt(0.93 * 0.07 / D)
    assert np.mean(given) < np.mean(covered)
