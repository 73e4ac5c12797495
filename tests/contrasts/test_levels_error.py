"""What is not known of low and high values: recovered by simulation, by hand, and in a study of few families."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.effects._claims import confirmation
from mrinterp.features._units import Units
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._bench_gradient import predicted_contrast, predicted_contrasts
from mrinterp.knockouts._contrast_levels import contrast_levels
from mrinterp.knockouts._designs.rectified_contrast import drawn_prompts, rectified_estimates
from mrinterp.knockouts._kinds.contrast import Contrast
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.knockouts._levels_error import group_contrasts, range_errors, with_levels_error
from mrinterp.outcomes._logit_outcomes import Logit
from mrinterp.results._contrast_levels import NATURAL_SD
from mrinterp.results._estimates import Estimates
from mrinterp.stats.clustered.quantiles import quantile_errors, weighted_quantile

Array = np.ndarray
FAMILIES, PROMPTS = 30, 3


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("uneven", [False, True])
def test_errors_of_quantiles_are_those_of_repeated_draws(level: float, uneven: bool) -> None:
    """1,500 draws at once: each row is a sample of 30 families whose values are half their family's."""
    rng = np.random.default_rng(3)
    size = 1 + np.arange(FAMILIES) % 5 if uneven else np.full(FAMILIES, PROMPTS)
    codes = np.repeat(np.arange(FAMILIES), size)
    draws = 1500
    shared = rng.standard_normal((draws, FAMILIES))[:, codes]
    values = (shared + rng.standard_normal(shared.shape)) / np.sqrt(2)
    weight = 1.0 / size[codes]
    found = weighted_quantile(values, weight, level)
    each = quantile_errors(values, weight, codes, FAMILIES, level)
    variance = (each**2).sum(axis=0) * FAMILIES / (FAMILIES - 1)
    np.testing.assert_allclose(each.sum(axis=0), 0.0, atol=1e-12)
    assert np.sqrt(variance.mean()) == pytest.approx(found.std(), rel=0.2)
    half = stats.t.ppf(0.975, FAMILIES - 1) * np.sqrt(variance)
    assert 0.88 < (np.abs(found - stats.norm.ppf(level)) <= half).mean() < 0.98


def test_missing_values_and_equal_ones() -> None:
    values = np.array([[0.0, 1, 2, 3, np.nan, np.nan], [5.0] * 6, [np.nan] * 6])
    weight, codes = np.ones(6), np.arange(6)
    assert weighted_quantile(values[:1], weight, 0.5)[0] == pytest.approx(1.5)
    each = quantile_errors(values, weight, codes, 6, 0.5)
    assert (each[4:, 0] == 0).all(), "families without a value"
    assert (np.abs(each[:4, 0]) > 0).all()
    np.testing.assert_array_equal(each[:, 1:], 0.0)


class TwoClasses(torch.nn.Module):
    """Units at four tokens: even ones count at tokens of class a, linearly; odd ones at those of class b, squashed."""

    def __init__(self) -> None:
        super().__init__()
        self.units = torch.nn.Identity()

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        h = self.units(x)
        y = h[:, :2, ::2].sum((1, 2)) + 0.3 * torch.tanh(h[:, 2:, 1::2]).sum((1, 2)) + 0.0 * mask.sum(1)
        return y.unsqueeze(-1)


def drawn_bench(seed: int, units: int = 2, rare: bool = False) -> Bench:
    """30 families of three prompts; values of class b are twice as large. A rare feature is 0 at three tokens of four.

    No unit changes what another one does, so that many of them are as many studies.
    """
    rng = np.random.default_rng(seed)
    family = np.repeat(np.arange(FAMILIES), PROMPTS)
    x = rng.standard_normal((FAMILIES, 1, 4, units)) + rng.standard_normal((FAMILIES, PROMPTS, 4, units))
    x = x.reshape(-1, 4, units) / np.sqrt(2)
    x[:, 2:] *= 2.0
    if rare:
        x = np.where(rng.random(x.shape) < 0.25, 3.0 + x, 0.0)
    mask = torch.ones(x.shape[:2], dtype=torch.long)
    classes = torch.tensor([[0, 0, 1, 1]]).repeat(len(x), 1)
    inputs = ModelInputs(
        {"x": torch.from_numpy(x), "mask": mask}, mask, classes=classes, class_names=("a", "b")
    )
    adapter = TorchAdapter(TwoClasses().double().eval())
    return Bench(adapter, "units", Units(list(range(units)), units), inputs, Logit(0), family=family)


def both(bench: Bench, seed: int, gradient: bool = True) -> tuple[Estimates, Estimates]:
    """Estimates for the stated and for the population's low and high values."""
    contrast = Contrast(levels=contrast_levels(bench))
    rows = drawn_prompts(bench.family, 10, PROMPTS, seed)
    knockout = knock_out(bench.subset(rows), contrast)
    predicted, *apart = predicted_contrasts(bench, [contrast, *group_contrasts(contrast)])
    given = (predicted[rows], predicted, bench.family) if gradient else (None, None, None)
    stated = rectified_estimates(knockout, contrast.levels, *given)
    parts = np.stack(apart) if gradient else np.full((len(apart), *predicted.shape), np.nan)
    return stated, with_levels_error(stated, bench, contrast, parts)


@pytest.mark.parametrize("gradient", [True, False])
def test_intervals_hold_the_contrast_at_the_populations_values(gradient: bool) -> None:
    """80 linear and 80 squashed units: .95 is aimed at."""
    truth = np.tile([2.0, 0.6 * 2 * np.tanh(2 * NATURAL_SD / 2) / NATURAL_SD], 80)
    stated, widened = both(drawn_bench(5, 160), 0, gradient)
    held = [(e.ci_lower[:, 0] <= truth) & (truth <= e.ci_upper[:, 0]) for e in (stated, widened)]
    before, after = (h.reshape(-1, 2).mean(axis=0) for h in held)
    assert before[0] < 0.3, "a linear effect differs between studies by its values alone"
    assert (after > 0.88).all()
    assert after[0] < 1.0


def test_what_the_values_add_by_hand() -> None:
    """A linear effect is off by as much as the range of its class; a feature without effect by nothing."""
    bench = drawn_bench(0)
    stated, widened = both(bench, 0)
    levels = contrast_levels(bench)
    _, error = next(iter(range_errors(bench, levels, [0, 1])))
    own = error[:, 0, levels.groups.index("a")] * stated.beta[0, 0]
    want = np.sqrt((own**2).sum() * FAMILIES / (FAMILIES - 1))
    assert widened.details["levels_se"][0, 0] == pytest.approx(want, rel=1e-6)
    assert widened.se[0, 0] == pytest.approx(np.hypot(want, stated.se[0, 0]))
    np.testing.assert_array_equal(widened.details["stated_se"], stated.se)
    np.testing.assert_array_equal(widened.beta, stated.beta)
    np.testing.assert_array_equal(
        predicted_contrast(bench, Contrast(levels=levels)),
        predicted_contrasts(bench, [Contrast(levels=levels)])[0],
    )
    words = [confirmation(e, stated, 1e-3) for e in (stated, widened)]
    np.testing.assert_array_equal(*words)


def test_a_feature_that_rarely_fires_is_off_by_the_median_of_what_it_fires_with() -> None:
    bench = drawn_bench(2, 300, rare=True)
    levels = contrast_levels(bench)
    assert levels.rare.all()
    _, error = next(iter(range_errors(bench, levels, list(range(300)))))
    assert (error == error[..., :1]).all(), "one value in all groups"
    said = levels.high[:, -1] * np.sqrt((error[..., 0] ** 2).sum(axis=0) * FAMILIES / (FAMILIES - 1))
    assert np.sqrt((said**2).mean()) == pytest.approx(levels.high[:, -1].std(), rel=0.15)
