"""Weighted medians without a sort against the sorted formula, on ordinary and on odd rows."""

from __future__ import annotations

import numpy as np
import pytest

from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.registry import find
from mrinterp.stats.robust.ratio_medians import ratio_medians
from mrinterp.stats.robust.weighted_crossing import weighted_crossing
from mrinterp.stats.robust.weighted_median import weighted_medians


def sorted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """Bowden et al. 2016: interpolate where the cumulative weight less half the own crosses half the total."""
    order = np.argsort(values, kind="stable")
    v, w = values[order], weights[order]
    middle, target = np.cumsum(w) - 0.5 * w, 0.5 * w.sum()
    at = int(np.argmax(middle >= target * (1.0 - 1e-14)))
    if at == 0:
        return float(v[0])
    return float(v[at - 1] + (v[at] - v[at - 1]) * (target - middle[at - 1]) / (middle[at] - middle[at - 1]))


def check(values: np.ndarray, weights: np.ndarray) -> None:
    found = weighted_medians(values, weights)
    for c, (v, w) in enumerate(zip(values, weights, strict=True)):
        scale = np.median(np.abs(v[np.isfinite(v)]))
        assert found[c] == pytest.approx(sorted_median(v, w), rel=1e-12, abs=1e-12 * scale)


def rows(kind: str, J: int, C: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(J)
    v, w = rng.normal(size=(C, J)), rng.uniform(0.1, 1.0, (C, J))
    if kind == "heavy tails":
        v /= rng.normal(size=v.shape)
    elif kind == "skewed":
        v = np.exp(3.0 * v)
    elif kind == "two groups":
        v += np.where(rng.random(v.shape) < 0.5, 1e4, 0.0)
    elif kind == "weights over twelve decades":
        w = 10.0 ** rng.uniform(-6, 6, w.shape)
    elif kind == "one outweighs all":
        w[:, J // 2] = 1e6
    elif kind == "far from zero":
        v = 1e6 + 1e-3 * v
    elif kind == "tiny":
        v, w = v * 1e-200, w * 1e-100
    elif kind == "huge":
        v, w = v * 1e200, w * 1e100
    return v, w


@pytest.mark.parametrize("J", [1, 2, 3, 4, 31, 32, 33, 200, 500])
@pytest.mark.parametrize(
    "kind",
    [
        "normal",
        "heavy tails",
        "skewed",
        "two groups",
        "weights over twelve decades",
        "one outweighs all",
        "far from zero",
        "tiny",
        "huge",
    ],
)
def test_medians_are_those_of_the_sorted_rows(kind: str, J: int) -> None:
    check(*rows(kind, J))


@pytest.mark.parametrize("J", [1, 2, 3, 8, 64, 201])
def test_odd_rows(J: int) -> None:
    rng = np.random.default_rng(1)
    v, w = rng.normal(size=(30, J)), rng.uniform(0.5, 1.0, (30, J))
    check(np.repeat(v[:, :1], J, axis=1), w)  # all equal
    check(np.round(v), np.ones_like(w))  # many ties, and zeros of both signs
    check(np.round(2.0 * v), 1.0 + np.round(2.0 * v) ** 2)  # weights that are ties with them
    infinite = v.copy()
    infinite[:, : J // 4] = np.where(rng.random((30, J // 4)) < 0.5, np.inf, -np.inf)
    check(infinite, w)
    gone = w.copy()
    gone[:, : J // 2] = 0.0
    check(v, gone)  # a value without weight is still a knot


def test_median_moves_with_the_data() -> None:
    """Order, scale and place of the values, and the scale of the weights."""
    v, w = rows("heavy tails", 77)
    plain, order = weighted_medians(v, w), np.random.default_rng(2).permutation(77)
    np.testing.assert_allclose(weighted_medians(v[:, order], w[:, order]), plain, rtol=1e-10)
    np.testing.assert_allclose(weighted_medians(-3.0 * v, 7.0 * w), -3.0 * plain, rtol=1e-10)
    np.testing.assert_allclose(weighted_medians(v + 10.0, w), plain + 10.0, rtol=1e-12)


def test_quickselect_gives_the_same() -> None:
    v, w = rows("skewed", 120)
    for row, weight, found in zip(v, w, weighted_medians(v, w), strict=True):
        crossing = weighted_crossing(row.copy(), weight.copy(), len(row), 0.0, 0.5 * weight.sum())[0]
        assert found == pytest.approx(crossing, rel=1e-12)


@pytest.mark.parametrize("weighted", [True, False])
def test_fused_ratios(weighted: bool) -> None:
    rng = np.random.default_rng(3)
    x, sx = rng.normal(0, 0.1, (50, 41)), rng.uniform(0.005, 0.01, (50, 41))
    y, sy = rng.normal(0, 0.05, (3, 41)), rng.uniform(0.01, 0.02, (3, 41))
    median, f = ratio_medians(x, sx, y, sy, weighted)
    for o in range(3):
        w = np.square(x / sy[o]) if weighted else np.ones_like(x)
        expected = [sorted_median(r, u) for r, u in zip(y[o] / x, w, strict=True)]
        np.testing.assert_allclose(median[:, o], expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(f[:, o], np.square(x / sx).mean(axis=1), rtol=1e-12)


@pytest.mark.parametrize("method", ["simple_median", "weighted_median", "penalized_weighted_median"])
def test_estimate_does_not_depend_on_draws_blocks_or_threads(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(4)
    x, sx = rng.normal(0, 0.1, (400, 300)), np.full((400, 300), 0.01)
    y, sy = rng.normal(0, 0.05, (1, 300)), np.full((1, 300), 0.01)
    kernel = find(method).kernel
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    one = kernel(Effects(x, sx, y, sy), draws=0).beta
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    np.testing.assert_array_equal(kernel(Effects(x, sx, y, sy), draws=0).beta, one)
    np.testing.assert_array_equal(kernel(Effects(x, sx, y, sy), draws=2).beta, one)
    np.testing.assert_array_equal(kernel(Effects(x[7:9], sx[7:9], y, sy), draws=0).beta, one[7:9])
