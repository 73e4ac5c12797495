"""Terms of what the knockouts compute that larger tests do not tell apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.errors import InputError
from mrinterp.knockouts import dose_response, knock_out
from mrinterp.knockouts._designs.specificity import _status
from mrinterp.knockouts._kinds.replacement import outside_support
from mrinterp.knockouts._outcome_rope import _jittered
from mrinterp.knockouts._site_variation import SiteVariation, _principal_axes, site_variation
from mrinterp.knockouts._support import ROUNDING, _by_position
from mrinterp.knockouts._token_groups import TokenGroups
from tests.design_networks import Readout, bench_of, inputs
from tests.linear_stack import stack_bench


@pytest.mark.parametrize("shape", [(10, 30), (30, 10)])
def test_principal_axes_have_length_one_and_their_variances(shape: tuple[int, int]) -> None:
    rows = np.random.default_rng(0).standard_normal(shape) * np.linspace(0.1, 3.0, shape[1])
    rows -= rows.mean(axis=0)
    variance, axes = _principal_axes(rows)
    np.testing.assert_allclose(axes @ axes.T, np.eye(len(axes)), atol=1e-12)
    np.testing.assert_allclose(((rows @ axes.T) ** 2).mean(axis=0), variance, rtol=1e-10)
    assert (np.diff(variance) <= 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_directions_are_kept_in_single_or_double_precision(dtype: torch.dtype) -> None:
    network = Readout(lambda h: h[:, :1])
    bench = bench_of(network, inputs().to(dtype))
    assert site_variation(bench).like.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_only_values_outside_support_are_listed() -> None:
    bench = stack_bench(12)
    rows = np.array([0, 3])
    within = np.repeat(bench.values[:1, rows].T, bench.prompts, axis=1)
    assert outside_support(bench, rows, within) == {}
    far = within.copy()
    far[1, :3] = 100.0
    assert outside_support(bench, rows, far) == {bench.view.names[3]: 0.25}


def test_a_small_spread_is_a_spread() -> None:
    assert _status("y", 0.5, 3.0) == "ok"
    assert "never varies" in _status("y", 0.0, 3.0)
    assert "famil" in _status("y", 0.5, 0.0)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_rounding_is_relative_to_the_values(size: float) -> None:
    tokens = size * np.array([[[1.0, 2.0, 3.0]]])
    groups = TokenGroups(("all",), *(np.zeros((1, 3), dtype=int),) * 2)
    step = np.zeros((1, 1, 1, 3))
    step[..., 2] = 0.5 * ROUNDING * 3.0 * size
    assert _by_position(tokens, step, groups)[0].sum() == 0.0
    step[..., 2] = 3.0 * ROUNDING * 3.0 * size
    assert _by_position(tokens, step, groups)[0].sum() == 1.0


def test_a_position_of_one_token_has_a_share_of_its_own() -> None:
    ids = torch.arange(20).reshape(4, 5) % 9
    mask = torch.ones(4, 5, dtype=torch.long)
    mask[1:, 4] = 0  # one input alone has a fifth token
    bench = stack_bench(inputs=ModelInputs({"ids": ids, "mask": mask}, mask))
    np.testing.assert_array_equal(knock_out(bench, "zero").outside[:, 4], 1.0)


def test_quantiles_below_zero_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="Give at least 3, growing, between 0 and 1"):
        dose_response(stack_bench(8), quantiles=[-0.1, 0.5, 0.9])


def test_the_share_outside_the_axes_is_that_of_the_squared_length() -> None:
    axes = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    variation = SiteVariation(axes, np.ones(2), 1.0, 9, torch.empty(0))
    vectors = np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 2.0], [1.0, 0.0, 1.0]])
    np.testing.assert_allclose(variation.off_support(vectors), [0.0, 1.0, 0.5])


@pytest.mark.parametrize("options", [{"donors": 1}, {"donors": 3}])
def test_the_mean_of_donors_is_that_of_their_changes(options: dict[str, int]) -> None:
    made = knock_out(stack_bench(16), "resample", **options)
    np.testing.assert_allclose(made.mean, made.change_by_input.mean(axis=1), atol=1e-12)


def test_rounding_moves_coordinates_up_and_down_alike() -> None:
    x = inputs(width=40).to(torch.bfloat16)
    bench = bench_of(Readout(lambda h: h.double().sum(1, keepdim=True)), x)
    dice = np.stack([np.random.default_rng(p).integers(0, 24, 40) for p in range(len(x))])
    step = torch.from_numpy((dice == 0).astype(np.int16) - (dice == 1))  # one unit in the last place
    moved = (x.view(torch.int16) + step).view(torch.bfloat16)
    wanted = (moved.double().sum(1) - x.double().sum(1)).abs().max()
    np.testing.assert_allclose(_jittered(bench), [float(wanted)], rtol=1e-6)
