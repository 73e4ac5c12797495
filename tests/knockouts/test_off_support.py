"""A value far outside support is refused by every design, and where it is asked for, every output says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.errors import InputError
from mrinterp.edits._confounder_removal import remove_confounder
from mrinterp.edits._vestigial_features import vestigial_features
from mrinterp.knockouts import dose_response
from mrinterp.knockouts._designs.direct_effect import direct_effect
from mrinterp.knockouts._designs.epistasis import epistasis
from mrinterp.knockouts._designs.faithfulness import faithfulness
from mrinterp.knockouts._designs.minimal_set import minimal_set
from mrinterp.knockouts._designs.ordered_knockouts import ordered_knockouts
from mrinterp.knockouts._designs.set_effects import set_effects
from mrinterp.knockouts._designs.specificity import _status, specificity
from mrinterp.knockouts._kinds.compare_kinds import compare_kinds
from mrinterp.knockouts._kinds.replacement import outside_support
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.knockouts._outcome_rope import _jittered
from mrinterp.knockouts._site_variation import SiteVariation, _principal_axes, site_variation
from mrinterp.knockouts._support import ROUNDING, _by_position
from mrinterp.knockouts._token_groups import TokenGroups
from tests.design_networks import Readout, bench_of, inputs
from tests.linear_stack import LinearStack, stack_bench

BENCH = stack_bench(24, LinearStack(curve=1.0))
CUE = np.array(["agrees", "conflicts"])[np.arange(24) % 2]
DESIGNS: dict[str, Callable[..., Any]] = {
    "epistasis": lambda v, **o: epistasis(BENCH, v, [0, 1], **o),
    "ordered": lambda v, **o: ordered_knockouts(BENCH, v, [0, 1], random_orders=2, **o),
    "direct": lambda v, **o: direct_effect(BENCH, v, [0], freeze=["layer.2"], **o),
    "specificity": lambda v, **o: specificity(BENCH, v, [0], controls=["second"], **o),
    "sets": lambda v, **o: set_effects(BENCH, v, {"a": [0]}, draws=20, **o),
    "minimal": lambda v, **o: minimal_set(
        BENCH, v, [0, 1], outcome="first", random_sets=2, draws=20, share=0.1, **o
    ),
    "faithfulness": lambda v, **o: faithfulness(BENCH, v, [0, 1], draws=20, **o),
    "confounder": lambda v, **o: remove_confounder(BENCH, ["0"], CUE, value=v, draws=20, **o),
}


@pytest.mark.parametrize("design", sorted(DESIGNS))
def test_refused_unless_asked_for_and_then_flagged_in_words_and_table(design: str, tmp_path: Path) -> None:
    run = DESIGNS[design]
    with pytest.raises(InputError, match=r"natural range.*allow_off_support=True"):
        run(50.0)
    made = run(50.0, allow_off_support=True)
    assert "Outside natural support: 0 (100%" in str(made)
    assert made.to_frame()["outside_support"].max() == 1.0
    made.save(tmp_path / "made")
    again = type(made).load(tmp_path / "made")
    assert again.to_frame()["outside_support"].equals(made.to_frame()["outside_support"])
    inside = run(None if design == "confounder" else "mean")
    assert "(100%" not in str(inside)
    assert not (inside.to_frame()["outside_support"] == 1.0).any()


def test_kinds_side_by_side_and_vestigial_features_pass_the_flag_on() -> None:
    far = knock_out(BENCH, "clamp", value=50.0, allow_off_support=True)
    near = knock_out(BENCH, "mean")
    assert "6 features are flagged" in str(compare_kinds([far, near]))
    assert "flagged" not in str(compare_kinds([near, knock_out(BENCH, "resample")]))
    listed = vestigial_features([near, far], rope=1e6)
    assert set(listed.to_frame()["flags"]) == {"clamp: outside support, asked for"}
    assert "6 of them flagged" in str(listed)
    assert "flagged" not in str(vestigial_features(near, rope=1e6))


# Terms that larger tests do not tell apart.
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
    assert _status("y", 0.5, 3.0, "") == "ok"
    assert "never varies" in _status("y", 0.0, 3.0, "")
    assert "famil" in _status("y", 0.5, 0.0, "")
    assert _status("y", 0.5, 3.0, "not read") == "not read"


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


def test_a_value_that_a_prompt_does_not_have_bounds_no_range() -> None:
    """Of three tokens one is not known: values of 1 and 3, so that 8 lies 2.5 ranges above and 1.5 inside."""
    groups = TokenGroups(("all",), *(np.zeros((3, 1), dtype=int),) * 2)
    tokens, change = np.array([1.0, np.nan, 3.0]), np.array([0.5, 0.5, 5.0])
    for sign in (1.0, -1.0):
        outside, worst, counted = _by_position(
            sign * tokens.reshape(1, 3, 1), sign * change.reshape(1, 1, 3, 1), groups
        )
        assert (outside, counted) == (1, 2)
        np.testing.assert_allclose(worst, 2.5)
