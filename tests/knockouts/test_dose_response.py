"""Dose-response: known shapes are found, thresholds and plateaus only where there are some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.features._units import WholeLayer
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._designs.dose_response import QUANTILES, dose_response
from mrinterp.positions import AllTokens
from mrinterp.results._check import NotApplicable
from mrinterp.results._designs.dose_response import DoseResponse
from mrinterp.stats.clustered.dose_shape import fit_ramp, monotonicity
from tests.design_networks import Readout, bench_of, columns, inputs, linear


def _curves(h: torch.Tensor) -> torch.Tensor:
    """Line, hinge at .5, clip to (-1, 1), square, nothing: all of coordinate 0, scaled by another."""
    x, scale = h[:, 0], 1 + 0.3 * h[:, 1]
    shapes = [x, torch.relu(x - 0.5), x.clamp(-1, 1), x**2, 0 * x, -x.clamp(-1, 1)]
    return torch.stack([s * scale for s in shapes], dim=1)


def _bench(**options: object):  # type: ignore[no-untyped-def]
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((96, 6)))
    return bench_of(Readout(_curves), x, 6, **({"family": np.arange(96) % 32, "block": 48} | options))


def test_shapes_thresholds_and_plateaus() -> None:
    result = dose_response(_bench(), np.linspace(-1.9, 1.9, 9), ["0"])
    expected = ["rising", "rising", "rising", "not monotone", "flat", "falling"]
    assert result.shape[0].tolist() == expected
    threshold, plateau = result.threshold[:, 0], result.plateau[:, 0]
    assert np.isfinite(threshold[0]).tolist() == [False, True, True, False, False, True]
    assert np.isfinite(plateau[0]).tolist() == [False, False, True, False, False, True]
    for at, (value, low, high) in ((0.5, threshold[:, 1]), (-1.0, threshold[:, 2]), (1.0, plateau[:, 2])):
        assert low <= at <= high
        assert value == pytest.approx(at, abs=0.2)
    assert "threshold at" in str(result["0", "y1"])
    assert "no threshold" in str(result["0", "y0"])
    assert (result.outside == 0).all()


def test_effects_are_those_of_the_network() -> None:
    bench = _bench()
    result = dose_response(bench, features=["0", "1"])
    np.testing.assert_allclose(result.dose, np.quantile(bench.values[:, :2], QUANTILES, axis=0).T, rtol=1e-12)
    h = bench.inputs.tensors["x"]
    for d in (0, 4, 8):
        clamped = h.clone()
        clamped[:, 0] = result.dose[0, d]
        expected = (_curves(clamped) - _curves(h)).numpy()
        np.testing.assert_allclose(result.effect[0, d], expected.mean(axis=0), atol=1e-12)
        sums = np.stack(
            [(expected - expected.mean(axis=0))[bench.family == f].sum(axis=0) for f in range(32)]
        )
        np.testing.assert_allclose(result.se[0, d], np.sqrt((sums**2).sum(axis=0) * 32 / 31) / 96, atol=1e-12)
    assert ((result.boot_lower <= result.effect) & (result.effect <= result.boot_upper)).all()


def test_monotonicity_holds_its_level_with_ten_families() -> None:
    """Flat truth, family slopes of mean zero: 5% rejections in either direction."""
    rng, C = np.random.default_rng(0), 10
    family = np.repeat(np.arange(C), 3)
    wiggle = rng.standard_normal((C, 400, 7))[family] + rng.standard_normal((30, 400, 7))
    values = rng.standard_normal((C, 400))[family][:, :, None] * np.linspace(-1, 1, 7) + wiggle
    tested = monotonicity(values[..., None], family, draws=400)
    for p in (tested.p_rising, tested.p_falling):
        assert 0.02 <= (p < 0.05).mean() <= 0.085  # four binomial errors around .05


def test_a_line_has_neither_threshold_nor_plateau_under_noise() -> None:
    rng, C = np.random.default_rng(3), 20
    family = np.repeat(np.arange(C), 2)
    dose = np.tile(np.linspace(-2, 2, 7), (50, 1))
    values = dose[None] * (1 + rng.standard_normal((C, 50)))[family][:, :, None]
    values = (values + rng.standard_normal((40, 50, 7)))[..., None]
    ramp = fit_ramp(dose, values, family, draws=200)
    lower, _ = ramp.interval(ramp.low_draws, 0.95)
    assert (lower > dose[:, :1]).mean() <= 0.1


def test_every_token_gets_quantiles_of_its_own_position() -> None:
    """Values at position 2 are a thousand times those of the others: no other position sees them."""

    class Tokens(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = torch.nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.hidden(x).sum(dim=1)[:, :1]

    x = inputs(width=8).reshape(48, 4, 2) * torch.tensor([1.0, 1.0, 1000.0, 1.0])[None, :, None]
    mask = torch.ones(48, 4, dtype=torch.long)
    mask[::3, 3] = 0
    bench = Bench(
        TorchAdapter(Tokens().eval()),
        "hidden",
        WholeLayer(2),
        ModelInputs({"x": x}, mask),
        columns(1),
        position=AllTokens(),
        family=np.arange(48) % 16,
        block=16,
    )
    result = dose_response(bench, features=["0"], quantiles=(0.1, 0.5, 0.9))
    own = mask.bool().numpy()
    quantiles = np.array([np.quantile(x[own[:, t], t, 0], 0.9) for t in range(4)])
    moved = np.where(own, quantiles - x[:, :, 0].numpy(), 0.0).sum(axis=1)
    assert result.effect[0, 2, 0] == pytest.approx(moved.mean(), rel=1e-9)
    assert (result.outside == 0).all()
    assert result.dose[0, 2] == pytest.approx((own * quantiles).sum() / own.sum(), rel=1e-9)
    with pytest.raises(InputError, match="outside what it naturally shows"):
        dose_response(bench, [-100.0, 0.0, 100.0], ["0"])
    allowed = dose_response(bench, [-100.0, 0.0, 100.0], ["0"], allow_off_support=True)
    assert 0.5 < allowed.outside[0, 2] < 0.8
    assert allowed.outside[0, 1] == 0


def test_doses_outside_support_are_refused_or_flagged() -> None:
    with pytest.raises(InputError, match="dose 50 of '0'"):
        dose_response(_bench(), [-1.0, 0.0, 50.0], ["0"])
    result = dose_response(_bench(), [-1.0, 0.0, 50.0], ["0"], allow_off_support=True)
    assert result.outside.tolist() == [[0.0, 0.0, 1.0]]
    assert "1 of 3 doses lie outside natural support" in str(result["0", "y0"])
    assert result.to_frame()["outside_support"].sum() == 6


def test_a_feature_that_never_varies_is_not_applicable() -> None:
    x = inputs()
    x[:, 1] = 0.7
    result = dose_response(linear([[1.0] * 6], x))
    answer = result["1", "y0"]
    assert isinstance(answer, NotApplicable)
    assert "never varies" in answer.reason
    assert result.shape[1, 0] == "not applicable"
    assert result.shape[0, 0] == "rising"
    assert "one family" in str(dose_response(linear([[1.0] * 6], families=1))["0", "y0"])


def test_block_size_saved_and_resumed(tmp_path: Path) -> None:
    one, other = (dose_response(_bench(block=b), features=["0"]) for b in (13, 96))
    np.testing.assert_allclose(one.effect, other.effect, rtol=1e-12, atol=1e-12)
    first = dose_response(_bench(folder=tmp_path / "shards"), features=["0"])
    again = dose_response(_bench(folder=tmp_path / "shards"), features=["0"])
    assert list((tmp_path / "shards").rglob("*.npz"))
    assert np.array_equal(first.effect, again.effect)
    assert np.array_equal(first.p_rising, again.p_rising)
    first.save(tmp_path / "d")
    reopened = DoseResponse.load(tmp_path / "d")
    assert str(reopened) == str(first)
    assert reopened.to_frame().equals(first.to_frame())


@pytest.mark.parametrize(
    ("doses", "words"),
    [
        ([], "at least 3 doses"),
        ([0.0, 1.0], "at least 3 doses"),
        ([[0.0, 0.1, 0.2]] * 4, "at least 3 doses"),
        ([0.0, 0.0, 1.0], "finite and growing"),
        ([0.0, np.nan, 1.0], "finite and growing"),
    ],
)
def test_bad_doses_are_refused(doses: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        dose_response(_bench(), doses, ["0"])


@pytest.mark.parametrize("quantiles", [[], [0.5], [0.1, 0.5, 1.5], [0.9, 0.5, 0.1]])
def test_bad_quantiles_are_refused(quantiles: list[float]) -> None:
    with pytest.raises(InputError, match="at least 3, growing"):
        dose_response(_bench(), features=["0"], quantiles=quantiles)


def test_blocks_of_features_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = dose_response(_bench())
    monkeypatch.setattr("mrinterp.knockouts._designs.dose_grid.HELD", 1)
    monkeypatch.setattr("mrinterp.stats.clustered.dose_shape.BUDGET", 1)
    parts = dose_response(_bench())
    np.testing.assert_allclose(parts.effect, whole.effect, rtol=1e-12, atol=1e-12)
    for name in ("p_rising", "p_falling", "threshold", "plateau"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-12, atol=1e-12)


def test_a_curve_that_is_flat_in_the_mean_is_seldom_given_a_shape() -> None:
    """The whole design: every family has a slope of its own, of mean zero; 5% for each of the two tests."""
    shapes = []
    for seed in range(40):
        slope = np.random.default_rng([seed, 1]).standard_normal(16)[np.arange(48) % 16]
        x = torch.cat([inputs(seed), torch.from_numpy(slope)[:, None]], dim=1)
        bench = bench_of(Readout(lambda h: h[:, :1] * h[:, 6:7]), x, block=48)
        shapes.append(dose_response(bench, features=["0"], rope_sd=0.0, draws=200).shape[0, 0])
    called = int(np.isin(shapes, ["rising", "falling", "not monotone"]).sum())
    assert called <= 10  # 4 expected of 40 at 10%; more than 10 has a chance below .002


def test_families_too_few_for_a_shape_are_said_so() -> None:
    few, enough = (str(dose_response(linear([[1.0] * 6], families=f), features=["0"])) for f in (4, 6))
    assert "4 families are too few to show a shape at 95%: no p is below 0.062" in few
    assert "too few" not in enough
    assert "rising (p" in enough
