"""Candidates beside random directions: known ranks, natural size, level under the null, save and show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mrinterp.core.errors import InputError
from mrinterp.features._directions import Directions
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._designs.against_random import against_random
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.knockouts._site_variation import random_directions
from mrinterp.plots._study.against_random import against_random as against_random_plot
from mrinterp.plots._style import save
from mrinterp.results._against_random import AgainstRandom
from mrinterp.results._check import NotApplicable
from tests.design_networks import Readout, bench_of, inputs, linear

WIDTH = 24
CAUSES = [[6.0, -5.0, 0.5, *([0.0] * (WIDTH - 3))], [0.0] * WIDTH]


def _bench(x: torch.Tensor | None = None) -> Bench:
    return linear(CAUSES, inputs(width=WIDTH, prompts=96) if x is None else x)


@pytest.mark.parametrize("kind", ["shift", "mean", "zero"])
def test_causes_stand_out_and_bystanders_do_not(kind: str) -> None:
    result = against_random(_bench(), kind, features=["0", "1", "7"], controls=20)
    assert result.rank[:, 0].tolist() == [1, 1, 21]
    np.testing.assert_allclose(result.p[:, 0], [1 / 21, 1 / 21, 1])
    np.testing.assert_allclose(result.adjusted_p[:, 0], [1.5 / 21, 1.5 / 21, 1])
    # An outcome that nothing moves: all effects are one tie, and a tie counts against the feature.
    assert (result.rank[:, 1] == 21).all()
    assert "rank 1 of 21 among 20 random directions" in str(result["0", "y0"])


def test_ranks_are_those_counted_by_hand() -> None:
    bench = _bench()
    result = against_random(bench, "mean", controls=10, seed=4)
    random = knock_out(bench.viewing(random_directions(bench, 10, 4)), "mean")
    own = knock_out(bench, "mean")
    for per, a, b in (
        ("sd", own.effect[:, 0] * own.feature_sd, random.effect[:, 0] * random.feature_sd),
        ("unit", own.effect[:, 0], random.effect[:, 0]),
    ):
        held = AgainstRandom.of(own, random, per)
        expected = [1 + sum(abs(c) >= abs(x) - 1e-12 for c in b) for x in a]
        np.testing.assert_array_equal(held.rank[:, 0], expected)
        np.testing.assert_allclose(held.control[:, 0], b)
    assert np.array_equal(result.rank, AgainstRandom.of(own, random).rank)


@pytest.mark.parametrize("count", [2, WIDTH])
def test_random_directions_have_natural_size_however_many_there_are(count: int) -> None:
    """One standard deviation of a random direction moves a linear outcome by no more than it varies."""
    bench = _bench()
    drawn = np.concatenate(
        [
            against_random(bench, "shift", features=["0"], controls=count, seed=s).control[:, 0]
            for s in range(12)
        ]
    )
    # Their mean square over directions is the outcome's variance over the dimensions.
    expected = bench.clean[:, 0].var() / WIDTH
    assert np.mean(drawn**2) == pytest.approx(expected, rel=0.02 if count == WIDTH else 0.9)
    assert np.abs(drawn).max() <= bench.clean[:, 0].std() * 1.05
    view = bench.viewing(random_directions(bench, count))
    np.testing.assert_allclose(view.values.std(axis=0), 1.0, rtol=1e-6)


def test_a_random_feature_is_found_no_more_often_than_its_level() -> None:
    """Candidates that are random directions themselves: p is uniform on its grid."""
    bench, found = _bench(), []
    for seed in range(25):
        own = knock_out(bench.viewing(random_directions(bench, 8, 100 + seed)), "shift", draws=2)
        random = knock_out(bench.viewing(random_directions(bench, 19, 500 + seed)), "shift", draws=2)
        found.extend((AgainstRandom.of(own, random).p[:, 0] <= 0.1).tolist())
    # 200 trials at .1, draws of one set dependent: .1 +- four errors.
    assert 0.03 <= np.mean(found) <= 0.19


def test_what_cannot_be_ranked_says_why() -> None:
    x = inputs(width=WIDTH, prompts=96)
    x[:, 3] = 1.0
    result = against_random(_bench(x), "mean", features=["3", "0"])
    answer = result["3", "y0"]
    assert isinstance(answer, NotApplicable)
    assert "nothing to change" in answer.reason
    assert np.isnan(result.rank[0]).all()
    assert len(result.controls) == WIDTH - 1, "as many as the support has dimensions"
    ranked = against_random(_bench(), "mean", features=["0"], per="knockout")
    # The mean of a mean ablation of a linear outcome is rounding: no feature stands out by it.
    assert ranked.rank[0, 0] == len(ranked.controls) + 1
    with pytest.raises(InputError, match="never vary"):
        against_random(_bench(x[:1]), "mean")


def test_bad_input_is_refused() -> None:
    bench = _bench()
    for options, words in (
        ({"per": "sds"}, "sd"),
        ({"controls": 99}, "dimensions of the support"),
        ({"seed": -1}, "at least 0"),
        ({"features": ["x"]}, "not known"),
        ({"kind": "meen"}, "mean"),
    ):
        with pytest.raises(InputError, match=words):
            against_random(bench, **({"kind": "mean"} | options))  # type: ignore[arg-type]
    other = knock_out(bench, "zero")
    with pytest.raises(InputError, match="Knock both out alike"):
        AgainstRandom.of(knock_out(bench, "mean"), other)


def test_saved_reopened_and_drawn(tmp_path: Path) -> None:
    result = against_random(_bench(), "mean", features=["0", "2"], controls=5)
    result.save(tmp_path / "a")
    again = AgainstRandom.load(tmp_path / "a")
    assert str(again) == str(result)
    assert again.to_frame().equals(result.to_frame())
    frame = result.to_frame()
    assert frame["control"].sum() == 10
    assert frame.loc[frame["control"], "rank"].isna().all()
    ax = against_random_plot(result)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["0", "2", "5 random"]
    assert save(ax, tmp_path / "a.png").stat().st_size > 5000
    with pytest.raises(InputError, match="not in the result"):
        against_random_plot(result, "z")


def test_finished_shards_are_found_again(tmp_path: Path) -> None:
    x = inputs(width=WIDTH, prompts=96)
    first = against_random(linear(CAUSES, x, folder=tmp_path), "mean", features=["0"], controls=4)
    shards = {shard: shard.stat().st_mtime_ns for shard in tmp_path.rglob("*.npz")}
    again = against_random(linear(CAUSES, x, folder=tmp_path), "mean", features=["0"], controls=4)
    assert len({shard.parent for shard in shards}) == 2, "one sweep of features, one of random directions"
    assert {shard: shard.stat().st_mtime_ns for shard in tmp_path.rglob("*.npz")} == shards
    assert np.array_equal(first.control, again.control)
    one, other = (against_random(linear(CAUSES, x, block=b), "mean", controls=4, seed=2) for b in (7, 96))
    np.testing.assert_allclose(one.control, other.control, rtol=1e-9, atol=1e-12)


def test_a_direction_that_a_network_reads_is_found_among_the_random_ones() -> None:
    """The candidate is no coordinate but the direction itself, in a site whose coordinates are correlated."""
    rng = np.random.default_rng(5)
    mixed = inputs(width=WIDTH, prompts=96) @ torch.from_numpy(rng.standard_normal((WIDTH, WIDTH)))
    read = torch.from_numpy(rng.standard_normal(WIDTH))
    bench = bench_of(Readout(lambda h: torch.tanh(h @ read / 10).unsqueeze(-1)), mixed)
    # Natural size along what the network reads: the covariance times the read vector.
    natural = np.cov(mixed.numpy().T) @ read.numpy()
    candidate = bench.viewing(Directions.from_write(natural[None], names=["read"]))
    result = against_random(candidate, "shift", controls=20)
    assert result.rank[0, 0] == 1


def test_what_was_written_outside_support_is_flagged_in_words_and_figure() -> None:
    far = against_random(
        _bench(), "clamp", features=["0", "1"], value=50.0, controls=5, allow_off_support=True
    )
    assert str(far).count("Flagged: outside support, asked for.") == 2 * len(far.outcomes)
    hollow = [
        line
        for line in against_random_plot(far).lines
        if line.get_marker() == "o" and line.get_markerfacecolor() == "white"
    ]
    assert sum(len(line.get_xdata()) for line in hollow) == 2
    assert "Flagged" not in str(against_random(_bench(), "mean", features=["0"], controls=5))
