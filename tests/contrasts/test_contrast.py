"""The natural contrast: which values are low and high at a token, and that each token gets its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from mrinterp.core.errors import InputError
from mrinterp.features._units import Units
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._contrast_levels import _levels, contrast_levels
from mrinterp.knockouts._designs.rectified_contrast import rectified_contrast
from mrinterp.knockouts._kinds.contrast import Contrast
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.positions import MEAN_OF_TOKENS, EachToken, TokenClass
from mrinterp.results._contrast_levels import NATURAL_SD, ContrastLevels
from tests.linear_stack import LinearStack, known_effects, stack_bench, stack_inputs


def classed_bench(prompts: int = 60, family: np.ndarray | None = None, curve: float = 0.0) -> Bench:
    """Five tokens each; the first two are of class "a", the others of class "b"."""
    inputs = stack_inputs(prompts, even=True)
    classes = torch.tensor([[0, 0, 1, 1, 1]]).repeat(prompts, 1)
    inputs = replace(inputs, classes=classes, class_names=("a", "b"))
    return stack_bench(
        network=LinearStack(curve),
        inputs=inputs,
        family=np.arange(prompts) // 2 if family is None else family,
    )


def test_a_pooled_bench_is_written_token_by_token() -> None:
    """The change of the outcome is the sum over tokens of what each was moved by, not a shift of their mean."""
    bench = stack_bench(60)
    found = knock_out(bench, "contrast")
    placed, levels = bench.by_token, contrast_levels(bench)
    own = bench.inputs.mask.numpy().astype(bool)
    assert placed.position == EachToken(MEAN_OF_TOKENS)
    place = np.where(own, own.cumsum(axis=1) - 1, 0)
    width = np.nan_to_num(levels.high - levels.low)[:, place] * own
    moved = width.sum(axis=2) / own.sum(axis=1)
    want = moved[:, :, None] * known_effects(bench)[:, None, :]
    np.testing.assert_allclose(found.change_by_input, want, atol=1e-9)
    np.testing.assert_allclose(found.mean, want.mean(axis=1), atol=1e-9)
    assert (found.read_back_error < 1e-9).all()


def test_high_less_low_on_a_curved_network() -> None:
    """Two runs against each other, by hand."""
    bench = classed_bench(curve=2.0)
    levels = contrast_levels(bench)
    code = bench.inputs.classes.numpy()
    for feature in (0, 3):
        ran = [
            bench.by_token.sweep(np.array([[feature]]), end[feature][code][None, None], "by hand").outcome[0]
            for end in (levels.high, levels.low)
        ]
        found = knock_out(bench, Contrast(), feature)
        np.testing.assert_allclose(found.change_by_input[0], ran[0] - ran[1], atol=1e-12)


def test_families_weigh_alike_in_the_quantiles() -> None:
    """One family of 31 prompts counts no more than each of 29 families of one."""
    family = np.r_[np.zeros(31, dtype=int), np.arange(1, 30)]
    bench = classed_bench(60, family)
    values = bench.by_token.values[:, :2, 0]
    levels = contrast_levels(bench, 0.25, 0.75)
    weight = np.where(family == 0, 1 / 31, 1.0)
    for level, found in ((0.25, levels.low[0, 0]), (0.75, levels.high[0, 0])):
        below = (weight[:, None] * (values < found)).sum() / (2 * weight.sum())
        at = (weight[:, None] * (values <= found)).sum() / (2 * weight.sum())
        assert below <= level + 1e-12
        assert at >= level - 1 / 30


def test_small_groups_take_the_values_of_all_groups() -> None:
    bench = classed_bench(60, np.arange(60) // 10)  # six families
    levels = contrast_levels(bench)
    assert levels.pooled == ("a", "b")
    np.testing.assert_array_equal(levels.low, np.repeat(levels.low[:, -1:], 3, axis=1))
    assert "fewer than 10 families" in str(levels)
    assert contrast_levels(classed_bench()).pooled == ()


def fire_bench(share: float, sign: float = 1.0) -> Bench:
    """A table of one column that is 0 but for a share of the rows, which hold 1, 2 or 3 times ``sign``."""
    from mrinterp.adapters._model_inputs import ModelInputs
    from mrinterp.adapters._torch_module import TorchAdapter
    from mrinterp.outcomes._logit_outcomes import Logit

    rows = 100
    x = np.zeros((rows, 2))
    firing = int(share * rows)
    x[:firing, 0] = sign * (1.0 + np.arange(firing) % 3)
    x[:, 1] = np.linspace(-1, 1, rows)
    net = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(2, 2, bias=False)).double().eval()
    with torch.no_grad():
        net[1].weight.copy_(torch.eye(2))
    inputs = ModelInputs({"input": torch.from_numpy(x)})
    return Bench(TorchAdapter(net), "0", Units([0, 1], 2), inputs, Logit(0), family=np.arange(rows) // 2)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_feature_that_rarely_fires_is_written_only_where_it_fires(sign: float) -> None:
    bench = fire_bench(0.3, sign)
    levels = contrast_levels(bench)
    assert levels.rare.tolist() == [True, False]
    assert levels.fires[0] == pytest.approx(0.3)
    assert (levels.low[0, 0], levels.high[0, 0]) == ((0.0, 2.0) if sign > 0 else (-2.0, 0.0))
    found = knock_out(bench, "contrast", 0)
    np.testing.assert_allclose(found.change_by_input[0, :30, 0], 2.0)
    np.testing.assert_array_equal(found.change_by_input[0, 30:], 0.0)
    assert np.isnan(found.effect_by_input[0, 30:]).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_what_firing_does_stands_beside_the_contrast(sign: float) -> None:
    """The outcome as it is less that at the usual value, whichever end of the contrast the usual value is; over the inputs
    where the feature fires, with the interval of their families."""
    bench = fire_bench(0.3, sign)
    found = knock_out(bench, "contrast")
    each = bench.values[:30, 0].reshape(15, 2).mean(axis=1)
    assert found.as_it_is[0, 0] == pytest.approx(each.mean())
    half = stats.t.ppf(0.975, 14) * each.std(ddof=1) / np.sqrt(15)
    assert found.as_it_is_upper[0, 0] == pytest.approx(each.mean() + half)
    assert found.as_it_is_lower[0, 0] == pytest.approx(each.mean() - half)
    assert np.isnan(found.as_it_is[1]).all(), "written at every token: it has no usual value"
    assert found.to_frame()["as_it_is"].tolist()[0] == found.as_it_is[0, 0]
    assert "as_it_is" not in knock_out(bench, "mean").to_frame()
    made = rectified_contrast(bench, families=50, prompts=2)
    assert made.details["share_firing"][:, 0] == pytest.approx([0.3, np.nan], nan_ok=True)
    assert made.details["per_firing"][:, 0].tolist() == [1.0, 0.0]
    np.testing.assert_allclose(made.details["as_it_is"], found.as_it_is / NATURAL_SD)


def one_level(values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Low and high of one feature from values (P, T), each place a group, each prompt a family; usual value, share firing."""
    code = np.tile(np.arange(values.shape[1]), (len(values), 1))
    small = np.zeros(values.shape[1], dtype=bool)
    return tuple(x[0] for x in _levels(values[None], code, np.arange(len(values)), small, (0.1, 0.9)))


def test_a_group_of_another_constant_value_neither_fires_nor_is_written() -> None:
    """A gate that is 1 at most of its own word and 0 at every other word: only where it is shut it leaves its usual value."""
    values = np.zeros((60, 5))
    values[:, 0] = np.arange(60) % 10 < 6
    low, high, usual, fires = one_level(values)
    assert usual == 1
    assert fires == pytest.approx(0.4 / 5)
    np.testing.assert_array_equal([low[0], high[0]], [0.0, 1.0])
    assert np.isnan(low[1:5]).all(), "0 at every token there: nothing to be set to 1"


def test_a_code_that_varies_in_no_group_is_written_where_it_is_not_its_usual_value() -> None:
    values = np.zeros((60, 5))
    values[:, 0] = 1
    low, high, usual, fires = one_level(values)
    assert (usual, fires) == (0.0, pytest.approx(0.2))
    np.testing.assert_array_equal([low[0], high[0]], [0.0, 1.0])


def test_a_feature_that_often_fires_is_written_everywhere() -> None:
    levels = contrast_levels(fire_bench(0.6))
    assert not levels.rare.any()


def test_tokens_where_the_feature_never_varies_are_left_alone() -> None:
    inputs = stack_inputs(60, even=True)
    inputs.tensors["ids"][:, 0] = 4  # one word at the first place
    bench = stack_bench(inputs=inputs, family=np.arange(60) // 2)
    levels = contrast_levels(bench)
    assert np.isnan(levels.low[:, 0]).all()
    target = Contrast().targets(bench.by_token)(np.arange(6))
    assert np.isnan(target[:, :, :, 0]).all()
    assert np.isfinite(target[:, :, :, 1:]).all()


def test_a_class_is_read_and_written_alone() -> None:
    bench = classed_bench()
    only = Bench(
        bench.adapter,
        bench.site,
        bench.view,
        bench.inputs,
        bench.outcome,
        position=TokenClass(1),
        family=bench.family,
    )
    target = Contrast().targets(only.by_token)(np.arange(6))
    assert np.isnan(target[..., :2]).all()
    assert np.isfinite(target[..., 2:]).all()
    assert only.by_token is only.by_token.by_token


def test_levels_of_other_families_are_kept_and_used(tmp_path: object) -> None:
    bench = classed_bench()
    levels = contrast_levels(bench.subset(np.arange(40)))
    levels.save(tmp_path / "levels")  # type: ignore[operator]
    again = ContrastLevels.load(tmp_path / "levels")  # type: ignore[operator]
    rest = bench.subset(np.arange(40, 60))
    one, other = (knock_out(rest, Contrast(levels=x)) for x in (levels, again))
    np.testing.assert_array_equal(one.change_by_input, other.change_by_input)
    assert one.meta["options"]["levels"] == "20 families"


def test_bad_levels_are_refused() -> None:
    bench = classed_bench()
    with pytest.raises(InputError, match=r"0\.9 and 0\.1\. .*below the high"):
        Contrast(0.9, 0.1)
    with pytest.raises(InputError, match="what contrast_levels returns"):
        Contrast(levels=np.zeros(3))  # type: ignore[arg-type]
    levels = contrast_levels(fire_bench(0.3))
    with pytest.raises(InputError, match="none for the feature"):
        knock_out(bench, Contrast(levels=levels))
