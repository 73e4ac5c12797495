"""Cumulative knockouts: known curves in additive networks, random orders as baseline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mrinterp.core.errors import InputError
from mrinterp.knockouts._designs.ordered_knockouts import ordered_knockouts
from mrinterp.results._designs.ordered_knockouts import OrderedKnockouts
from tests.design_networks import inputs, linear

W = [[1.0, 2.0, 4.0, 0.5, 0.0, 8.0]]
BEST = ["5", "2", "1", "0", "3", "4"]


def _bench(**options: object):  # type: ignore[no-untyped-def]
    return linear(W, inputs() * 0.1 + 1.0, **options)


def test_curves_of_an_additive_network_add_up() -> None:
    bench = _bench()
    result = ordered_knockouts(bench, 0.0, BEST, random_orders=8)
    own = -(bench.values.mean(axis=0) * W[0])[[5, 2, 1, 0, 3, 4]]
    np.testing.assert_allclose(result.effect[:, 0], np.concatenate([[0], np.cumsum(own)]), atol=1e-12)
    np.testing.assert_allclose(result.effect[[0, -1]], result.random[[0, -1]], atol=1e-12)
    np.testing.assert_allclose(result.gain[[0, -1]], 0.0, atol=1e-12)
    assert result.area[0] > 0
    assert result.area_lower[0] > 0
    assert "ahead of 8 random ones" in str(result)


def test_the_worst_order_is_behind() -> None:
    assert ordered_knockouts(_bench(), 0.0, BEST[::-1]).area_upper[0] < 0


def test_many_random_orders_come_to_the_straight_line() -> None:
    """Every feature is as likely in any place: the mean curve of an additive network is straight."""
    result = ordered_knockouts(_bench(), 0.0, BEST, random_orders=400)
    line = np.linspace(0, 1, 7) * result.effect[-1, 0]
    # The error of the mean of 400 orders is below 15.5 / 2 / 20.
    np.testing.assert_allclose(result.random[:, 0], line, atol=4 * 15.5 / 2 / 20)


def test_seed_and_block_size() -> None:
    one, other = (ordered_knockouts(_bench(block=b), 0.0, BEST, seed=4) for b in (7, 48))
    np.testing.assert_allclose(one.random, other.random, rtol=1e-12, atol=1e-12)
    assert not np.array_equal(one.random, ordered_knockouts(_bench(), 0.0, BEST, seed=5).random)


def test_a_single_feature_and_no_baseline() -> None:
    bench = _bench()
    result = ordered_knockouts(bench, 0.0, ["5"], random_orders=0)
    np.testing.assert_allclose(result.effect[:, 0], [0, -8 * bench.values[:, 5].mean()], atol=1e-12)
    assert np.isnan(result.area).all()
    assert "random" not in str(result)


def test_saved_reopened_and_resumed(tmp_path: Path) -> None:
    result = ordered_knockouts(_bench(folder=tmp_path / "shards"), 0.0, BEST)
    again = ordered_knockouts(_bench(folder=tmp_path / "shards"), 0.0, BEST)
    assert np.array_equal(again.gain, result.gain)
    result.save(tmp_path / "o")
    assert str(OrderedKnockouts.load(tmp_path / "o")) == str(result)
    assert len(result.to_frame()) == 7


def test_one_family_has_no_interval() -> None:
    result = ordered_knockouts(_bench(families=1), 0.0, BEST)
    assert np.isnan(result.lower).all()
    assert "one family" in str(result)


@pytest.mark.parametrize(
    ("order", "orders", "words"),
    [
        (["0", "0"], 5, "given 2 times"),
        (["7"], 5, "not known"),
        ([], 5, "none"),
        (["0"], 1, "at least 2"),
    ],
)
def test_bad_input_is_refused(order: list[str], orders: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        ordered_knockouts(_bench(), 0.0, order, random_orders=orders)


def test_words_without_an_interval_show_none() -> None:
    assert "nan" not in str(ordered_knockouts(_bench(families=1), 0.0, BEST))
    with pytest.raises(InputError, match="seed: -1"):
        ordered_knockouts(_bench(), 0.0, BEST, seed=-1)
