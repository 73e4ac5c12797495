"""The hand-written transformer: its answer is the formula's, and knockouts give what the formula says."""

from __future__ import annotations

import numpy as np
import pytest

from mrinterp import knock_out
from mrinterp.knockouts import Shift
from mrinterp.positions import AllTokens
from mrinterp.worlds import CompiledText, compiled_text


@pytest.fixture(scope="module")
def world() -> CompiledText:
    return compiled_text(seed=1, families=30)


def test_network_gives_what_the_formula_says(world: CompiledText) -> None:
    bench = world.bench(position=AllTokens())
    np.testing.assert_allclose(bench.clean[:, 0], world.answer(), rtol=0, atol=1e-12)


def test_setting_each_word_to_zero_does_what_the_formula_says(world: CompiledText) -> None:
    found = knock_out(world.bench(position=AllTokens()), "zero")
    wanted = [(world.answer(**{name: 0.0}) - world.answer()).mean() for name in found.features]
    np.testing.assert_allclose(found.mean[:, 0], wanted, rtol=0, atol=1e-12)
    size = dict(zip(found.features, np.abs(wanted), strict=True))
    assert size["first"] > 0.2
    assert size["silent"] == size["idle"] == 0


def test_gate_hides_the_signal_and_one_part_alone_is_no_and(world: CompiledText) -> None:
    shut, open_ = (world.answer(gate=g, signal=1.0) - world.answer(gate=g, signal=-1.0) for g in (0.0, 1.0))
    np.testing.assert_allclose(shut, 0, atol=1e-12)
    np.testing.assert_allclose(open_, 2)
    np.testing.assert_allclose(
        world.answer(first=1, second=0) - world.answer(first=0, second=0), 0, atol=1e-12
    )
    np.testing.assert_allclose(world.answer(first=1, second=1) - world.answer(first=0, second=1), 2)


def test_a_mean_over_words_moves_them_all_alike(world: CompiledText) -> None:
    bench = world.bench()  # pooled: a shift of the mean is written at all nine words
    found = knock_out(bench, Shift(size=0.1, unit="feature"), "plain")
    np.testing.assert_allclose(found.effect, 9 * 0.5, rtol=1e-9)
