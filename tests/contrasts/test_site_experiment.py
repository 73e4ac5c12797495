"""The randomized experiment at a site: what it recovers, where it says that it is something else, and its jackknife."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mrinterp
from mrinterp.core.errors import InputError
from mrinterp.features._latents import Latents
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._designs.site_experiment import STILL, site_experiment
from mrinterp.knockouts._kinds.contrast import Contrast
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.outcomes._outcome import Sampling
from mrinterp.results._check import NotApplicable
from mrinterp.results._contrast_levels import NATURAL_SD
from mrinterp.results._designs.site_experiment import DEPENDS
from mrinterp.stats.clustered.joint_effects import joint_effects, random_settings
from tests.design_networks import Readout, bench_of, inputs, linear


def _gate(h: torch.Tensor) -> torch.Tensor:
    """0 counts only where 1 is high; 3 counts up or down with the sign of 4, and so not at all on average."""
    return (h[:, 0] * (h[:, 1] > 1.0) + 0.5 * h[:, 2] + h[:, 3] * torch.sign(h[:, 4])).unsqueeze(-1)


def _gated(**options: Any) -> Bench:
    x = inputs(prompts=160)
    x[:, 4] += 1.5  # nearly always positive as it is; its quantiles have both signs
    return bench_of(Readout(_gate), x, families=40, block=640, **options)


def _alone(bench: Bench, features: Any = None) -> np.ndarray:
    return knock_out(bench, "contrast", features, draws=2).mean / NATURAL_SD


# --- the kernel


@pytest.mark.parametrize("extrapolate", [False, True])
def test_the_jackknife_refits_the_whole_procedure_without_each_family(extrapolate: bool) -> None:
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(7), [1, 5, 2, 3, 3, 4, 2])
    inclusion = np.array([0.25, 0.25, 0.25, 0.5] * 2) if extrapolate else np.full(4, 0.7)
    settings = random_settings(codes, 5, inclusion, rng)
    change = settings @ rng.normal(size=(5, 2)) + rng.normal(size=(*settings.shape[:2], 2))
    found = joint_effects(settings, change, codes, inclusion, extrapolate)

    def fit(share: float, keep: np.ndarray) -> np.ndarray:
        rows = inclusion == share
        x, y = settings[rows][:, keep].reshape(-1, 5), change[rows][:, keep].reshape(-1, 2)
        return np.linalg.lstsq(x.astype(float), y, rcond=None)[0]

    def whole(keep: np.ndarray) -> np.ndarray:
        return 2 * fit(0.25, keep) - fit(0.5, keep) if extrapolate else fit(0.7, keep)

    everyone = whole(np.ones(len(codes), dtype=bool))
    without = np.stack([whole(codes != c) for c in range(7)])
    np.testing.assert_allclose(found.value, everyone, rtol=1e-9)
    np.testing.assert_allclose(found.without, without, rtol=1e-9)
    se = np.sqrt(6 / 7 * ((without - everyone) ** 2).sum(axis=0))
    np.testing.assert_allclose(found.se, se, rtol=1e-9)
    matrix = rng.normal(size=(3, 5))
    np.testing.assert_allclose(found.mapped(matrix).without, matrix @ without, rtol=1e-9)


def test_settings_are_balanced_within_families_and_uniform() -> None:
    codes = np.repeat(np.arange(3), 4)
    settings = random_settings(codes, 6, np.full(4, 1.0), np.random.default_rng(0))
    assert set(np.unique(settings)) == {-1, 1}
    for c in range(3):  # 16 runs of a family: two blocks of eight
        rows = settings[:, codes == c].reshape(-1, 6).astype(int)
        assert np.array_equal(rows.T @ rows, 16 * np.eye(6))
    many = random_settings(np.arange(1000), 3, np.array([0.25, 0.5]), np.random.default_rng(1))
    for share, here in zip((0.25, 0.5), many, strict=True):
        assert np.abs(here).mean() == pytest.approx(share, abs=0.04)
    odds = dict.fromkeys(product((-1, 1), repeat=3), 0)
    for row in random_settings(np.arange(1000), 3, np.ones(1), np.random.default_rng(2))[0].tolist():
        odds[tuple(row)] += 1
    assert min(odds.values()) > 90, "every combination has the same chance of 1/8"


# --- what it recovers


def test_in_a_linear_network_it_is_what_one_at_a_time_is() -> None:
    bench = linear([[1.0, -2.0, 3.0, 0.5, 0.0, 4.0], [0.0, 1.0, 0.0, 0.0, 2.0, 0.0]])
    found = site_experiment(bench, runs_per_prompt=8, beside=6)
    np.testing.assert_allclose(found.effect, _alone(bench), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.alone, _alone(bench), rtol=1e-9, atol=1e-12)
    assert not (found.verdict == DEPENDS).any()
    assert found.verdict[:, 0].tolist() == ["causal"] * 4 + ["negligible", "causal"]
    assert found.averaged == "averaged over the other features' settings"
    assert "computed, not drawn" in found.advice
    assert "fewer than some 40" in found.advice
    assert (found.runs, found.meta["runs_alone"]) == (8 * 48, 2 * 6 * 48)
    assert found.read_back_error.max() < 1e-12
    for features in (["5", "1"], [5, 1]):
        few = site_experiment(bench, features=features, runs_per_prompt=4, beside=["1"])
        np.testing.assert_allclose(few.effect, _alone(bench)[[5, 1]], rtol=1e-9, atol=1e-12)
        assert np.isnan(few.alone[0]).all()
        np.testing.assert_allclose(few.alone[1], _alone(bench)[1], rtol=1e-9, atol=1e-12)


def test_in_the_shipped_world_it_is_what_one_at_a_time_is() -> None:
    bench = mrinterp.worlds.gated_world(families=20).bench()
    found = site_experiment(bench, beside=5)
    np.testing.assert_allclose(found.effect, _alone(bench), rtol=1e-9, atol=1e-12)
    assert not (found.verdict == DEPENDS).any()


def test_where_features_interact_it_is_averaged_and_says_so() -> None:
    bench = _gated()
    found = site_experiment(bench, runs_per_prompt=64, beside=["0", "2", "3"])
    high, low = (np.array([np.quantile(bench.values[:, k], q) for k in range(6)]) for q in (0.9, 0.1))
    assert high[1] > 1 > low[1]
    assert high[4] > 0 > low[4]
    averaged = (high - low) * [0.5, 0, 0.5, 0, 0, 0] / NATURAL_SD
    # Quantiles that weigh families alike are near numpy's; the rest is exact: whole blocks are run.
    np.testing.assert_allclose(found.effect[[0, 2, 3], 0], averaged[[0, 2, 3]], atol=0.05)
    assert abs(found.effect[3, 0]) < 0.1 < found.alone[3, 0]
    assert found.alone[0, 0] < found.effect[0, 0] - 3 * found.rope[0]
    assert found.verdict[:, 0].tolist()[0] == DEPENDS
    assert found.verdict[3, 0] == DEPENDS, "never negligible, though nothing is left of it on average"
    assert found.verdict[2, 0] == "causal"
    assert "2 of 3 features run alone act otherwise" in found.advice
    assert DEPENDS in str(found["3", "y0"])
    assert np.isnan(found.difference_p[[1, 4, 5]]).all()


def test_extrapolated_in_the_share_that_is_moved_it_is_one_at_a_time() -> None:
    """With interactions of two features it is so exactly; here as near as the settings drawn let it be."""
    bench = _gated()
    found = site_experiment(bench, runs_per_prompt=80, extrapolate=True, beside=3)
    off = found.effect - _alone(bench)
    assert (np.abs(off) < 4 * found.se + 1e-9).all()
    half = site_experiment(bench, runs_per_prompt=64, inclusion=0.5, beside=0)
    middle = (site_experiment(bench, runs_per_prompt=64, beside=0).effect + _alone(bench)) / 2
    assert (np.abs(half.effect - middle) < 4 * half.se + 1e-9).all()
    assert half.averaged.endswith("each moved with probability 0.5")
    assert found.averaged == "one at a time, extrapolated"
    assert "extrapolating pays" not in found.advice


def test_sampled_outcomes_are_drawn_anew_in_every_run_and_their_noise_is_in_the_errors() -> None:
    noise = Sampling("normal", 1, 1.0, 0.0, 3)
    bench = _gated(sampling=noise)
    smooth, found = (site_experiment(b, runs_per_prompt=32, beside=["2"]) for b in (_gated(), bench))
    expected = 2 / np.sqrt(160 * 32) / NATURAL_SD
    assert np.median(found.se) == pytest.approx(expected, rel=0.2)
    z = (found.effect - smooth.effect) / expected
    assert 0.1 < np.sqrt((z**2).mean()) < 2
    # 16 replicates, of high and of low, on each of 160 prompts
    alone = np.sqrt(2 / (160 * 16)) / NATURAL_SD
    assert abs(found.alone[2, 0] - smooth.alone[2, 0]) < 4 * alone
    assert found.alone_se[2, 0] == pytest.approx(alone, rel=0.4)
    assert found.meta["runs_alone"] == 160 * 32
    assert "computed" not in found.advice


# --- along principal components


def test_along_components_a_linear_network_gives_the_same() -> None:
    bench = linear([[1.0, -2.0, 3.0, 0.5, 0.0, 4.0]])
    found = site_experiment(bench, runs_per_prompt=8, components=True, beside=2, calibrate=0)
    np.testing.assert_allclose(found.effect, _alone(bench), rtol=1e-6, atol=1e-9)
    assert np.isnan(found.lower).all()
    assert found.status[0].startswith("no interval")
    assert (found.verdict == "indeterminate").all()
    assert found.averaged == "averaged over the settings of the site's 6 principal components"


def _overcomplete(latents: int, function: Any) -> Bench:
    """More features than dimensions: directions of an autoencoder that reads and writes linearly."""
    generator = torch.Generator().manual_seed(0)
    decoder = torch.nn.functional.normalize(
        torch.randn(latents, 6, generator=generator, dtype=torch.float64), dim=1
    )

    class Autoencoder:
        def encode(self, x: torch.Tensor) -> torch.Tensor:
            return x @ decoder.T.to(x)

        def decode(self, latents: torch.Tensor) -> torch.Tensor:
            return latents @ decoder.to(latents)

    plain = bench_of(Readout(function), inputs(prompts=80), families=20, block=640)
    return plain.viewing(Latents(Autoencoder(), width=6))


def test_features_that_outnumber_dimensions_go_along_components() -> None:
    weights = torch.tensor([1.0, -2.0, 3.0, 0.5, 0.0, 4.0], dtype=torch.float64)
    bench = _overcomplete(9, lambda h: (h @ weights).unsqueeze(-1))
    found = site_experiment(bench, runs_per_prompt=8, beside=2, calibrate=0)
    assert found.meta["components"] == 6
    np.testing.assert_allclose(found.effect, _alone(bench), rtol=1e-4, atol=1e-5)
    assert found.status[0].startswith("no interval")


def test_along_components_intervals_are_calibrated_by_features_run_alone() -> None:
    bench = _overcomplete(60, lambda h: (h[:, 0] * (h[:, 1] > 0.5) + h[:, 2] + h[:, 3].relu()).unsqueeze(-1))
    found = site_experiment(bench, runs_per_prompt=16, beside=0, calibrate=20)
    truth, own = _alone(bench), np.array([f.startswith("its own") for f in found.flags])
    assert own.sum() == 15
    assert np.isfinite(found.alone).sum() == 35
    np.testing.assert_allclose(found.effect[own], truth[own], atol=1e-9)
    held = (found.lower <= truth) & (truth <= found.upper)
    assert held[~own].mean() > 0.85
    plain = site_experiment(bench, runs_per_prompt=16, beside=0, calibrate=0)
    joint = np.abs(plain.effect - truth)[~own, 0]
    assert np.median((found.upper - found.lower)[~own]) > np.median(joint)
    assert found.averaged.endswith("calibrated")
    assert set(found.status) == {"ok"}
    assert not (found.verdict == DEPENDS).any()


# --- the bench's promises


def _encoder_bench(encoder: Path, block: int, **options: Any) -> Bench:
    from tests.knockouts.test_designs_on_encoder import MEAN_OF_TOKENS
    from tests.knockouts.test_designs_on_encoder import _bench as made

    bench = made(encoder, MEAN_OF_TOKENS, block)
    given = {"family": bench.family, "block": block} | options
    return Bench(bench.adapter, bench.site, bench.view, bench.inputs, bench.outcome, **given)


def test_every_token_is_written_at_its_own_values(tiny_encoder: Path) -> None:
    bench = _encoder_bench(tiny_encoder, 16)
    found = site_experiment(bench, runs_per_prompt=6, beside=4)
    ran = np.isfinite(found.alone[:, 0])
    assert ran.sum() == 4
    np.testing.assert_allclose(found.alone[ran], _alone(bench)[ran], rtol=1e-4, atol=1e-6)
    assert found.meta["position"] != str(bench.position)
    assert found.read_back_error.max() < 1e-5


def test_blocks_and_restarts_change_nothing(tiny_encoder: Path, tmp_path: Path) -> None:
    noise = Sampling("bernoulli", 1, 0.5, 0.0, 7)
    made = [
        site_experiment(_encoder_bench(tiny_encoder, block, sampling=noise), runs_per_prompt=6, beside=2)
        for block in (7, 24)
    ]
    np.testing.assert_array_equal(made[0].effect, made[1].effect)
    np.testing.assert_array_equal(made[0].alone, made[1].alone)

    def kept() -> Any:
        bench = _encoder_bench(tiny_encoder, 4, folder=tmp_path, sampling=noise)
        return site_experiment(bench, runs_per_prompt=6, beside=2)

    first, shards = kept(), sorted(tmp_path.rglob("shard-*.npz"))
    np.testing.assert_array_equal(first.effect, made[0].effect)
    assert len(shards) > 3
    times = {s: s.stat().st_mtime_ns for s in shards[1:]}
    shards[0].unlink()
    again = kept()
    np.testing.assert_array_equal(again.effect, first.effect)
    np.testing.assert_array_equal(again.difference, first.difference)
    assert {s: s.stat().st_mtime_ns for s in shards[1:]} == times, "finished shards are not run again"
    assert shards[0].exists()


def test_shards_of_other_settings_are_not_taken_for_these(tmp_path: Path) -> None:
    bench = _gated(folder=tmp_path)
    site_experiment(bench, runs_per_prompt=4, beside=0)
    count = len(list(tmp_path.rglob("shard-*.npz")))
    site_experiment(bench, runs_per_prompt=4, beside=0, seed=1)
    assert len(list(tmp_path.rglob("shard-*.npz"))) > count


def test_a_seed_is_the_settings() -> None:
    bench = _gated()
    one, same, other = (site_experiment(bench, runs_per_prompt=6, beside=0, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(one.effect, same.effect)
    assert not np.array_equal(one.effect, other.effect)


def test_features_that_never_vary_and_benches_of_one_family_say_so() -> None:
    x = inputs(prompts=60)
    x[:, 3] = 1.0
    bench = bench_of(Readout(lambda h: h[:, :1] + h[:, 3:4]), x, families=20)
    found = site_experiment(bench, runs_per_prompt=4, beside=6)
    assert found.status[3] == STILL
    assert np.isnan(found.effect[3, 0])
    assert isinstance(found["3", "y0"], NotApplicable)
    assert np.isfinite(np.delete(found.effect[:, 0], 3)).all()
    alone = bench_of(Readout(lambda h: h[:, :1]), x, families=1)
    one = site_experiment(alone, runs_per_prompt=4, beside=1)
    assert "one family" in one.status[0]
    assert np.isfinite(one.effect[0, 0])
    assert np.isnan(one.lower).all()
    assert np.isnan(one.difference_p).all()
    assert not (one.verdict == DEPENDS).any()


@pytest.mark.parametrize(
    ("options", "where", "words"),
    [
        ({"kind": "zero"}, "kind", "no low and high value"),
        ({"features": ["9"]}, "features: '9'", "Known"),
        ({"runs_per_prompt": 5}, "runs_per_prompt", "even number"),
        ({"runs_per_prompt": 2}, "runs_per_prompt", "at least 4"),
        ({"runs_per_prompt": 14, "extrapolate": True}, "runs_per_prompt", "at least 16"),
        ({"extrapolate": True, "inclusion": 0.5}, "inclusion", "Leave it out"),
        ({"inclusion": 0}, "inclusion", "0 excluded"),
        ({"inclusion": 1.5}, "inclusion", "between 0 and 1"),
        ({"beside": -1}, "beside", "at least 0"),
        ({"beside": ["9"]}, "beside: '9'", "Known"),
        ({"beside": ["1"], "features": ["0", "2"]}, "beside", "List it among the features"),
    ],
)
def test_what_cannot_be_run_is_refused(options: dict[str, Any], where: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        site_experiment(linear([[1.0] * 6]), **options)
    assert refused.value.where == where


def test_too_few_runs_are_told_how_many_are_needed() -> None:
    x = torch.randn(8, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bench = bench_of(Readout(lambda h: h[:, :1]), x, families=8)
    with pytest.raises(InputError, match="Give at least 28") as refused:
        site_experiment(bench, runs_per_prompt=26)
    assert refused.value.where == "runs_per_prompt"
    assert site_experiment(bench, runs_per_prompt=28, beside=0).effect[0, 0] > 0.5


def test_levels_that_are_given_are_written() -> None:
    bench = linear([[1.0, -2.0, 3.0, 0.5, 0.0, 4.0]])
    learned = mrinterp.knockouts.contrast_levels(bench)
    wide = mrinterp.knockouts.contrast_levels(bench, 0.05, 0.95)
    found = site_experiment(bench, Contrast(levels=learned), runs_per_prompt=4, beside=0)
    np.testing.assert_allclose(found.effect, _alone(bench), rtol=1e-9, atol=1e-12)
    wider = site_experiment(bench, Contrast(0.05, 0.95), runs_per_prompt=4, beside=0)
    span = (wide.high - wide.low)[:, 0] / NATURAL_SD
    np.testing.assert_allclose(
        wider.effect[:, 0], span * [1.0, -2.0, 3.0, 0.5, 0.0, 4.0], rtol=1e-4, atol=1e-9
    )


def test_inputs_that_never_vary_are_refused() -> None:
    bench = bench_of(Readout(lambda h: h[:, :1]), torch.ones(12, 3, dtype=torch.float64), families=6)
    with pytest.raises(InputError, match="two values"):
        site_experiment(bench)
