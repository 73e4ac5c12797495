"""Corruption and rescue: everything restored recovers one, and each part what it carries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.features._units import Units, WholeLayer
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._designs.corruption import Corruption
from mrinterp.knockouts._designs.rescue import rescue
from mrinterp.outcomes._projection_and_callable import CallableOutcome
from mrinterp.positions import AllTokens
from mrinterp.results._check import NotApplicable
from mrinterp.results._designs.rescue import Rescue
from tests.design_networks import inputs, linear
from tests.tiny import tiny_decoder

W = [[1.0, -2.0, 3.0, 0.5, 0.0, 4.0], [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]]


def _corrupted(bench: Bench) -> Corruption:
    """Coordinates 0, 2 and 5 moved by 1, 2 and -1 before the site."""
    shift = np.array([1.0, 0.0, 2.0, 0.0, 0.0, -1.0])
    return Corruption.inputs(
        bench, "early", ModelInputs({"x": bench.inputs.tensors["x"] + torch.from_numpy(shift)})
    )


def test_shares_are_those_of_the_paths() -> None:
    bench = linear(W)
    sets = {"none of it": ["1"], "zero": ["0"], "two": ["2"], "two and five": ["2", "5"], "all": None}
    result = rescue(bench, _corrupted(bench), sets)
    # y0 moves by 1 * 1 + 3 * 2 - 4 = 3.
    assert result.corruption_effect[0] == pytest.approx(3.0, rel=1e-12)
    np.testing.assert_allclose(result.share[:, 0], [0.0, 1 / 3, 2.0, 2 / 3, 1.0], atol=1e-12)
    np.testing.assert_allclose(result.lower[:, 0], result.share[:, 0], atol=1e-6)
    np.testing.assert_allclose(result.moved[1:3], [1.0, 2.0] / bench.values.std(axis=0)[[0, 2]], rtol=1e-12)
    assert result.restoration_error.max() < 1e-12
    assert "recovers 0.333" in str(result["zero", "y0"])


def test_a_corruption_that_cannot_be_measured_is_not_applicable() -> None:
    bench = linear(W)
    result = rescue(bench, _corrupted(bench))
    answer = result["0", "y1"]
    assert isinstance(answer, NotApplicable)
    assert "noise floor" in answer.reason
    assert np.isnan(result.share[:, 1]).all()
    assert np.isfinite(result.share[:, 0]).all()
    weak = rescue(linear(W), Corruption.noise(bench, "early", scale=0.5, seed=3))
    assert "cannot be told from zero" in str(weak["0", "y1"])
    assert "one family" in str(rescue(linear(W, families=1), _corrupted(bench))["0", "y0"])


def test_fieller_covers_the_share() -> None:
    """Noise on two coordinates that carry three quarters and one quarter of the corruption's mean."""
    hits = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x = inputs(seed)
        bench = linear([[1.0, 1.0, 0.0, 0.0, 0.0, 0.0]], x)
        family = np.arange(48) % 16
        moved = np.zeros((48, 6))
        moved[:, :2] = [0.75, 0.25] + rng.standard_normal((16, 2))[family] + rng.standard_normal((48, 2)) / 2
        other = ModelInputs({"x": x + torch.from_numpy(moved)})
        r = rescue(bench, Corruption.inputs(bench, "early", other), ["0"], draws=10)
        hits += bool(np.isnan(r.lower[0, 0]) or r.lower[0, 0] <= 0.75 <= r.upper[0, 0])
    assert hits >= 180  # 95% of 200 is 190; fewer than 180 has a chance below .001


def test_noise_is_that_of_the_prompt_whatever_the_block() -> None:
    runs = []
    for block in (7, 48):
        bench = linear(W, block=block)
        runs.append(rescue(bench, Corruption.noise(bench, "early", scale=3.0, seed=1)))
    np.testing.assert_allclose(runs[0].corruption_effect, runs[1].corruption_effect, rtol=1e-12)
    np.testing.assert_allclose(runs[0].recovered, runs[1].recovered, rtol=1e-9, atol=1e-12)


def test_a_corruption_at_the_site_itself() -> None:
    bench = linear(W)
    view = Units([0, 2], 6)
    result = rescue(bench, Corruption.features(bench, "hidden", view, [0.0, 1.0]), ["0", "2"])
    expected = (-bench.values[:, 0] + 3 * (1 - bench.values[:, 2])).mean()
    assert result.corruption_effect[0] == pytest.approx(expected, rel=1e-12)
    assert result.share[:, 0].sum() == pytest.approx(1.0, rel=1e-12)


def _decoder(site: str, first: str | None) -> Bench:
    model = tiny_decoder(dtype=torch.float64)
    tokens = torch.randint(0, 20, (24, 7), generator=torch.Generator().manual_seed(0))
    tokens[:, -1] = 4  # the corruption replaces it, and does much the same to every prompt
    given = ModelInputs({"input_ids": tokens}, torch.ones_like(tokens))
    outcome = CallableOutcome("y", lambda out, _mask: out.logits[:, -1, 3] - out.logits[:, -1, 5])
    adapter, view = TorchAdapter(model), WholeLayer(24)
    return Bench(
        adapter,
        site,
        view,
        given,
        outcome,
        position=AllTokens(),
        family=np.arange(24) % 8,
        block=8,
        first=first,
    )


@pytest.mark.needs("transformers")
def test_the_whole_stream_restored_recovers_everything() -> None:
    bench = _decoder("transformer.h.1", "transformer.wte")
    tokens = bench.inputs.tensors["input_ids"].clone()
    tokens[:, -1] = 11
    other = ModelInputs({"input_ids": tokens}, bench.inputs.mask)
    corruption = Corruption.inputs(bench, "transformer.wte", other)
    result = rescue(bench, corruption, {"all": None, "half": range(12)})
    assert result["all", "y"].share == pytest.approx(1.0, abs=1e-9)
    assert abs(result["half", "y"].share - 1.0) > 1e-3


@pytest.mark.needs("transformers")
def test_a_knockout_upstream_is_undone_by_the_whole_stream() -> None:
    bench = _decoder("transformer.h.1", "transformer.h.0")
    assert bench.resumes
    units = Units(range(12), 24)
    result = rescue(bench, Corruption.features(bench, "transformer.h.0", units, 3.0), {"all": None})
    np.testing.assert_allclose(result.recovered[0], -result.corruption_effect, atol=1e-9)
    assert np.abs(result.corruption_effect).max() > 1e-3
    assert result.restoration_error.max() < 1e-12


@pytest.mark.needs("transformers")
@pytest.mark.parametrize("site", ["transformer.wte", "transformer.h.0", "transformer.h.0.mlp"])
def test_a_corruption_that_a_resumed_run_would_lose_is_refused(site: str) -> None:
    bench = _decoder("transformer.h.1", None)
    assert bench.resumes
    with pytest.raises(InputError, match=f"Make the bench with first='{site}'"):
        rescue(bench, Corruption.noise(bench, site), [0])


def test_saved_reopened_and_resumed(tmp_path: Path) -> None:
    bench = linear(W, folder=tmp_path / "shards")
    result = rescue(bench, _corrupted(bench))
    assert list((tmp_path / "shards").rglob("*.npz"))
    again = rescue(linear(W, folder=tmp_path / "shards"), _corrupted(bench))
    assert np.array_equal(again.share, result.share, equal_nan=True)
    result.save(tmp_path / "r")
    assert str(Rescue.load(tmp_path / "r")) == str(result)
    assert len(result.to_frame()) == 12


def test_bad_input_is_refused() -> None:
    bench = linear(W)
    with pytest.raises(InputError, match="no set given"):
        rescue(bench, _corrupted(bench), {})
    with pytest.raises(InputError, match="positive multiple"):
        Corruption.noise(bench, "early", scale=0.0)
    with pytest.raises(InputError, match="3 inputs for 48 prompts"):
        Corruption.inputs(bench, "early", ModelInputs({"x": inputs()[:3]}))
    with pytest.raises(InputError, match="broadcast to"):
        Corruption.features(bench, "hidden", WholeLayer(6), np.zeros(5))
    with pytest.raises(InputError, match="corruption: values: 1 not finite"):
        Corruption.features(bench, "hidden", WholeLayer(6), np.nan)
    with pytest.raises(InputError, match="no such module"):
        Corruption.noise(bench, "erly")
    with pytest.raises(InputError, match="no 'x'"):
        rescue(bench, _corrupted(bench), ["0"])["x", "y0"]


def test_rescue_is_sufficiency_when_the_corruption_is_the_counterfactual() -> None:
    """Corrupt all of the site, give a set back; or keep a set and swap the rest: the same runs, two designs."""
    from mrinterp.knockouts._designs.faithfulness import faithfulness
    from mrinterp.knockouts._designs.set_effects import set_effects
    from tests.design_networks import Readout, bench_of

    x, other = inputs() + 1.0, inputs(7) - 1.0
    bench = bench_of(Readout(lambda h: h[:, :1] * h[:, 1:2] + torch.tanh(h[:, 2:3]) + h[:, 3:4]), x)
    sets = {"a": [0], "ab": [0, 1], "abc": [0, 1, 2]}
    saved = rescue(bench, Corruption.inputs(bench, "early", ModelInputs({"x": other})), sets)
    kept = set_effects(bench, other.numpy().T, sets)
    np.testing.assert_allclose(saved.share, kept.sufficiency[0], rtol=1e-9)
    np.testing.assert_allclose(saved.lower, kept.sufficiency[1], rtol=1e-6)
    np.testing.assert_allclose(saved.boot_upper, kept.sufficiency_boot[1], rtol=1e-9)
    curve = faithfulness(bench, other.numpy().T, range(6), proportions=[1 / 6, 2 / 6 + 1e-9, 0.5, 1.0])
    np.testing.assert_allclose(curve.faithfulness[:3], saved.share, rtol=1e-9)


def test_a_corruption_after_the_site_is_refused() -> None:
    """No feature of the site can be moved by it: a share of 0 would say that the feature does not matter."""
    bench = linear(W)
    early = Bench(
        bench.adapter, "early", bench.view, bench.inputs, bench.outcome, family=bench.family, block=16
    )
    with pytest.raises(InputError, match="is done after early"):
        rescue(early, Corruption.noise(early, "hidden"), ["0"])
    assert np.isfinite(rescue(early, Corruption.noise(early, "early", 3.0, seed=2), ["0"]).recovered).all()


def test_a_feature_that_the_corruption_did_not_move_has_nothing_to_get_back() -> None:
    result = rescue(linear(W), _corrupted(linear(W)), ["0", "1"])
    answer = result["1", "y0"]
    assert isinstance(answer, NotApplicable)
    assert "did not move 1" in answer.reason
    frame = result.to_frame().query("outcome == 'y0'")
    assert frame["status"].tolist() == ["ok", "not moved by the corruption"]
    assert "did not move 1" in str(result)
