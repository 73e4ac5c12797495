"""Figures of the knockout designs show the numbers that they are given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.errors import InputError
from mrinterp.diagnostics._agreement import agreement
from mrinterp.knockouts._designs.corruption import Corruption
from mrinterp.knockouts._designs.direct_effect import direct_effect
from mrinterp.knockouts._designs.dose_response import dose_response
from mrinterp.knockouts._designs.epistasis import epistasis
from mrinterp.knockouts._designs.faithfulness import faithfulness
from mrinterp.knockouts._designs.minimal_set import minimal_set
from mrinterp.knockouts._designs.ordered_knockouts import ordered_knockouts
from mrinterp.knockouts._designs.rescue import rescue
from mrinterp.knockouts._designs.set_effects import set_effects
from mrinterp.knockouts._designs.specificity import specificity
from mrinterp.plots._designs.direct_effects import direct_effects
from mrinterp.plots._designs.dose_response_curve import dose_response_curve
from mrinterp.plots._designs.epistasis_matrix import epistasis_matrix
from mrinterp.plots._designs.faithfulness_curve import faithfulness_curve
from mrinterp.plots._designs.minimal_set_path import minimal_set_path
from mrinterp.plots._designs.ordered_knockouts import ordered_knockouts_curve
from mrinterp.plots._designs.rescued_shares import rescued_shares
from mrinterp.plots._designs.set_shares import set_shares
from mrinterp.plots._designs.specificity import specificity as specificity_plot
from mrinterp.plots._study.agreement_scores import agreement_scores
from mrinterp.plots._study.predicted_vs_knockout import predicted_vs_knockout
from mrinterp.plots._style import save
from tests.design_networks import Readout, Residual, bench_of, inputs, linear
from tests.diagnostics.agreement_cases import estimates_of, knockout_of, truth_of

WEIGHTS = [[8.0, 4.0, 2.0, 1.0, 0.5, 0.0], [0.0] * 6]


def _gated() -> torch.nn.Module:
    def y(h: torch.Tensor) -> torch.Tensor:
        lines = 2 * h[:, 2].clamp(-0.5, 0.7) + h[:, 3] - h[:, 4]
        return (h[:, 0] * h[:, 1] + lines + 0.5 * h[:, 5] * h[:, 3]).unsqueeze(-1)

    return Readout(y)


def test_dose_response_curve(tmp_path: Path) -> None:
    bench = bench_of(_gated(), inputs())
    result = dose_response(bench, np.linspace(-3, 3, 11), ["2", "0"], allow_off_support=True)
    ax = dose_response_curve(result, "2")
    np.testing.assert_array_equal(
        ax.lines[1].get_xydata(), np.stack([result.dose[0], result.effect[0, :, 0]], 1)
    )
    assert sum(len(line.get_xdata()) for line in ax.lines[2:4]) == 11
    assert {t.get_text().strip() for t in ax.texts} == {"threshold", "plateau"}
    assert save(ax, tmp_path / "d.png").stat().st_size > 5000
    x = inputs()
    x[:, 1] = 1.0
    with pytest.raises(InputError, match="never varies"):
        dose_response_curve(dose_response(bench_of(_gated(), x), features=["1"]), "1")


def test_epistasis_matrix(tmp_path: Path) -> None:
    result = epistasis(bench_of(_gated(), inputs() * 0.2 + 1), 0.0)
    ax = epistasis_matrix(result)
    image = np.asarray(ax.images[0].get_array().filled(np.nan))
    assert np.isfinite(image).sum() == 15
    assert image[0, 0] == result.pair("0", "1").interaction
    assert image[4, 3] == result.pair("3", "5").interaction
    marks = {t.get_position(): t.get_text() for t in ax.texts}
    assert marks[(0, 0)] == "B"
    assert marks[(0, 1)] == "·"
    assert save(ax, tmp_path / "e.png").stat().st_size > 5000


def test_ordered_knockouts_curve(tmp_path: Path) -> None:
    result = ordered_knockouts(linear([[8.0, 4.0, 2.0, 1.0, 0.5, 0.0]], inputs() * 0.3 + 1), 0.0, range(6))
    ax = ordered_knockouts_curve(result)
    np.testing.assert_array_equal(ax.lines[-1].get_ydata(), result.effect[:, 0])
    assert save(ax, tmp_path / "o.png").stat().st_size > 5000


def test_direct_effects(tmp_path: Path) -> None:
    first = torch.zeros(6, 6, dtype=torch.float64)
    first[5, 0], first[5, 1], first[5, 2] = -0.6, 1.0, 0.5
    module = Residual([first], [1.0, 0.0, 1.0, 0.3, 0.0, 1.0])
    result = direct_effect(bench_of(module, inputs() + 2, site="start"), 0.0)
    ax = direct_effects(result)
    words = [t.get_text() for t in ax.get_legend().get_texts()]
    assert words[:3] == ["self-repair", "amplification", "mediation"]
    assert len(ax.get_yticks()) == 6
    assert save(ax, tmp_path / "t.png").stat().st_size > 5000


def test_faithfulness_curve(tmp_path: Path) -> None:
    bench = linear([[8.0, 4.0, 2.0, 1.0, 0.5, 0.0], [0.0] * 6], inputs() * 0.3 + 1)
    result = faithfulness(bench, 0.0, range(6), proportions=[0.2, 0.4, 0.7, 1.0])
    ax = faithfulness_curve(result)
    np.testing.assert_array_equal(ax.lines[2].get_ydata(), result.faithfulness[:, 0])
    assert f"CPR {result.cpr[0]:.3f}" in ax.get_title(loc="left")
    assert save(ax, tmp_path / "f.png").stat().st_size > 5000
    with pytest.raises(InputError, match="noise floor"):
        faithfulness_curve(result, "y1")


def test_rescued_shares(tmp_path: Path) -> None:
    bench = linear([[8.0, 4.0, 2.0, 1.0, 0.5, 0.0], [0.0] * 6])
    moved = ModelInputs({"x": bench.inputs.tensors["x"] + 1 + 0.3 * inputs(9)})
    result = rescue(bench, Corruption.inputs(bench, "early", moved))
    ax = rescued_shares(result)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["0", "1", "2", "3", "4", "5"]
    assert save(ax, tmp_path / "r.png").stat().st_size > 5000
    with pytest.raises(InputError, match="noise floor"):
        rescued_shares(result, "y1")


def test_the_gap_of_direct_effects_has_its_interval() -> None:
    first = torch.zeros(6, 6, dtype=torch.float64)
    first[5, 0] = -0.6
    module = Residual([first], [1.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    result = direct_effect(bench_of(module, inputs() + 2, site="start"), 0.0, ["0"])
    drawn = [line.get_xdata() for line in direct_effects(result).lines]
    ends = result.direct[0, 0] + np.array([result.lower[0, 0], result.upper[0, 0]])
    assert any(np.shape(x) == (2,) and np.allclose(x, ends) for x in drawn)


def test_specificity(tmp_path: Path) -> None:
    bench = linear([[3.0, 3.0, 0.0, 1.0, 1.0, 1.0], [0.0, 3.0, 0.0, 0.0, 1.0, 1.0]], inputs() + 2)
    result = specificity(bench, 0.0, controls=["y1"], allow_off_support=True)
    ax = specificity_plot(result)
    largest = int(np.abs(result.effect[:, 0]).argmax())
    assert ax.get_yticklabels()[0].get_text() == result.features[largest]
    assert ax.texts[0].get_text() == result.verdict[largest, 0]
    assert save(ax, tmp_path / "s.png").stat().st_size > 5000


def test_set_shares(tmp_path: Path) -> None:
    result = set_effects(linear(WEIGHTS, inputs() * 0.3 + 1), 0.0, {"a": ["0"], "b": ["1", "2"]})
    ax = set_shares(result)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a (1)", "b (2)"]
    drawn = np.concatenate([line.get_xdata() for line in ax.lines if len(line.get_xdata()) == 2])
    assert np.isin(result.necessity[0, :, 0], drawn).all()
    assert save(ax, tmp_path / "n.png").stat().st_size > 5000
    with pytest.raises(InputError, match="noise floor"):
        set_shares(result, "y1")


def test_minimal_set_path(tmp_path: Path) -> None:
    bench = linear(WEIGHTS[:1], inputs() * 0.1 + 1)
    result = minimal_set(bench, 0.0, share=0.85)
    ax = minimal_set_path(result)
    np.testing.assert_array_equal(ax.lines[2].get_ydata(), result.path["share"])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["+ 0", "+ 1", "+ 2", "the 3"]
    assert save(ax, tmp_path / "m.png").stat().st_size > 5000
    none = minimal_set_path(minimal_set(bench, 0.0, share=0.99, most=1))
    assert none.get_title(loc="left") == "sufficiency: no set found"


def test_agreement_scores(tmp_path: Path) -> None:
    methods = [estimates_of(truth_of(), 0.1, "within"), estimates_of(0.5 * truth_of(), 0.1, "ivw")]
    held = agreement(methods, knockout_of(truth_of()), 0.2, draws=50)
    ax = agreement_scores(held)
    panels = ax.child_axes
    assert [t.get_text() for t in panels[0].get_yticklabels()] == ["within", "ivw"]
    slope = next(p for p in panels if "slope" in p.get_title(loc="left"))
    points = [line.get_xdata()[0] for line in slope.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(points, held.scores["slope"])
    assert save(ax, tmp_path / "a.png").stat().st_size > 5000


def test_predicted_vs_knockout_names_what_it_cannot_draw() -> None:
    methods = [estimates_of(truth_of(), 0.1, "within"), estimates_of(np.full(24, np.nan), 0.1, "ivw")]
    held = agreement(methods, knockout_of(truth_of()), 0.2, draws=50)
    assert len(predicted_vs_knockout(held, "within").lines) > 0
    for method, outcome, words in (
        ("withn", None, "Did you mean 'within'"),
        ("within", "z", "not in the result"),
        ("ivw", None, "no feature has both numbers"),
    ):
        with pytest.raises(InputError, match=words):
            predicted_vs_knockout(held, method, outcome=outcome)


@pytest.mark.parametrize(
    "draw", [direct_effects, epistasis_matrix, ordered_knockouts_curve, faithfulness_curve]
)
def test_an_outcome_that_is_not_there_is_named(draw: Callable[..., object]) -> None:
    bench = linear(WEIGHTS, inputs() * 0.3 + 1)
    made = {
        direct_effects: lambda: direct_effect(bench, 0.0, ["0"], freeze=()),
        epistasis_matrix: lambda: epistasis(bench, 0.0),
        ordered_knockouts_curve: lambda: ordered_knockouts(bench, 0.0, range(6), random_orders=2),
        faithfulness_curve: lambda: faithfulness(bench, 0.0, range(6)),
    }
    with pytest.raises(InputError, match="'y9': not in the result"):
        draw(made[draw](), outcome="y9")
