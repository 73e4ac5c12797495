"""Faithfulness and completeness curves, CPR and CMD: compared with numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mrinterp.core.errors import InputError
from mrinterp.knockouts._designs.faithfulness import faithfulness
from mrinterp.results._check import NotApplicable
from mrinterp.results._designs.faithfulness import Faithfulness
from mrinterp.stats.agreement.circuit_area import MIB_PROPORTIONS, circuit_areas
from tests.design_networks import inputs, linear

# Shares of the outcome that the ten features carry; one pulls the other way.
SHARES = [0.5, 0.3, 0.2, 0.1, -0.1, 0.0, 0.0, 0.0, 0.0, 0.0]


def _bench(**options: object):  # type: ignore[no-untyped-def]
    x = torch.ones(48, 10, dtype=torch.float64)  # every prompt alike: shares are exact
    return linear([SHARES, [0.0] * 10], x, **options)


def test_areas_by_hand() -> None:
    """Trapezoids over (.001, .002, .005, .01, .02, .05, .1, .2, .5, 1), worked out one by one."""
    f = [0, 0, 0, 0, 0.1, 0.2, 0.5, 0.8, 1.2, 1.0]
    cpr = 0.01 * 0.05 + 0.03 * 0.15 + 0.05 * 0.35 + 0.1 * 0.65 + 0.3 * 1.0 + 0.5 * 1.1
    cmd = 0.009 * 1 + 0.01 * 0.95 + 0.03 * 0.85 + 0.05 * 0.65 + 0.1 * 0.35 + 0.3 * 0.2 + 0.5 * 0.1
    assert circuit_areas(f)[0] == pytest.approx(cpr, rel=1e-12)
    assert circuit_areas(f)[1] == pytest.approx(cmd, rel=1e-12)
    best = circuit_areas(np.ones(10))
    assert best[0] == pytest.approx(0.999, rel=1e-12)
    assert best[1] == 0


def test_curves_are_cumulative_shares() -> None:
    result = faithfulness(_bench(), 0.0, range(10))
    assert result.sizes.tolist() == [0, 0, 0, 0, 0, 0, 1, 2, 5, 10]
    f = [0, 0, 0, 0, 0, 0, 0.5, 0.8, 1.0, 1.0]
    np.testing.assert_allclose(result.faithfulness[:, 0], f, atol=1e-12)
    np.testing.assert_allclose(result.completeness[:, 0], 1 - np.array(f), atol=1e-12)
    cpr = 0.05 * 0.25 + 0.1 * 0.65 + 0.3 * 0.9 + 0.5
    cmd = 0.049 + 0.05 * 0.75 + 0.1 * 0.35 + 0.3 * 0.1
    assert result["y0"].cpr == pytest.approx(cpr, rel=1e-9)
    assert result["y0"].cmd == pytest.approx(cmd, rel=1e-9)
    np.testing.assert_allclose(result.cpr_interval[:, 0], cpr, rtol=1e-9)
    np.testing.assert_allclose(result.score[-1], result.full, atol=1e-12)
    np.testing.assert_allclose(result.score[0], result.empty, atol=1e-12)
    assert "CPR" in str(result["y0"])


def test_a_worse_ranking_has_a_smaller_area_and_overshoot_costs_distance() -> None:
    bench = _bench()
    best, worst = faithfulness(bench, 0.0, range(10)), faithfulness(bench, 0.0, range(10)[::-1])
    assert worst.cpr[0] < best.cpr[0]
    assert worst.cmd[0] > best.cmd[0]
    over = faithfulness(bench, 0.0, [0, 1, 2, 3, 5, 6, 7, 8, 9, 4], proportions=[0.0, 0.4, 0.9, 1.0])
    np.testing.assert_allclose(over.faithfulness[:, 0], [0.0, 1.1, 1.1, 1.0], atol=1e-12)
    assert over.cpr[0] == pytest.approx(0.4 * 0.55 + 0.5 * 1.1 + 0.1 * 1.05, rel=1e-9)
    assert over.cmd[0] == pytest.approx(0.4 * 0.55 + 0.5 * 0.1 + 0.1 * 0.05, rel=1e-9)


def test_ratio_of_means_and_joint_bootstrap() -> None:
    """f is a ratio of means over prompts; its interval covers what other families would have given."""
    hits = 0
    for seed in range(100):
        x = inputs(seed, prompts=80, width=10) + 1.0
        bench = linear([[1.0, 1.0] + [0.0] * 8], x, block=80)
        result = faithfulness(bench, 0.0, range(10), proportions=[0.1, 0.2, 1.0], draws=400, seed=seed)
        if seed == 0:
            means = bench.values.mean(axis=0)
            assert result.faithfulness[0, 0] == pytest.approx(means[0] / (means[0] + means[1]), rel=1e-9)
        hits += bool(result.lower[0, 0] <= 0.5 <= result.upper[0, 0])
    assert hits >= 83  # 16 families: percentile intervals are a little narrow; four errors below .92


def test_an_outcome_nothing_moves_is_not_applicable() -> None:
    result = faithfulness(_bench(), 0.0, range(10))
    answer = result["y1"]
    assert isinstance(answer, NotApplicable)
    assert "noise floor" in answer.reason
    assert np.isnan(result.faithfulness[:, 1]).all()
    assert np.isnan(result.cpr_interval[:, 1]).all()
    assert isinstance(faithfulness(_bench(families=1), 0.0, range(10))["y0"], NotApplicable)


def test_block_size_saved_and_resumed(tmp_path: Path) -> None:
    x = inputs(width=10) + 1.0
    one, other = (faithfulness(linear([SHARES], x, block=b), 0.0, range(10)) for b in (7, 48))
    np.testing.assert_allclose(one.faithfulness, other.faithfulness, rtol=1e-12, atol=1e-12)
    first, again = (
        faithfulness(linear([SHARES], x, folder=tmp_path / "s"), 0.0, range(10)) for _ in range(2)
    )
    assert list((tmp_path / "s").rglob("*.npz"))
    assert np.array_equal(first.cpr, again.cpr)
    first.save(tmp_path / "f")
    reopened = Faithfulness.load(tmp_path / "f")
    assert str(reopened) == str(first)
    assert reopened.to_frame().equals(first.to_frame())
    assert len(first.to_frame()) == len(MIB_PROPORTIONS)


@pytest.mark.parametrize(
    ("ranking", "proportions", "words"),
    [
        ([0, 0], [0.1, 1.0], "given 2 times"),
        ([], [0.1, 1.0], "none given"),
        ([11], [0.1, 1.0], "run from 0 to 9"),
        (range(10), [0.5], "at least two"),
        (range(10), [0.5, 0.5], "growing"),
        (range(10), [0.5, 1.5], "within"),
    ],
)
def test_bad_input_is_refused(ranking: list[int], proportions: list[float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        faithfulness(_bench(), 0.0, ranking, proportions=proportions)


def test_areas_are_those_of_the_benchmarks_own_recipe() -> None:
    """Step by step as its code goes: keep the int(share * n) first, patch the rest, add up trapezoids."""
    rng = np.random.default_rng(0)
    n, other = 40, rng.standard_normal((40, 24))
    x = torch.from_numpy(rng.standard_normal((24, n)) + 2.0)
    weights = (rng.standard_normal(n) + 0.5) * (rng.random(n) < 0.4)
    bench = linear([weights.tolist()], x, families=24)
    order = np.argsort(-np.abs(weights))
    result = faithfulness(bench, other[order], order)
    h, patched = x.numpy(), other.T

    def score(size: int) -> float:
        kept = h.copy()
        kept[:, order[size:]] = patched[:, order[size:]]
        return float((kept @ weights).mean())

    cpr = cmd = 0.0
    f = [(score(int(s * n)) - score(0)) / (score(n) - score(0)) for s in MIB_PROPORTIONS]
    for i in range(len(f) - 1):
        width = MIB_PROPORTIONS[i + 1] - MIB_PROPORTIONS[i]
        cpr += width * (f[i] + f[i + 1]) / 2
        cmd += width * (abs(1 - f[i]) + abs(1 - f[i + 1])) / 2
    assert result.cpr[0] == pytest.approx(cpr, rel=1e-9)
    assert result.cmd[0] == pytest.approx(cmd, rel=1e-9)


def test_an_outcome_that_rounds_coarsely_does_not_hide_a_small_one() -> None:
    bench = linear(
        [[1e12, *([0.0] * 9)], [1e-6 * s for s in SHARES]], torch.ones(48, 10, dtype=torch.float64)
    )
    result = faithfulness(bench, 0.0, range(10))
    assert result.status.tolist() == ["ok", "ok"]
