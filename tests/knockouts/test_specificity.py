"""Specificity: effects on targets against negative controls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mrinterp.core.errors import InputError
from mrinterp.knockouts._designs.specificity import specificity
from mrinterp.results._check import NotApplicable
from mrinterp.results._designs.specificity import Specificity
from tests.design_networks import Readout, bench_of, inputs, linear

# y0 the target; y1 untouched by 0 and 3, moved by 1; 2 moves nothing much.
W = [[3.0, 3.0, 0.0, 1.0, 1.0, 1.0], [0.0, 3.0, 0.0, 0.0, 1.0, 1.0]]


def _bench(**options: object):  # type: ignore[no-untyped-def]
    return linear(W, inputs() + 2.0, **options)


def test_verdicts_are_those_of_the_weights() -> None:
    bench = _bench()
    result = specificity(bench, 0.0, ["0", "1", "2", "3"], controls=["y1"])
    assert result.verdict[:, 0].tolist() == ["specific", "not specific", "no effect", "specific"]
    sd, mean = bench.clean.std(axis=0, ddof=1), bench.values.mean(axis=0)
    np.testing.assert_allclose(result.effect[:, 0], -np.array(W)[0, :4] * mean[:4] / sd[0], atol=1e-12)
    np.testing.assert_allclose(result.ratio[1, 0, 0], sd[0] / sd[1], rtol=1e-12)
    np.testing.assert_allclose(result.ratio[0, 0, 0], 0.0, atol=1e-12)
    np.testing.assert_allclose(
        result.difference[1, 0, 0], 3 * mean[1] / sd[0] - 3 * mean[1] / sd[1], rtol=1e-9
    )
    assert result.tost_p[0, 0] < 1e-6
    assert result.tost_p[1, 0] > 0.5
    assert "specific" in str(result["0", "y0"])
    assert "y1" in str(result["0", "y0"])


def test_a_control_between_is_indeterminate() -> None:
    """Moved by a little more than the margin in some families, by less in others."""
    w = torch.tensor(W, dtype=torch.float64)
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal(16))

    def y(h: torch.Tensor) -> torch.Tensor:
        out = h @ w.T
        alive = (h[:, 0] != 0).double()
        return torch.stack([out[:, 0], out[:, 1] + alive * (0.5 + noise[: len(h)])], dim=1)

    bench = bench_of(Readout(y), inputs() + 2.0, 2, block=16)  # a run of each family
    assert specificity(bench, 0.0, ["0"], controls=["y1"]).verdict.tolist() == [["indeterminate"]]


def test_an_outcome_that_never_varies_is_not_applicable() -> None:
    w = [*W, [0.0] * 6]
    result = specificity(linear(w, inputs() + 2.0), 0.0, ["0"], controls=["y1", "y2"], targets=["y0"])
    answer = result["0", "y0"]
    assert isinstance(answer, NotApplicable)
    assert "y2 never varies" in answer.reason
    assert result.verdict.tolist() == [["not applicable"]]
    assert (
        specificity(linear(w, inputs() + 2.0), 0.0, ["0"], controls=["y1"], targets=["y0"]).verdict[0, 0]
        == "specific"
    )
    assert "one family" in str(specificity(_bench(families=1), 0.0, ["0"], controls=["y1"])["0", "y0"])


def test_block_size_changes_nothing_and_saved_is_the_same(tmp_path: Path) -> None:
    one, other = (specificity(_bench(block=b), 0.0, controls=["y1"]) for b in (7, 48))
    np.testing.assert_allclose(one.effect, other.effect, rtol=1e-12, atol=1e-12)
    one.save(tmp_path / "s")
    again = Specificity.load(tmp_path / "s")
    assert str(again) == str(one)
    assert again.to_frame().equals(one.to_frame())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"controls": ["y9"]}, "controls: 'y9': not known"),
        ({"controls": []}, "controls: none given"),
        ({"controls": ["y0", "y1"]}, "Leave at least one as a target"),
        ({"controls": ["y1"], "targets": ["y1"]}, "'y1' is also a control"),
        ({"controls": ["y1"], "margin_sd": 0.01}, "margin_sd: 0.01. Give a finite number of at least 0.02"),
        ({"controls": ["y1"], "level": 1.0}, "between 0 and 1"),
    ],
)
def test_bad_input_is_refused(options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        specificity(_bench(), 0.0, **options)
