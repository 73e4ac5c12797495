"""Rectified contrasts on benches: unbiased whatever the gradient says, more precise where it is right."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._bench_gradient import predicted_contrast
from mrinterp.knockouts._contrast_levels import contrast_levels
from mrinterp.knockouts._designs.rectified_contrast import drawn_prompts, rectified_contrast
from mrinterp.knockouts._kinds.contrast import Contrast
from mrinterp.knockouts._kinds.resample import Resample
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.outcomes._logit_outcomes import Probability
from mrinterp.outcomes._outcome import Sampling
from mrinterp.results._contrast_levels import NATURAL_SD
from tests.linear_stack import WIDTH, LinearStack, stack_bench, stack_inputs


def big_bench(curve: float = 0.0, **options: object) -> Bench:
    """120 families of two prompts."""
    return stack_bench(240, LinearStack(curve), **options)


def test_the_prediction_is_the_contrast_where_the_network_is_linear() -> None:
    bench = big_bench()
    found = predicted_contrast(bench, Contrast())
    truth = knock_out(bench, Contrast()).change_by_input
    np.testing.assert_allclose(found, truth.transpose(1, 0, 2), atol=1e-9)


@pytest.mark.parametrize("curve", [0.0, 1.5])
def test_it_estimates_the_contrast_of_all_families(curve: float) -> None:
    """Over draws of families, no bias, and intervals that hold the contrast of all 120."""
    bench = big_bench(curve)
    truth = knock_out(bench, Contrast()).mean / NATURAL_SD
    made = [rectified_contrast(bench, families=12, prompts=2, seed=s) for s in range(6)]
    inside = [(e.ci_lower <= truth) & (truth <= e.ci_upper) for e in made]
    assert np.mean(inside) > 0.85
    # Without curvature all that is left is the spread between families: the root of n / N is .32.
    narrow = np.median([e.se[:, 0] / e.details["alone_se"][:, 0] for e in made])
    assert narrow < (0.35 if curve == 0 else 0.9)
    assert made[0].meta["families"] == 12
    assert made[0].meta["all_families"] == 120
    assert made[0].meta["passes"]["backward"] == 480


def test_without_a_prediction_it_is_the_knockouts_alone() -> None:
    made = rectified_contrast(big_bench(1.5), features=[0, 3], prediction=None)
    np.testing.assert_allclose(made.beta, made.details["alone"])
    np.testing.assert_allclose(made.se, made.details["alone_se"])
    assert made.meta["passes"]["backward"] == 0
    assert made.label == "natural contrast, knockouts alone"


def test_the_mean_gradient_is_the_mean_over_clean_and_donor_values() -> None:
    """By autograd, by hand: outcome y + c y^2 of the mean over tokens of a linear network, its slope at either state."""
    bench = stack_bench(20, LinearStack(1.5), inputs=stack_inputs(20, even=True))
    contrast = Contrast(levels=contrast_levels(bench))
    found = predicted_contrast(bench, contrast, "mean gradient", seed=4)
    placed, every = bench.by_token, np.arange(WIDTH)
    donors = np.moveaxis(Resample(donors=1, seed=4).targets(placed)(every)[:, 0], 0, -1)
    high, low = np.moveaxis(contrast.targets(placed)(every), (1, 2, 3), (0, 1, 2))
    network: torch.nn.Module = bench.adapter.module
    slopes = []
    for values in (placed.values, donors):
        h = torch.from_numpy(values).requires_grad_(True)
        y = network.layer[2](h).mean(dim=1)[:, 0]  # type: ignore[index]
        slopes.append(torch.autograd.grad((y + 1.5 * y**2).sum(), h)[0].numpy())
    want = (np.mean(slopes, axis=0) * (high - low)).sum(axis=1)
    np.testing.assert_allclose(found[..., 0], want, rtol=1e-9)
    assert np.abs(found[..., 0] - predicted_contrast(bench, contrast)[..., 0]).max() > 1e-3
    np.testing.assert_allclose(found[..., 1], predicted_contrast(bench, contrast)[..., 1], rtol=1e-9)


def test_what_two_gradients_cost_and_that_they_are_unbiased_too() -> None:
    bench = big_bench(3.0)
    truth = knock_out(bench, Contrast()).mean / NATURAL_SD
    one, two = (rectified_contrast(bench, prediction=p) for p in ("gradient", "mean gradient"))
    assert ((two.ci_lower <= truth) & (truth <= two.ci_upper)).mean() > 0.8
    assert two.meta["prediction"] == "mean gradient"
    assert two.meta["passes"]["backward"] == 2 * one.meta["passes"]["backward"]
    assert two.meta["passes"]["forward"] == one.meta["passes"]["forward"] + 240
    with pytest.raises(InputError, match="prediction"):
        rectified_contrast(big_bench(), prediction="gradeint")


def test_no_donor_comes_from_another_split() -> None:
    """The predictions of one half are what they are without the other half."""
    bench = stack_bench(40, LinearStack(1.5), inputs=stack_inputs(40, even=True))
    contrast, half = Contrast(levels=contrast_levels(bench)), np.arange(40) >= 20
    targets = Resample(donors=1, seed=2).drawn(bench.by_token, half)(np.arange(WIDTH))
    for part in (half, ~half):
        own = {v.tobytes() for v in np.moveaxis(bench.by_token.values[part], -1, 1).reshape(-1, WIDTH, 5)}
        assert all(
            v.tobytes() in own for v in np.ascontiguousarray(np.moveaxis(targets[:, 0][:, part], 0, 1))
        )
    mixed = predicted_contrast(bench, contrast, "mean gradient", seed=2)
    apart = predicted_contrast(bench, contrast, "mean gradient", seed=2, apart=half)
    assert np.abs(mixed - apart).max() > 1e-6


def test_a_sampled_outcome_has_no_gradient_and_stands_on_knockouts() -> None:
    bench = big_bench(sampling=Sampling("normal", 4, 0.1, 0.0, 3))
    assert np.isnan(predicted_contrast(bench, Contrast())).all()
    made = rectified_contrast(bench, features=0)
    assert np.isfinite(made.beta).all()
    np.testing.assert_allclose(made.beta, made.details["alone"])


class Saturated(torch.nn.Module):
    """Two logits of tables of three columns, the third of which does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.out = torch.nn.Identity(), torch.nn.Linear(3, 2, bias=False)
        with torch.no_grad():
            self.out.weight.copy_(torch.tensor([[2.0, -1.0, 0.0], [0.0, 0.0, 0.0]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.out(self.read(x))
        return logits


def table_bench(outcome: object, rows: int = 200) -> Bench:
    from mrinterp.adapters._model_inputs import ModelInputs
    from mrinterp.adapters._torch_module import TorchAdapter
    from mrinterp.features._units import Units

    x = torch.from_numpy(np.random.default_rng(0).normal(size=(rows, 3)))
    inputs = ModelInputs({"x": x})
    return Bench(
        TorchAdapter(Saturated().double().eval()),
        "read",
        Units([0, 1, 2], 3),
        inputs,
        outcome,
        family=np.arange(rows) // 2,
    )


def test_a_probability_is_predicted_through_its_link() -> None:
    """On two classes the log-odds are linear, so that the prediction is exact though the probability bends."""
    bench = table_bench(Probability(0))
    found = predicted_contrast(bench, Contrast())
    truth = knock_out(bench, Contrast()).change_by_input.transpose(1, 0, 2)
    np.testing.assert_allclose(found, truth, atol=1e-9)
    assert np.abs(found).max() <= 1


class Label:
    """Whether the first class wins."""

    names = ("label",)

    def __call__(self, output: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return (output[:, :1] > output[:, 1:]).double()


def test_a_label_that_never_flips_has_an_exact_bound() -> None:
    made = rectified_contrast(table_bench(Label()))
    idle = made["2", "label"]
    assert idle.beta == 0
    assert "no knockout changed the label" in idle.status
    n = made.meta["families"]
    assert idle.ci_upper == pytest.approx((1 - 0.025 ** (1 / n)) / NATURAL_SD)
    assert made["0", "label"].ci_lower > 0


def test_families_and_prompts_are_drawn_and_rotate() -> None:
    family = np.repeat(np.arange(30), 6)
    rows = drawn_prompts(family, 12, 4, 0)
    assert len(rows) == 48
    assert len(np.unique(family[rows])) == 12
    assert len(np.unique(rows)) == 48
    assert set(np.unique(rows % 6)) == set(range(6)), "every prompt of a family is met in some family"
    with pytest.raises(InputError, match="10"):
        drawn_prompts(np.arange(9), 10, 1, 0)
    with pytest.raises(InputError, match="families"):
        rectified_contrast(stack_bench(16))


def test_few_features_are_knocked_out_alone() -> None:
    bench = big_bench()
    assert rectified_contrast(bench, features=[1, 4]).exposures == tuple(bench.view.names[k] for k in (1, 4))
    assert len(bench.view.names) == WIDTH
