"""Sets of features: necessity, sufficiency, the search for minimal sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mrinterp.core.errors import InputError
from mrinterp.knockouts._designs.minimal_set import minimal_set
from mrinterp.knockouts._designs.set_effects import set_effects
from mrinterp.results._check import NotApplicable
from mrinterp.results._designs.minimal_set import MinimalSet
from mrinterp.results._designs.set_effects import SetEffects
from tests.design_networks import Readout, bench_of, inputs, linear


def _bench(**options: object):  # type: ignore[no-untyped-def]
    """y0 = 2 max(h0, h1) + h2 h3: two redundant features, two that act only together; 4 and 5 do nothing."""

    def y(h: torch.Tensor) -> torch.Tensor:
        return (2 * torch.maximum(h[:, 0], h[:, 1]) + h[:, 2] * h[:, 3]).unsqueeze(-1)

    x = inputs() * 0.05 + 1.0
    x[:, 1] = x[:, 0]
    return bench_of(Readout(y), x, **options)


SETS = {"one": ["0"], "redundant": ["0", "1"], "gate": ["2", "3"], "half gate": ["2"], "idle": ["4", "5"]}


def test_necessity_and_sufficiency_of_known_parts() -> None:
    bench = _bench()
    h = bench.values.mean(axis=0)
    gate = (bench.values[:, 2] * bench.values[:, 3]).mean()
    whole = 2 * h[0] + gate
    result = set_effects(bench, 0.0, SETS)
    assert result.span[0] == pytest.approx(-whole, rel=1e-12)
    # One of two redundant features is not necessary and yet sufficient for their part.
    expected = {
        "one": (0.0, 2 * h[0] / whole),
        "redundant": (2 * h[0] / whole, 2 * h[0] / whole),
        "gate": (gate / whole, gate / whole),
        "half gate": (gate / whole, 0.0),
        "idle": (0.0, 0.0),
    }
    for s, name in enumerate(result.sets):
        assert result.necessity[0, s, 0] == pytest.approx(expected[name][0], abs=1e-12)
        assert result.sufficiency[0, s, 0] == pytest.approx(expected[name][1], abs=1e-12)
    assert (result.necessity[1] <= result.necessity[0]).all()
    assert (result.necessity[0] <= result.necessity[2]).all()
    assert "necessity" in str(result["one", "y0"])


def test_the_whole_is_necessary_and_sufficient() -> None:
    result = set_effects(linear([[1.0] * 6], inputs() + 2.0), 0.0, {"all": range(6)})
    np.testing.assert_allclose(result.necessity[:, 0, 0], 1.0, atol=1e-9)
    np.testing.assert_allclose(result.sufficiency[:, 0, 0], 1.0, atol=1e-9)


def test_a_universe_that_does_nothing_is_not_applicable() -> None:
    result = set_effects(_bench(), 0.0, {"idle": ["4"]}, universe=["4", "5"])
    answer = result["idle", "y0"]
    assert isinstance(answer, NotApplicable)
    assert "noise floor" in answer.reason
    assert np.isnan(result.sufficiency).all()


def test_sets_saved_reopened_and_resumed(tmp_path: Path) -> None:
    result = set_effects(_bench(folder=tmp_path / "shards", block=7), 0.0, SETS)
    assert list((tmp_path / "shards").rglob("*.npz"))
    again = set_effects(_bench(folder=tmp_path / "shards", block=7), 0.0, SETS)
    assert np.array_equal(again.sufficiency, result.sufficiency)
    np.testing.assert_allclose(set_effects(_bench(block=48), 0.0, SETS).noised, result.noised, atol=1e-12)
    result.save(tmp_path / "s")
    assert str(SetEffects.load(tmp_path / "s")) == str(result)
    assert len(result.to_frame()) == 5


@pytest.mark.parametrize(
    ("sets", "universe", "words"),
    [
        ({}, None, "no set given"),
        ({"a": ["9"]}, None, r"features, set 'a': '9': not known"),
        ({"a": []}, None, "none given"),
        ({"a": ["0"]}, ["1", "2"], "not in the universe"),
    ],
)
def test_bad_sets_are_refused(sets: dict, universe: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        set_effects(_bench(), 0.0, sets, universe=universe)


def test_greedy_search_finds_the_parts_that_carry() -> None:
    bench = linear([[8.0, 0.1, 4.0, 0.1, 2.0, 0.1]], inputs() * 0.1 + 1.0)
    result = minimal_set(bench, 0.0, share=0.95)
    assert result.chosen == ("0", "2", "4")
    assert result.share == pytest.approx(14 / 14.3, abs=0.02)
    assert result.lower <= result.share <= result.upper
    assert result.search_families == result.held_out_families == 8
    np.testing.assert_allclose(result.drop, np.array([8.0, 4.0, 2.0]) / 14.3, atol=0.04)
    assert np.quantile(result.random_share, 0.9) < result.share
    assert "that the search did not see" in str(result)
    necessity = minimal_set(bench, 0.0, share=0.95, mode="necessity")
    assert necessity.chosen == result.chosen


def test_what_can_be_spared_is_taken_out() -> None:
    """A feature that looks best alone but is covered by two others together."""

    def y(h: torch.Tensor) -> torch.Tensor:
        return (torch.maximum(1.2 * h[:, 0], h[:, 1] + h[:, 2]) + 0.8 * h[:, 1] + 0.8 * h[:, 2]).unsqueeze(-1)

    # Alone 0 carries 1.2, 1 and 2 carry 1.8 each; all together 3.6.
    bench = bench_of(Readout(y), inputs() * 0.02 + 1.0)
    result = minimal_set(bench, 0.0, ["0", "1", "2"], share=0.97)
    assert result.chosen == ("1", "2")

    def z(h: torch.Tensor) -> torch.Tensor:
        return (
            2 * torch.maximum(h[:, 0], torch.minimum(h[:, 1], h[:, 2])) + 0.1 * (h[:, 1] + h[:, 2])
        ).unsqueeze(-1)

    # 0 is taken first and spared once both others are in.
    bench = bench_of(Readout(z), inputs() * 0.02 + 1.0)
    result = minimal_set(bench, 0.0, ["0", "1", "2"], share=0.98)
    assert result.path["action"].tolist() == ["add", "add", "add", "take out"]
    assert result.chosen == ("1", "2")


def test_held_out_families_were_not_searched() -> None:
    """Twenty features that carry alike: those that did more on the search half do as others on the rest."""
    ahead, size = [], []
    for seed in range(8):
        result = minimal_set(linear([[1.0] * 20], inputs(seed, width=20) + 1.0), 0.0, share=0.6, seed=seed)
        ahead.append(result.search_share - result.share)
        size.append(result.share - len(result.chosen) / 20)
    assert np.mean(ahead) > 0.1
    assert abs(np.mean(size)) < 0.1


def test_no_set_is_a_value(tmp_path: Path) -> None:
    bench = _bench()
    alone = minimal_set(bench, 0.0, ["4", "5"])
    assert alone.chosen == ()
    assert "knocking all candidates out moves y0" in str(alone)
    capped = minimal_set(bench, 0.0, share=0.99, most=1)
    assert capped.chosen == ()
    assert "greedy search came to" in capped.status
    capped.save(tmp_path / "m")
    assert str(MinimalSet.load(tmp_path / "m")) == str(capped)


def test_search_is_resumed_and_saved(tmp_path: Path) -> None:
    weights, x = [[8.0, 0.1, 4.0, 0.1, 2.0, 0.1]], inputs() * 0.1 + 1.0
    result = minimal_set(linear(weights, x, folder=tmp_path / "shards"), 0.0, share=0.95)
    again = minimal_set(linear(weights, x, folder=tmp_path / "shards"), 0.0, share=0.95)
    assert again.share == result.share
    assert again.path.equals(result.path)
    result.save(tmp_path / "m")
    assert str(MinimalSet.load(tmp_path / "m")) == str(result)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"share": 0.0}, "share: 0.0.*between 0 and 1, 0 excluded"),
        ({"mode": "both"}, "mode: 'both'. Give one of sufficiency, necessity"),
        ({"outcome": "z"}, "outcome: 'z'. Give one of y0"),
        ({"most": 0}, "most: 0. Give a whole number of at least 1"),
        ({"features": ["x"]}, "features: 'x': not known"),
    ],
)
def test_bad_searches_are_refused(options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        minimal_set(**({"bench": _bench(), "values": 0.0} | options))


def test_a_search_needs_families_of_its_own() -> None:
    with pytest.raises(InputError, match="at least 4"):
        minimal_set(_bench(families=3), 0.0)


def test_chunks_of_arms_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = set_effects(_bench(), 0.0, SETS)
    monkeypatch.setattr("mrinterp.knockouts._designs.knock_out_sets.CHUNK", 1)
    parts = set_effects(_bench(), 0.0, SETS)
    np.testing.assert_allclose(parts.denoised, whole.denoised, rtol=1e-12, atol=1e-12)


def test_sampled_chunks_have_noise_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same set twice, in two chunks: their sampled outcomes must not be the same draws."""
    from mrinterp.knockouts._designs.knock_out_sets import knock_out_sets
    from mrinterp.outcomes._outcome import Sampling

    monkeypatch.setattr("mrinterp.knockouts._designs.knock_out_sets.CHUNK", 1)
    bench = _bench(sampling=Sampling("normal", 1, 1.0, 0.0, 0))
    slots = np.zeros((2, 1), dtype=int)
    twice = knock_out_sets(bench, np.array([0]), np.zeros((1, 48)), slots, "twice").outcome
    assert np.abs(np.corrcoef(twice[0, :, 0], twice[1, :, 0])[0, 1]) < 0.5


def test_halves_of_a_sampled_bench_draw_their_own_noise() -> None:
    from mrinterp.outcomes._outcome import Sampling

    bench = _bench(sampling=Sampling("normal", 1, 1.0, 0.0, 0))
    one, other = bench.subset(np.arange(24)), bench.subset(np.arange(24, 48))
    noise = [half.clean[:, 0] - half.computed[:, 0] for half in (one, other)]
    assert abs(np.corrcoef(noise)[0, 1]) < 0.6
    np.testing.assert_array_equal(bench.subset(np.arange(24)).clean, one.clean)
    np.testing.assert_array_equal(other.values, bench.values[24:])
    assert other.family.tolist() == bench.family[24:].tolist()
