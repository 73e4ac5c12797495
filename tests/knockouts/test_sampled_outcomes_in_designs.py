"""Sampled outcomes: noise that averages out over inputs is in the errors, and is no floor beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.features._units import Units
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._designs.against_random import against_random
from mrinterp.knockouts._designs.direct_effect import direct_effect
from mrinterp.knockouts._designs.dose_response import dose_response
from mrinterp.knockouts._designs.epistasis import epistasis
from mrinterp.knockouts._kinds.compare_kinds import compare_kinds
from mrinterp.knockouts._kinds.steer import Steer
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.outcomes._outcome import Sampling
from mrinterp.outcomes._projection_and_callable import CallableOutcome
from mrinterp.plots._plot import plot

NOISE = Sampling("normal", 4, 1.0, 0.0, 3)


def _bench() -> Bench:
    """y = a + a b + c^2, drawn with half a unit of noise: single runs differ by more than any effect."""

    def y(h: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return h[:, 0] + h[:, 0] * h[:, 1] + h[:, 2] ** 2

    x = torch.randn(1500, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    network: Any = torch.nn.Sequential(torch.nn.Identity()).eval()
    return Bench(
        TorchAdapter(network),
        "0",
        Units(range(3), 3),
        ModelInputs({"input": x}),
        CallableOutcome("y", y),
        sampling=NOISE,
        block=500,
    )


@pytest.fixture(scope="module")
def bench() -> Bench:
    return _bench()


def test_an_interaction_that_its_interval_shows_is_not_negligible(bench: Bench) -> None:
    found = epistasis(bench, Steer(1.0), allow_off_support=True)
    assert bench.noise_floor() > 1, "single runs differ by more than the interaction of 1"
    assert found.call[0, 0] == "synergy"
    assert abs(found.interaction[0, 0] - 1) < 4 * found.se[0, 0]
    undecided = np.abs(found.interaction[1:, 0]) + 2 * found.se[1:, 0] > found.rope[0]
    assert (found.call[1:, 0][undecided] == "indeterminate").all()


def test_nothing_is_negligible_or_flat_for_its_sampling_noise_alone(bench: Bench) -> None:
    direct = direct_effect(bench, Steer(1.0), freeze=())
    outside = np.maximum(-direct.lower, direct.upper)[:, 0] > direct.rope[0]
    assert outside.any()
    assert not (direct.downstream[outside, 0] == "negligible").any()
    doses = dose_response(bench, features=["1"], draws=200)
    assert doses.shape[0, 0] != "flat"


def test_kinds_that_differ_are_seen_to_differ(bench: Bench) -> None:
    """The slope of c^2 up from a clamp at 1.5 is not the one down from it."""
    high, low = (knock_out(bench, "clamp", value=v, features=["2"]) for v in (1.5, -1.5))
    compared = compare_kinds({"high": high, "low": low})
    gap = high.effect[0, 0] - low.effect[0, 0]
    assert gap > 1
    assert compared.q_neglog10p[0, 0] > 10
    assert np.isnan(compared.noise_floor).all()
    assert np.isnan(high.floor_per_unit).all()


def test_features_are_ranked_by_their_effects(bench: Bench) -> None:
    for per in ("sd", "knockout"):
        ranked = against_random(bench, "steer", controls=3, per=per, allow_off_support=True)
        assert len(set(ranked.rank[:, 0])) > 1, "not one tie within the noise of single runs"


def test_the_figure_draws_no_floor_that_does_not_apply(bench: Bench) -> None:
    ax = plot(knock_out(bench, "shift"))
    ticks = np.concatenate([line.get_xdata() for line in ax.lines if line.get_marker() == "|"])
    assert np.isnan(ticks.astype(float)).all()
    assert "noise floor" not in ax.get_xlabel()
    assert "sampling noise" in ax.get_xlabel()


def test_another_kind_of_sampling_is_refused() -> None:
    with pytest.raises(InputError, match=r"'gauss'.*Give 'normal' or 'bernoulli'"):
        Sampling("gauss", 4, 1.0, 0.0, 3)
